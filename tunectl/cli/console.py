"""The only place that writes words to the terminal, and that turns errors into exit codes."""

from __future__ import annotations

import contextlib
import os
import sys
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn, TextIO
from unicodedata import category

from tunectl.atomic import refusal
from tunectl.errors import ResourceError, TunectlError, UsageError, is_out_of_memory
from tunectl.signals import heeded

if TYPE_CHECKING:
    from tunectl.inference.batch import Tally
    from tunectl.inference.job import Job, Outcome
    from tunectl.learning.stepper import Report

INTERRUPTED = 130
BROKEN_PIPE = 141
_NO_LINE = {"Cc", "Cs", "Zl", "Zp"}  # control, surrogate, line and paragraph separator


def open_streams() -> None:
    """Open those of the three standard streams that whoever started the program has closed.

    A file that is opened later would take their place, and have words in it.
    """
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):  # by their numbers
        if getattr(sys, name) is None:
            setattr(sys, name, os.fdopen(os.open(os.devnull, os.O_RDWR), mode))


def check_current_folder() -> None:
    """Raises UsageError where it was removed: no library can stand that."""
    try:
        os.getcwd()
    except OSError as error:
        raise UsageError(f"the current folder: {error.strerror}", "change to another") from error


def say(words: str) -> None:
    """One line for the person at the terminal; results go to stdout, this does not."""
    with _reader_may_leave(sys.stderr):
        print(shown(words), file=sys.stderr)


def shown(words: str) -> str:
    """Words on one line, as names of files may hold line ends, commands and half characters."""
    return "".join(
        sign.encode("unicode_escape").decode() if category(sign) in _NO_LINE else sign
        for sign in words
    )


def emit_text(text: str) -> None:
    """A result of several lines, to stdout."""
    emit(f"{text}\n".encode(sys.stdout.encoding, "backslashreplace"))


def emit(result: str | bytes) -> None:
    """A result, at once, to stdout: a line, or bytes as they are."""
    if isinstance(result, str):
        result = f"{shown(result)}\n".encode(sys.stdout.encoding, "backslashreplace")
    with _reader_may_leave(sys.stdout):
        sys.stdout.buffer.write(result)
        sys.stdout.flush()


@contextlib.contextmanager
def _reader_may_leave(stream: TextIO) -> Iterator[None]:
    """End the program without a word where nobody reads any more, as after `| head`.

    Raises ResourceError where a disk is full, or anything else refuses to take what is written.
    """
    try:
        yield
    except OSError as error:
        # What is still buffered would be written, and fail, when the interpreter ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
        if isinstance(error, BrokenPipeError):
            sys.exit(BROKEN_PIPE)
        name = "standard output" if stream is sys.stdout else "standard error"
        raise refusal(Path(name), error) from error


def complain(error: TunectlError, tell: Callable[[str], None] = say) -> None:
    """The cause in one line and the advice in another; a traceback only with TUNECTL_DEBUG."""
    if os.environ.get("TUNECTL_DEBUG"):
        traceback.print_exception(error)
    tell(f"tunectl: {error.message}")
    if error.hint:
        tell(f"  {error.hint}")


@contextlib.contextmanager
def stoppable() -> Iterator[None]:
    """Let SIGINT, SIGTERM and SIGHUP end the block by way of its clean-up, with 130, 143 or 129.

    A second SIGINT or SIGTERM ends the program on the spot.
    """

    def stop(number: int) -> NoReturn:
        with contextlib.suppress(Exception, SystemExit):  # the terminal may be gone
            say("tunectl: stopping; once more to stop at once")
        sys.exit(128 + number)

    with heeded(stop, lambda number: os._exit(128 + number)):
        yield


@contextlib.contextmanager
def exit_codes() -> Iterator[None]:
    """Turn our errors into two lines and an exit code; a traceback only with TUNECTL_DEBUG."""
    try:
        yield
    except TunectlError as error:
        complain(error)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        say("tunectl: interrupted")
        sys.exit(INTERRUPTED)
    except OSError as error:
        if error.filename is None:
            raise
        may = isinstance(error, PermissionError)
        hint = "check that you may use it" if may else "check its name"
        told = ResourceError(f"{error.filename}: {error.strerror}", hint)
        told.__cause__ = error
        complain(told)
        sys.exit(told.exit_code)
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        say("tunectl: out of memory")
        say("  close other programs, or work on less at a time")
        sys.exit(4)


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
    skipped = f": {job.skip}, skipped" if job.skip else ""
    return f"{job.name} -> {job.target}{skipped}"


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
    """A line for each file, and under them a bar: on a terminal, for more than one file.

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
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
        from rich.progress import TimeRemainingColumn as TimeLeftColumn

        console = Console(stderr=True)
        self._bar = Progress(
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rate]:.2f} Mpx/s"),
            TimeLeftColumn(),
            console=console,
            disable=not self._lines or self._total < 2 or not sys.stderr.isatty(),
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
