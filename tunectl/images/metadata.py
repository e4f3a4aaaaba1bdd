"""What surrounds the pixels: tags, profile, density; kept as they are, but for what is stale."""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

import numpy as np
from PIL import Image, ImageCms

from tunectl.images import ifd
from tunectl.images.picture import Picture

COLOUR_SPACE, SRGB, INTEROP_INDEX = 40961, 1, 1
ORIENTATION, X_DENSITY, Y_DENSITY, DENSITY_UNIT = 274, 282, 283, 296
PROPORTIONS = "the proportions of its pixels"  # where they are not square
_PREFIX = b"Exif\0\0"
_THUMBNAIL_OFFSETS = (513, 273)  # where a thumbnail's bytes start: as JPEG, as strips
_THUMBNAIL_LENGTHS = (514, 279)


@dataclass
class Tags:
    """What a file says beside its pixels, as found. `damaged` if some of it was unreadable."""

    icc: Any = None
    exif: Any = None
    xmp: Any = None
    dpi: Any = None
    iptc: bytes | None = None
    comment: bytes | None = None
    chunks: list[tuple[bytes, bytes]] = field(default_factory=list)
    damaged: bool = False


def take_over(picture: Picture, tags: Tags) -> Picture:
    """Take over what is valid; damaged tags never stop a picture."""
    picture.icc = fitting_profile(tags.icc, picture.pixels.shape[2])
    if tags.icc and not picture.icc:
        picture.notes.append("a profile that does not fit it was left out")
    picture.xmp = tags.xmp
    picture.iptc, picture.comment, picture.chunks = tags.iptc, tags.comment, tags.chunks
    picture.dpi = sane_dpi(tags.dpi)
    try:
        picture.exif = clean_exif(tags.exif)
        if picture.exif and not tags.dpi:
            picture.dpi = sane_dpi(density(*unpack_exif(picture.exif)))
    except ValueError:
        tags.damaged = True
    if tags.damaged:
        picture.notes.append("damaged tags were left out")
    return picture


def clean_exif(raw: Any) -> bytes | None:
    """EXIF bytes as a decoder hands them over, without their thumbnail.

    The thumbnail shows the picture as it was before. It is cut off where it ends the block and
    blanked elsewhere, so that nothing else moves and maker notes stay valid. The result starts
    with ``Exif`` and two zeros. Raises ValueError where no reader could follow the tags.
    """
    if not raw:
        return None
    data = bytearray(raw[6:] if raw.startswith(_PREFIX) else raw)
    reader = ifd.Reader(io.BytesIO(data))
    if reader.big:
        raise ValueError("EXIF in BigTIFF's form")
    _drop_thumbnail(reader, data)
    unpack_exif(bytes(data))  # parts that lie across each other may have suffered
    return _PREFIX + bytes(data)


def _drop_thumbnail(reader: ifd.Reader, data: bytearray) -> None:
    kept = reader.extents(reader.first)
    pointer = reader.next_pointer(reader.first)
    at = int.from_bytes(data[pointer : pointer + 4], reader.order)
    data[pointer : pointer + 4] = bytes(4)
    if not at:
        return
    try:
        parts = reader.extents(at)
        directory = reader.read(at)
    except ValueError:
        return  # no thumbnail that a viewer could find
    for start_tag, length_tag in zip(_THUMBNAIL_OFFSETS, _THUMBNAIL_LENGTHS, strict=True):
        starts = ifd.numbers(directory.get(start_tag), reader.order)
        lengths = ifd.numbers(directory.get(length_tag), reader.order)
        parts += [ifd.Extent(a, a + n) for a, n in zip(starts, lengths, strict=False)]
    parts = [part for part in parts if part.start < part.end <= len(data)]
    if min(part.start for part in parts) >= max(part.end for part in kept):
        del data[min(part.start for part in parts) :]
        return
    for part in parts:
        if all(part.end <= other.start or other.end <= part.start for other in kept):
            data[part.start : part.end] = bytes(part.end - part.start)


def orientation(exif: bytes | None) -> int:
    """How a viewer turns the picture by its cleaned tags: 1 (not at all) to 8."""
    tags, order = unpack_exif(exif)
    entry = tags.get(ORIENTATION)
    if not isinstance(entry, ifd.Value) or (entry.kind, entry.count) != (ifd.SHORT, 1):
        return 1
    turned = int.from_bytes(entry.data, order)
    return turned if 1 <= turned <= 8 else 1


def upright(exif: bytes | None) -> bytes | None:
    """The same tags saying that no viewer should turn the picture."""
    if exif is None or orientation(exif) == 1:
        return exif
    data = bytearray(exif.removeprefix(_PREFIX))
    reader = ifd.Reader(io.BytesIO(data))
    at = reader.place(reader.first, ORIENTATION)
    data[at : at + 2] = (1).to_bytes(2, reader.order)
    return _PREFIX + bytes(data)


def only_what_shows(exif: bytes | None, profiled: bool) -> bytes | None:
    """EXIF bytes with what the picture would look different without, or None: which way up it is,
    and, where no profile tells its colours, that they are not sRGB's, as cameras say Adobe RGB."""
    tags, order = unpack_exif(exif)
    kept: ifd.Directory = {}
    if (turned := orientation(exif)) != 1:
        kept[ORIENTATION] = ifd.value(ifd.SHORT, [turned], order)
    camera = tags.get(ifd.EXIF)
    if isinstance(camera, dict) and not profiled:
        space, interop = camera.get(COLOUR_SPACE), camera.get(ifd.INTEROP)
        if isinstance(space, ifd.Value) and ifd.numbers(space, order) != [SRGB]:
            kept[ifd.EXIF] = colours = ifd.Directory({COLOUR_SPACE: space})
            if isinstance(interop, dict) and INTEROP_INDEX in interop:
                colours[ifd.INTEROP] = {INTEROP_INDEX: interop[INTEROP_INDEX]}
    return pack_exif(kept, order)


def of_density(dpi: tuple[float, float]) -> bytes:
    """EXIF bytes that say so many pixels an inch, across and down, and nothing else."""
    exif = pack_exif(density_tags(dpi, "little"), "little")
    assert exif is not None
    return exif


def density_tags(dpi: tuple[float, float], order: ifd.Order) -> ifd.Directory:
    """The tags of so many pixels an inch, across and down."""
    found: ifd.Directory = {DENSITY_UNIT: ifd.value(ifd.SHORT, [2], order)}
    for tag, number in zip((X_DENSITY, Y_DENSITY), dpi, strict=True):
        ratio = Fraction(number).limit_denominator(1000)
        found[tag] = ifd.value(ifd.RATIONAL, [ratio.numerator, ratio.denominator], order)
    return found


def lacks_density(exif: bytes, dpi: tuple[float, float] | None) -> bool:
    """Whether cleaned tags say another density, or none, where there is one."""
    said = sane_dpi(density(*unpack_exif(exif)))
    return dpi is not None and (said is None or not np.allclose(said, dpi, rtol=0.01))


def pack_exif(tags: ifd.Directory, order: ifd.Order) -> bytes | None:
    """An EXIF block of these tags, whose values are in `order`; None without tags."""
    if not tags:
        return None
    mark = b"II" if order == "little" else b"MM"
    head = mark + (42).to_bytes(2, order) + (8).to_bytes(4, order)
    return _PREFIX + head + ifd.pack(tags, 8, order)


def unpack_exif(exif: bytes | None) -> tuple[ifd.Directory, ifd.Order]:
    """The tags of an EXIF block and their byte order."""
    if not exif:
        return {}, "little"
    reader = ifd.Reader(io.BytesIO(exif.removeprefix(_PREFIX)))
    return reader.read(reader.first), reader.order


def fitting_profile(profile: Any, channels: int) -> bytes | None:
    """The profile if it describes pixels of this kind: viewers misread a gray file tagged RGB."""
    wanted = {1: b"GRAY", 3: b"RGB ", 4: b"CMYK"}[channels]
    return profile if isinstance(profile, bytes) and profile[16:20] == wanted else None


def is_srgb(profile: bytes) -> bool:
    """Whether RGB or gray by the profile looks as by sRGB, give or take two steps of 255."""
    if profile[16:20] == b"GRAY":
        given = np.arange(256, dtype=np.uint8)[None]
    else:
        given = np.stack(np.meshgrid(*3 * [np.arange(0, 256, 15, dtype=np.uint8)]), -1)
        given = given.reshape(1, -1, 3)
    image, srgb = Image.fromarray(given), ImageCms.createProfile("sRGB")
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        intent = ImageCms.Intent.RELATIVE_COLORIMETRIC
        shown = ImageCms.profileToProfile(image, source, srgb, intent, outputMode="RGB")
    except (ImageCms.PyCMSError, OSError):
        return False
    moved = np.asarray(shown, dtype=int) - np.asarray(image.convert("RGB"), dtype=int)
    return bool(np.abs(moved).max() <= 2)


def density(tags: ifd.Directory, order: ifd.Order) -> tuple[float, float] | None:
    """Pixels an inch, across and down, as a directory's tags have it."""
    x, y = (ifd.numbers(tags.get(tag), order) for tag in (X_DENSITY, Y_DENSITY))
    unit = (ifd.numbers(tags.get(DENSITY_UNIT), order) or [2])[0]
    if unit not in (2, 3) or len(x) != 2 or len(y) != 2 or not x[1] or not y[1]:
        return None
    inch = 1.0 if unit == 2 else 2.54
    return x[0] / x[1] * inch, y[0] / y[1] * inch


def sane_dpi(dpi: Any) -> tuple[float, float] | None:
    """The density if it is two positive numbers that any format can hold."""
    if not isinstance(dpi, Sequence) or len(dpi) != 2:
        return None
    try:
        x, y = (float(value) for value in dpi)
    except (TypeError, ValueError, ZeroDivisionError, OverflowError):
        return None
    return (x, y) if all(math.isfinite(v) and 0.1 <= v <= 60000 for v in (x, y)) else None
