"""Read a picture into colour planes and what surrounds them; write it back with both.

Pixels stay in the picture's own colour space and orientation: the profile and the tags travel
along untouched, so that every viewer shows the output the way it shows the input.
"""

from __future__ import annotations

import io
import sys
import warnings
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, PngImagePlugin, UnidentifiedImageError

from tunectl.atomic import atomic_write
from tunectl.errors import PictureError, UsageError

ORIENTATION = 0x0112
FORMATS = {
    ".jpg": "JPEG",
    ".jpeg": "JPEG",
    ".png": "PNG",
    ".tif": "TIFF",
    ".tiff": "TIFF",
    ".webp": "WEBP",
    ".avif": "AVIF",
    ".bmp": "BMP",
}
JPEG_QUALITY = 95
# Size, strips, tiles, compression, resolution, palette, XMP, profile: written anew for each file.
_TIFF_LAYOUT = {*range(254, 264), *range(273, 285), 296, 317, 320, *range(322, 326)}
_TIFF_LAYOUT |= {338, 339, 347, 700, 34675}
_TIFF_LAYOUT -= {ORIENTATION}


@dataclass
class Picture:
    """Colour samples and everything else a file holds.

    `pixels` is uint8 or uint16, (H, W, 1) for gray and (H, W, 3) for colour; `alpha` is the
    opacity plane (H, W) or None. `format` is Pillow's name of the format it came in.
    """

    pixels: NDArray[Any]
    alpha: NDArray[Any] | None = None
    format: str = "PNG"
    icc: bytes | None = None
    exif: bytes | None = None
    xmp: bytes | None = None
    dpi: tuple[float, float] | None = None
    notes: list[str] = field(default_factory=list)

    @property
    def peak(self) -> int:
        """The largest sample value: 255 or 65535."""
        return int(np.iinfo(self.pixels.dtype).max)


def read_picture(source: Path | bytes, name: str = "") -> Picture:
    """Decode a picture of any common mode. Raises PictureError, naming the file and the cause.

    Palette and 1-bit pictures become gray or colour; CMYK and 16-bit colour are refused, since
    Pillow would lose something in silence.
    """
    name = name or str(source)
    try:
        data = source if isinstance(source, bytes) else source.read_bytes()
    except OSError as error:
        raise PictureError(f"{name}: {error.strerror}", "check the file's name") from error
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            image = Image.open(io.BytesIO(data))
        _refuse_what_would_be_lost(image, name)
        found = image.format or "PNG"
        image.load()
    except PictureError:
        raise
    except Image.DecompressionBombError as error:
        raise PictureError(f"{name}: has too many pixels", "cut it into parts") from error
    except UnidentifiedImageError as error:
        raise PictureError(f"{name}: is not a picture", "give a PNG, JPEG, TIFF or WebP") from error
    except (OSError, SyntaxError, ValueError, EOFError) as error:
        raise PictureError(f"{name}: is damaged ({error})", "get an intact copy") from error
    pixels, opacity = _planes(image)
    xmp = image.info.get("xmp")
    return Picture(
        pixels=pixels,
        alpha=opacity,
        format="JPEG" if found == "MPO" else found,
        icc=_fitting_profile(image.info.get("icc_profile"), pixels.shape[2]),
        exif=_tags(image),
        xmp=xmp.encode() if isinstance(xmp, str) else xmp,
        dpi=image.info.get("dpi"),
    )


def read_rgb8(path: Path) -> NDArray[np.uint8]:
    """The (H, W, 3) uint8 pixels of a photo to train or measure on, opacity dropped."""
    picture = read_picture(path)
    if picture.pixels.dtype != np.uint8:
        raise PictureError(f"{path}: has 16 bits a sample", "training reads 8-bit photos")
    return np.broadcast_to(picture.pixels, (*picture.pixels.shape[:2], 3))


def output_format(path: Path) -> str:
    """Pillow's name of the format that `path`'s ending asks for. Raises UsageError."""
    if path.suffix.lower() not in FORMATS:
        raise UsageError(
            f"{path}: no format is known by the ending {path.suffix!r}",
            f"end the name in one of {', '.join(FORMATS)}",
        )
    return FORMATS[path.suffix.lower()]


def write_picture(path: Path, picture: Picture) -> None:
    """Encode and write atomically, in the format of the name's ending, with profile and tags.

    PNG and TIFF are lossless, WebP too; JPEG and AVIF are written at quality 95, 4:4:4. Raises
    PictureError where the format cannot hold the picture.
    """
    kind = output_format(path)
    image = _compose(path, kind, picture)
    options: dict[str, Any] = {}
    if picture.icc:
        options["icc_profile"] = picture.icc
    if picture.exif and kind != "BMP":
        options["exif"] = picture.exif
    if picture.dpi and kind in ("JPEG", "PNG", "TIFF"):
        options["dpi"] = tuple(float(value) for value in picture.dpi)
    if picture.xmp:
        if kind == "PNG":
            options["pnginfo"] = PngImagePlugin.PngInfo()
            options["pnginfo"].add_itxt("XML:com.adobe.xmp", picture.xmp.decode(errors="replace"))
        elif kind == "TIFF":
            options["tiffinfo"] = {700: picture.xmp}
        elif kind != "BMP":
            options["xmp"] = picture.xmp
    if kind == "JPEG":
        options |= {"quality": JPEG_QUALITY, "subsampling": 0}
    elif kind == "AVIF":
        options |= {"quality": JPEG_QUALITY, "subsampling": "4:4:4"}
    elif kind == "WEBP":
        options |= {"lossless": True, "exact": True}
    elif kind == "TIFF":
        options["compression"] = "tiff_adobe_deflate"
    data = io.BytesIO()
    try:
        image.save(data, kind, **options)
    except (OSError, ValueError) as error:
        raise PictureError(f"{path}: cannot be encoded ({error})", "write a PNG instead") from error
    with atomic_write(path) as file:
        file.write(data.getvalue())


def _refuse_what_would_be_lost(image: Image.Image, name: str) -> None:
    if getattr(image, "n_frames", 1) > 1 and image.format != "MPO":
        raise PictureError(f"{name}: has several frames", "save the one you want as a PNG")
    if image.mode in ("CMYK", "YCbCr", "LAB", "HSV", "F", "I"):
        raise PictureError(f"{name}: has colour mode {image.mode}", "convert it to RGB first")
    tile = getattr(image, "tile", [])
    raw = tile[0].args if tile else ""
    raw = raw if isinstance(raw, str) else str(raw[0]) if raw else ""
    if ";16" in raw and not image.mode.startswith("I;16"):
        raise PictureError(
            f"{name}: has 16 bits a sample in colour, which would be cut to 8",
            "convert it to 8 bits yourself if that is what you want",
        )


def _tags(image: Image.Image) -> bytes | None:
    """The EXIF bytes as they are; of a TIFF, which Pillow turns as it reads, as now upright."""
    if image.format != "TIFF":
        raw: bytes | None = image.info.get("exif")
        return raw
    try:
        exif = image.getexif()
        for tag in set(exif) & _TIFF_LAYOUT:  # how this file was laid out, not what it shows
            del exif[tag]
        if ORIENTATION in exif:
            exif[ORIENTATION] = 1
        return exif.tobytes() if len(exif) else None
    except (ValueError, TypeError, SyntaxError, OSError):  # damaged tags do not stop a picture
        return None


def _planes(image: Image.Image) -> tuple[NDArray[Any], NDArray[Any] | None]:
    if image.mode.startswith("I;16"):
        array = np.asarray(image).astype(np.uint16)
        return array[..., None], None
    if image.mode == "P":
        image = image.convert("RGBA" if image.has_transparency_data else "RGB")
    elif image.mode == "1":
        image = image.convert("L")
    elif image.mode == "La" or image.mode == "RGBa":
        image = image.convert("LA" if image.mode == "La" else "RGBA")
    elif image.mode in ("L", "RGB") and "transparency" in image.info:
        image = image.convert(image.mode + "A")
    array = np.asarray(image)
    if array.ndim == 2:
        return array[..., None], None
    if array.shape[2] in (2, 4):
        return array[..., :-1], array[..., -1]
    return array, None


def _compose(path: Path, kind: str, picture: Picture) -> Image.Image:
    if picture.alpha is not None and kind in ("JPEG", "BMP"):
        raise PictureError(f"{path}: {kind} holds no transparency", "write a PNG instead")
    if picture.peak > 255:
        if kind not in ("PNG", "TIFF"):
            raise PictureError(f"{path}: {kind} holds no 16-bit samples", "write a PNG instead")
        order = "<u2" if sys.byteorder == "little" else ">u2"
        return Image.fromarray(np.ascontiguousarray(picture.pixels[..., 0]).astype(order))
    planes = [picture.pixels]
    if picture.alpha is not None:
        planes.append(picture.alpha[..., None])
    array = np.concatenate(planes, axis=2)
    return Image.fromarray(np.ascontiguousarray(array[..., 0] if array.shape[2] == 1 else array))


def _fitting_profile(profile: bytes | None, channels: int) -> bytes | None:
    """The profile if it describes pixels of this kind: viewers misread a gray file tagged RGB."""
    wanted = b"GRAY" if channels == 1 else b"RGB "
    return profile if profile and profile[16:20] == wanted else None
