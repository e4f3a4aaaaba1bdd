"""A small network that reads a picture's level, where nothing simpler can."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import relu

from tunectl.tasks.base import eight_bit_scale

CROP, CROPS = 128, 16  # side in pixels, and how many are looked at
LEAST = 16  # pixels a side, below which nothing is told
WIDTHS = (24, 32, 48, 64)
SUREST = 8.0  # of a place's logarithm of weight


class LevelNet(nn.Module):
    """The level of a picture: every place says one, and how much it counts.

    Places are 8x8 pixels and see 47 around them; flat ones tell more of noise than others, and the
    network learns which. It answers in the square root of the task's level, in which weak and
    strong ones are about as hard to tell. 0.004 MMAC per pixel.
    """

    def __init__(self) -> None:
        super().__init__()
        first, *others = WIDTHS
        self.head = nn.Conv2d(3, first, 3, padding=1)
        ins = (first, *others[:-1])
        self.down = nn.ModuleList(
            nn.Conv2d(i, o, 3, stride=2, padding=1) for i, o in zip(ins, others, strict=True)
        )
        self.body = nn.Conv2d(others[-1], others[-1], 3, padding=1)
        self.tail = nn.Conv2d(others[-1], 2, 1)  # a root, and the logarithm of its weight

    def forward(self, x: Tensor) -> Tensor:
        """(N, 3, H, W) in [0, 1] to the roots of their levels, (N,)."""
        roots, weights = self.places(x)
        return (roots * weights).sum((1, 2)) / weights.sum((1, 2))

    def places(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """What each place says, and how much it counts: two of (N, H/8, W/8)."""
        y = relu(self.head(x - 0.5))
        for down in self.down:
            y = relu(down(y))
        roots, logs = self.tail(relu(self.body(y))).unbind(1)
        return roots, logs.clamp(-SUREST, SUREST).exp()

    def level_of(self, pixels: NDArray[Any], seen: NDArray[np.bool_] | None = None) -> float | None:
        """The level of (H, W, C), uint8, uint16 or floating in [0, 1], gray or in colour.

        Where `seen` (H, W) is given, only crops that it marks throughout are looked at. None where
        there are none, or the picture is smaller than LEAST.
        """
        crops = _crops_of(pixels, seen)
        if not crops:
            return None
        x = torch.from_numpy(np.stack(crops)).permute(0, 3, 1, 2)[:, :3].expand(-1, 3, -1, -1)
        place = self.tail.weight
        with torch.inference_mode():
            roots, weights = self.places(x.to(place.device, place.dtype))
        root = float((roots * weights).sum() / weights.sum())
        return max(0.0, root) ** 2


def _crops_of(
    pixels: NDArray[Any], seen: NDArray[np.bool_] | None = None
) -> list[NDArray[np.float32]]:
    """Squares spread over the picture, as floats."""
    height, width, _ = pixels.shape
    side = min(CROP, height, width)
    if side < LEAST:
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
