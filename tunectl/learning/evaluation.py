"""Tables of PSNR: models and rivals on the same pictures, noise and rounding."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from tunectl.images import read_rgb8
from tunectl.inference.model import Model
from tunectl.learning.measure import Restore, mean, measure
from tunectl.learning.photos import list_photos
from tunectl.tasks import Task, build_task

RGB2GRAY = (0.298936021293775, 0.587043074451121, 0.114020904255103)  # Matlab's


@dataclass(frozen=True)
class Row:
    """One line of a table: PSNR in dB by level, the mean and per picture."""

    name: str
    alpha: str
    protocol: str
    means: dict[str, float]
    pictures: dict[str, list[float]]


def load_pictures(folder: Path, gray: bool = False, limit: int | None = None) -> list[Tensor]:
    """All pictures of a folder as uint8 (3, H, W), or (1, H, W) by Matlab's rgb2gray."""
    pictures = []
    for path in list_photos(folder)[:limit]:
        picture = torch.from_numpy(read_rgb8(path).copy()).permute(2, 0, 1)
        if gray:
            weights = torch.tensor(RGB2GRAY, dtype=torch.float64)
            luma = torch.tensordot(weights, picture.double(), dims=1)
            picture = (luma + 0.5).floor().clamp(0, 255).to(torch.uint8)[None]
        pictures.append(picture)
    return pictures


def evaluate_model(
    name: str,
    model: Model,
    pictures: Sequence[Tensor],
    levels: Sequence[float],
    alpha: float | None = None,
    task_fields: Mapping[str, Any] | None = None,
) -> Row:
    """Measure a model at each level, with `alpha` or, if it is None, the calibrated one."""
    part = model.header.task
    assert part is not None
    task = build_task(part.name, {**part.fields, **(task_fields or {})})

    def restore(noisy: Tensor, level: float) -> Tensor:
        if not model.tunable:
            return model(noisy)
        return model(noisy, alpha) if alpha is not None else model(noisy, level=level)

    row = evaluate_callable(name, restore, task, pictures, levels)
    if model.tunable:
        row = replace(row, alpha="calibrated" if alpha is None else f"{alpha:g}")
    return row


def evaluate_callable(
    name: str,
    restore: Restore,
    task: Task,
    pictures: Sequence[Tensor],
    levels: Sequence[float],
) -> Row:
    """Measure anything that maps ((1, C, H, W) in [0, 1], level) to the same shape."""
    scores = {f"{level:g}": measure(restore, pictures, task, level) for level in levels}
    protocol = f"{type(task).__name__.lower()} {task.fields}"
    return Row(name, "-", protocol, {level: mean(s) for level, s in scores.items()}, scores)


def markdown(rows: Sequence[Row], title: str, count: int) -> str:
    """The rows as a markdown table under a line that says the protocol."""
    levels = list(rows[0].means)
    lines = [
        f"{title}, {count} pictures, PSNR in dB, {rows[0].protocol}",
        "",
        f"| model | alpha | {' | '.join(levels)} |",
        f"|---|---|{'---|' * len(levels)}",
    ]
    for row in rows:
        cells = " | ".join(f"{row.means[level]:.2f}" for level in levels)
        lines.append(f"| {row.name} | {row.alpha} | {cells} |")
    return "\n".join(lines)
