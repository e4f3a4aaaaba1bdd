"""The header of a JPEG XL file: its size and what Pillow's plugin would cut or leave out."""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import BinaryIO

from tunectl.errors import PictureError
from tunectl.images.boxes import boxes

_MOST_BYTES = 64  # of codestream that hold the header
_MOST_XMP = 16 << 20
_RATIOS = {1: (1, 1), 2: (12, 10), 3: (4, 3), 4: (3, 2), 5: (16, 9), 6: (5, 4), 7: (2, 1)}


@dataclass
class JxlHeader:
    """Size as stored, bits a sample, whether it is animated, XMP."""

    width: int
    height: int
    bits: int = 8
    animated: bool = False
    xmp: bytes | None = None


class _Bits:
    def __init__(self, data: bytes) -> None:
        self.value = int.from_bytes(data, "little")

    def take(self, count: int) -> int:
        found = self.value & ((1 << count) - 1)
        self.value >>= count
        return found

    def choice(self, *options: tuple[int, int]) -> int:
        """A number as one of four (base, further bits)."""
        base, bits = options[self.take(2)]
        return base + self.take(bits)


def read_header(file: BinaryIO) -> JxlHeader:
    """Read the size and the image metadata (ISO/IEC 18181-1). Raises ValueError if cut short."""
    stream, xmp = _codestream(file)
    if stream[:2] != b"\xff\x0a" or len(stream) < 8:
        raise ValueError("it is cut short")
    bits = _Bits(stream[2:])
    width, height = _size(bits)
    header = JxlHeader(width, height, xmp=xmp)
    if bits.take(1):  # all the rest is as usual
        return header
    if bits.take(1):  # extra fields
        bits.take(3)  # orientation
        if bits.take(1):  # intrinsic size
            _size(bits)
        if bits.take(1):
            raise ValueError("it has a preview, which is not supported")
        header.animated = bool(bits.take(1))
        if header.animated:
            return header
    if bits.take(1):  # floats
        header.bits = bits.choice((32, 0), (16, 0), (24, 0), (1, 6))
    else:
        header.bits = bits.choice((8, 0), (10, 0), (12, 0), (1, 6))
    return header


def check(header: JxlHeader, name: str) -> None:
    """Raise PictureError for what the package would cut or leave out in silence."""
    if header.animated:
        raise PictureError(f"{name}: is an animated JPEG XL", "save the frame as a PNG")
    if header.bits > 8:
        raise PictureError(
            f"{name}: is a JPEG XL of {header.bits} bits a sample",
            "convert it to PNG or TIFF first",
        )


def _size(bits: _Bits) -> tuple[int, int]:
    small = bits.take(1)

    def length() -> int:
        if small:
            return 8 * (1 + bits.take(5))
        return bits.choice((1, 9), (1, 13), (1, 18), (1, 30))

    height = length()
    ratio = bits.take(3)
    if not ratio:
        return length(), height
    across, down = _RATIOS[ratio]
    return height * across // down, height


def _codestream(file: BinaryIO) -> tuple[bytes, bytes | None]:
    """The start of the codestream, bare or in boxes, and XMP if there is a box of it."""
    file.seek(0)
    if file.read(2) == b"\xff\x0a":
        file.seek(0)
        return file.read(_MOST_BYTES), None
    stream, xmp = b"", None
    length = file.seek(0, io.SEEK_END)
    for kind, start, end in boxes(file):
        if end > length:
            raise ValueError("it is cut short")
        start += 4 if kind == b"jxlp" else 0  # which part it is
        file.seek(start)
        if kind in (b"jxlc", b"jxlp") and len(stream) < _MOST_BYTES:
            stream += file.read(max(0, min(end - start, _MOST_BYTES)))
        elif kind == b"xml " and end - start <= _MOST_XMP:
            xmp = file.read(end - start)
    return stream, xmp
