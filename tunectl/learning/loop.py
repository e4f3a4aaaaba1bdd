"""The one training loop, for every network, tuner, task and way."""

from __future__ import annotations

import contextlib
import itertools
import math
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from operator import itemgetter
from typing import Any

import torch
from torch import Tensor, nn

from tunectl.errors import DivergedError
from tunectl.learning.curriculum import Curriculum
from tunectl.learning.optimizers import Optimizer
from tunectl.learning.options import Options
from tunectl.learning.photos import Photos
from tunectl.learning.processes import Processes
from tunectl.learning.state import RunFolder
from tunectl.seeds import seeded
from tunectl.tasks import Task

VALIDATIONS = 16
REPORTS = 160  # lines in the log
SHOW_EVERY_SECONDS = 2
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


@dataclass(frozen=True)
class Watchers:
    """Who looks at a run: `validate(step)` measures it, `show` is told of it often, `log` seldom.

    `log` hears of every validation and of `REPORTS` moments in between.
    """

    validate: Callable[[int], dict[str, float]] | None = None
    show: Callable[[Report], None] = lambda report: None
    log: Callable[[Report], None] = lambda report: None


def fit(
    model: nn.Module,
    task: Task,
    curriculum: Curriculum,
    photos: Photos,
    options: Options,
    precision: torch.dtype,
    folder: RunFolder,
    processes: Processes,
    watchers: Watchers,
    save_every: float,
    stop_after: int | None = None,
) -> Report | None:
    """Train the parameters of `model` that require a gradient; leave their average in place.

    `model` is called as model(x) or, where the curriculum gives an alpha, model(x, alpha). Every
    random number is a function of (seed, step), so that a run which goes on from a state of
    `folder` takes the steps it would have taken. The state is saved every `save_every` seconds, at
    the end, after step `stop_after`, where None is returned, and on SIGINT or SIGTERM, after which
    KeyboardInterrupt is raised. Only the first of `processes` saves, and calls `watchers`.

    Raises DivergedError when a gradient is not finite, before any weight is touched, and when the
    error has grown tenfold.
    """
    run = _Run(model, options, folder, processes)
    run.resume()
    validate, pieces = watchers.validate, processes.part(options.pieces(processes.count))
    if validate and run.step == 0 and processes.first:  # what the run begins from
        report = run.report(0.0, validate(0))
        watchers.log(report)
        watchers.show(report)
    offset, start, first_step = run.seconds, time.monotonic(), run.step
    saved, shown, paused = start, 0.0, 0.0
    validated, logged = (math.floor(run.share * times) for times in (VALIDATIONS, REPORTS))
    with _stop_on_signal() as stopped:
        while run.share < 1:
            if stop_after is not None and run.step >= stop_after:
                run.save()
                return None
            loss = _gradients(model, task, curriculum, photos, options, precision, pieces, run.step)
            clock = offset + time.monotonic() - start if processes.first else 0.0
            run.update(loss, clock, stopped.is_set())
            now = time.monotonic()
            pixels = (run.step - first_step) * options.batch * options.patch**2
            rate = pixels / 1e6 / max(now - start - paused, 1e-9)
            measure = validate is not None and math.floor(run.share * VALIDATIONS) > validated
            if measure:
                validated = math.floor(run.share * VALIDATIONS)
            if processes.first:
                report = run.report(rate)
                if measure and validate:
                    with run.averaged():
                        report = run.report(rate, validate(run.step))
                    paused += time.monotonic() - now
                if measure or math.floor(run.share * REPORTS) > logged:
                    logged = math.floor(run.share * REPORTS)
                    watchers.log(report)
                if measure or now - shown >= SHOW_EVERY_SECONDS:
                    shown = now
                    watchers.show(report)
            # Many processes have to stop at the same step: they hear of it in the next one.
            stop = run.stopped if processes.count > 1 else stopped.is_set()
            if stop or now - saved >= save_every:
                saved = now
                run.save()
            if stop:
                raise KeyboardInterrupt
    run.save()
    run.keep_average()
    return run.report(0.0)


def _gradients(
    model: nn.Module,
    task: Task,
    curriculum: Curriculum,
    photos: Photos,
    options: Options,
    precision: torch.dtype,
    pieces: Sequence[tuple[int, slice]],
    step: int,
) -> Tensor:
    """Add to the parameters' gradients what `pieces` of the step have to say; their loss, (1,).

    A draw's patches are all made, whichever of them are wanted, since one stream of random numbers
    makes them.
    """
    patches = options.batch // options.draws
    total = torch.zeros(1, device=photos.device)
    for draw, parts in itertools.groupby(pieces, itemgetter(0)):
        alpha, level = curriculum(step * options.draws + draw)
        generator = seeded(photos.device, options.seed, step, draw)
        sample, gray = photos.patches(patches, options.gray, generator)
        clean, noisy = task.target(sample), task.degrade(sample, level, generator, gray)
        if task.restores:
            _flatten(clean, noisy, options.flat, generator)
        staged = generator.get_state()
        for _, chosen in parts:
            generator.set_state(staged)
            task.stage(model, patches, chosen, generator)
            with torch.autocast(photos.device.type, torch.bfloat16, precision == torch.bfloat16):
                x = noisy[chosen]
                output = model(x) if alpha is None else model(x, alpha)
                loss = task.loss(options.loss, output.float(), clean[chosen], level)
            loss = loss * (len(x) / options.batch)
            loss.backward()  # type: ignore[no-untyped-call]
            total += loss.detach()
    return total


class _Run:
    """Parameters, their average, the optimiser and the clock of one run."""

    def __init__(
        self, model: nn.Module, options: Options, folder: RunFolder, processes: Processes
    ) -> None:
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
        numbers = torch.tensor([clock, float(stop)], device=loss.device)
        numbers = torch.cat([loss.float(), numbers])
        value, seconds, stops = self.processes.add_gradients(self.parameters, numbers).tolist()
        norm = nn.utils.clip_grad_norm_(self.parameters, self.options.clip, foreach=True)
        if not torch.isfinite(norm):
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
        error = math.exp(self.loss) if self.options.loss == "psnr" else self.loss
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
