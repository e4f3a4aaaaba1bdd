"""Read a picture: what its first bytes say it is decides which one decoder sees the rest.

PNG and TIFF go through libvips, which is exact at any depth; everything else through Pillow,
which decodes 8 bits a sample.
"""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from tunectl.errors import PictureError
from tunectl.images import arrays, decode8, deep, metadata, png, tiff
from tunectl.images.ask import Ask
from tunectl.images.files import HEAD, opened, sniff
from tunectl.images.guard import clear_errors
from tunectl.images.picture import Picture
from tunectl.images.raw import is_raw
from tunectl.images.turn import same_way_up

MAX_PIXELS = 2_000_000_000


def read_picture(
    source: Path | bytes,
    name: str = "",
    *,
    frame: int | None = None,
    max_pixels: int = MAX_PIXELS,
) -> Picture:
    """Decode a picture exactly: 8 or 16 bits or floats, gray, RGB or CMYK, with its opacity.

    Palette and 1-bit pictures become gray if they show nothing else, or colour. `frame` (from 0)
    picks one of an animation or of a TIFF's pages, without which such a file is refused; `name`
    stands in messages for given bytes. Raises PictureError for anything that is damaged, cut
    short, larger than `max_pixels` by its header, or would be lost in part, and ResourceError
    where memory or disk do not suffice.
    """
    name = name or ("the given bytes" if isinstance(source, bytes) else str(source))
    ask = Ask(name, frame, max_pixels)
    try:
        with (
            clear_errors(name, "is damaged", "get an intact copy"),
            opened(source, name) as file,
        ):
            picture = _read(file, ask)
    except PermissionError as error:
        raise PictureError(f"{name}: {error.strerror}", "check that you may read it") from error
    except OSError as error:
        raise PictureError(f"{name}: {error.strerror}", "check the file's name") from error
    picture.notes += [f"{what} were left out" for what in picture.lost]
    return picture


def read_pair(first: Path, second: Path, scale: int = 1) -> tuple[Picture, Picture]:
    """Two pictures of one scene with their samples the same way up; the tags are as they were.

    The second is `scale` times as large. Raises PictureError, also where it is not.
    """
    pictures = read_picture(first), read_picture(second)
    pixels = same_way_up(*pictures)
    if tuple(side * scale for side in pixels[0].shape[:2]) != pixels[1].shape[:2]:
        sizes = " and ".join(f"{one.shape[1]} x {one.shape[0]}" for one in pixels)
        advice = "of one size" if scale == 1 else f"the second {scale} times as large"
        raise PictureError(f"{first} and {second} differ in size: {sizes}", f"give pairs {advice}")
    one, other = (
        # Where they were turned, the file's blocks lie elsewhere.
        p if samples is p.pixels else replace(p, pixels=samples, components=())
        for p, samples in zip(pictures, pixels, strict=True)
    )
    return one, other


def read_rgb8(path: Path) -> NDArray[np.uint8]:
    """The (H, W, 3) uint8 pixels of a photo to train or measure on, opacity dropped."""
    return rgb8(read_picture(path), path)


def rgb8(picture: Picture, path: Path) -> NDArray[np.uint8]:
    """As `read_rgb8`, of a picture that was read from `path`."""
    if picture.pixels.dtype != np.uint8:
        raise PictureError(
            f"{path}: has {8 * picture.pixels.itemsize} bits a sample", "save it with 8 bits first"
        )
    if picture.pixels.shape[2] == 4:
        raise PictureError(f"{path}: has colour mode CMYK", "convert it to RGB first")
    return np.broadcast_to(picture.pixels, (*picture.pixels.shape[:2], 3))


def _read(file: BinaryIO, ask: Ask) -> Picture:
    head = file.read(HEAD)
    kind = sniff(head)
    if is_raw(file, kind, ask.name):
        raise PictureError(f"{ask.name}: is a raw file", "develop it first")
    if kind is None:
        if not head:
            raise PictureError(f"{ask.name}: is empty", "get an intact copy")
        raise PictureError(
            f"{ask.name}: is not a picture", "give a PNG, JPEG, TIFF, WebP, AVIF or BMP"
        )
    if kind == "PNG":
        return _read_png(file, ask)
    if kind == "TIFF":
        return _read_tiff(file, ask)
    return decode8.read(file, kind, ask)


def _read_png(file: BinaryIO, ask: Ask) -> Picture:
    header = png.read_header(file)
    ask.check_size(header.width, header.height)
    ask.choose(header.frames)
    if header.interlaced and header.width * header.height * header.depth > 2 * arrays.LARGE:
        # 4 channels at most: libvips would hold all of it in memory, however small the file
        raise PictureError(f"{ask.name}: is large and interlaced", "save it without interlacing")
    if header.frames == 1:
        pixels, alpha = deep.read_pixels(file, "PNG", ask.name)
        if header.palette:
            pixels = decode8.gray_if_gray(pixels, bool(header.tags.icc))
    elif header.depth == 16:
        raise PictureError(f"{ask.name}: is animated in 16 bits", "save the frame as a PNG")
    else:
        pixels, alpha = decode8.frame_of_png(file, ask)
    picture = metadata.take_over(Picture(pixels, alpha, format="PNG"), header.tags)
    picture.notes += _widened(header.palette, header.depth)
    picture.lost += header.lost
    return picture


def _read_tiff(file: BinaryIO, ask: Ask) -> Picture:
    pages = tiff.pages(file)
    frame = ask.choose(len(pages))
    header = tiff.read_header(file, pages[frame])
    ask.check_size(header.width, header.height)
    tiff.check(header, ask.name)
    if header.planes:
        pixels, alpha = _from_planes(file, pages[frame], header, ask.name)
    else:
        pixels, alpha = deep.read_pixels(file, "TIFF", ask.name, frame)
        if pixels.shape[2] != tiff.COLOURS.get(header.photometric, pixels.shape[2]):
            raise PictureError(
                f"{ask.name}: has channels that are not those of its colours",
                "keep its colours and one opacity at most",
            )
    if header.photometric == tiff.FROM_WHITE and pixels.dtype.kind == "f":
        np.subtract(1, pixels, out=pixels)  # libvips turns whole numbers alone
    extra, alpha = (alpha, None) if header.opaque else (None, alpha)
    picture = metadata.take_over(Picture(pixels, alpha, "TIFF", extra=extra), header.tags)
    picture.lost += header.lost
    picture.notes += _widened(header.photometric == tiff.PALETTE, header.bits)
    if header.multiplied and alpha is not None:
        picture.notes.append("colours multiplied by the opacity were made straight")
    return picture


def _widened(palette: bool, bits: int) -> list[str]:
    """What to know of a picture that is written with 8 bits a sample, and never with fewer."""
    if palette:
        return ["its palette became 8 bits a sample"]
    return [f"its {bits} bit{'s' if bits > 1 else ''} a sample became 8"] if bits < 8 else []


def _from_planes(
    file: BinaryIO, at: int, header: tiff.TiffHeader, name: str
) -> tuple[NDArray[Any], NDArray[Any] | None]:
    files = (io.BytesIO(tiff.plane(file, at, i)) for i in range(header.planes))
    planes = [deep.read_pixels(one, "TIFF", name)[0] for one in files]
    colours = tiff.COLOURS[header.photometric]
    alpha = planes[colours][..., 0] if len(planes) > colours else None
    return np.concatenate(planes[:colours], axis=2), alpha
