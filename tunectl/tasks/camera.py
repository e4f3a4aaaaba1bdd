"""Noise as cameras leave it in a developed photo.

Made in linear light, where it has a shot and a read part, seen through a colour filter array,
white balance, a colour matrix and a tone curve (Brooks et al., *Unprocessing images*, CVPR 2019),
and then smoothed, in colour more than in luma, and sharpened, as cameras do before they save. What
they smooth away is the fine part: a coarse one stays, and all of it stays where the picture has
detail.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor
from torch.nn.functional import conv2d

GAMMA = 2.2
FIRST_TRY = 0.01  # deviation of the noise, in linear light, with which a camera is tried out
CONTRAST = 0.02  # of luma around a pixel, at which half of the noise that is spared is there
GRAY_SIDE = 96  # pixels of the mid-gray area that it is tried on
STRAIGHT = 8 / 255  # a level from which tone curves bend the noise
# BT.601's luma and colour differences, rows, and back.
TO_YCC = torch.tensor(
    [[0.299, 0.587, 0.114], [-0.168736, -0.331264, 0.5], [0.5, -0.418688, -0.081312]]
)
# Which of red, green and blue a pixel of the 2x2 filter array sees.
BAYER = ((0, 1), (1, 2))


@dataclass(frozen=True)
class Camera:
    """What one camera at one setting does to light and to its noise.

    `gains` are the white balance's, `matrix` goes from the camera's colours to sRGB; `curve` says
    whether contrast is raised after gamma. `read` is the read noise's share beside the shot noise
    of white. `mosaic` is the phase (y, x) of the filter array, or None for noise that was binned
    away or scaled down. `smooth` and `smooth_colour` are deviations in pixels of the Gaussian that
    noise in luma and in colour goes through, `sharpen` the strength of an unsharp mask after it.
    `coarse` is the share of the noise's power that comes in blotches, Gaussians of `blotch` pixels.
    `spared` says how much more of it there is in detail: 1 / (1 - spared) times as much at most.
    """

    gains: Tensor
    matrix: Tensor
    curve: bool
    read: float
    mosaic: tuple[int, int] | None
    smooth: float
    smooth_colour: float
    sharpen: float
    coarse: float
    blotch: float
    spared: float

    @classmethod
    def draw(cls, generator: torch.Generator) -> Camera:
        """One at random."""
        draw = torch.rand(12, generator=generator, device=generator.device).tolist()
        gains = torch.tensor([1.4 + 1.0 * draw[0], 1.0, 1.3 + 0.9 * draw[1]])
        # Rows that sum to 1 keep gray gray; what is off the diagonal mixes noise into colours.
        off = -0.5 * torch.tensor(draw[2:8]).view(3, 2) * torch.tensor([[1.0, 0.4]])
        matrix = torch.zeros(3, 3)
        for row in range(3):
            matrix[row, (row + 1) % 3], matrix[row, (row + 2) % 3] = off[row]
            matrix[row, row] = 1 - off[row].sum()
        phase = int(draw[8] * 4 / 0.8)
        kept = torch.rand(6, generator=generator, device=generator.device).tolist()
        smooth = max(0.0, 2.0 * kept[0] - 0.4)
        return cls(
            gains,
            matrix,
            curve=draw[9] < 0.5,
            read=10 ** (-2.5 + 2 * draw[10]),
            mosaic=(phase // 2, phase % 2) if phase < 4 else None,
            smooth=smooth,
            smooth_colour=smooth + 4 * kept[1] ** 2,
            sharpen=max(0.0, 1.5 * kept[2] - 0.5),
            coarse=max(0.0, 0.9 * kept[3] - 0.4),
            blotch=2 + 3 * kept[4],
            spared=max(0.0, 0.8 * kept[5] - 0.3),
        )

    def noise(self, picture: Tensor, level: float, generator: torch.Generator) -> Tensor:
        """What is added to `picture` (3, H, W) in [0, 1]: the same shape, not clipped.

        Its deviation on mid-gray is `level`, in units of the picture.
        """
        gray = torch.full((3, GRAY_SIDE, GRAY_SIDE), 0.5, device=picture.device)
        scale = FIRST_TRY
        for _ in range(1 if level < STRAIGHT else 2):
            found = self._developed_noise(gray, scale, generator).square().mean().sqrt().item()
            scale *= level / found
        return self._developed_noise(picture, scale, generator)

    def _developed_noise(self, picture: Tensor, scale: float, generator: torch.Generator) -> Tensor:
        raw = self._raw(picture)
        drawn = torch.randn(raw.shape, generator=generator, device=generator.device).to(raw.device)
        noise = scale * (raw + self.read).sqrt() * drawn
        if self.mosaic is not None:
            noise = _demosaiced(noise, self.mosaic)
        # Half the difference, so that the picture is the mean of what a camera would make of it.
        change = (self._developed(raw + noise) - self._developed(raw - noise)) / 2
        planes = torch.einsum("ij,jhw->ihw", TO_YCC.to(change), change)
        luma = self._smoothed(planes[:1], self.smooth)
        luma = luma + self.sharpen * (luma - blurred(luma, 1.0))
        colour = self._smoothed(planes[1:], self.smooth_colour)
        back = torch.linalg.inv(TO_YCC).to(change)
        smoothed = torch.einsum("ij,jhw->ihw", back, torch.cat([luma, colour]))
        return smoothed * (1 - self.spared * (1 - _detail(picture)))

    def _smoothed(self, planes: Tensor, deviation: float) -> Tensor:
        """Noise under the camera's filter: a fine part, and a coarse one of `coarse` its power."""
        fine = blurred(planes, deviation)
        blotch = blurred(planes, max(deviation, self.blotch))
        ratio = fine.square().mean() / blotch.square().mean().clamp_min(1e-12)
        return fine * math.sqrt(1 - self.coarse) + blotch * (self.coarse * ratio).sqrt()

    def _raw(self, picture: Tensor) -> Tensor:
        """A developed picture back to the camera's linear colours."""
        tone = picture.clamp(0, 1)
        if self.curve:  # the inverse of 3x^2 - 2x^3
            tone = 0.5 - ((1 - 2 * tone).asin() / 3).sin()
        back = torch.linalg.inv(self.matrix).to(picture)
        linear = torch.einsum("ij,jhw->ihw", back, tone**GAMMA)
        return (linear / self.gains.to(picture)[:, None, None]).clamp(0, 1)

    def _developed(self, raw: Tensor) -> Tensor:
        linear = torch.einsum(
            "ij,jhw->ihw", self.matrix.to(raw), raw * self.gains.to(raw)[:, None, None]
        )
        tone = linear.clamp(0, 1) ** (1 / GAMMA)
        return tone**2 * (3 - 2 * tone) if self.curve else tone


def _demosaiced(noise: Tensor, phase: tuple[int, int]) -> Tensor:
    """(3, H, W) as a filter array sees it, its gaps filled in from their neighbours, bilinearly."""
    height, width = noise.shape[-2:]
    seen = torch.zeros_like(noise)
    for y in range(2):
        for x in range(2):
            channel = BAYER[(y + phase[0]) % 2][(x + phase[1]) % 2]
            seen[channel, y::2, x::2] = 1
    kernel = torch.tensor([[0.25, 0.5, 0.25], [0.5, 1.0, 0.5], [0.25, 0.5, 0.25]]).to(noise)
    stacked = torch.cat([noise * seen, seen])[:, None]
    spread = conv2d(stacked, kernel.view(1, 1, 3, 3), padding=1).view(6, height, width)
    filled = spread[:3] / spread[3:].clamp_min(1e-6)
    return torch.where(seen.bool(), noise, filled)


def _detail(picture: Tensor) -> Tensor:
    """How much is going on around each pixel of (3, H, W): (1, H, W), 0 where nothing, up to 1."""
    luma = torch.einsum("j,jhw->hw", TO_YCC[0].to(picture), picture)[None]
    contrast = blurred((luma - blurred(luma, 1.0)).square(), 2.0).sqrt()
    return contrast / (contrast + CONTRAST)


def blurred(planes: Tensor, deviation: float) -> Tensor:
    """(C, H, W) under a Gaussian, mirrored at the border."""
    if deviation < 0.2:
        return planes
    down, across = (_gaussian(side, deviation).to(planes) for side in planes.shape[-2:])
    return down @ planes @ across.T


@lru_cache(maxsize=64)
def _gaussian(side: int, deviation: float) -> Tensor:
    """The blur along a line of `side` pixels as a matrix, faster than a convolution of one channel.

    The first and last pixel are the mirrors: they stand once.
    """
    bell = (-((torch.arange(2 * side) / deviation) ** 2) / 2).clamp_min(-20).exp()
    to, by = torch.arange(side)[:, None], torch.arange(side)
    weights = bell[(to - by).abs()]
    weights += bell[to + by] * (by > 0)
    weights += bell[2 * (side - 1) - to - by] * (by < side - 1)
    return weights / weights.sum(1, keepdim=True)
