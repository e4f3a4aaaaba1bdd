"""The one training loop, for every network, tuner, task and way."""

from __future__ import annotations

import contextlib
import dataclasses
import math
import signal
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from tunectl.errors import DivergedError, UsageError
from tunectl.learning.curriculum import Curriculum
from tunectl.learning.options import Options
from tunectl.learning.photos import Photos
from tunectl.learning.state import RunFolder
from tunectl.seeds import seeded
from tunectl.tasks import Task

SAVE_EVERY_SECONDS = 300
VALIDATIONS = 16
REPORT_EVERY_SECONDS = 2


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
    megapixels_per_second: float
    validation: dict[str, float] = field(default_factory=dict)


def fit(
    model: nn.Module,
    task: Task,
    curriculum: Curriculum,
    photos: Photos,
    options: Options,
    precision: torch.dtype,
    folder: RunFolder,
    resume: bool = False,
    validate: Callable[[], dict[str, float]] | None = None,
    report: Callable[[Report], None] = lambda report: None,
) -> Report:
    """Train the parameters of `model` that require a gradient; leave their average in place.

    `model` is called as model(x) or, where the curriculum gives an alpha, model(x, alpha). Every
    random number is a function of (seed, step). The state is saved to `folder` every five minutes
    and on SIGINT or SIGTERM, after which KeyboardInterrupt is raised.

    Raises DivergedError, before any weight is touched, when a gradient is not finite.
    """
    run = _Run(model, options, folder)
    if resume:
        run.resume()
    else:
        folder.begin()
    device = run.parameters[0].device
    if validate and run.step == 0:  # what the run begins from
        state = Report(0, 0.0, 0.0, None, 0.0, validate())
        folder.log(dataclasses.asdict(state))
        report(state)
    offset, start = run.seconds, time.monotonic()
    first_step, saved, reported = run.step, start, 0.0
    next_validation = 1 + math.floor(options.share(run.step, run.seconds) * VALIDATIONS)
    patches = options.batch // options.draws
    average: float | None = None
    with _stop_on_signal() as stopped:
        while (share := options.share(run.step, run.seconds)) < 1:
            for draw in range(options.draws):
                alpha, level = curriculum(run.step * options.draws + draw)
                generator = seeded(device, options.seed, run.step, draw)
                clean, gray = photos.patches(patches, options.gray, generator)
                noisy = task.degrade(clean, level, generator, gray)
                if task.restores:
                    _flatten(clean, noisy, options.flat, generator)
                task.stage(model, clean, generator)
                with torch.autocast(device.type, torch.bfloat16, precision == torch.bfloat16):
                    output = model(noisy) if alpha is None else model(noisy, alpha)
                    loss = task.loss(options.loss, output.float(), clean, level)
                (loss / options.draws).backward()  # type: ignore[no-untyped-call]
            run.update(share)
            value = loss.item()
            average = value if average is None else 0.98 * average + 0.02 * value
            now = time.monotonic()
            run.seconds = offset + now - start
            done = run.step - first_step
            state = Report(
                run.step,
                options.share(run.step, run.seconds),
                run.seconds,
                average,
                done * options.batch * options.patch**2 / 1e6 / max(now - start, 1e-9),
            )
            if validate and (state.share * VALIDATIONS >= next_validation or state.share >= 1):
                next_validation = 1 + math.floor(state.share * VALIDATIONS)
                with run.averaged():
                    state = dataclasses.replace(state, validation=validate())
                folder.log(dataclasses.asdict(state))
                report(state)
            elif now - reported >= REPORT_EVERY_SECONDS:
                reported = now
                report(state)
            if stopped.is_set() or now - saved >= SAVE_EVERY_SECONDS:
                saved = now
                run.save()
            if stopped.is_set():
                raise KeyboardInterrupt
    run.save()
    run.keep_average()
    return state


class _Run:
    """Parameters, their average, the optimiser and the clock of one run."""

    def __init__(self, model: nn.Module, options: Options, folder: RunFolder) -> None:
        self.options, self.folder = options, folder
        named = [(n, p) for n, p in model.named_parameters() if p.requires_grad]
        self.names = [name for name, _ in named]
        self.parameters: list[Tensor] = [parameter for _, parameter in named]
        self.average = [parameter.detach().clone() for parameter in self.parameters]
        kind = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}[options.optimizer]
        # Decay would pull FTN's slopes and identities, and AdaFM's zeros, away from the base.
        self.optimizer = kind(self.parameters, lr=options.lr, weight_decay=0, fused=True)
        self.step = 0
        self.seconds = 0.0

    def update(self, share: float) -> None:
        """One optimiser step at the learning rate of `share`, and of the average after it."""
        norm = nn.utils.clip_grad_norm_(self.parameters, self.options.clip, foreach=True)
        if not torch.isfinite(norm):
            raise DivergedError(
                f"training diverged at step {self.step + 1}: a gradient is not a number",
                "start again with a lower --lr; --resume goes back to the last saved state",
            )
        warm = min(1.0, (self.step + 1) / max(1, self.options.warmup))
        for group in self.optimizer.param_groups:
            group["lr"] = self.options.lr * warm * (1 + math.cos(math.pi * share)) / 2
        self.optimizer.step()
        self.optimizer.zero_grad()
        self.step += 1
        decay = min(self.options.ema, (1 + self.step) / (10 + self.step))
        with torch.no_grad():
            torch._foreach_lerp_(self.average, self.parameters, 1 - decay)

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
        """Write everything the run goes on from."""
        tensors: dict[str, Tensor] = {}
        for name, parameter, average in zip(self.names, self.parameters, self.average, strict=True):
            tensors[f"parameter.{name}"] = parameter
            tensors[f"average.{name}"] = average
            for key, value in self.optimizer.state[parameter].items():
                tensors[f"{key}.{name}"] = value
        facts = {"step": self.step, "seconds": self.seconds, "options": self._facts()}
        self.folder.save(self.step, facts, tensors)

    def resume(self) -> None:
        """Take up the newest state. Raises UsageError if it belongs to another run."""
        facts, tensors = self.folder.load()
        for name, value in self._facts().items():
            if facts["options"].get(name) != value:
                raise UsageError(
                    f"{self.folder.path}: was trained with {name}={facts['options'].get(name)}, "
                    f"not {value}",
                    "repeat the options of the run, or start it anew without --resume",
                )
        self.step, self.seconds = facts["step"], facts["seconds"]
        with torch.no_grad():
            for name, parameter, average in zip(
                self.names, self.parameters, self.average, strict=True
            ):
                if f"parameter.{name}" not in tensors:
                    raise UsageError(f"{self.folder.path}: has no {name}", "start the run anew")
                parameter.copy_(tensors[f"parameter.{name}"])
                average.copy_(tensors[f"average.{name}"])
                # The fused optimiser walks memory: its moments need the parameter's layout.
                self.optimizer.state[parameter] = {
                    "step": tensors[f"step.{name}"].to(parameter.device),
                    "exp_avg": torch.empty_like(parameter).copy_(tensors[f"exp_avg.{name}"]),
                    "exp_avg_sq": torch.empty_like(parameter).copy_(tensors[f"exp_avg_sq.{name}"]),
                }

    def _facts(self) -> dict[str, Any]:
        return dataclasses.asdict(self.options)


def _flatten(clean: Tensor, noisy: Tensor, share: float, generator: torch.Generator) -> None:
    """Turn a `share` of the patches into one colour, clean and noisy alike, in place.

    Without them a network at a high alpha has never seen a flat area without noise, and draws its
    zero padding into the border of one. A third of them is white.
    """
    count = len(clean)
    draw = torch.rand(count, 5, generator=generator, device=clean.device)
    colour = torch.where(draw[:, :1] < 1 / 3, 1.0, draw[:, 1:4])[:, :, None, None]
    chosen = (draw[:, 4] < share)[:, None, None, None]
    clean.copy_(torch.where(chosen, colour, clean))
    noisy.copy_(torch.where(chosen, colour, noisy))


@contextlib.contextmanager
def _stop_on_signal() -> Iterator[threading.Event]:
    """An event that SIGINT or SIGTERM sets; a second signal acts as it would without us."""
    stopped = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield stopped
        return
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def stop(number: int, _frame: object) -> None:
        stopped.set()
        for known, handler in before.items():
            signal.signal(known, handler)

    for number in before:
        signal.signal(number, stop)
    try:
        yield stopped
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
