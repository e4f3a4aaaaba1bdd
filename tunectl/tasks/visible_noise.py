"""How much of a photo is noise of a camera? Told by a small network from how flat its flattest
parts are, at four scales, in luma and in colour.

White noise tells itself apart from detail (`noise_level`); a camera's, smoothed, in blotches and
saved as a JPEG, does not. So what is measured is compared with many photos whose noise was made up:
`weights/recipes/visible_noise.py` makes them and fits the network.
"""

from __future__ import annotations

import math
from functools import cache
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file
from torch import Tensor
from torch.nn.functional import gelu, linear

from tunectl.bundled import bundled
from tunectl.tasks.base import eight_bit_scale
from tunectl.tasks.camera import TO_YCC, blurred
from tunectl.tasks.noise_level import spreads

WEIGHTS = "features/visible_noise.safetensors"
CROP, CROPS = 128, 64  # side in pixels, and how many are looked at
BLOCK = 16  # pixels a side
# Detail between two of these, deviations of Gaussians in pixels, is one scale.
SCALES = (0.0, 0.7, 1.4, 2.8, 5.6)
SHARES = (0.02, 0.05, 0.1, 0.2, 0.35, 0.5, 0.75)  # of the blocks, from the flattest
LEAST = 0.02  # 8-bit steps, below which nothing is measured


def visible_noise(pixels: NDArray[Any], seen: NDArray[np.bool_] | None = None) -> float | None:
    """The root mean square of a photo's noise, in 8-bit steps, as it lies in the file.

    `pixels` are (H, W, C), uint8, uint16 or floating in [0, 1]; where `seen` (H, W) is given, only
    what it marks is looked at. None where there is too little to see.
    """
    found = measured(pixels, seen)
    if found is None:
        return None
    values = (torch.from_numpy(found) - _weights()["mean"]) / _weights()["deviation"]
    return math.exp(noise_of(_weights(), values[None]).item())


def noise_of(weights: dict[str, Tensor], values: Tensor) -> Tensor:
    """The network: (N, K), whitened, to the logarithm of the noise, (N,)."""
    hidden = gelu(linear(values, weights["1.weight"], weights["1.bias"]))
    hidden = gelu(linear(hidden, weights["2.weight"], weights["2.bias"]))
    return linear(hidden, weights["3.weight"], weights["3.bias"])[:, 0]


@cache
def _weights() -> dict[str, Tensor]:
    return {name: tensor.float() for name, tensor in load_file(bundled(WEIGHTS)).items()}


def measured(
    pixels: NDArray[Any], seen: NDArray[np.bool_] | None = None
) -> NDArray[np.float32] | None:
    """What the network sees of a photo, all as logarithms, (K,).

    The deviation in the blocks of each of SHARES, for each scale and each of luma and the two
    differences of colour, which a gray photo has none of; then the two of `noise_level.spreads`.
    """
    crops = crops_of(pixels, seen)
    if not crops:
        return None
    if all(np.ptp(crop, axis=2).max() == 0 for crop in crops):
        pixels = pixels[..., :1]
    blocks = torch.cat([_deviations(torch.from_numpy(crop)) for crop in crops], -1)
    shares = torch.quantile(blocks, torch.tensor(SHARES), dim=-1).flatten()
    white = torch.tensor(spreads(pixels, seen) or (0.0, 0.0))
    return torch.cat([shares, white]).clamp_min(LEAST).log().numpy()


def _deviations(crop: Tensor) -> Tensor:
    """In the blocks of (H, W, C) in 8-bit steps: (scales, 3, blocks)."""
    planes = torch.einsum("ij,hwj->ihw", TO_YCC, crop.expand(-1, -1, 3))
    levels = [blurred(planes, deviation) for deviation in SCALES]
    detail = torch.stack([fine - coarse for fine, coarse in pairwise(levels)])
    tiles = detail.unfold(2, BLOCK, BLOCK).unfold(3, BLOCK, BLOCK)
    return tiles.square().mean((-2, -1)).sqrt().flatten(2)


def crops_of(
    pixels: NDArray[Any], seen: NDArray[np.bool_] | None = None
) -> list[NDArray[np.float32]]:
    """Squares spread over the picture, in 8-bit steps."""
    height, width, _ = pixels.shape
    side = min(CROP, height, width)
    if side < BLOCK:
        return []
    rows, columns = (max(1, min(round(math.sqrt(CROPS)), size // side)) for size in (height, width))
    tops, lefts = (
        [round(i * (size - side) / max(1, count - 1)) for i in range(count)]
        for size, count in ((height, rows), (width, columns))
    )
    scale = np.float32(eight_bit_scale(pixels))
    found = []
    for top in tops:
        for left in lefts:
            place = slice(top, top + side), slice(left, left + side)
            if seen is None or seen[place].all():
                found.append(pixels[place].astype(np.float32) * scale)
    return found
