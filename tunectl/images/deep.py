"""PNG and TIFF pixels through libvips: any depth, exact, a strip at a time.

Only its PNG and TIFF code is ever called, by name: libvips guesses no format. pyvips is imported
when the first such file comes.
"""

from __future__ import annotations

import functools
import importlib
import io
import os
import sys
import threading
from collections.abc import Callable
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from tunectl.errors import PictureError
from tunectl.images.arrays import new_array, release
from tunectl.images.png import Splicer

_BLOCK = 4 << 20  # bytes of samples fetched in one go
# Libvips collects its errors for the whole process, and pyvips leaves some there for a moment
# whenever a method is looked up: a reader would take a writer's for its own, or miss its own.
_ONE_AT_A_TIME = threading.Lock()
_TYPES = {"uchar": np.uint8, "ushort": np.uint16, "float": np.float32}


@functools.cache
def libvips() -> Any:
    """pyvips. Libvips's warnings are off, since pyvips stumbles over those that are not UTF-8."""
    first = "pyvips" not in sys.modules
    os.environ.setdefault("VIPS_WARNING", "off")
    vips = importlib.import_module("pyvips")
    if first:
        vips._remove_log_handler()
    return vips


def read_pixels(
    file: BinaryIO, kind: str, name: str, page: int = 0
) -> tuple[NDArray[Any], NDArray[Any] | None]:
    """(H, W, C) samples and the (H, W) opacity or None, of a PNG or of one page of a TIFF.

    Opacity is told apart from colour; palettes and 1-bit pictures come out as 8-bit samples.
    Arrays above `arrays.LARGE` are memmaps. Raises PictureError for samples that are neither 8
    nor 16 bits nor floats from 0 to 1, and pyvips.Error where the file is damaged or cut short.
    """
    vips = libvips()
    if isinstance(file, io.BytesIO):
        source = vips.Source.new_from_memory(file.getbuffer())
    else:
        os.lseek(file.fileno(), 0, os.SEEK_SET)  # libvips reads through the same descriptor
        source = vips.Source.new_from_descriptor(file.fileno())
    options = {"access": "sequential", "fail_on": "error"}
    with _ONE_AT_A_TIME:
        vips.Error("")  # forget what others left
        if kind == "PNG":
            image = vips.Image.pngload_source(source, **options)
        else:
            image = vips.Image.tiffload_source(source, page=page, **options)
        return _fetch(image, name)


def _fetch(image: Any, name: str) -> tuple[NDArray[Any], NDArray[Any] | None]:
    if image.format not in _TYPES:
        raise PictureError(
            f"{name}: has samples of type {image.format}",
            "convert it to 8 or 16 bits a sample, or to floats from 0 to 1",
        )
    colours = 4 if image.interpretation == "cmyk" else 1 if image.bands < 3 else 3
    if image.bands - colours not in (0, 1):
        raise PictureError(
            f"{name}: has {image.bands} channels", "keep its colours and one opacity at most"
        )
    width, height, bands = image.width, image.height, image.bands
    dtype = np.dtype(_TYPES[image.format])
    vips = libvips()
    region = vips.Region.new(image)
    # Few rows, since libvips goes on to the end of what was asked for after an error.
    rows = max(1, min(1024, _BLOCK // (width * bands * dtype.itemsize)))
    for top in range(0, height, rows):
        here = slice(top, min(top + rows, height))
        data = region.fetch(0, top, width, here.stop - top)
        left = vips.Error("")
        if left.detail:  # a tile that could not be unpacked is blank, and no error otherwise
            raise left
        block = np.frombuffer(data, dtype).reshape(-1, width, bands)
        if dtype.kind == "f" and not (block.min() >= 0 and block.max() <= 1):  # NaN fails too
            raise PictureError(
                f"{name}: has values outside 0 to 1", "scale its floats to 0 to 1 first"
            )
        if top == 0:  # not before: few files that lie about their size come so far
            pixels = new_array((height, width, colours), dtype)
            alpha = new_array((height, width), dtype) if bands > colours else None
        pixels[here] = block[..., :colours]
        if alpha is not None:
            alpha[here] = block[..., colours]
            release(alpha)
        release(pixels)
    return pixels, alpha


def write_png(
    file: BinaryIO, pixels: NDArray[Any], alpha: NDArray[Any] | None, chunks: bytes
) -> None:
    """Write an 8- or 16-bit PNG with these chunks before its pixels, a strip at a time."""
    planes = [pixels] if alpha is None else [pixels, alpha[..., None]]
    failure: list[BaseException] = []
    splicer = Splicer(file, chunks)

    def take(data: bytes) -> int:
        try:
            return splicer.write(data)
        except BaseException as error:  # it cannot pass through C
            failure.append(error)
            return -1

    with _ONE_AT_A_TIME:
        try:
            _save(planes, take)
        except libvips().Error:
            if failure:
                raise failure[0] from None
            raise


def _save(planes: list[NDArray[Any]], take: Callable[[bytes], int]) -> None:
    vips = libvips()
    gray, deep = planes[0].shape[2] == 1, planes[0].dtype == np.uint16
    meaning = ("grey16" if deep else "b-w") if gray else ("rgb16" if deep else "srgb")
    image = _image(planes[0]).bandjoin([_image(plane) for plane in planes[1:]])
    image = image.copy(interpretation=meaning)

    def let_go(*_: object) -> None:
        for plane in planes:
            release(plane)

    if isinstance(planes[0], np.memmap):
        image.set_progress(True)
        image.signal_connect("eval", let_go)
    target = vips.TargetCustom()
    target.on_write(take)
    image.pngsave_target(target, filter="all", keep="none")


def _image(array: NDArray[Any]) -> Any:
    vips = libvips()
    array = np.ascontiguousarray(array)
    height, width, bands = array.shape
    kind = {np.dtype(dtype): name for name, dtype in _TYPES.items()}[array.dtype]
    return vips.Image.new_from_memory(array, width, height, bands, kind)
