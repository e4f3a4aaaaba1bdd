"""Gaussian blurs of many pictures at once, each by a deviation of its own."""

from __future__ import annotations

import functools

import torch
from torch import Tensor

LARGEST_KEPT = 1024  # pixels a side, whose matrices stay
LEAST_BLUR = 0.2  # deviation in pixels below which a blur is none


def blurred(planes: Tensor, deviation: float | Tensor) -> Tensor:
    """(N, C, H, W) under Gaussians of one deviation in pixels, or of (N,) or (N, 1, 1, 1), mirrored
    at the border. Below LEAST_BLUR they stay as they are."""
    height, width = planes.shape[-2:]
    if isinstance(deviation, Tensor):
        return Blur(height, width, deviation.view(-1, 1, 1, 1))(planes)
    known = _fixed if max(height, width) <= LARGEST_KEPT else _fixed.__wrapped__
    return known(height, width, deviation, planes.device)(planes)


class Blur:
    """Gaussians for planes (..., height, width), their deviations (..., 1, 1) in pixels.

    Each is a matrix a side: faster than convolutions of one channel.
    """

    def __init__(self, height: int, width: int, deviations: Tensor) -> None:
        self.down = _gaussian(height, deviations)
        self.across = (self.down if width == height else _gaussian(width, deviations)).mT

    def __call__(self, planes: Tensor) -> Tensor:
        return self.down.to(planes) @ planes @ self.across.to(planes)


@functools.lru_cache(maxsize=3)  # a camera's, for noise on mid-gray and on patches
def _fixed(height: int, width: int, deviation: float, device: torch.device) -> Blur:
    return Blur(height, width, torch.full((1, 1), deviation, device=device))


def _gaussian(side: int, deviation: Tensor) -> Tensor:
    """Blurs along a line of `side` pixels, as matrices in place of deviations' last two sides.

    The first and last pixel are the mirrors: they stand once.
    """
    apart = torch.arange(2 * side - 1, device=deviation.device)
    bell = (-((apart / deviation.clamp_min(LEAST_BLUR)) ** 2) / 2).clamp_min(-20).exp()[..., 0, :]
    both_ways = torch.cat([bell[..., 1:side].flip(-1), bell[..., :side]], -1)
    weights = both_ways.unfold(-1, side, 1).flip(-2)  # at (i, j) that of |i - j|
    mirrored = bell.unfold(-1, side, 1)  # that of i + j, behind the first
    weights[..., 1:] += mirrored[..., 1:]
    weights[..., :-1] += mirrored.flip(-2, -1)[..., :-1]
    weights = weights / weights.sum(-1, keepdim=True)
    return torch.where(deviation < LEAST_BLUR, torch.eye(side, device=weights.device), weights)
