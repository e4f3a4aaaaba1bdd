"""Whether models can be mixed: the loss along the straight line between their weights.

Networks of one descent lie in one valley and every mix of them works; between strangers of the
same shape the line leads over a mountain (Frankle et al., Linear mode connectivity, ICML 2020).
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import interpolate

from tunectl.errors import IncompatibleError, UsageError
from tunectl.evaluation.cases import degraded
from tunectl.evaluation.metrics import PEAK, psnr
from tunectl.foreign.networks import describe_foreign
from tunectl.foreign.tables import Table, mix_tables
from tunectl.header import Header, is_ours
from tunectl.images import read_pair, read_rgb8, rgb8
from tunectl.inference.execution import Execution
from tunectl.inference.find import find_model
from tunectl.inference.interpolate import check_weights, mix_ours, mixed_level
from tunectl.inference.load import from_tensors
from tunectl.tasks import build_task

SIDE = 256  # of the middle of the picture that is measured, in pixels of the output
STEPS = 10
EQUAL = 1e-10  # the error of equal pictures, of 100 dB
SAME = 1e-9  # between two mixes
FLAT = 0.1  # dB: a barrier that nobody sees
Run = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Point:
    """A mix: its weights, its PSNR in dB, and by how many dB its error exceeds the ends'."""

    weights: tuple[float, ...]
    psnr: float
    barrier: float


def barrier(
    sources: Sequence[str | Path],
    weights: Sequence[float],
    photo: Path,
    clean: Path | None = None,
) -> list[Point]:
    """The ends and the mix of `weights`, and of two models mixes all along the line.

    `photo` is what the models are given, where `clean` says what they should make of it. Without
    it, `photo` is that: our models get it degraded at the mix's level, enlarging ones reduced.
    A mix is held against the ends' mean error; between ends of different levels, of which neither
    is made for the mix's, against the lesser. Raises UsageError for models of which that says
    nothing, and as mixing does.
    """
    check_weights(sources, weights)
    paths = [find_model(source) for source in sources]
    ours = is_ours(paths[0])
    mixer = _ours(paths) if ours else _foreign(paths)
    count = len(paths)
    corners = [tuple(float(i == j) for j in range(count)) for i in range(count)]
    line = [(1 - i / STEPS, i / STEPS) for i in range(1, STEPS)] if count == 2 else []
    there = any(math.dist(weights, mix) < SAME for mix in (*corners, *line))
    found = [mixer(corner) for corner in corners]
    levels = [] if clean else _levels(found[0])

    @functools.cache
    def at(level: float | None) -> tuple[Tensor, Tensor, list[float]]:
        given, wanted = _task_of(found[0], level, photo, clean)
        return given, wanted, [10 ** (-psnr(one.run(given), wanted) / 10) for one in found]

    points = []
    between = [*line, *([] if there else [tuple(weights)])]
    for mix in (*corners, *between):
        given, wanted, errors = at(mixed_level(levels, mix) if levels else None)
        one = found[corners.index(mix)] if mix in corners else mixer(mix)
        quality = psnr(one.run(given), wanted)
        shares = [max(0.0, share) for share in mix]
        expected = sum(s * error for s, error in zip(shares, errors, strict=True)) / sum(shares)
        if mix in between and len(set(levels)) > 1:
            expected = min(errors)
        points.append(Point(mix, quality, -quality - 10 * math.log10(max(expected, EQUAL))))
    return sorted(points, key=lambda point: point.weights, reverse=True)


def verdict(points: Sequence[Point]) -> str:
    """What the points say, in a line."""
    worst = max(points, key=lambda point: point.barrier)
    if worst.barrier <= FLAT:
        return f"no loss barrier (at most {max(0.0, worst.barrier):.2f} dB): these models mix"
    at = ", ".join(f"{weight:g}" for weight in worst.weights)
    return f"a loss barrier of {worst.barrier:.2f} dB at {at}: " + (
        "the mix loses a little" if worst.barrier < 1 else "these models do not mix"
    )


@dataclass(frozen=True)
class _Mixed:
    """A mix that runs, how much it enlarges, and of ours its header."""

    run: Run
    scale: int = 1
    headers: Sequence[Header] = ()


def _ours(paths: Sequence[Path]) -> Callable[[Sequence[float]], _Mixed]:
    def at(weights: Sequence[float]) -> _Mixed:
        header, tensors, headers = mix_ours(paths, weights)
        if not header.plain:
            raise IncompatibleError(
                f"{paths[0]}: has a knob, and a mix is measured at one alpha",
                "fold the models first: tunectl interpolate FILE --alpha 0.5 -o PLAIN",
            )
        model = from_tensors(header, tensors, Execution.pick("cpu", "fp32"))
        return _Mixed(lambda x: model(x), headers=headers)

    return at


def _foreign(paths: Sequence[Path]) -> Callable[[Sequence[float]], _Mixed]:
    def at(weights: Sequence[float]) -> _Mixed:
        table: Table = mix_tables(paths, weights)[0]
        descriptor = describe_foreign(paths[0], table)
        return _Mixed(descriptor, descriptor.scale)

    return at


def _levels(mixed: _Mixed) -> list[float]:
    """What each of our models was trained for, a blind one the middle of; none of others'."""
    levels = [sum(header.level) / 2 for header in mixed.headers if header.level is not None]
    return levels if len(levels) == len(mixed.headers) else []


def _task_of(
    mixed: _Mixed, level: float | None, photo: Path, clean: Path | None
) -> tuple[Tensor, Tensor]:
    """What the models are given, and what they should make of it, (1, 3, H, W) in [0, 1]."""
    scale = mixed.scale
    side = SIDE // scale * scale
    if clean is not None:
        small, large = map(rgb8, read_pair(photo, clean, scale), (photo, clean))
        return _middle(small, side // scale), _middle(large, side, scale)
    wanted = _middle(read_rgb8(photo), side)
    if scale > 1:
        wanted = wanted[
            ..., : wanted.shape[-2] // scale * scale, : wanted.shape[-1] // scale * scale
        ]
        given = interpolate(wanted, scale_factor=1 / scale, mode="bicubic", antialias=True)
        return given.clamp(0, 1), wanted
    tasks = [header.task for header in mixed.headers if header.task is not None]
    if not tasks or level is None:
        raise UsageError(
            "what these models are for is not known", "give a pair: --check NOISY --clean CLEAN"
        )
    task = build_task(tasks[0].name, tasks[0].fields)
    if not task.restores:
        raise UsageError(
            "PSNR says nothing of models that make another picture", "leave --check away"
        )
    as_bytes = wanted[0].mul(PEAK).round().to(torch.uint8)
    wanted, given = degraded(as_bytes, task, level, 0)
    return given, wanted


def _middle(pixels: NDArray[np.uint8], side: int, scale: int = 1) -> Tensor:
    """(1, 3, H, W) in [0, 1], from where a pixel of a picture `scale` times as small begins."""
    top, left = (max(0, (size - side) // (2 * scale) * scale) for size in pixels.shape[:2])
    middle = pixels[top : top + side, left : left + side].copy()
    return torch.from_numpy(middle).permute(2, 0, 1)[None].float() / PEAK
