"""Encode 8-bit pictures with Pillow: everything but PNG and TIFF."""

from __future__ import annotations

import functools
import io
import re
from typing import Any

import numpy as np
from PIL import Image, JpegImagePlugin

from tunectl.errors import PictureError
from tunectl.images import around, boxes, metadata, plugins
from tunectl.images.guard import pillow_warnings
from tunectl.images.picture import Picture
from tunectl.images.turn import upright

QUALITY = 95  # of "auto" where a format is lossy: differences are hard to see from here up
_LOSSLESS = ("WEBP", "JXL", "BMP")  # unless a quality is given
_DENSE = ("JPEG", "BMP")  # say how dense pixels are by themselves; others may in EXIF
_TURNED = ("BMP", "JXL")  # hold no orientation that viewers follow: turned before
_REBUILT = ("AVIF", "HEIF")  # their encoders take the tags apart, which damaged ones may not bear
_TURN_OF_XMP = re.compile(rb"(tiff:Orientation\s*(?:=\s*[\"']|>\s*))\d")


def encode(picture: Picture, kind: str, quality: int | str, name: str) -> bytes:
    """The file's bytes. Raises PictureError, or whatever Pillow does."""
    options = _quality(picture, kind, quality, name)
    if kind in plugins.PACKAGES:
        plugins.opener(kind, name)
    pixels, exif = picture.pixels, picture.exif
    if picture.alpha is not None:
        pixels = np.concatenate([pixels, picture.alpha[..., None]], axis=2)
    if kind in _TURNED:
        pixels = upright(pixels, metadata.orientation(exif))
        exif = metadata.upright(exif)
    elif not bears(kind, exif):
        exif = metadata.only_what_shows(exif, picture.icc is not None)
    if kind == "JXL" and picture.icc and not metadata.is_srgb(picture.icc):
        raise PictureError(f"{name}: the JPEG XL package writes no profile", "write a PNG instead")
    if picture.dpi and not exif and kind not in _DENSE:
        exif = metadata.of_density(picture.dpi)
    if kind != "BMP":
        if picture.icc and kind != "JXL":
            options["icc_profile"] = picture.icc
        if exif:
            options["exif"] = exif
        if picture.xmp:
            options["xmp"] = _turned_alike(picture.xmp, exif) if kind == "HEIF" else picture.xmp
    if picture.iptc and kind == "JPEG":
        options["extra"] = around.segments_of_iptc(picture.iptc)
    if picture.comment and kind == "JPEG":
        options["comment"] = picture.comment
    if picture.dpi and kind in _DENSE:
        options["dpi"] = picture.dpi
    pixels = np.ascontiguousarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels)
    if picture.pixels.shape[2] == 4:
        height, width = pixels.shape[:2]
        image = Image.frombuffer("CMYK", (width, height), pixels, "raw", "CMYK", 0, 1)
    else:
        image = Image.fromarray(pixels)
    file = io.BytesIO()
    image.save(file, kind, **options)
    meant = dict(picture.chunks).get(b"cICP")
    if kind in boxes.HOLDERS and meant and not picture.icc:
        return boxes.with_colour(file.getvalue(), bytes((0, meant[0], 0, meant[1])))
    return file.getvalue()


def _quality(picture: Picture, kind: str, quality: int | str, name: str) -> dict[str, Any]:
    """Pillow's options for what `quality` asks for, and full colour resolution always."""
    if quality == "keep" and kind in _LOSSLESS:
        quality = "auto"
    if quality == "keep" and not (kind == "JPEG" and picture.tables):
        raise PictureError(
            f"{name}: only a JPEG that was one can keep its quality", "give a quality, or auto"
        )
    number = quality if isinstance(quality, int) else QUALITY
    gray = picture.pixels.shape[2] == 1
    if kind == "JPEG":
        return {"subsampling": 0} | _tables(picture, quality, number, name)
    if kind == "WEBP":
        return {"lossless": quality == "auto", "quality": number, "exact": True}
    if kind == "AVIF":
        return {"quality": number, "subsampling": "4:0:0" if gray else "4:4:4"}
    if kind == "HEIF":
        return {"quality": number, "chroma": 444}
    if kind == "JXL":
        return {"lossless": True} if quality == "auto" else {"quality": number}
    return {}


def _tables(picture: Picture, quality: int | str, number: int, name: str) -> dict[str, Any]:
    """The source's JPEG tables where they are to be kept, else a quality."""
    if not picture.tables or isinstance(quality, int):
        return {"quality": number}
    own = [picture.tables[key] for key in sorted(picture.tables)]
    if quality == "keep":
        if max(map(max, own)) > 255:
            raise PictureError(f"{name}: its JPEG tables are beyond 8 bits", "give a quality")
        return {"qtables": own}
    usual = _usual_tables(QUALITY)
    at_most = [usual[min(i, 1) if picture.pixels.shape[2] == 3 else 0] for i in range(len(own))]
    fine = all(
        a <= b
        for mine, limit in zip(own, at_most, strict=True)
        for a, b in zip(mine, limit, strict=True)
    )
    return {"qtables": own} if fine else {"quality": QUALITY}


@functools.cache
def _usual_tables(quality: int) -> dict[int, list[int]]:
    """The IJG tables of a quality, as the encoder itself writes them: 0 brightness, 1 colour."""
    file = io.BytesIO()
    Image.new("RGB", (8, 8)).save(file, "JPEG", quality=quality)
    file.seek(0)
    return JpegImagePlugin.JpegImageFile(file).quantization


def _turned_alike(xmp: bytes, exif: bytes | None) -> bytes:
    """XMP that turns the picture as EXIF does: HEIC's encoder follows either."""
    return _TURN_OF_XMP.sub(rb"\g<1>%d" % metadata.orientation(exif), xmp)


def bears(kind: str, exif: bytes | None) -> bool:
    """Whether the encoder of `kind` can take these tags; else only what shows is written."""
    if exif is None or kind not in _REBUILT:
        return True
    tags = Image.Exif()
    try:
        with pillow_warnings("error"):
            tags.load(exif)
            tags.tobytes()
    except Exception:  # Pillow names none that it is limited to
        return False
    return True
