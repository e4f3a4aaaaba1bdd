"""What a step changes: parameters, their average, the optimiser's moments, and the clock."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from tunectl.device import sent
from tunectl.errors import DivergedError
from tunectl.learning.optimizers import Optimizer
from tunectl.learning.options import Options
from tunectl.learning.processes import Processes
from tunectl.learning.state import RunFolder

SMOOTHING = 0.98  # of the running mean of the loss
WEIGHTS = ("parameter.", "average.")  # how a state calls them; all else are the optimiser's moments
EXPLODED = 10  # times the least running mean of the error
LOWER_LR = "start anew with --fresh and a lower --lr; the states from before are kept until then"


@dataclass(frozen=True)
class Report:
    """Where a run stands.

    `loss` is a running mean, None before the first step; `validation` PSNR in dB by level, or
    what `Task.scores` gives, its names after the level.
    """

    step: int
    share: float
    seconds: float
    loss: float | None
    lr: float
    megapixels_per_second: float
    validation: dict[str, float] = field(default_factory=dict)


class Stepper:
    """Parameters, their average, the optimiser and the clock of one run.

    `error` makes of the loss's mean what grows as the error does (`Task.error`).
    """

    def __init__(
        self,
        model: nn.Module,
        options: Options,
        folder: RunFolder,
        processes: Processes,
        error: Callable[[float], float],
    ) -> None:
        self.error = error
        self.options, self.folder, self.processes = options, folder, processes
        named = [(n, p) for n, p in model.named_parameters() if p.requires_grad]
        self.names = [name for name, _ in named]
        self.parameters: list[Tensor] = [parameter for _, parameter in named]
        self.average = [parameter.detach().clone() for parameter in self.parameters]
        self.optimizer = Optimizer(self.parameters, options.optimizer)
        self.step = 0
        self.seconds = 0.0
        self.loss: float | None = None  # running mean
        self.least: float | None = None  # of it
        self.stopped = False

    @property
    def share(self) -> float:
        """How much of the run is over."""
        return self.options.share(self.step, self.seconds)

    @property
    def lr(self) -> float:
        """The learning rate of the next step."""
        warm = min(1.0, (self.step + 1) / max(1, self.options.warmup))
        return self.options.lr * warm * (1 + math.cos(math.pi * self.share)) / 2

    def report(self, rate: float, validation: dict[str, float] | None = None) -> Report:
        """Where the run stands; `rate` is in megapixels a second."""
        return Report(
            self.step, self.share, self.seconds, self.loss, self.lr, rate, validation or {}
        )

    def update(self, loss: Tensor, clock: float, stop: bool) -> None:
        """One optimiser step, and one of the average after it.

        `loss` is this process's share of the step's, `clock` the seconds of the run so far, of the
        first process only, and `stop` whether this one was told to.
        """
        numbers = sent(torch.tensor([clock, float(stop)]), loss.device)
        numbers = torch.cat([loss.float(), numbers])
        numbers = self.processes.add_gradients(self.parameters, numbers)
        norm = nn.utils.clip_grad_norm_(self.parameters, self.options.clip, foreach=True)
        # Read at once: each reading waits for the device.
        value, seconds, stops, length = torch.cat([numbers, norm[None]]).tolist()
        if not math.isfinite(length):
            raise DivergedError(
                f"training diverged at step {self.step + 1}: a gradient is not a number", LOWER_LR
            )
        self.optimizer.step(self.lr)
        self.step += 1
        self.seconds, self.stopped = max(self.seconds, seconds), stops > 0
        decay = min(self.options.ema, (1 + self.step) / (10 + self.step))
        with torch.no_grad():
            torch._foreach_lerp_(self.average, self.parameters, 1 - decay)
        self._watch(value)

    def _watch(self, loss: float) -> None:
        """Follow the loss. Raises DivergedError if its running mean has exploded."""
        before = loss if self.loss is None else self.loss
        self.loss = SMOOTHING * before + (1 - SMOOTHING) * loss
        if self.step < 2 / (1 - SMOOTHING):  # the first values count too much
            return
        error = self.error(self.loss)
        self.least = min(error, self.least or error)
        if error > EXPLODED * self.least:
            raise DivergedError(
                f"training diverged at step {self.step}: the error is {EXPLODED} times what it was",
                LOWER_LR,
            )

    @contextlib.contextmanager
    def averaged(self) -> Iterator[None]:
        """Exchange the parameters for their average inside the block."""
        self._exchange()
        try:
            yield
        finally:
            self._exchange()

    def keep_average(self) -> None:
        """Leave the average in the model, for good."""
        self._exchange()

    def _exchange(self) -> None:
        with torch.no_grad():
            for parameter, average in zip(self.parameters, self.average, strict=True):
                kept = parameter.detach().clone()
                parameter.copy_(average)
                average.copy_(kept)

    def save(self) -> None:
        """Write everything the run goes on from; only the first process does."""
        if not self.processes.first:
            return
        tensors: dict[str, Tensor] = {}
        for name, parameter, average in zip(self.names, self.parameters, self.average, strict=True):
            tensors[f"parameter.{name}"] = parameter
            tensors[f"average.{name}"] = average
            for key, value in self.optimizer.moments(parameter).items():
                tensors[f"{key}.{name}"] = value
        self.folder.save(self.step, self._facts(), tensors)

    def resume(self) -> None:
        """Take up the newest state that the first process can read, where there is one."""
        facts, tensors = self.folder.load() if self.processes.first else (None, {})
        facts = self.processes.tell(facts)
        if facts is None:
            return
        self.step, self.seconds = facts["step"], facts["seconds"]
        self.loss, self.least = facts["loss"], facts["least"]
        kinds = {key.partition(".")[2] for key in tensors if not key.startswith(WEIGHTS)}
        stepped = self.processes.tell(sorted(kinds))
        with torch.no_grad():
            for name, parameter, average in zip(
                self.names, self.parameters, self.average, strict=True
            ):
                kept = {"parameter": parameter, "average": average}
                if name in stepped:
                    kept |= self.optimizer.begin(parameter)
                if self.processes.first:
                    for key, tensor in kept.items():
                        tensor.copy_(tensors[f"{key}.{name}"])
                self.processes.share(list(kept.values()))

    def _facts(self) -> dict[str, Any]:
        return {
            "step": self.step,
            "seconds": self.seconds,
            "loss": self.loss,
            "least": self.least,
        }
