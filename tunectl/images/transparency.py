"""Colour for where there is none to see, so that a network's edges are not drawn in garbage."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tunectl.images.arrays import empty_like, release

_ROWS = 256  # even: a strip begins where a pixel of half the size does


def fill_transparent(pixels: NDArray[Any], alpha: NDArray[Any]) -> NDArray[Any]:
    """`pixels` (H, W, C) with the colour where `alpha` (H, W) is 0 made up from what is near it.

    Visible colour stays as it is to the bit; what is filled in is a smooth extension of it, in
    the same type and range. For a network's eyes only: the colour that was hidden there should be
    put back afterwards. Without hidden or without visible pixels the input itself comes back.
    """
    if (alpha > 0).all() or not alpha.any():
        return pixels
    halves = []
    for rows in _strips(pixels):
        weight = (alpha[rows] > 0).astype(np.float32)[..., None]
        halves.append((_halved(np.where(weight > 0, pixels[rows], 0) * weight), _halved(weight)))
    coarse = _extend(*(np.concatenate(parts) for parts in zip(*halves, strict=True)))
    coarse = np.pad(coarse, ((1, 1), (0, 0), (0, 0)), mode="edge")
    filled = empty_like(pixels)
    for rows in _strips(pixels):
        first, last = rows.start // 2, (rows.stop + 1) // 2
        smooth = _doubled(coarse[first : last + 2])[2:-2][: rows.stop - rows.start]
        if pixels.dtype.kind == "u":
            smooth = smooth.round()
        seen = alpha[rows, :, None] > 0
        filled[rows] = np.where(seen, pixels[rows], smooth[:, : pixels.shape[1]])
        release(filled)
    return filled


def _strips(pixels: NDArray[Any]) -> list[slice]:
    """Rows in parts, so that floats are never held of all of them."""
    height = len(pixels)
    return [slice(top, min(top + _ROWS, height)) for top in range(0, height, _ROWS)]


def _extend(colour: NDArray[Any], weight: NDArray[Any]) -> NDArray[Any]:
    """Mean colour where weights are, and that of a coarser picture where they are 0 (push-pull).

    Both are float32: `colour` (H, W, C), times `weight`, and `weight` (H, W, 1). Each level has a
    quarter of the pixels of the one before, so the whole costs a third more than the first.
    """
    height, width = weight.shape[:2]
    found: NDArray[Any] = colour / np.maximum(weight, np.float32(1e-9))
    if weight.all() or height * width == 1:
        return found
    coarse = _extend(_halved(colour), _halved(weight))
    return np.where(weight > 0, found, _doubled(coarse)[:height, :width])


def _halved(array: NDArray[Any]) -> NDArray[Any]:
    """Sums of 2 x 2 pixels, zeros beyond an odd edge."""
    height, width = array.shape[:2]
    even = np.pad(array, ((0, height % 2), (0, width % 2), (0, 0)))
    sums: NDArray[Any] = even[0::2] + even[1::2]
    return np.asarray(sums[:, 0::2] + sums[:, 1::2])


def _doubled(array: NDArray[Any]) -> NDArray[Any]:
    """Twice the size, linear between pixels."""
    for axis in (0, 1):
        line = np.moveaxis(array, axis, 0)
        before = np.concatenate([line[:1], line[:-1]])
        after = np.concatenate([line[1:], line[-1:]])
        pair = np.stack([(3 * line + before) / 4, (3 * line + after) / 4], axis=1)
        array = np.moveaxis(pair.reshape(-1, *line.shape[1:]), 0, axis)
    return array
