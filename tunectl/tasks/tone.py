"""Black-and-white photos that are stored in colour: as gray, or toned."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tunectl.tasks.base import eight_bit_scale

BLOCK, BLOCKS = (
    8,
    100,
)  # pixels a side, over which a JPEG's coarser colour evens out; at most a side
LEAST = 16  # blocks, fewer of which lie on a curve by chance
DEGREE = 3  # of the curve from green to red and to blue: toning is no mere factor
# In 8-bit steps from it, root mean square: toned photos, with noise up to 40 and as JPEGs down to
# quality 50, leave up to 2.2 in nine of ten, colour photos 3.0 or more (98 were looked at).
APART = 2.5


def one_tone(pixels: NDArray[Any], seen: NDArray[np.bool_] | None = None) -> NDArray[Any]:
    """(H, W, 1) of a photo in one tone, whose red and blue follow from its green; else `pixels`.

    `pixels` are (H, W, C), uint8, uint16 or floating in [0, 1]. What tells noise by how little
    channels agree finds none where one noise is in all three. Where `seen` (H, W) is given, only
    what it marks is looked at.
    """
    if pixels.shape[2] != 3:
        return pixels
    rows, columns = (_spread(size) for size in pixels.shape[:2])
    places = rows[:, None, :, None], columns[None, :, None, :]
    blocks = pixels[places]
    means = blocks.mean(axis=(2, 3), dtype=np.float64).reshape(-1, 3) * eight_bit_scale(pixels)
    if seen is not None:
        means = means[seen[places].all(axis=(2, 3)).ravel()]
    if len(means) < LEAST:
        return pixels
    powers, others = np.vander(means[:, 1] / 255, DEGREE + 1), means[:, ::2]
    curves = np.linalg.lstsq(powers, others)[0]
    apart = np.square(powers @ curves - others).mean(axis=0)
    return pixels[..., 1:2] if (apart <= APART**2).all() else pixels


def _spread(size: int) -> NDArray[np.int_]:
    """(blocks, BLOCK) places along a side."""
    side = min(BLOCK, size)
    starts = np.unique(np.linspace(0, size - side, min(BLOCKS, -(-size // side))).astype(int))
    return starts[:, None] + np.arange(side)
