"""What alpha means: knots, schedule, and the measured map between alpha and level."""

from __future__ import annotations

import math
from bisect import bisect_left
from dataclasses import dataclass

from tunectl.errors import AlphaError

# How a person writes a level of each task.
SYMBOLS = {
    "denoise": "sigma",
    "deblock": "quality",
    "photo": "noise",
    "pairs": "share of the difference",
    "style": "share of the second style",
    "restyle": "share of the style",
}
STYLES = ("style", "restyle")  # whose ends are pictures
WAYS = ("endpoint", "path", "joint")
Alpha = float | tuple[float, ...]  # one, or one for each site of a tuner that tells sites apart
MOST_KNOTS, MOST_PAIRS = 16, 1024


@dataclass(frozen=True)
class Knob:
    """The levels at alpha 0 and 1, the way between, and where the weights have knots.

    The schedule of training is level(alpha) = levels[0] + (levels[1] - levels[0]) * alpha ** power,
    mirrored below 0 where the knots begin at -1.
    `calibration` holds measured pairs (alpha, level), alpha ascending and levels monotone; where
    it is there, it decides. `way` is how the knob was learned: the ends only (endpoint), a frozen
    base and levels between (path), or everything together (joint).
    """

    levels: tuple[float, float]
    power: float = 1.0
    knots: tuple[float, ...] = (0.0, 1.0)
    way: str = "endpoint"
    calibration: tuple[tuple[float, float], ...] = ()

    def __post_init__(self) -> None:
        """Raises ValueError for what cannot be a knob, as a damaged or hostile file may hold."""
        alphas, levels = [a for a, _ in self.calibration], [level for _, level in self.calibration]
        numbers = [*self.levels, self.power, *self.knots, *alphas, *levels]
        if not all(isinstance(n, int | float) and math.isfinite(n) for n in numbers):
            raise ValueError("a knob's numbers must be finite")
        if (
            len(self.levels) != 2
            or self.levels[0] == self.levels[1]
            or self.power <= 0
            or self.way not in WAYS
        ):
            raise ValueError("a knob has two levels, a positive power and a known way")
        if not 2 <= len(self.knots) <= MOST_KNOTS or len(self.calibration) > MOST_PAIRS:
            raise ValueError(f"a knob has 2 to {MOST_KNOTS} knots, at most {MOST_PAIRS} pairs")
        if alphas != sorted(alphas) or levels not in (sorted(levels), sorted(levels)[::-1]):
            raise ValueError("a calibration must be monotone")

    @property
    def lowest(self) -> float:
        """The least alpha: 0, or -1 of a knob with two ends beside its base."""
        return min(0.0, self.knots[0])

    def within(self, level: float) -> float:
        """The level, or the nearest that the knob has between alpha 0 and 1."""
        levels = [level for alpha, level in self.calibration if alpha >= 0]
        levels += self.level(0.0), self.level(1.0)
        return min(max(level, min(levels)), max(levels))

    def scheduled_level(self, alpha: float) -> float:
        """The level that training shows at `alpha`."""
        start, end = self.levels
        return start + (end - start) * math.copysign(abs(alpha) ** self.power, alpha)

    def scheduled_alpha(self, level: float) -> float:
        """The inverse of `scheduled_level`."""
        start, end = self.levels
        share = (level - start) / (end - start)
        return math.copysign(abs(share) ** (1 / self.power), share)

    def level(self, alpha: float) -> float:
        """The level that `alpha` was measured or scheduled for; that of the nearest end outside."""
        if not self.calibration:
            return self.scheduled_level(min(max(alpha, self.lowest), 1.0))
        alphas, levels = zip(*self.calibration, strict=True)
        return _interpolate(alpha, list(alphas), list(levels))

    def alpha(self, level: float) -> float:
        """The alpha measured to be best at `level`, or scheduled for it where none was measured.

        Raises AlphaError outside the knob's range.
        """
        pairs = sorted((pair_level, alpha) for alpha, pair_level in self.calibration)
        levels = [pair_level for pair_level, _ in pairs]
        levels = levels or sorted((self.level(self.lowest), self.level(1.0)))
        if not levels[0] <= level <= levels[-1]:
            raise AlphaError(
                f"level {level:g} lies outside this model's {levels[0]:g} to {levels[-1]:g}",
                "choose a level inside, or --alpha 0 or 1 for the nearest end",
            )
        if not pairs:
            return min(max(self.lowest, self.scheduled_alpha(level)), 1.0)
        return _interpolate(level, levels, [alpha for _, alpha in pairs])


def is_share(symbol: str) -> bool:
    """Whether a level so written is a share, which alpha says already."""
    return symbol.startswith("share")


def check_alpha(alpha: Alpha, extrapolate: bool = False, lowest: float = 0.0) -> Alpha:
    """Return alpha as floats. Raises AlphaError outside [lowest, 1] unless `extrapolate`."""
    if isinstance(alpha, tuple):
        return tuple(check_one(one, extrapolate, lowest) for one in alpha)
    return check_one(alpha, extrapolate, lowest)


def check_one(alpha: Alpha, extrapolate: bool = False, lowest: float = 0.0) -> float:
    """As `check_alpha`, where several alphas make no sense."""
    try:
        alpha = float("" if isinstance(alpha, str) else alpha)  # type: ignore[arg-type]
    except (TypeError, ValueError, RuntimeError) as error:  # the last is torch's
        told = f"{alpha!r} is not one alpha"
        raise AlphaError(told, "give one number from 0 to 1") from error
    if not math.isfinite(alpha):
        raise AlphaError(f"alpha {alpha:g} is not a number", "give one from 0 to 1")
    if not extrapolate and not lowest <= alpha <= 1:
        raise AlphaError(
            f"alpha {alpha:g} lies outside {lowest:g} to 1", "0 is the gentlest, 1 the strongest"
        )
    return alpha


def _interpolate(x: float, xs: list[float], ys: list[float]) -> float:
    """Linear between ascending xs, constant outside."""
    if x <= xs[0]:
        return ys[0]
    if x >= xs[-1]:
        return ys[-1]
    i = bisect_left(xs, x)
    t = (x - xs[i - 1]) / (xs[i] - xs[i - 1])
    return ys[i - 1] + t * (ys[i] - ys[i - 1])
