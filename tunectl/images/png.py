"""The chunks of a PNG around its pixels: walked when reading, put in place when writing."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import BinaryIO

import numpy as np

from tunectl.images.metadata import PROPORTIONS, Tags
from tunectl.images.picture import Picture

SIGNATURE = b"\x89PNG\r\n\x1a\n"
_NEARLY = 200  # of 100,000: programs round in their own ways
_HEAD = len(SIGNATURE) + 25  # signature and IHDR
_MOST_CHUNKS = 1 << 20
_MOST_FRAMES = 1 << 31  # beyond it readers take the picture for a still
_MOST_TEXT = 16 << 20  # of one chunk's content, unpacked
COLOUR = (b"cICP", b"sRGB", b"gAMA", b"cHRM", b"mDCV", b"cLLI")
TEXT = (b"iTXt", b"zTXt", b"tEXt")
_CREDENTIALS = b"caBX"
_WANTED = (b"iCCP", b"eXIf", b"pHYs", _CREDENTIALS, *TEXT, *COLOUR)
_SRGB = (b"\x01\x0d\0\x01", b"\x01\x01\0\x01")  # by numbers, or BT.709, which is taken for it
_GAMMA, _CHROMATICITIES = 45455, (31270, 32900, 64000, 33000, 30000, 60000, 15000, 6000)  # its
_XMP = b"XML:com.adobe.xmp\0"
_OLD_EXIF = b"Raw profile type exif\0"  # ImageMagick's, from before PNG had eXIf


@dataclass
class PngHeader:
    """What stands around the pixels; `frames` above 1 in an animated PNG."""

    width: int
    height: int
    depth: int
    palette: bool
    interlaced: bool
    frames: int = 1
    lost: list[str] = field(default_factory=list)
    tags: Tags = field(default_factory=Tags)


def read_header(file: BinaryIO) -> PngHeader:
    """Walk all chunks. Raises ValueError where they do not reach the end mark IEND."""
    length = file.seek(0, io.SEEK_END)
    file.seek(len(SIGNATURE))
    size, kind, width, height, depth, colour, _, _, lace = struct.unpack(
        ">I4sIIBBBBB", file.read(21)
    )
    if (size, kind) != (13, b"IHDR"):
        raise ValueError("it does not start with its size")
    header = PngHeader(width, height, depth, palette=colour == 3, interlaced=lace != 0)
    at, animated = _HEAD, False
    for _ in range(_MOST_CHUNKS):
        file.seek(at)
        size, kind = struct.unpack(">I4s", file.read(8).ljust(8, b"\0"))
        if at + 12 + size > length:
            raise ValueError("it is cut short")
        if kind == b"IEND":
            return header
        if kind == b"acTL" and 0 < (count := int.from_bytes(file.read(4), "big")) <= _MOST_FRAMES:
            header.frames, animated = count, True
        elif kind == b"IDAT" and animated:  # before any frame begins: a picture of its own
            header.frames += 1
        animated = animated and kind not in (b"fcTL", b"IDAT")
        if kind in _WANTED and size <= _MOST_TEXT:
            try:
                _take(header, kind, file.read(size))
            except (ValueError, IndexError, zlib.error):
                header.tags.damaged = True
        at += 12 + size
    raise ValueError("it has too many parts")


def _take(header: PngHeader, kind: bytes, data: bytes) -> None:
    if kind == _CREDENTIALS:
        header.lost.append("its content credentials")
    elif kind == b"eXIf":
        header.tags.exif = data
    elif kind == b"pHYs" and len(data) == 9:
        x, y, unit = struct.unpack(">IIB", data)
        header.tags.dpi = (x * 0.0254, y * 0.0254) if unit == 1 else None
        header.lost += [PROPORTIONS] * (unit != 1 and x != y)
    elif kind == b"iCCP":
        header.tags.icc = _unpack(data[data.find(b"\0") + 2 :])
    elif kind == b"iTXt" and data.startswith(_XMP):
        packed, rest = data[len(_XMP)], data[len(_XMP) + 2 :]
        text = rest.split(b"\0", 2)[2]  # after language and translated keyword
        header.tags.xmp = _unpack(text) if packed else text
    elif kind in (b"zTXt", b"tEXt") and data.startswith(_OLD_EXIF) and not header.tags.exif:
        text = data[len(_OLD_EXIF) :]
        words = _unpack(text[1:]) if kind == b"zTXt" else text
        header.tags.exif = bytes.fromhex(b"".join(words.split(b"\n")[3:]).decode("ascii"))
    elif kind in COLOUR or (kind in TEXT and not data.startswith(_OLD_EXIF)):
        header.tags.chunks.append((kind, data))


def other_than_srgb(chunks: Sequence[tuple[bytes, bytes]]) -> bool:
    """Whether a PNG's chunks say that its colours are meant otherwise than as sRGB."""
    found = dict(chunks)
    if b"cICP" in found:
        return found[b"cICP"] not in _SRGB
    if b"sRGB" in found:
        return False
    return any(
        len(data) == 4 * len(usual)
        and not np.allclose(struct.unpack(f">{len(usual)}I", data), usual, atol=_NEARLY)
        for data, usual in (
            (found.get(b"gAMA", b""), [_GAMMA]),
            (found.get(b"cHRM", b""), _CHROMATICITIES),
        )
    )


def _unpack(data: bytes) -> bytes:
    """What zlib packed. Raises ValueError where that is more than any profile or tag needs."""
    stream = zlib.decompressobj()
    found = stream.decompress(data, _MOST_TEXT)
    if not stream.eof:
        raise ValueError("too much, or cut short")
    return found


def chunks(picture: Picture) -> bytes:
    """The chunks that hold the picture's profile, density, EXIF, XMP and what else a PNG had, to
    stand before IDAT."""
    found = b"".join(_chunk(kind, data) for kind, data in picture.chunks)
    if picture.icc:
        found += _chunk(b"iCCP", b"ICC profile\0\0" + zlib.compress(picture.icc))
    if picture.dpi:
        x, y = (round(value / 0.0254) for value in picture.dpi)
        found += _chunk(b"pHYs", struct.pack(">IIB", x, y, 1))
    if picture.exif:
        found += _chunk(b"eXIf", picture.exif.removeprefix(b"Exif\0\0"))
    if picture.xmp:
        found += _chunk(b"iTXt", _XMP + b"\0\0\0\0" + picture.xmp)
    return found


def _chunk(kind: bytes, data: bytes) -> bytes:
    check = zlib.crc32(kind + data)
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", check)


class Splicer:
    """Passes a PNG on to `file` as it comes, with `chunks` instead of its own before IDAT."""

    def __init__(self, file: BinaryIO, chunks: bytes) -> None:
        self.file = file
        self.chunks = chunks
        self.waiting: bytearray | None = bytearray()

    def write(self, data: bytes) -> int:
        """Take the next bytes; returns how many."""
        if self.waiting is None:
            self.file.write(data)
            return len(data)
        self.waiting += data
        at = _HEAD
        while len(self.waiting) >= at + 8:
            if self.waiting[at + 4 : at + 8] == b"IDAT":
                self.file.write(self.waiting[:_HEAD] + self.chunks + self.waiting[at:])
                self.waiting = None
                break
            at += 12 + int.from_bytes(self.waiting[at : at + 4], "big")
        return len(data)
