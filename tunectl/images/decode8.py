"""Decode what Pillow decodes: everything but PNG and TIFF, and the frames of animated PNGs."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray
from PIL import (
    AvifImagePlugin,
    BmpImagePlugin,
    GifImagePlugin,
    Image,
    ImageFile,
    JpegImagePlugin,
    PngImagePlugin,
    WebPImagePlugin,
)

from tunectl.errors import PictureError
from tunectl.images import around, boxes, jxl, metadata, plugins
from tunectl.images.arrays import is_gray
from tunectl.images.ask import Ask
from tunectl.images.guard import pillow_warnings
from tunectl.images.picture import Component, Picture

_MAX_PACKED_BMP = 1 << 24  # pixels: Pillow unpacks them in Python, one by one
_MAX_BYTES = 2 << 30  # of a file, which most of these decoders take into memory as a whole
# Called by themselves: Image.open would guess the format again, and count pixels by a limit that
# the whole process shares. A JPEG of several pictures is read as its first one.
_OPENERS: dict[str, plugins.Opener] = {
    "JPEG": JpegImagePlugin.JpegImageFile,
    "WEBP": WebPImagePlugin.WebPImageFile,
    "AVIF": AvifImagePlugin.AvifImageFile,
    "BMP": BmpImagePlugin.BmpImageFile,
    "GIF": GifImagePlugin.GifImageFile,
}


def read(file: BinaryIO, kind: str, ask: Ask) -> Picture:
    """A picture of any kind but PNG and TIFF. Raises PictureError, or whatever Pillow does."""
    if file.seek(0, io.SEEK_END) > _MAX_BYTES:
        raise PictureError(f"{ask.name}: is larger than 2 GiB", "save it as a PNG or TIFF first")
    opener = _OPENERS.get(kind) or plugins.opener(kind, ask.name)
    xmp = None
    if kind == "JXL":  # whose opener decodes it, and leaves out what does not suit it
        header = jxl.read_header(file)
        jxl.check(header, ask.name)
        ask.check_size(header.width, header.height)
        xmp = header.xmp
    image = _header(file, opener, ask)
    if "bmp_rle" in str(image.tile) and image.width * image.height > _MAX_PACKED_BMP:
        raise PictureError(f"{ask.name}: is a large packed BMP", "save it as a PNG first")
    pixels, alpha = _planes(_frame(image, ask), ask)
    info = image.info
    tags = metadata.Tags(info.get("icc_profile"), info.get("exif"), info.get("xmp", xmp))
    tags.damaged = info.get("icc_profile", b"") is None  # Pillow's word for one in bad parts
    if kind == "JPEG":
        file.seek(0)
        data = file.read()
        tags.iptc, tags.comment = around.iptc(data), info.get("comment")
    if kind in boxes.HOLDERS and not tags.icc and (meant := boxes.colour(file)):
        primaries, transfer = meant[1], meant[3]
        tags.chunks = [(b"cICP", bytes((primaries, transfer, 0, 1)))]  # RGB, the full range
    if kind == "BMP" or info.get("jfif_unit") in (1, 2):  # else Pillow makes up 72
        tags.dpi = info.get("dpi")
    picture = metadata.take_over(Picture(pixels, alpha, format=kind), tags)
    if kind == "JXL" and not getattr(image, "jpeg", False):
        picture.exif = metadata.upright(picture.exif)  # its decoder turned it, but for a JPEG in it
    picture.tables = getattr(image, "quantization", None)
    if kind == "JPEG":
        picture.components = _components(image)
        picture.lost += around.lost(data, info.get("mp"))
        if info.get("jfif_unit") == 0 and len(set(info.get("jfif_density", ()))) > 1:
            picture.lost.append(metadata.PROPORTIONS)
    if kind in boxes.HOLDERS or kind == "JXL":
        picture.lost += boxes.lost(file)
    if info.get("depth_images") or info.get("aux"):  # of a HEIC
        picture.lost.append("its depth and auxiliary pictures")
    bits = _bits_of_avif(file) if kind == "AVIF" else info.get("bit_depth", 8)  # the latter: HEIC
    if bits > 8:
        picture.lost.append(f"{bits - 8} of its {bits} bits a sample")
    return picture


def frame_of_png(file: BinaryIO, ask: Ask) -> tuple[NDArray[Any], NDArray[Any] | None]:
    """The samples and opacity of a frame of an animated PNG."""
    return _planes(_frame(_header(file, PngImagePlugin.PngImageFile, ask), ask), ask)


def _header(file: BinaryIO, opener: plugins.Opener, ask: Ask) -> ImageFile.ImageFile:
    file.seek(0)
    with pillow_warnings("ignore"):
        image = opener(file)
    ask.check_size(*image.size)
    return image


def _frame(image: ImageFile.ImageFile, ask: Ask) -> Image.Image:
    frame = ask.choose(getattr(image, "n_frames", 1))
    if frame != image.tell():  # a HEIC begins with its main picture, wherever that is
        image.seek(frame)
        ask.check_size(*image.size)
    image.load()
    return image


def _components(image: Any) -> Sequence[Component]:
    """See `Picture`, of a JPEG."""
    layers, tables = image.layer, image.quantization
    numbers = tuple(number for number, *_ in layers)
    other = image.info.get("adobe_transform") == 0 or numbers == tuple(b"RGB")  # not Y, Cb and Cr
    across, down = (max(layer[i] for layer in layers) for i in (1, 2))
    odd = any(table not in tables or across % x or down % y for _, x, y, table in layers)
    if odd or len(layers) not in (1, 3) or (len(layers) == 3 and other):
        return ()
    return [Component(tables[table], down // y, across // x) for _, x, y, table in layers]


def _bits_of_avif(file: BinaryIO) -> int:
    """Bits a sample, of the first "pixi" box; 8 where there is none."""
    file.seek(0)
    head = file.read(1 << 12)
    at = head.find(b"pixi")
    return head[at + 9] if 0 <= at < len(head) - 9 else 8  # after name, version, flags, count


def _planes(image: Image.Image, ask: Ask) -> tuple[NDArray[Any], NDArray[Any] | None]:
    """What a decoded image shows, as colour samples and opacity."""
    mode = image.mode
    clear = "transparency" in image.info  # one colour or palette entries
    if mode in ("P", "PA"):
        array = np.asarray(image.convert("RGBA" if clear or mode == "PA" else "RGB"))
        opacity = array[..., 3] if array.shape[2] == 4 else None
        return gray_if_gray(array[..., :3], bool(image.info.get("icc_profile"))), opacity
    if mode in ("1", "L"):
        image = image.convert("LA" if clear else "L")
    elif mode == "RGB" and clear:
        image = image.convert("RGBA")
    elif mode not in ("LA", "RGB", "RGBA", "CMYK"):
        raise PictureError(f"{ask.name}: has colour mode {mode}", "convert it to RGB first")
    array = np.asarray(image)
    if array.ndim == 2:
        return array[..., None], None
    if image.mode in ("LA", "RGBA"):
        return array[..., :-1], array[..., -1]
    return array, None


def gray_if_gray(pixels: NDArray[Any], profiled: bool = False) -> NDArray[Any]:
    """One channel of a picture drawn from a palette, if all that it shows is gray, and no profile,
    which would be one of colours, says what that is."""
    return pixels[..., :1] if is_gray(pixels) and not profiled else pixels
