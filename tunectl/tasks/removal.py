"""How noisy is a picture? What a network takes out of it at each level says so."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tunectl.tasks.base import Restore, eight_bit_scale

LEVELS = (0.7, 1.5, 2.5, 4.0, 6.0, 9.0, 13.0, 18.0, 25.0)
CROP, CROPS = 128, 16  # side in pixels, and how many are looked at
BLOCK = 16  # pixels a side
FLATTEST = 0.2  # share of the blocks: where there is texture, some of it is taken out as well
REMOVED = 0.7  # of the level: what is taken out of them where it is the right one


def level_by_removal(
    pixels: NDArray[Any], restore: Restore, seen: NDArray[np.bool_] | None = None
) -> float:
    """The level to restore a picture at, in 8-bit steps.

    At a level below the noise a network takes out at least what the level says, far above it only
    what is there. The answer is the highest level of which the share `REMOVED` is taken out of the
    flattest blocks. That needs no model of the noise but the one that the network was trained on.
    `pixels` are (H, W, C), uint8, uint16 or floating in [0, 1]; where `seen` (H, W) is given, only
    crops that it marks throughout are looked at. 0 where nothing can be told.
    """
    crops = _crops(pixels, seen)
    if not crops:
        return 0.0
    above: tuple[float, float] | None = None
    share = 0.0
    for level in reversed(LEVELS):
        share = _removed(crops, restore, level) / level
        if share >= REMOVED:
            if above is None:
                return level
            higher, less = above
            part = (share - REMOVED) / (share - less)
            return math.exp((1 - part) * math.log(level) + part * math.log(higher))
        above = level, share
    return LEVELS[0] * share / REMOVED


def _crops(pixels: NDArray[Any], seen: NDArray[np.bool_] | None) -> list[NDArray[np.float32]]:
    """Squares spread over the picture, as floats."""
    height, width, _ = pixels.shape
    side = min(CROP, height, width)
    if side < BLOCK:
        return []
    rows, columns = (max(1, min(round(math.sqrt(CROPS)), size // side)) for size in (height, width))
    tops, lefts = (
        [round(i * (size - side) / max(1, count - 1)) for i in range(count)]
        for size, count in ((height, rows), (width, columns))
    )
    scale = eight_bit_scale(pixels) / 255
    found = []
    for top in tops:
        for left in lefts:
            place = slice(top, top + side), slice(left, left + side)
            if seen is None or seen[place].all():
                found.append(pixels[place].astype(np.float32) * np.float32(scale))
    return found


def _removed(crops: list[NDArray[np.float32]], restore: Restore, level: float) -> float:
    """The deviation of what is taken out of the flattest blocks, in 8-bit steps."""
    blocks = []
    for crop in crops:
        change = (crop - restore(crop, level)) * 255
        count = len(crop) // BLOCK
        cut = change[: count * BLOCK, : count * BLOCK]
        tiles = cut.reshape(count, BLOCK, count, BLOCK, -1)
        blocks.append(np.sqrt(np.square(tiles).mean((1, 3, 4))).ravel())
    return float(np.quantile(np.concatenate(blocks), FLATTEST))
