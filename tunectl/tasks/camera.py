"""Noise as cameras leave it in a developed photo.

Made in linear light, where it has a shot and a read part, seen through a colour filter array,
white balance, a colour matrix and a tone curve (Brooks et al., *Unprocessing images*, CVPR 2019),
and then smoothed, in colour more than in luma, and sharpened, as cameras do before they save.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import conv2d, pad

GAMMA = 2.2
FIRST_TRY = 0.01  # deviation of the noise, in linear light, with which a camera is tried out
GRAY_SIDE = 64  # pixels of the mid-gray area that it is tried on
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
    """

    gains: Tensor
    matrix: Tensor
    curve: bool
    read: float
    mosaic: tuple[int, int] | None
    smooth: float
    smooth_colour: float
    sharpen: float

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
        smoothed = torch.rand(4, generator=generator, device=generator.device).tolist()
        return cls(
            gains,
            matrix,
            curve=draw[9] < 0.5,
            read=10 ** (-2.5 + 2 * draw[10]),
            mosaic=(phase // 2, phase % 2) if phase < 4 else None,
            smooth=max(0.0, 1.2 * smoothed[0] - 0.3),
            smooth_colour=2.5 * smoothed[1] ** 2 + max(0.0, 1.2 * smoothed[0] - 0.3),
            sharpen=max(0.0, 1.5 * smoothed[2] - 0.5),
        )

    def noise(self, picture: Tensor, level: float, generator: torch.Generator) -> Tensor:
        """What is added to `picture` (3, H, W) in [0, 1]: the same shape, not clipped.

        Its deviation on mid-gray is `level`, in units of the picture.
        """
        gray = torch.full((3, GRAY_SIDE, GRAY_SIDE), 0.5, device=picture.device)
        scale = FIRST_TRY
        for _ in range(2):  # the second, since a tone curve bends what is strong
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
        luma = _blurred(planes[:1], self.smooth)
        luma = luma + self.sharpen * (luma - _blurred(luma, 1.0))
        colour = _blurred(planes[1:], self.smooth_colour)
        back = torch.linalg.inv(TO_YCC).to(change)
        return torch.einsum("ij,jhw->ihw", back, torch.cat([luma, colour]))

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


def _blurred(planes: Tensor, deviation: float) -> Tensor:
    """(C, H, W) under a Gaussian, mirrored at the border."""
    if deviation < 0.2:
        return planes
    reach = min(math.ceil(2.5 * deviation), *(side - 1 for side in planes.shape[-2:]))
    offsets = torch.arange(-reach, reach + 1, dtype=planes.dtype, device=planes.device)
    weights = (-(offsets**2) / (2 * deviation**2)).exp()
    weights = weights / weights.sum()
    wide = pad(planes[:, None], (reach, reach, reach, reach), mode="reflect")
    down = conv2d(wide, weights.view(1, 1, -1, 1))
    return conv2d(down, weights.view(1, 1, 1, -1))[:, 0]
