"""What is learned: how a clean picture becomes an input, and what a level means."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from tunectl.errors import UsageError
from tunectl.images import Component

Tables = Mapping[int, Sequence[int]]


def eight_bit_scale(pixels: NDArray[Any]) -> float:
    """What samples of uint8, uint16 or, in [0, 1], floats are to be multiplied by for 0 to 255."""
    return 255 / {"uint8": 255, "uint16": 65535}.get(pixels.dtype.name, 1)


@dataclass(frozen=True)
class Evidence:
    """What there is to tell a picture's level from.

    `pixels` are (H, W, C), uint8, uint16 or floating in [0, 1]; `tables` the quantisation tables of
    the JPEG it came from, 64 numbers each in natural order; `seen` (H, W) marks the pixels that are
    not transparent, None all.
    """

    pixels: NDArray[Any]
    tables: Tables | None = None
    seen: NDArray[np.bool_] | None = None


class Task:
    """Degrades clean pictures at a level in the task's own unit.

    `weakest` and `strongest` are the legal levels, in the order of alpha (a JPEG quality falls
    where a noise level rises); `symbol` is how a person writes the level.
    """

    Fields: ClassVar[type[Any]]
    symbol: ClassVar[str]
    weakest: ClassVar[float]
    strongest: ClassVar[float]
    network: ClassVar[str] = "unet"  # what suits it, and, where it cannot do without, the tuner
    tuner: ClassVar[str | None] = None
    least: ClassVar[int] = 1  # pixels a side that can be learned from
    takes_style: ClassVar[bool] = False
    takes_pairs: ClassVar[bool] = False
    restores: ClassVar[bool] = True  # the clean picture is the target, and PSNR says how near
    keeps_gray: ClassVar[bool] = False  # the clean picture of a gray one is gray

    def __init__(self, fields: Any) -> None:
        self.fields = fields

    @property
    def replaces_input(self) -> bool:
        """Whether the strong end begins without the input, which would lie over what it learns."""
        return False

    @property
    def protocol(self) -> str:
        """How inputs are made, as the header of a table says it."""
        raise NotImplementedError

    def prepare(self, model: nn.Module, styles: Mapping[str, Path], device: torch.device) -> None:
        """Before training: load what the loss needs, and give the model what it starts from.

        `styles` are pictures by name. Raises UsageError where the model cannot learn the task.
        """

    def stage(
        self, model: nn.Module, count: int, chosen: slice, generator: torch.Generator
    ) -> None:
        """Draw what a step needs beside `count` photos, and keep it for those that are `chosen`."""

    def levels(self, tunable: bool) -> tuple[float, float]:
        """The first and last level to train where none was asked for. Raises UsageError."""
        raise UsageError("training needs a level", "give --level, such as 15 or 0-75")

    def check_way(self, first: float, last: float, advice: str) -> None:
        """Raises UsageError for levels between which no knob goes: alpha 0 is the gentlest."""
        if first == last:
            raise UsageError(f"a knob needs two levels, and {self.symbol} {first:g} is one", advice)
        if (last > first) != (self.strongest > self.weakest):
            raise UsageError(
                f"{self.symbol} {first:g} is stronger than {last:g}, and alpha 0 is the gentlest",
                advice,
            )

    def onward(
        self, start: float, level: float | None, styles: Mapping[str, str]
    ) -> tuple[Task, tuple[float, float]]:
        """The task and levels of a tuner whose base was trained for this task at level `start`.

        `styles` are names by their role: `second` at alpha 1, `lower` at -1. Raises UsageError.
        """
        if level is None:
            raise UsageError("finetuning needs a level", "give --level")
        advice = "give --level a stronger one than that of the model to begin with"
        self.check_way(start, self.check_level(level), advice)
        return self, (start, level)

    def towards(self, level: float, other: Task, last: float) -> tuple[Task, tuple[float, float]]:
        """The task and levels of a knob between models trained for this one at `level` and for
        `other`, of the same kind, at `last`. Raises UsageError as `check_way` does."""
        self.check_way(level, last, "name two that differ, and the weaker first")
        return self, (level, last)

    def vary(self, sample: Tensor, generator: torch.Generator) -> Tensor:
        """Other photos than those that training cut: (N, C, H, W) to that. By default the same."""
        return sample

    def target(self, sample: Tensor) -> Tensor:
        """What is to come out: (N, 3, H, W) of what training cuts from its data, (N, C, H, W)."""
        return sample

    def degrade(
        self, clean: Tensor, level: float, generator: torch.Generator, gray: Tensor | None = None
    ) -> Tensor:
        """(N, C, H, W) in [0, 1] to the network's input of the same shape.

        C is 3, or 1 for gray pictures; a task that learns from pairs is given twice that. `gray` is
        a boolean (N,) that marks pictures whose three channels are equal and have to stay so. All
        randomness comes from `generator`.
        """
        raise NotImplementedError

    def loss(self, kind: str, output: Tensor, clean: Tensor, level: float) -> Tensor:
        """How far (N, C, H, W) is from clean, in units in which every level weighs about the same.

        `l1` is the mean error over the expected one, `charbonnier` the same smoothed below a
        quarter of an 8-bit step, `mse` the mean squared error over the expected one's square,
        `psnr` half the logarithm of each patch's mean squared error, which counts a smooth patch
        for more than a picture's PSNR does.
        """
        error = (output - clean) * 255
        if kind == "mse":
            return (error / self.expected_error(level)).square().mean()
        if kind == "psnr":
            return (error.square().mean(dim=(1, 2, 3)) + 0.25**2).log().mean() / 2
        smooth = error.abs() if kind == "l1" else (error.square() + 0.25**2).sqrt()
        return smooth.mean() / self.expected_error(level)

    def error(self, kind: str, loss: float) -> float:
        """A mean of `loss` in units that grow as the error does: the root of a squared one."""
        return {"mse": math.sqrt, "psnr": math.exp}.get(kind, float)(loss)

    def scores(self, output: Tensor, clean: Tensor, level: float) -> dict[str, float]:
        """What a validation reports of an output (1, C, H, W), by name, where PSNR says nothing."""
        return {}

    def expected_error(self, level: float) -> float:
        """Roughly the error a good network leaves at this level, in 8-bit steps.

        `loss` divides by it: without that the low levels never learn.
        """
        raise NotImplementedError

    def estimate(self, evidence: Evidence) -> float | None:
        """The level that a picture seems to have; None if it cannot be told."""
        return None

    def level_of_file(self, tables: Tables | None) -> float | None:
        """The level that a JPEG's tables tell by themselves; None if they tell none."""
        return None

    def reconcile(
        self, restored: NDArray[Any], given: NDArray[Any], components: Sequence[Component]
    ) -> None:
        """Hold (H, W, C), made of a file's `given`, in place to what the file says of both.

        Samples are uint8 or floating in [0, 1]; `components` are as `Picture` has them. By default
        a file says nothing of what was before it.
        """

    def doubt(self, evidence: Evidence) -> str | None:
        """What to tell who asks for a level where nothing of the task's is to be seen."""
        return None

    def check_level(self, level: float) -> float:
        """Return the level. Raises UsageError if the task does not know it."""
        low, high = sorted((self.weakest, self.strongest))
        if not low <= level <= high:
            raise UsageError(
                f"level {level:g} is not a {self.symbol} this task knows",
                f"give {low:g} to {high:g}",
            )
        return level
