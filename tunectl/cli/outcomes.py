"""What `apply` tells of its results: lines, JSON, a journal."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from tunectl.cli import console
from tunectl.cli.progress import FileProgress, plan_line
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
