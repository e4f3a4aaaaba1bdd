"""How evenly a picture changes as alpha goes from 0 to 1."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

from torch import Tensor

from tunectl.evaluation.metrics import PEAK, mean
from tunectl.inference.model import Model


@dataclass(frozen=True)
class Smoothness:
    """Mean absolute differences in 8-bit steps: `changes` from each alpha to the next, and
    `distances` of each from the first."""

    changes: list[float]
    distances: list[float]

    @property
    def most(self) -> float:
        """The largest change."""
        return max(self.changes)

    @property
    def where(self) -> float:
        """The alpha after the largest change."""
        return (self.changes.index(self.most) + 1) / len(self.changes)

    @property
    def unevenness(self) -> float:
        """The largest change over the mean one: 1 is even."""
        return self.most / (mean(self.changes) or 1.0)

    @property
    def growing(self) -> int:
        """In how many steps the picture moves away from the first; all of them is monotone."""
        return sum(b > a for a, b in itertools.pairwise([0.0, *self.distances]))


def smoothness(model: Model, picture: Tensor, steps: int = 100) -> Smoothness:
    """Of a picture (1, C, H, W) in [0, 1], restored at `steps` + 1 alphas from 0 to 1."""
    first = before = model(picture, 0.0)
    changes, distances = [], []
    for i in range(1, steps + 1):
        now = model(picture, i / steps)
        changes.append(_apart(now, before))
        distances.append(_apart(now, first))
        before = now
    return Smoothness(changes, distances)


def _apart(one: Tensor, other: Tensor) -> float:
    return float((one - other).abs().mean()) * PEAK
