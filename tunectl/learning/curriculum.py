"""Which alpha and level each step of training sees."""

from __future__ import annotations

import math
from dataclasses import dataclass

GOLDEN = (math.sqrt(5) - 1) / 2
SEEDS = 2**32  # beyond, a float has no digits left behind its point
LEAST = 1e-9  # an alpha that is still none of the frozen base's


@dataclass(frozen=True)
class Curriculum:
    """Pairs (alpha, level) for a stream of draws.

    A plain network (`way` None) sees levels between `levels` and no alpha. `endpoint` sees only
    alpha 1 and the last level; `path` and `joint` see the whole range, alpha following the
    knob's schedule: level share = alpha ** power. `dual` gives every second draw a negative alpha,
    its level as far on the first level's other side.
    """

    way: str | None
    levels: tuple[float, float]
    power: float = 1.0
    bias: float = 1.0
    seed: int = 0
    dual: bool = False

    def __call__(self, index: int) -> tuple[float | None, float]:
        """Alpha and level of draw `index`.

        The golden ratio's multiples cover the range evenly in every short stretch of steps,
        which independent draws do not: less noise between levels at no cost.
        """
        offset = self.seed % SEEDS * math.e
        u = 1 - ((index + 1) * GOLDEN + offset) % 1  # in (0, 1]
        start, end = self.levels
        sign = -1 if self.dual and index % 2 else 1
        share = 1.0 if self.way == "endpoint" else u**self.bias
        level = start + (end - start) * share * sign
        return (None if self.way is None else sign * max(LEAST, share ** (1 / self.power))), level
