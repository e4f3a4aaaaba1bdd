"""What a picture is here, and the formats that names can ask for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tunectl.errors import UsageError
from tunectl.images.arrays import new_array

FORMATS = {
    ".jpg": "JPEG",
    ".jpeg": "JPEG",
    ".jpe": "JPEG",
    ".jfif": "JPEG",
    ".png": "PNG",
    ".tif": "TIFF",
    ".tiff": "TIFF",
    ".webp": "WEBP",
    ".avif": "AVIF",
    ".bmp": "BMP",
    ".heic": "HEIF",
    ".heif": "HEIF",
    ".hif": "HEIF",
    ".jxl": "JXL",
}


class Component(NamedTuple):
    """A channel of a JPEG: 64 quantisation steps, in rows of the block, and how many pixels down
    and across a sample stands for."""

    steps: Sequence[int]
    down: int
    across: int


@dataclass
class Picture:
    """Colour samples and everything else a file holds.

    `pixels` is uint8, uint16 or float32 from 0 to 1: (H, W, 1) gray, (H, W, 3) RGB, (H, W, 4)
    CMYK, where 0 is no ink. `alpha` is the (H, W) opacity of the same type, or None; it is not
    multiplied into the colours. `extra` is a further channel (H, W) of a TIFF that is none of
    opacity, such as a scanner's infrared; then there is no `alpha`. All are memmaps where the
    picture is large. They lie as stored: a viewer turns them as the orientation in `exif` says.
    `format` is Pillow's name of the format it came in. `tables` are a JPEG's quantisation tables,
    in rows of the block, and `components` what it holds, if that is gray, or Y, Cb and Cr. `notes`
    are what a user should be told, one phrase each; `lost` are things that the file holds beside
    this. `comment` is a JPEG's; `chunks` are kinds and contents of those of a PNG that say how its
    colours are meant, or words, a HEIC's and AVIF's colours among them.
    """

    pixels: NDArray[Any]
    alpha: NDArray[Any] | None = None
    format: str = "PNG"
    icc: bytes | None = None
    exif: bytes | None = None
    xmp: bytes | None = None
    iptc: bytes | None = None
    comment: bytes | None = None
    chunks: list[tuple[bytes, bytes]] = field(default_factory=list)
    dpi: tuple[float, float] | None = None
    tables: Mapping[int, Sequence[int]] | None = None
    components: Sequence[Component] = ()
    notes: list[str] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)
    extra: NDArray[Any] | None = None

    @property
    def peak(self) -> int:
        """The largest sample value: 255, 65535 or, of floats, 1."""
        if self.pixels.dtype.kind == "f":
            return 1
        return int(np.iinfo(self.pixels.dtype).max)


def in_rgb(picture: Picture) -> Picture:
    """A gray picture in RGB, its three channels equal, without what described it as gray."""
    pixels = new_array((*picture.pixels.shape[:2], 3), picture.pixels.dtype)
    pixels[...] = picture.pixels
    notes = [*picture.notes, *(["its profile was left out"] if picture.icc else [])]
    return replace(picture, pixels=pixels, icc=None, tables=None, components=(), notes=notes)


def output_format(path: Path) -> str:
    """Pillow's name of the format that `path`'s ending asks for. Raises UsageError."""
    if path.suffix.lower() not in FORMATS:
        raise UsageError(
            f"{path}: no format is known by the ending {path.suffix!r}",
            f"end the name in one of {', '.join(FORMATS)}",
        )
    return FORMATS[path.suffix.lower()]
