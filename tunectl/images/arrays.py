"""Arrays that move to a temporary file where they would not fit into memory."""

from __future__ import annotations

import errno
import mmap
import os
import shutil
import tempfile
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from tunectl.errors import ResourceError

LARGE = 1 << 30  # bytes of samples above which an array lives in a file
STRIP = 64  # rows that are looked at at once


def new_array(shape: tuple[int, ...], dtype: DTypeLike) -> NDArray[Any]:
    """An array with arbitrary content: in memory, or a memmap above LARGE bytes.

    Raises ResourceError where the disk has no room.
    """
    if int(np.prod(shape, dtype=np.int64)) * np.dtype(dtype).itemsize <= LARGE:
        return np.empty(shape, dtype)
    return _mapped(shape, dtype)


def empty_like(pixels: NDArray[Any]) -> NDArray[Any]:
    """An array of the same shape and type: a memmap for a memmap, in memory otherwise.

    The memmap's file lies in the folder that `tempfile` picks (TMPDIR), has no name, and is gone
    with the array. Raises ResourceError where the disk has no room.
    """
    if isinstance(pixels, np.memmap):
        return _mapped(pixels.shape, pixels.dtype)
    return np.empty(pixels.shape, pixels.dtype)


def release(array: NDArray[Any]) -> None:
    """Let go of the memory that a memmap's pages take; its content stays. Else do nothing.

    Nothing needs to be flushed first: the mapping is shared, so written pages stay in the
    system's file cache until they are on the disk.
    """
    mapping = getattr(array, "_mmap", None)
    if isinstance(mapping, mmap.mmap) and hasattr(mmap, "MADV_DONTNEED"):
        mapping.madvise(mmap.MADV_DONTNEED)


def is_gray(pixels: NDArray[Any]) -> bool:
    """Whether all channels of (H, W, C) are equal; a strip is in memory at a time."""
    strips = (pixels[top : top + STRIP] for top in range(0, len(pixels), STRIP))
    return all(bool((strip == strip[..., :1]).all()) for strip in strips)


def _mapped(shape: tuple[int, ...], dtype: DTypeLike) -> NDArray[Any]:
    with tempfile.TemporaryFile(prefix="tunectl-") as file:  # the mapping keeps it alive
        size = int(np.prod(shape, dtype=np.int64)) * np.dtype(dtype).itemsize
        try:  # writing into a hole of a full disk would be SIGBUS
            if hasattr(os, "posix_fallocate"):
                os.posix_fallocate(file.fileno(), 0, size)
            elif shutil.disk_usage(tempfile.gettempdir()).free < size:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        except OSError as error:
            raise ResourceError(
                f"{tempfile.gettempdir()}: no room for a large picture: {error.strerror}",
                "set TMPDIR to a folder on a larger disk",
            ) from error
        return np.memmap(file, dtype, "r+" if hasattr(os, "posix_fallocate") else "w+", shape=shape)
