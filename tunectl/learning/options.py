"""What makes a training run this one: how long, on what, and how fast it learns."""

from __future__ import annotations

import math
from dataclasses import dataclass

from tunectl.errors import UsageError

OPTIMIZERS = ("adamw", "adam", "muon")
LOSSES = ("charbonnier", "l1", "mse", "psnr")


@dataclass(frozen=True)
class Options:
    """How long, on what, and how fast a network learns.

    Exactly one of `steps` and `minutes` is set; the learning rate warms up over `warmup` steps and
    falls along a cosine to zero at the end of the run, whichever way its length is given. `batch`
    patches of `patch` pixels make a step; they are shared among `draws` levels, so that one step
    sees weak and strong inputs. `bias` above 1 draws weak levels more often: the level's share of
    the range is u ** bias for uniform u. `gray` is the share of gray patches; `flat` that of
    patches of one colour which are not degraded, whatever alpha says: they teach that a flat area
    stays as it is, up to the picture's border. `ema` is the decay of the averaged weights (the
    ones that are kept), `clip` the largest gradient norm. `micro` is how many patches run through
    the network at once, where a level's share of the batch does not fit into memory: their
    gradients are added up, and nothing but the order of the sums changes.
    """

    steps: int | None = None
    minutes: float | None = None
    batch: int = 8
    draws: int = 2
    patch: int = 96
    lr: float = 1e-3
    warmup: int = 200
    optimizer: str = "adamw"
    loss: str = "charbonnier"
    bias: float = 1.0
    gray: float = 0.15
    flat: float = 0.03
    ema: float = 0.998
    clip: float = 0.5
    seed: int = 0
    micro: int | None = None

    def __post_init__(self) -> None:
        if self.steps is None and self.minutes is None:
            raise UsageError("a run needs its length", "give --steps or --minutes")
        if self.steps is not None and self.minutes is not None:
            raise UsageError("--steps and --minutes are both given", "give one of the two")
        if not 0 < self.length < math.inf:
            raise UsageError(
                "a run's length must be positive and finite", "correct --steps or --minutes"
            )
        for name in ("batch", "draws", "patch", "micro"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise UsageError(f"--{name} must be at least 1", f"raise --{name}")
        if self.batch % self.draws:
            raise UsageError(
                f"--batch {self.batch} cannot be shared among --draws {self.draws} levels",
                "make --batch a multiple of --draws",
            )
        if not 0 <= self.seed < 1 << 63:
            raise UsageError(f"--seed {self.seed} is no seed", "give 0 to 9223372036854775807")
        if self.optimizer not in OPTIMIZERS:
            raise UsageError(
                f"no optimizer is called {self.optimizer!r}", f"known: {', '.join(OPTIMIZERS)}"
            )
        if self.loss not in LOSSES:
            raise UsageError(f"no loss is called {self.loss!r}", f"known: {', '.join(LOSSES)}")
        if not all(0 < value < math.inf for value in (self.lr, self.bias, self.clip)):
            raise UsageError("--lr, --bias and --clip must be positive and finite", "correct them")
        if not (0 <= self.ema < 1 and 0 <= self.gray <= 1 and 0 <= self.flat < 1):
            raise UsageError("--ema and --flat lie in [0, 1), --gray in [0, 1]", "correct them")

    def pieces(self, processes: int) -> list[tuple[int, slice]]:
        """The parts of a step that run at once: draws, and which of their patches.

        There is at least one for each of `processes`. Raises UsageError if the batch is too small.
        """
        if self.batch < processes:
            raise UsageError(
                f"--batch {self.batch} cannot be shared among {processes} processes",
                "raise --batch, or start fewer",
            )
        patches = self.batch // self.draws
        parts = math.ceil(processes / self.draws)  # of a draw
        size = min(self.micro or patches, math.floor(patches / parts) or 1)
        return [
            (draw, slice(start, min(start + size, patches)))
            for draw in range(self.draws)
            for start in range(0, patches, size)
        ]

    @property
    def length(self) -> float:
        """Steps or minutes, whichever the run is counted in."""
        length = self.steps if self.steps is not None else self.minutes
        assert length is not None
        return length

    def share(self, step: int, seconds: float) -> float:
        """How much of the run is over, 0 to 1, after `step` steps and `seconds` of training."""
        done = step if self.steps is not None else seconds / 60
        return min(1.0, done / self.length)
