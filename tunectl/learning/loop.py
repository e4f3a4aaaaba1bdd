"""The one training loop, for every network, tuner, task and way."""

from __future__ import annotations

import contextlib
import functools
import itertools
import math
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from operator import itemgetter
from typing import cast

import torch
from torch import Tensor, nn

from tunectl.learning.curriculum import Curriculum
from tunectl.learning.options import Options
from tunectl.learning.photos import Photos
from tunectl.learning.processes import Processes
from tunectl.learning.state import RunFolder
from tunectl.learning.stepper import Report, Stepper
from tunectl.seeds import seeded
from tunectl.signals import heeded
from tunectl.tasks import Task
from tunectl.tuners import StepContext, Tunable

VALIDATIONS = 16
REPORTS = 160  # lines in the log
SHOW_EVERY_SECONDS = 2


@dataclass(frozen=True)
class Lesson:
    """What is learned: a task at which strengths, from which photos, how, in which precision."""

    task: Task
    curriculum: Curriculum
    photos: Photos
    options: Options
    precision: torch.dtype


@dataclass(frozen=True)
class Watchers:
    """Who looks at a run: `validate(step)` measures it, `show` is told of it often, `log` seldom.

    `log` hears of every validation and of `REPORTS` moments in between.
    """

    validate: Callable[[int], dict[str, float]]
    show: Callable[[Report], None]
    log: Callable[[Report], None]


@dataclass(frozen=True)
class Steps:
    """The context of a training step, and what is called in it."""

    once: StepContext
    model: nn.Module


def fit(
    model: nn.Module,
    lesson: Lesson,
    folder: RunFolder,
    processes: Processes,
    watchers: Watchers,
    steps: Steps,
    save_every: float,
    stop_after: int | None = None,
) -> Report | None:
    """Train the parameters of `model` that require a gradient; leave their average in place.

    `model` is called as model(x) or, where the curriculum gives an alpha, model(x, alpha). Every
    random number is a function of (seed, step), so that a run which goes on from a state of
    `folder` takes the steps it would have taken. The state is saved every `save_every` seconds, at
    the end, after step `stop_after`, where None is returned, and on SIGINT, SIGTERM or SIGHUP,
    after which KeyboardInterrupt is raised. Only the first of `processes` saves, and calls
    `watchers`. `steps` are those of `model` (`steps_of`).

    Raises DivergedError when a gradient is not finite, before any weight is touched, and when the
    error has grown tenfold.
    """
    options = lesson.options
    error = functools.partial(lesson.task.error, options.loss)
    run = Stepper(model, options, folder, processes, error)
    run.resume()
    pieces = processes.part(options.pieces(processes.count))
    if run.step == 0 and processes.first:  # what the run begins from
        report = run.report(0.0, watchers.validate(0))
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
            with steps.once():
                loss = _gradients(steps.model, lesson, pieces, run.step)
            clock = offset + time.monotonic() - start if processes.first else 0.0
            run.update(loss, clock, stopped.is_set())
            now = time.monotonic()
            pixels = (run.step - first_step) * options.batch * options.patch**2
            rate = pixels / 1e6 / max(now - start - paused, 1e-9)
            measure = math.floor(run.share * VALIDATIONS) > validated
            if measure:
                validated = math.floor(run.share * VALIDATIONS)
            if processes.first:
                report = run.report(rate)
                if measure:
                    with run.averaged():
                        report = run.report(rate, watchers.validate(run.step))
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


def steps_of(model: nn.Module, compiled: bool) -> Steps:
    """How `model` is called in its steps; where `compiled`, through `torch.compile`, with other
    roundings. Raises UsageError for a tuner that cannot be."""
    if isinstance(model, Tunable):
        return Steps(model.steps(compiled), model)
    if compiled:
        model = cast(nn.Module, torch.compile(model, dynamic=False))
    return Steps(contextlib.nullcontext, model)


def _gradients(
    model: nn.Module,
    lesson: Lesson,
    pieces: Sequence[tuple[int, slice]],
    step: int,
) -> Tensor:
    """Add to the parameters' gradients what `pieces` of the step have to say; their loss, (1,).

    A draw's patches are all made, whichever of them are wanted, since one stream of random numbers
    makes them.
    """
    task, options, photos = lesson.task, lesson.options, lesson.photos
    bf16 = lesson.precision == torch.bfloat16
    patches = options.batch // options.draws
    total = torch.zeros(1, device=photos.device)
    for draw, parts in itertools.groupby(pieces, itemgetter(0)):
        alpha, level = lesson.curriculum(step * options.draws + draw)
        generator = seeded(photos.device, options.seed, step, draw)
        sample, gray = photos.patches(patches, options.gray, generator)
        sample = task.vary(sample, generator)
        clean, noisy = task.target(sample), task.degrade(sample, level, generator, gray)
        if task.restores:
            _flatten(clean, noisy, gray, options.flat, generator)
        staged = generator.get_state()
        for _, chosen in parts:
            generator.set_state(staged)
            task.stage(model, patches, chosen, generator)
            with torch.autocast(photos.device.type, torch.bfloat16, bf16):
                x = noisy[chosen]
                output = model(x) if alpha is None else model(x, alpha)
                loss = task.loss(options.loss, output.float(), clean[chosen], level)
            loss = loss * (len(x) / options.batch)
            loss.backward()  # type: ignore[no-untyped-call]
            total += loss.detach()
    return total


def _flatten(
    clean: Tensor, noisy: Tensor, gray: Tensor, share: float, generator: torch.Generator
) -> None:
    """Turn a `share` of the patches into one colour, or of `gray` ones into one gray, clean and
    noisy alike, in place.

    Without them a network at a high alpha has never seen a flat area without noise, and draws its
    zero padding into the border of one. A third of them is white.
    """
    count = len(clean)
    draw = torch.rand(count, 5, generator=generator, device=clean.device)
    colour = torch.where(draw[:, :1] < 1 / 3, 1.0, draw[:, 1:4])
    colour = torch.where(gray[:, None], colour[:, :1], colour)[:, :, None, None]
    chosen = (draw[:, 4] < share)[:, None, None, None]
    clean.copy_(torch.where(chosen, colour, clean))
    noisy.copy_(torch.where(chosen, colour, noisy))


@contextlib.contextmanager
def _stop_on_signal() -> Iterator[threading.Event]:
    """An event that SIGINT, SIGTERM or SIGHUP sets."""
    stopped = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield stopped
        return
    with heeded(lambda _number: stopped.set()):
        yield stopped
