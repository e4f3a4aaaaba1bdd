"""The boxes that HEIC, AVIF and JPEG XL files are made of (ISO/IEC 14496-12)."""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import BinaryIO

HOLDERS = ("AVIF", "HEIF")  # of `colour`
_MOST = 1 << 16
_CREDENTIALS = bytes.fromhex("d8fec3d61b0e483c92975828877ec481")  # C2PA's, of a box "uuid"
_SRGB = (b"\0\x01\0\x0d", b"\0\x01\0\x01")  # or BT.709, which is taken for it
_UNTOLD = 2
_GAIN_MAP, _C2PA = b"tmap", b"c2pa"


def boxes(file: BinaryIO, at: int = 0, end: int | None = None) -> Iterator[tuple[bytes, int, int]]:
    """Kinds, and from where to where in the file each one's content lies, one after the other.

    The last may reach beyond `end`, the file's by default, where that is cut short.
    """
    end = file.seek(0, io.SEEK_END) if end is None else end
    for _ in range(_MOST):
        if at + 8 > end:
            return
        file.seek(at)
        head = file.read(16)
        size, start = int.from_bytes(head[:4], "big"), at + 8
        if size == 1:
            size, start = int.from_bytes(head[8:], "big"), at + 16
        size = size or end - at
        if size < start - at:  # no box
            return
        yield head[4:8], start, at + size
        at += size


def lost(file: BinaryIO) -> list[str]:
    """What of a HEIC, AVIF or JPEG XL nobody here keeps, beside what its decoder tells of."""
    found = []
    for kind, start, end in boxes(file):
        file.seek(start)
        if kind == b"ftyp" and _GAIN_MAP in file.read(min(end - start, 1 << 10)):
            found.append("its gain maps")
        elif kind == b"jhgm":
            found.append("its gain map")
        elif kind == b"brob" and file.read(4) == b"xml ":
            found.append("its packed XMP")
        elif kind == b"jumb" and _C2PA in file.read(min(end - start, 1 << 10)):
            found.append("its content credentials")
        elif kind == b"mpvd":
            found.append("its film and sound")
        elif kind == b"uuid" and file.read(16) == _CREDENTIALS:
            found.append("its content credentials")
    return found


def colour(file: BinaryIO) -> bytes | None:
    """How a HEIC's or AVIF's colours are meant, in numbers of H.273: two bytes each for primaries
    and transfer; None where that is sRGB, or not told so."""
    at = _place_of_colour(file)
    if at is None:
        return None
    file.seek(at)
    found = file.read(4)
    told = len(found) == 4 and found not in _SRGB and _UNTOLD not in (found[1], found[3])
    return found if told else None


def with_colour(data: bytes, meant: bytes) -> bytes:
    """A HEIC or AVIF file that says so of its colours, as `colour` reads it."""
    at = _place_of_colour(io.BytesIO(data))
    return data if at is None else data[:at] + meant + data[at + 4 :]


def _place_of_colour(file: BinaryIO) -> int | None:
    """Where the numbers of the first box "colr" lie that has some."""
    inner, end = [(0, file.seek(0, io.SEEK_END))], 0
    for kind, skip in ((b"meta", 4), (b"iprp", 0), (b"ipco", 0)):
        found = (box for at, end in inner for box in boxes(file, at, end) if box[0] == kind)
        inner = [(start + skip, end) for _, start, end in found]
    for at, end in inner:
        for kind, start, _ in boxes(file, at, end):
            file.seek(start)
            if kind == b"colr" and file.read(4) == b"nclx":
                return start + 4
    return None
