"""How noisy is a picture? What a network takes out of it at each level says so."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tunectl.tasks.base import Restore, eight_bit_scale

# A level, and what is taken out at each of LEVELS of a picture that has it.
Example = tuple[float, ...]

LEVELS = (0.7, 1.5, 2.5, 4.0, 6.0, 9.0, 13.0, 18.0, 25.0)
CROP, CROPS = 128, 16  # side in pixels, and how many are looked at
BLOCK = 16  # pixels a side
FLATTEST = 0.2  # share of the blocks: where there is texture, some of it is taken out as well
LEAST = 0.01  # 8-bit steps, below which nothing is taken out
ALIKE = 5  # examples that are believed


def removal(
    pixels: NDArray[Any], restore: Restore, seen: NDArray[np.bool_] | None = None
) -> tuple[float, ...] | None:
    """What a network takes out of a picture at each of LEVELS, in 8-bit steps.

    It is the deviation in the flattest blocks. `pixels` are (H, W, C), uint8, uint16 or floating in
    [0, 1]; where `seen` (H, W) is given, only crops that it marks throughout are looked at. None
    where there are none.
    """
    crops = crops_of(pixels, seen)
    if not crops:
        return None
    return tuple(removed(crops, restore, level) for level in LEVELS)


def level_like(found: Sequence[float], examples: Sequence[Example]) -> float:
    """The level of the examples whose removal is most alike, the nearer the more it counts.

    That needs no model of the noise but the one that the network was trained on. Alike is told by
    the squared distance of the logarithms, and means are of logarithms too.
    """
    table = np.array(examples)
    apart = np.square(np.log(table[:, 1:]) - np.log(np.array(found))).sum(1)
    nearest = np.argsort(apart)[:ALIKE]
    weights = 1 / (apart[nearest] + 1e-3)
    return math.exp(float((weights * np.log(table[nearest, 0])).sum() / weights.sum()))


def crops_of(
    pixels: NDArray[Any], seen: NDArray[np.bool_] | None = None
) -> list[NDArray[np.float32]]:
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


def removed(crops: list[NDArray[np.float32]], restore: Restore, level: float) -> float:
    """The deviation of what is taken out of the flattest blocks, in 8-bit steps."""
    blocks = []
    for crop in crops:
        change = (crop - restore(crop, level)) * 255
        count = len(crop) // BLOCK
        cut = change[: count * BLOCK, : count * BLOCK]
        tiles = cut.reshape(count, BLOCK, count, BLOCK, -1)
        blocks.append(np.sqrt(np.square(tiles).mean((1, 3, 4))).ravel())
    return max(LEAST, float(np.quantile(np.concatenate(blocks), FLATTEST)))
