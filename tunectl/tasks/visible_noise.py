"""How much of a photo is noise of a camera? Told by a small network from Laws' texture energies.

White noise tells itself apart from detail (`noise_level`); a camera's, smoothed, in blotches and
saved as a JPEG, does not. So a photo is compared with many whose noise was made up:
`weights/recipes/visible_noise.py` makes them and fits the network.
"""

from __future__ import annotations

import math
from functools import cache
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, conv2d, gelu, max_pool2d, pad

from tunectl.bundled import bundled
from tunectl.images import fill_transparent
from tunectl.tasks.base import eight_bit_scale
from tunectl.tasks.camera import TO_YCC

WEIGHTS = "features/visible_noise.safetensors"
CROP, CROPS = 128, 64  # side in pixels, and how many are looked at
WINDOW = 16  # pixels a side
SCALES = 4  # each at half the size of the one before
# Level, edge, spot, wave and ripple: a filter is one of them down and one across (Laws, 1980).
LAWS = {
    "L": (1.0, 4.0, 6.0, 4.0, 1.0),
    "E": (-1.0, -2.0, 0.0, 2.0, 1.0),
    "S": (-1.0, 0.0, 2.0, 0.0, -1.0),
    "W": (-1.0, 2.0, 0.0, -2.0, 1.0),
    "R": (1.0, -4.0, 6.0, -4.0, 1.0),
}
IN_LUMA = ("EL", "LE", "SL", "LS", "EE", "SS", "RL", "LR", "RR", "ES", "SE", "WW")
IN_COLOUR = ("EL", "LE", "SS", "RR")
FAINT = 0.03  # 8-bit steps, below which energies are alike
WIDTH, DROPPED = 64, 0.2
FEATURES = 3 + 2 * SCALES * (len(IN_LUMA) + 2 * len(IN_COLOUR))


class NoiseReader(nn.Module):
    """What each window says of the noise, and how much its word counts."""

    mean: Tensor
    deviation: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(FEATURES, 1, 1))
        self.register_buffer("deviation", torch.ones(FEATURES, 1, 1))
        self.mix = nn.Sequential(nn.Conv2d(FEATURES, WIDTH, 1), nn.GELU(), nn.Dropout2d(DROPPED))
        self.around = nn.ModuleList(nn.Conv2d(WIDTH, WIDTH, 3, padding=1) for _ in range(2))
        self.out = nn.Conv2d(WIDTH, 2, 1)

    def forward(self, seen: Tensor, hidden: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """(N, crops, FEATURES, h, w) to the logarithms of the noise: (N,), and that of each window,
        (N, crops, h, w). Windows that are `hidden`, a boolean of that shape, do not count."""
        y = self.mix((seen.flatten(0, 1) - self.mean) / self.deviation)
        for conv in self.around:
            y = y + gelu(conv(y))
        said, weight = self.out(y).unflatten(0, seen.shape[:2]).unbind(2)
        if hidden is not None:
            weight = weight.masked_fill(hidden, -math.inf)
        shares = weight.flatten(1).softmax(1)
        return (said.flatten(1) * shares).sum(1), said


def visible_noise(pixels: NDArray[Any], seen: NDArray[np.bool_] | None = None) -> float | None:
    """The root mean square of a photo's noise, in 8-bit steps, as it lies in the file.

    `pixels` are (H, W, C), uint8, uint16 or floating in [0, 1]; where `seen` (H, W) is given, only
    windows that it marks wholly count. None where there are none.
    """
    if seen is not None:
        pixels = fill_transparent(pixels, seen)
    crops = crops_of(pixels)
    if not crops:
        return None
    hidden = None
    if seen is not None:
        unseen = crops_of((~seen).astype(np.uint8)[..., None])
        hidden = max_pool2d(torch.stack(unseen)[:, :1], WINDOW)[None, :, 0] > 0
        if hidden.all():
            return None
    with torch.inference_mode():
        noise, _ = _reader()(torch.cat([energies(crop[None]) for crop in crops])[None], hidden)
    return math.exp(noise.item())


@cache
def _reader() -> NoiseReader:
    reader = NoiseReader()
    reader.load_state_dict({k: v.float() for k, v in load_file(bundled(WEIGHTS)).items()})
    return reader.eval()


@cache
def _filters() -> Tensor:
    """(filters, 3, 5, 5), of unit norm, over red, green and blue."""
    filters = []
    for plane, names in zip(TO_YCC, (IN_LUMA, IN_COLOUR, IN_COLOUR), strict=True):
        for name in names:
            mask = torch.outer(*(torch.tensor(LAWS[letter]) for letter in name))
            filters.append(plane[:, None, None] * mask / mask.norm())
    return torch.stack(filters)


def energies(crops: Tensor) -> Tensor:
    """What the network sees of (N, 3, H, W) in 8-bit steps: (N, FEATURES, H / 16, W / 16).

    Of each window its brightness; and for each scale and filter the logarithm of the response's
    root mean square, and that of its mean size over this: noise fills a window evenly, detail does
    not.
    """
    found = [avg_pool2d(crops, WINDOW) / 255]
    window = WINDOW
    for _ in range(SCALES):
        response = conv2d(pad(crops, (2, 2, 2, 2), mode="replicate"), _filters())
        rms = avg_pool2d(response.square(), window).add(FAINT**2).sqrt()
        size = avg_pool2d(response.abs(), window).add(FAINT)
        found += [rms.log(), (size / rms).log()]
        crops, window = avg_pool2d(crops, 2), window // 2
    return torch.cat(found, 1)


def crops_of(pixels: NDArray[Any]) -> list[Tensor]:
    """Squares (3, CROP, CROP) spread over the picture, in 8-bit steps; small ones are mirrored."""
    height, width, _ = pixels.shape
    side = min(CROP, height, width)
    if side < WINDOW:
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
            crop = np.pad(pixels[place], 2 * ((0, CROP - side),) + ((0, 0),), "symmetric")
            planes = torch.from_numpy(crop.astype(np.float32) * scale).permute(2, 0, 1)
            found.append(planes.expand(3, -1, -1))
    return found
