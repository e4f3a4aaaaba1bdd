"""Who is measured: a model at one setting of its knob, or a rival."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from tunectl.errors import UsageError
from tunectl.evaluation.cases import Case, Cases
from tunectl.evaluation.metrics import mean, psnr
from tunectl.images import Picture
from tunectl.inference.model import Model
from tunectl.inference.restore import restore
from tunectl.inference.strength import Strength

REACH = 0.15  # of alpha: how far from the calibrated one the best is looked for first
EDGE = 0.02  # as near to it as the search cannot tell from it
Restore = Callable[[Tensor, float | None], Tensor]  # (1, C, H, W) in [0, 1], level to the same


class Subject:
    """Brings pictures back: `name` and `setting` are its row's first cells."""

    def __init__(self, name: str, setting: str) -> None:
        self.name, self.setting = name, setting

    def check(self, levels: Sequence[float | None]) -> None:
        """Raise what measuring at `levels` would, before anything is measured."""

    def prepare(self, cases: Cases, level: float | None) -> None:
        """Before the pictures of a level are measured."""

    def __call__(self, case: Case) -> tuple[Tensor, float | None]:
        """The picture (1, C, H, W) brought back, and the alpha it was done with."""
        raise NotImplementedError


class Plain(Subject):
    """Anything without a knob of ours: a plain model, or a rival that may be told the level."""

    def __init__(self, name: str, restore: Restore) -> None:
        super().__init__(name, "-")
        self.restore = restore

    def __call__(self, case: Case) -> tuple[Tensor, float | None]:
        return self.restore(case.noisy, case.level), None


class AtAlpha(Subject):
    """A tunable model at the alpha that `choose` gives."""

    def __init__(self, name: str, setting: str, model: Model) -> None:
        super().__init__(name, setting)
        self.model = model

    def choose(self, case: Case) -> float:
        """The alpha for a picture."""
        raise NotImplementedError

    def __call__(self, case: Case) -> tuple[Tensor, float | None]:
        alpha = self.choose(case)
        return self.model(case.noisy, alpha), alpha

    def best(self, score: Callable[[float], float], case: Case) -> float:
        """The alpha of the highest score for a picture, or for those of its level."""
        knob = self.model.knob
        low, high = knob.lowest, 1.0
        # Of a pair a level is only what models are told; and endpoint trains nothing between.
        if case.level is None or case.seed is None or knob.way == "endpoint":
            return highest(score, low, high)
        near = knob.alpha(knob.within(case.level))  # beyond an end the best alpha is near it
        return highest_near(score, near, REACH, low, high)


class Fixed(AtAlpha):
    """One alpha for all."""

    def __init__(self, name: str, model: Model, alpha: float) -> None:
        super().__init__(name, f"{alpha:g}", model)
        self.alpha = alpha

    def check(self, levels: Sequence[float | None]) -> None:
        self.model.check(Strength(self.alpha))

    def choose(self, case: Case) -> float:
        return self.alpha


class Calibrated(AtAlpha):
    """The alpha that the file's calibration has for the level; without one, its schedule."""

    def __init__(self, name: str, model: Model) -> None:
        knob = model.header.knob
        measured = knob is not None and knob.calibration
        super().__init__(name, "calibrated" if measured else "scheduled", model)

    def check(self, levels: Sequence[float | None]) -> None:
        for level in levels:
            self.at(level)

    def choose(self, case: Case) -> float:
        return self.at(case.level)

    def at(self, level: float | None) -> float:
        """The alpha for a level. Raises UsageError where it is not known, or not the knob's."""
        if level is None:
            raise UsageError(
                "a calibrated alpha needs a level", "give --level, or --alpha auto or oracle"
            )
        return self.model.alpha(level)


class Auto(Subject):
    """What `apply` does unasked: the level is told from the picture. One that was degraded here has
    no JPEG's tables, only pixels."""

    def __init__(self, name: str, model: Model) -> None:
        super().__init__(name, "auto")
        self.model = model

    def __call__(self, case: Case) -> tuple[Tensor, float | None]:
        given = case.noisy[0].permute(1, 2, 0).numpy()
        picture = Picture(given, tables=case.tables, components=case.components)
        restored = restore(self.model, picture, Strength())
        assert isinstance(restored.alpha, float)
        return torch.from_numpy(restored.picture.pixels).permute(2, 0, 1)[None], restored.alpha


class Oracle(AtAlpha):
    """The one alpha of the highest mean PSNR at a level: what no one can know beforehand."""

    def __init__(self, name: str, model: Model) -> None:
        super().__init__(name, "oracle", model)
        self.alpha = 0.0

    def prepare(self, cases: Cases, level: float | None) -> None:
        def score(alpha: float) -> float:
            return mean([psnr(*c.measured(self.model(c.noisy, alpha))) for c in cases.at(level)])

        self.alpha = self.best(score, next(cases.at(level)))

    def choose(self, case: Case) -> float:
        return self.alpha


class OracleEach(AtAlpha):
    """The alpha of the highest PSNR for each picture."""

    def __init__(self, name: str, model: Model) -> None:
        super().__init__(name, "oracle-each", model)

    def choose(self, case: Case) -> float:
        def score(alpha: float) -> float:
            return psnr(*case.measured(self.model(case.noisy, alpha)))

        return self.best(score, case)


KNOWING = {"calibrated": Calibrated, "auto": Auto, "oracle": Oracle, "oracle-each": OracleEach}


def subject(name: str, model: Model, setting: str) -> Subject:
    """A model at `calibrated`, `auto`, `oracle`, `oracle-each` or an alpha. Raises UsageError."""
    if not model.tunable:
        return Plain(name, lambda noisy, _level: model(noisy))
    if setting in KNOWING:
        return KNOWING[setting](name, model)
    try:
        return Fixed(name, model, float(setting))
    except ValueError as error:
        raise UsageError(
            f"--alpha {setting!r} is not known",
            f"give alphas from 0 to 1, or of {', '.join(KNOWING)}",
        ) from error


def highest_near(
    score: Callable[[float], float], near: float, reach: float, low: float, high: float
) -> float:
    """As `highest`, within `reach` of `near`; where that ends at its edge, in all of the interval,
    for then the maximum lies beyond."""
    left, right = max(low, near - reach), min(high, near + reach)
    found = highest(score, left, right)
    at_edge = (found < left + EDGE and left > low) or (found > right - EDGE and right < high)
    return highest(score, low, high) if at_edge else found


def highest(score: Callable[[float], float], low: float, high: float) -> float:
    """The x of a unimodal score's maximum to within 0.01, the ends of the interval included.

    By golden section.
    """
    ratio = (5**0.5 - 1) / 2
    known = {x: score(x) for x in (low, high)}
    left, right = high - ratio * (high - low), low + ratio * (high - low)
    known[left], known[right] = score(left), score(right)
    while high - low > 0.02:
        if known[left] >= known[right]:
            high, right = right, left
            left = high - ratio * (high - low)
            known[left] = score(left)
        else:
            low, left = left, right
            right = low + ratio * (high - low)
            known[right] = score(right)
    return max(known, key=lambda x: known[x])
