"""What a person sees of a run while it goes on: lines, and a bar on a terminal."""

from __future__ import annotations

import contextlib
import os
import sys
from typing import TYPE_CHECKING

from tunectl.cli.console import emit, say, shown

if TYPE_CHECKING:
    from tunectl.inference.job import Job, Outcome, Tally
    from tunectl.learning.stepper import Report


class TrainingProgress:
    """A bar on a terminal; elsewhere a plain line for each validation."""

    def __enter__(self) -> TrainingProgress:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

        first = os.environ.get("RANK", "0") in ("", "0")  # of torchrun's processes
        self._console, self._on_terminal = Console(stderr=True), first and sys.stderr.isatty()
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.percentage:>3.0f} %"),
            TimeRemainingColumn(),
            console=self._console,
            disable=not self._on_terminal,
        )
        self._bar.start()
        self._task = self._bar.add_task("starting", total=1.0)
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(OSError):  # the terminal is gone
            self._bar.stop()

    def show(self, report: Report) -> None:
        """Move the bar; print PSNR by level when there is a fresh measurement."""
        words = f"step {report.step}"
        if report.loss is not None:
            rate = report.megapixels_per_second
            words += f"  loss {report.loss:.3f}  lr {report.lr:.1e}  {rate:.2f} Mpx/s"
        self._bar.update(self._task, completed=report.share, description=words)
        if report.validation:
            table = "  ".join(f"{name}: {value:.2f}" for name, value in report.validation.items())
            named = any(" " in name for name in report.validation)  # scores, not PSNR
            line = f"{report.share:4.0%}  {words}  {'' if named else 'dB '}at level {table}"
            if 0 < report.share < 1:
                line += f"  {_duration(report.seconds * (1 / report.share - 1))} left"
            if self._on_terminal:
                self._console.print(line, highlight=False)
            else:
                say(line)


def _duration(seconds: float) -> str:
    minutes = round(seconds / 60)
    if minutes < 1:
        return f"{seconds:.0f} s"
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02} min"


def plan_line(job: Job) -> str:
    """What is to become of an input."""
    words = f": {job.skip}, skipped" if job.skip else ", replaced" if job.replaces else ""
    return f"{job.name} -> {job.target}{words}"


def result_line(outcome: Outcome) -> str:
    """What became of an input, with the strength it was restored at and what else is to know."""
    job = outcome.job
    if outcome.alpha is None:
        words = plan_line(job)
    else:
        estimated = ", estimated" if outcome.estimated else ""
        level = "" if outcome.level is None else f" (level {outcome.level:.3g}{estimated})"
        alphas = outcome.alpha if isinstance(outcome.alpha, tuple) else (outcome.alpha,)
        alpha = "/".join(f"{one:.3g}" for one in alphas)
        words = f"{job.name}: alpha {alpha}{level} -> {job.target}"
    return "; ".join([words, *outcome.notes])


class FileProgress:
    """A line for each file, and on a terminal a bar under them, or, of one file, the time it takes.

    The lines go to stderr and results to stdout. On a terminal that would show both, the line is
    enough, as it names the result; with `as_json` the result is.
    """

    def __init__(self, total: int, quiet: bool, as_json: bool) -> None:
        self._total = total
        read_by_a_person = sys.stdout.isatty()
        self._lines = not quiet and not (as_json and read_by_a_person)
        self._results = quiet or as_json or not (read_by_a_person and sys.stderr.isatty())

    def __enter__(self) -> FileProgress:
        from rich.console import Console
        from rich.progress import (
            BarColumn,
            MofNCompleteColumn,
            Progress,
            ProgressColumn,
            SpinnerColumn,
            TextColumn,
            TimeElapsedColumn,
        )
        from rich.progress import TimeRemainingColumn as TimeLeftColumn

        terminal = Console(stderr=True)
        rate = TextColumn("{task.fields[rate]:.2f} Mpx/s")
        columns: list[ProgressColumn] = [BarColumn(), MofNCompleteColumn(), rate, TimeLeftColumn()]
        if self._total < 2:
            columns = [SpinnerColumn(), TimeElapsedColumn()]
        self._bar = Progress(
            *columns,
            console=terminal,
            disable=not self._lines or not self._total or not sys.stderr.isatty(),
            transient=True,
            # Or results on their way into a file would be printed to the terminal instead.
            redirect_stdout=False,
            redirect_stderr=False,
        )
        self._bar.start()
        self._task = self._bar.add_task("", total=self._total, rate=0.0)
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(OSError):  # the terminal is gone
            self._bar.stop()

    def show(self, outcome: Outcome, result: str | bytes | None, tally: Tally) -> None:
        """One more file is dealt with, with `result` if there is one; of errors nothing is said."""
        self._bar.update(self._task, advance=1, rate=tally.megapixels_per_second)
        if self._lines and not outcome.error:
            self.say(result_line(outcome))
        if result is not None and self._results:
            emit(result)

    def say(self, line: str) -> None:
        """A line on stderr, above the bar if there is one."""
        if self._bar.disable:
            say(line)
        else:
            self._bar.console.print(shown(line), markup=False, highlight=False, soft_wrap=True)
