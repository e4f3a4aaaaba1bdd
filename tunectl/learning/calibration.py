"""The map between alpha and level that follows from PSNR on pictures."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from torch import Tensor

from tunectl import checkpoint
from tunectl.errors import UsageError
from tunectl.evaluation.cases import degraded
from tunectl.evaluation.metrics import mean, psnr
from tunectl.evaluation.subjects import highest_near
from tunectl.header import Header
from tunectl.inference.execution import Execution
from tunectl.inference.find import find_model
from tunectl.inference.load import from_tensors
from tunectl.knob import Knob
from tunectl.learning.photos import CROP_SIZE, list_photos, load_crops
from tunectl.tasks import Task, build_task

POINTS = 9


def calibrate_file(
    source: str | Path,
    data: Path,
    output: Path,
    limit: int,
    device: str = "auto",
    precision: str = "auto",
    command: str = "",
    say: Callable[[str], None] = lambda words: None,
) -> Header:
    """Write a model with its calibration measured anew, to a file that is not there yet.

    It is measured on the middle of up to `limit` of the clean photos in `data`; the weights stay.
    Raises AlphaError for a plain model, UsageError where PSNR does not say what is best, and as
    `load` and `list_photos` do.
    """
    path = find_model(source)
    header, tensors = checkpoint.read(path)
    model = from_tensors(header, tensors, Execution.pick(device, precision))
    knob, part = model.knob, header.task
    task = None if part is None else build_task(part.name, part.fields)
    if task is None or not task.restores or task.takes_pairs:
        raise UsageError(
            f"{path}: no clean photo says which alpha is best", "name a model that restores photos"
        )
    crops, unfit = load_crops(list_photos(data), CROP_SIZE, limit, task.least)
    for line in unfit:
        say(f"left out: {line}")
    say(f"calibrating alpha on {len(crops)} photos")
    calibration = calibrate(lambda noisy, alpha: model(noisy, alpha), knob, crops, task)
    how = {"photos": len(crops), "folder": data.name, "command": command}
    header = replace(
        header,
        knob=replace(knob, calibration=calibration),
        provenance={**header.provenance, "calibration": how},
    )
    return checkpoint.write(output, header, tensors, new=True)


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
    all of [0, 1] where they were not. Where the best ones descend, their mean is taken.
    """
    levels: list[float] = []
    alphas: list[float] = []
    for i in range(POINTS):
        scheduled = i / (POINTS - 1)
        level = knob.scheduled_level(scheduled)
        inputs = [degraded(clean, task, level, index) for index, clean in enumerate(pictures)]

        def score(alpha: float, inputs: list[tuple[Tensor, Tensor]] = inputs) -> float:
            return mean([psnr(at_alpha(noisy, alpha).cpu(), clean) for clean, noisy in inputs])

        reach = 1.0 if knob.way == "endpoint" else 0.1
        levels.append(level)
        alphas.append(highest_near(score, scheduled, reach, 0.0, 1.0))
    return tuple(zip(ascending(alphas), levels, strict=True))


def ascending(numbers: Sequence[float]) -> list[float]:
    """The ascending sequence that is nearest in squares: pool adjacent violators."""
    pools: list[list[float]] = []
    for number in numbers:
        pools.append([number])
        while len(pools) > 1 and mean(pools[-2]) > mean(pools[-1]):
            pools[-2:] = [pools[-2] + pools[-1]]
    return [mean(pool) for pool in pools for _ in pool]
