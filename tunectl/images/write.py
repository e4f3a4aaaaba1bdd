"""Write a picture: which format holds what is decided here, before a byte goes out.

PNG goes through libvips and TIFF through `tiff`, both a strip at a time and at any depth;
everything else through Pillow, 8 bits a sample.
"""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO

from tunectl.atomic import atomic_write
from tunectl.errors import PictureError, UsageError
from tunectl.images import boxes, deep, encode8, metadata, png, tiff
from tunectl.images.guard import clear_errors
from tunectl.images.picture import Picture, output_format

# What each format holds: bytes a sample, colour channels, whether opacity.
_HOLDS: dict[str, tuple[tuple[int, ...], tuple[int, ...], bool]] = {
    "PNG": ((1, 2), (1, 3), True),
    "TIFF": ((1, 2, 4), (1, 3, 4), True),
    "JPEG": ((1,), (1, 3, 4), False),
    "WEBP": ((1,), (1, 3), True),
    "AVIF": ((1,), (1, 3), True),
    "BMP": ((1,), (1, 3), False),
    "HEIF": ((1,), (1, 3), True),
    "JXL": ((1,), (1, 3), True),
}
# And what beside the picture: all others hold a profile, EXIF and XMP.
_NONE_OF = {"BMP": ("profile", "EXIF", "XMP")}
_ONLY_IN = {
    "IPTC": ("JPEG", "TIFF"),
    "comment": ("JPEG",),
    "text": ("PNG",),
    "colour tags": ("PNG",),
    "resolution": ("PNG", "TIFF", "JPEG", "BMP"),  # elsewhere EXIF may say it
    "further channel": ("TIFF",),
}


def write_picture(path: Path, picture: Picture) -> None:
    """Encode and write as `atomic_write`, in the format of the name's ending. Raises PictureError
    where the format cannot hold the picture."""
    with atomic_write(path) as file:
        _encode(file, picture, output_format(path), str(path), "auto", False)


def encode_picture(
    picture: Picture,
    kind: str,
    *,
    name: str = "the picture",
    quality: int | str = "auto",
    strip_metadata: bool = False,
) -> bytes:
    """The bytes of a file in the format `kind`; `name` stands in messages.

    PNG and TIFF are lossless, and so are WebP and JPEG XL unless `quality` is a number. "auto"
    writes JPEG, AVIF and HEIC at quality 95, 4:4:4, and a JPEG that was one with its own tables
    if they are at least as fine; "keep" writes a JPEG with exactly the tables it had, and leaves
    lossless formats so; 1 to 100 is taken as it is. `strip_metadata` leaves out EXIF, XMP, IPTC,
    words and density, but keeps the profile, or else what EXIF tells of colours, and which way up
    the picture is. Raises PictureError where the format cannot hold the picture.
    """
    file = io.BytesIO()
    _encode(file, picture, kind, name, quality, strip_metadata)
    return file.getvalue()


def left_out(picture: Picture, kind: str, strip_metadata: bool = False) -> list[str]:
    """What a user should be told that the format `kind` has no place for, one phrase each."""
    if strip_metadata:
        picture = _stripped(picture)
    words = {chunk for chunk, _ in picture.chunks}
    numbers = b"cICP" in words and kind in boxes.HOLDERS
    there = {
        "profile": picture.icc,
        "EXIF": picture.exif,
        "XMP": picture.xmp,
        "IPTC": picture.iptc,
        "comment": picture.comment,
        "text": words & {*png.TEXT},
        "colour tags": not (picture.icc or numbers) and png.other_than_srgb(picture.chunks),
        "resolution": picture.exif and metadata.lacks_density(picture.exif, picture.dpi),
        "further channel": picture.extra is not None,
        "damaged tags": not encode8.bears(kind, picture.exif),
    }
    unheld = [part for part, kinds in _ONLY_IN.items() if kind not in kinds]
    return [
        f"its {part} {'were' if part.endswith('tags') else 'was'} left out"
        for part in (*unheld, *_NONE_OF.get(kind, ()), "damaged tags")
        if there[part]
    ]


def _encode(
    file: BinaryIO, picture: Picture, kind: str, name: str, quality: int | str, strip: bool
) -> None:
    if quality not in ("auto", "keep") and not (isinstance(quality, int) and 1 <= quality <= 100):
        raise UsageError(f"no quality {quality!r} is known", "give auto, keep or 1 to 100")
    check_holds(picture, kind, name)
    icc = metadata.fitting_profile(picture.icc, picture.pixels.shape[2])
    picture = replace(picture, icc=icc)
    if strip:
        picture = _stripped(picture)
    with clear_errors(name, "cannot be encoded", "write a PNG, or leave out the metadata"):
        if kind == "PNG":
            deep.write_png(file, picture.pixels, picture.alpha, png.chunks(picture))
        elif kind == "TIFF":
            tiff.write(file, picture)
        else:
            file.write(encode8.encode(picture, kind, quality, name))


def _stripped(picture: Picture) -> Picture:
    exif = metadata.only_what_shows(picture.exif, picture.icc is not None)
    colour = [chunk for chunk in picture.chunks if chunk[0] in png.COLOUR]
    return replace(picture, exif=exif, xmp=None, iptc=None, comment=None, dpi=None, chunks=colour)


def check_holds(picture: Picture, kind: str, name: str) -> None:
    """Raises UsageError for a format that is not written, PictureError for one that cannot hold the
    picture."""
    if kind not in _HOLDS:
        raise UsageError(f"{name}: no format {kind} is written", f"known: {', '.join(_HOLDS)}")
    sizes, colours, opacity = _HOLDS[kind]
    if picture.pixels.itemsize not in sizes:
        if picture.pixels.itemsize == 4:
            raise PictureError(f"{name}: {kind} holds no floats", "write a TIFF instead")
        raise PictureError(f"{name}: {kind} holds no 16-bit samples", "write a PNG or TIFF instead")
    if picture.pixels.shape[2] not in colours:
        raise PictureError(
            f"{name}: {kind} holds no CMYK", "write a TIFF or JPEG, or convert it to RGB first"
        )
    if picture.alpha is not None and not opacity:
        raise PictureError(f"{name}: {kind} holds no transparency", "write a PNG instead")
