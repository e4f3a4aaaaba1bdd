"""What a person sees of a run that learns."""

from __future__ import annotations

import contextlib
import os
import sys
from typing import TYPE_CHECKING

from tunectl.cli.console import say

if TYPE_CHECKING:
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
