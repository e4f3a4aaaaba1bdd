"""Real pairs: a clean picture, and the same as it came."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from tunectl.errors import UsageError
from tunectl.knob import SYMBOLS
from tunectl.tasks.base import Evidence, Task


@dataclass(frozen=True)
class PairsFields:
    """Pairs have nothing to choose."""


class Pairs(Task):
    """The level is the share of the pair's difference: 0 the clean picture, 1 what it came as.

    What comes between is not what a better camera would have made, but what a knob needs: the same
    fault, weaker.
    """

    Fields = PairsFields
    symbol = SYMBOLS["pairs"]
    weakest, strongest = 0.0, 1.0
    takes_pairs = True

    @property
    def protocol(self) -> str:
        return "pairs, with shares of their difference as columns"

    def levels(self, tunable: bool) -> tuple[float, float]:
        return (0.0 if tunable else 1.0, 1.0)

    def onward(
        self, start: float, level: float | None, styles: Mapping[str, str]
    ) -> tuple[Task, tuple[float, float]]:
        return super().onward(start, 1.0 if level is None else level, styles)

    def target(self, sample: Tensor) -> Tensor:
        return sample[:, : sample.shape[1] // 2]

    def degrade(
        self, clean: Tensor, level: float, generator: torch.Generator, gray: Tensor | None = None
    ) -> Tensor:
        """(N, 2 C, H, W), the clean pictures and the others, to (N, C, H, W)."""
        if clean.shape[1] % 2:
            raise UsageError("this model learned from pairs", "give pairs of pictures")
        one, other = clean.chunk(2, 1)
        return torch.lerp(one, other, level)

    def estimate(self, evidence: Evidence) -> float:
        """A picture as it came."""
        return self.strongest

    def expected_error(self, level: float) -> float:
        return 1 + 4 * level
