"""The map between alpha and level that follows from PSNR on pictures."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from torch import Tensor

from tunectl.evaluation.cases import degraded
from tunectl.evaluation.metrics import mean, psnr
from tunectl.evaluation.subjects import highest_near
from tunectl.knob import Knob
from tunectl.tasks import Task

POINTS = 9


def calibrate(
    at_alpha: Callable[[Tensor, float], Tensor],
    knob: Knob,
    pictures: Sequence[Tensor],
    task: Task,
) -> tuple[tuple[float, float], ...]:
    """Measured pairs (alpha, level): the alpha of the highest mean PSNR at each of POINTS levels.

    `pictures` are clean, uint8 (C, H, W); `at_alpha(input, alpha)` restores (1, C, H, W) in [0, 1].
    Alpha ascends. The levels lie on the knob's schedule. The search goes down
    a golden section, around the scheduled alpha first where the levels between were trained, over
    all of [0, 1] where they were not; the result is made monotone.
    """
    pairs: list[tuple[float, float]] = []
    for i in range(POINTS):
        scheduled = i / (POINTS - 1)
        level = knob.scheduled_level(scheduled)
        inputs = [degraded(clean, task, level, index) for index, clean in enumerate(pictures)]

        def score(alpha: float, inputs: list[tuple[Tensor, Tensor]] = inputs) -> float:
            return mean([psnr(at_alpha(noisy, alpha).cpu(), clean) for clean, noisy in inputs])

        reach = 1.0 if knob.way == "endpoint" else 0.1
        floor = pairs[-1][0] if pairs else 0.0
        pairs.append((max(floor, highest_near(score, scheduled, reach, 0.0, 1.0)), level))
    return tuple(pairs)
