"""PSNR on pictures, and the map between alpha and level that follows from it."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from tunectl.knob import Knob
from tunectl.learning.photos import seeded
from tunectl.tasks import Task

Restore = Callable[[Tensor, float], Tensor]
PEAK = 255.0


def psnr(output: Tensor, clean: Tensor) -> float:
    """PSNR in dB over all samples of one picture in [0, 1], the output rounded to 8 bits.

    Equal pictures give 100 dB, so that a mean stays finite.
    """
    rounded = output.double().mul(PEAK).round().clamp(0, PEAK)
    error = (rounded - clean.double().mul(PEAK).round()).square().mean().item()
    return 100.0 if error == 0 else 10 * math.log10(PEAK**2 / error)


def degraded(clean: Tensor, task: Task, level: float, index: int) -> tuple[Tensor, Tensor]:
    """The clean picture as (1, C, H, W) in [0, 1], and its degraded version.

    `clean` is uint8 (C, H, W). The noise depends on the picture's `index` and the level only.
    """
    picture = clean[None].float() / PEAK
    generator = seeded(torch.device("cpu"), "measure", index, level)
    return picture, task.degrade(picture, level, generator)


def measure(restore: Restore, pictures: Sequence[Tensor], task: Task, level: float) -> list[float]:
    """The PSNR of `restore(input, level)` for each picture, uint8 (C, H, W)."""
    results = []
    for index, clean in enumerate(pictures):
        picture, noisy = degraded(clean, task, level, index)
        results.append(psnr(restore(noisy, level).cpu(), picture))
    return results


def mean(values: Sequence[float]) -> float:
    """The arithmetic mean: of PSNR in dB, as the field's tables have it."""
    return sum(values) / len(values)


def calibrate(
    at_alpha: Callable[[Tensor, float], Tensor],
    knob: Knob,
    pictures: Sequence[Tensor],
    task: Task,
    points: int = 9,
) -> tuple[tuple[float, float], ...]:
    """Measured pairs (alpha, level): the alpha of the highest mean PSNR at `points` levels.

    `at_alpha(input, alpha)` restores. The levels lie on the knob's schedule. The search goes down
    a golden section around the scheduled alpha where the levels between were trained, over all
    of [0, 1] where they were not; the result is made monotone.
    """
    pairs: list[tuple[float, float]] = []
    for i in range(points):
        scheduled = i / (points - 1)
        level = knob.scheduled_level(scheduled)
        inputs = [degraded(clean, task, level, index) for index, clean in enumerate(pictures)]

        def score(alpha: float, inputs: list[tuple[Tensor, Tensor]] = inputs) -> float:
            return mean([psnr(at_alpha(noisy, alpha).cpu(), clean) for clean, noisy in inputs])

        reach = 1.0 if knob.way == "endpoint" else 0.1
        low, high = max(0.0, scheduled - reach), min(1.0, scheduled + reach)
        floor = pairs[-1][0] if pairs else 0.0
        pairs.append((max(floor, golden_section(score, low, high)), level))
    return tuple(pairs)


def golden_section(score: Callable[[float], float], low: float, high: float) -> float:
    """The maximum of a unimodal function to within 0.01, the ends of the interval included."""
    ratio = (math.sqrt(5) - 1) / 2
    known = {x: score(x) for x in (low, high)}
    left, right = high - ratio * (high - low), low + ratio * (high - low)
    known[left], known[right] = score(left), score(right)
    while high - low > 0.02:
        if known[left] >= known[right]:
            high, right = right, left
            left = high - ratio * (high - low)
            known[left] = known.get(left) or score(left)
        else:
            low, left = left, right
            right = low + ratio * (high - low)
            known[right] = known.get(right) or score(right)
    return max(known, key=lambda x: known[x])
