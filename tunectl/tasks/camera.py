"""Noise as cameras leave it in a developed photo.

Made in linear light, where it has a shot and a read part, seen through a colour filter array,
white balance, a colour matrix and a tone curve (Brooks et al., *Unprocessing images*, CVPR 2019),
and then smoothed, in colour more than in luma, and sharpened, as cameras do before they save. What
they smooth away is the fine part: a coarse one stays, and all of it stays where the picture has
detail.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from tunectl.device import sent
from tunectl.tasks.blur import Blur, blurred

GAMMA = 2.2
FIRST_TRY = 0.01  # deviation of the noise, in linear light, with which a camera is tried out
CONTRAST = 0.02  # of luma around a pixel, at which half of the noise that is spared is there
GRAY_SIDE = 64  # pixels of the mid-gray area that it is tried on
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
        """One at random, from a generator on the CPU."""
        draw = torch.rand(12, generator=generator).tolist()
        gains = torch.tensor([1.4 + 1.0 * draw[0], 1.0, 1.3 + 0.9 * draw[1]])
        # Rows that sum to 1 keep gray gray; what is off the diagonal mixes noise into colours.
        rows = []
        for row in range(3):
            one, other = -0.5 * draw[2 + 2 * row], -0.2 * draw[3 + 2 * row]
            line = [1 - one - other, one, other]
            rows.append(line[-row:] + line[:-row])
        phase = int(draw[8] * 4 / 0.8)
        kept = torch.rand(6, generator=generator).tolist()
        smooth = max(0.0, 2.0 * kept[0] - 0.4)
        return cls(
            gains,
            torch.tensor(rows),
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


class _Filters(NamedTuple):
    """What cameras do to noise of one size: the blurs of the fine and the coarse part of each
    plane, (N, 2, 3); which pixels the filter array sees (N, 3, H, W), and the weight of those
    around each."""

    smoothing: Blur
    seen: Tensor
    neighbours: Tensor


class Cameras:
    """Several, one for each picture of a batch, at work on `device` all at once."""

    def __init__(self, cameras: Sequence[Camera], device: torch.device) -> None:
        self.count = len(cameras)
        self.whole = all(camera.mosaic is None for camera in cameras)
        matrices = torch.stack([camera.matrix * camera.gains for camera in cameras])
        numbers = torch.stack([_numbers(camera) for camera in cameras])
        # All in one table: each that is sent by itself costs a device as much as a picture.
        both = matrices.flatten(1), torch.linalg.inv(matrices).flatten(1)
        table = sent(torch.cat([numbers, *both], 1), device)
        own, seen, matrix, back = torch.split(table, [8, 12, 9, 9], 1)
        column = own[:, :, None, None, None].unbind(1)
        self.curve, self.read = column[0].bool(), column[1]
        self.smooth, self.smooth_colour, self.sharpen = column[2:5]
        self.coarse, self.blotch, self.spared = column[5:]
        self._filters: dict[tuple[int, int], _Filters] = {}
        self.seen = seen.view(-1, 3, 2, 2)
        self.matrix, self.back = matrix.view(-1, 3, 3), back.view(-1, 3, 3)

    def noise(self, pictures: Tensor, level: float, generator: torch.Generator) -> Tensor:
        """What is added to `pictures` (N, 3, H, W) in [0, 1]: the same shape, not clipped.

        On mid-gray, before anything is clipped, its deviation over the channels is `level`, in the
        pictures' units, whatever the camera; clipping leaves less of strong noise.
        """
        gray = self._raw(torch.full((self.count, 3, 1, 1), 0.5, device=pictures.device))
        scale = torch.full((self.count, 1, 1, 1), FIRST_TRY, device=pictures.device)
        for _ in range(1 if level < STRAIGHT else 2):
            tried = self._noise(gray, scale, _tried(pictures.device)) * (1 - self.spared)
            found = tried.square().mean((1, 2, 3), keepdim=True).sqrt()
            scale = scale * level / found
        drawn = torch.randn(pictures.shape, generator=generator, device=generator.device)
        noise = self._noise(self._raw(pictures), scale, drawn.to(pictures.device))
        return noise * (1 - self.spared * (1 - _detail(pictures)))

    def _noise(self, raw: Tensor, scale: Tensor, drawn: Tensor) -> Tensor:
        """`drawn`, of deviation 1, as noise of `scale` (N, 1, 1, 1) on the way to the files, where
        no detail spares it."""
        noise = scale * (raw + self.read).sqrt() * drawn
        if not self.whole:
            noise = self._demosaiced(noise)
        # Half the difference, so that the picture is the mean of what a camera would make of it.
        more, less = self._developed(torch.stack((raw + noise, raw - noise)))
        luma, colour = torch.split(self._smoothed(to_ycc((more - less) / 2)), [1, 2], 1)
        luma = luma + self.sharpen * (luma - blurred(luma, 1.0))
        return mixed(_matrices(raw.device)[1], torch.cat([luma, colour], 1))

    def _smoothed(self, planes: Tensor) -> Tensor:
        """Noise in luma and colour differences under the camera's filters: fine parts, and coarse
        ones of `coarse` their power."""
        both = self._filters_of(planes).smoothing(planes[:, None])
        luma, colour = torch.split(both.square().mean((3, 4), keepdim=True), [1, 2], 2)
        power = torch.cat([luma, colour.mean(2, keepdim=True).expand_as(colour)], 2)
        fine, blotch = both.unbind(1)
        ratio = power[:, 0] / power[:, 1].clamp_min(1e-12)
        return fine * (1 - self.coarse).sqrt() + blotch * (self.coarse * ratio).sqrt()

    def _filters_of(self, planes: Tensor) -> _Filters:
        """Made once for each size: of the mid-gray area, and of the pictures."""
        height, width = planes.shape[-2:]
        if (height, width) not in self._filters:
            fine = torch.cat([self.smooth, self.smooth_colour, self.smooth_colour], 1)
            deviations = torch.stack([fine, fine.maximum(self.blotch)], 1)
            seen = self.seen.tile(-(-height // 2), -(-width // 2))[..., :height, :width].to(planes)
            self._filters[height, width] = _Filters(
                Blur(height, width, deviations), seen, _spread(seen).clamp_min(1e-6)
            )
        return self._filters[height, width]

    def _raw(self, pictures: Tensor) -> Tensor:
        """Developed pictures back to the cameras' linear colours."""
        tone = pictures.clamp(0, 1)
        # The inverse of 3x^2 - 2x^3.
        tone = torch.where(self.curve, 0.5 - ((1 - 2 * tone).asin() / 3).sin(), tone)
        return mixed(self.back, tone.pow_(GAMMA)).clamp_(0, 1)

    def _developed(self, raw: Tensor) -> Tensor:
        tone = mixed(self.matrix, raw).clamp_(0, 1).pow_(1 / GAMMA)
        return torch.where(self.curve, tone.square().mul_(3 - 2 * tone), tone)

    def _demosaiced(self, noise: Tensor) -> Tensor:
        """(N, 3, H, W) as filter arrays see it, each gap filled from its neighbours, bilinearly."""
        _, seen, neighbours = self._filters_of(noise)
        return torch.where(seen.bool(), noise, _spread(noise * seen) / neighbours)


def _spread(planes: Tensor) -> Tensor:
    """Each pixel beside its neighbours, which have it half, or, at the corners, by a quarter."""
    rows = planes.clone()
    rows[..., 1:, :] += planes[..., :-1, :] / 2
    rows[..., :-1, :] += planes[..., 1:, :] / 2
    both = rows.clone()
    both[..., 1:] += rows[..., :-1] / 2
    both[..., :-1] += rows[..., 1:] / 2
    return both


@functools.cache
def _tried(device: torch.device) -> Tensor:
    """What all cameras are tried out with, of deviation 1: (1, 3, GRAY_SIDE, GRAY_SIDE)."""
    always = torch.Generator().manual_seed(2)  # of four tried the one that tells levels best
    return torch.randn((1, 3, GRAY_SIDE, GRAY_SIDE), generator=always).to(device)


def _numbers(camera: Camera) -> Tensor:
    """What `Cameras` knows of one beside its colours: 8 of its own, and what its array sees."""
    own = torch.tensor(
        [
            *(camera.curve, camera.read, camera.smooth, camera.smooth_colour),
            *(camera.sharpen, camera.coarse, camera.blotch, camera.spared),
        ]
    )
    return torch.cat([own, _array(camera.mosaic).to(own).flatten()])


@functools.cache
def _array(phase: tuple[int, int] | None) -> Tensor:
    """(3, 2, 2): where red, green and blue are seen, by a filter array or, without one, all."""
    if phase is None:
        return torch.ones(3, 2, 2, dtype=torch.bool)
    channels = torch.tensor(BAYER).roll((-phase[0], -phase[1]), (0, 1))
    return channels == torch.arange(3)[:, None, None]


def to_ycc(pictures: Tensor) -> Tensor:
    """(N, 3, H, W) as luma and colour differences."""
    return mixed(_matrices(pictures.device)[0], pictures)


@functools.cache
def _matrices(device: torch.device) -> tuple[Tensor, Tensor]:
    """`TO_YCC` and its inverse on a device."""
    return TO_YCC.to(device), torch.linalg.inv(TO_YCC).to(device)


def mixed(matrix: Tensor, pictures: Tensor) -> Tensor:
    """(N, 3, H, W) in other colours, by one matrix (3, 3) or one for each (N, 3, 3)."""
    return (matrix.to(pictures) @ pictures.flatten(-2)).view(pictures.shape)


def _detail(pictures: Tensor) -> Tensor:
    """How much is going on around each pixel: (N, 1, H, W), 0 where nothing, up to 1."""
    luma = to_ycc(pictures)[:, :1]
    contrast = blurred((luma - blurred(luma, 1.0)).square(), 2.0).sqrt()
    return contrast / (contrast + CONTRAST)
