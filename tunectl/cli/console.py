"""The only place that writes words to the terminal, and that turns errors into exit codes."""

from __future__ import annotations

import contextlib
import os
import sys
import traceback
from collections.abc import Iterator
from typing import TYPE_CHECKING

from tunectl.errors import TunectlError

if TYPE_CHECKING:
    from tunectl.learning.loop import Report

INTERRUPTED = 130


def say(words: str) -> None:
    """One line for the person at the terminal; results go to stdout, this does not."""
    print(words, file=sys.stderr)


@contextlib.contextmanager
def exit_codes() -> Iterator[None]:
    """Turn our errors into two lines and an exit code; a traceback only with TUNECTL_DEBUG."""
    try:
        yield
    except TunectlError as error:
        if os.environ.get("TUNECTL_DEBUG"):
            traceback.print_exc()
        say(f"tunectl: {error.message}")
        if error.hint:
            say(f"  {error.hint}")
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        say("tunectl: interrupted")
        sys.exit(INTERRUPTED)
    except MemoryError:
        say("tunectl: out of memory")
        say("  close other programs, or work on less at a time")
        sys.exit(4)


class TrainingProgress:
    """A bar on a terminal; elsewhere a plain line for each validation."""

    def __enter__(self) -> TrainingProgress:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

        self._console = Console(stderr=True)
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.percentage:>3.0f} %"),
            TimeRemainingColumn(),
            console=self._console,
            disable=not self._console.is_terminal,
        )
        self._bar.start()
        self._task = self._bar.add_task("starting", total=1.0)
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def show(self, report: Report) -> None:
        """Move the bar; print PSNR by level when there is a fresh measurement."""
        words = (
            f"step {report.step}  loss {report.loss:.3f}  {report.megapixels_per_second:.2f} Mpx/s"
        )
        self._bar.update(self._task, completed=report.share, description=words)
        if report.validation:
            table = "  ".join(f"{level}: {db:.2f}" for level, db in report.validation.items())
            line = f"{report.share:4.0%}  {words}  dB at level {table}"
            if self._console.is_terminal:
                self._console.print(line, highlight=False)
            else:
                say(line)


class FileProgress:
    """A bar over files, on a terminal and for more than one file; elsewhere nothing."""

    def __init__(self, total: int) -> None:
        self.total = total

    def __enter__(self) -> FileProgress:
        from rich.console import Console
        from rich.progress import Progress

        console = Console(stderr=True)
        self._bar = Progress(console=console, disable=not console.is_terminal or self.total < 2)
        self._bar.start()
        self._task = self._bar.add_task("pictures", total=self.total)
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def advance(self) -> None:
        """One more file is dealt with."""
        self._bar.advance(self._task)
