"""What `apply` tells of its results: lines, JSON, a journal."""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from tunectl.cli import console
from tunectl.errors import DiskFullError, TunectlError

if TYPE_CHECKING:
    from tunectl.inference.job import Job, Outcome, Tally
    from tunectl.inference.manifest import Setup


class Teller:
    """Tells of a run's outcomes while they come, and at its end."""

    def __init__(self, jobs: Sequence[Job], setup: Setup, quiet: bool, as_json: bool) -> None:
        self._setup, self._quiet, self._as_json = setup, quiet, as_json
        self._jobs, self._alone = jobs, len(jobs) == 1
        self._progress = FileProgress(len(jobs), quiet, as_json)

    def __enter__(self) -> Teller:
        self._progress.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.__exit__()

    def done(self, outcome: Outcome, tally: Tally) -> None:
        """One more. Raises what stops a run: the one job's error, a full disk."""
        from tunectl.inference.manifest import entry

        error = outcome.error
        result: str | bytes | None = None
        if self._as_json:
            result = json.dumps(entry(outcome, self._setup))
        elif outcome.status == "done":
            result = outcome.data or outcome.job.target
        self._progress.show(outcome, result, tally)
        if error and (self._alone or isinstance(error, DiskFullError)):
            raise error
        if error:
            console.complain(error, self._progress.say)

    def skip_all(self, record: Callable[[Outcome], None]) -> Tally:
        """Of jobs that are all to be skipped, which need no model."""
        from tunectl.inference.job import Outcome, Tally

        tally = Tally()
        for job in self._jobs:
            outcome = Outcome(job, "skipped")
            record(outcome)
            tally.add(outcome)
            self.done(outcome, tally)
        return tally

    def end(self, tally: Tally) -> None:
        """How many of several were done."""
        if not self._alone and (tally.failed or not self._quiet):
            self._progress.say(
                f"tunectl: {tally.done} done, {tally.skipped} skipped, {tally.failed} failed"
            )


@contextlib.contextmanager
def errors_as_json(wanted: bool) -> Iterator[None]:
    """Print what stops the command before its first picture as an object on stdout too."""
    try:
        yield
    except TunectlError as error:
        if wanted:
            from tunectl.inference.manifest import SCHEMA, failure

            console.emit(
                json.dumps({"schema": SCHEMA, "status": "failed", "error": failure(error)})
            )
        raise


def setup_of(model: str, settings: dict[str, Any], hashed: bool) -> Setup:
    """What is told of every result. With `hashed`, the model by its content as well."""
    from tunectl.hashing import file_sha256
    from tunectl.inference.manifest import Setup

    if not hashed:
        return Setup(model, None, settings)
    from tunectl.inference.find import find_model

    return Setup(model, file_sha256(find_model(model)), settings)


def print_plan(jobs: Sequence[Job], setup: Setup, as_json: bool) -> None:
    """A line a job, of what `--dry-run` would do."""
    from tunectl.inference.manifest import planned

    for job in jobs:
        console.emit(json.dumps(planned(job, setup)) if as_json else plan_line(job))


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

        terminal = Console(stderr=True)
        self._bar = Progress(
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rate]:.2f} Mpx/s"),
            TimeLeftColumn(),
            console=terminal,
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
            console.emit(result)

    def say(self, line: str) -> None:
        """A line on stderr, above the bar if there is one."""
        if self._bar.disable:
            console.say(line)
        else:
            self._bar.console.print(
                console.shown(line), markup=False, highlight=False, soft_wrap=True
            )
