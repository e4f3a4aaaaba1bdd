"""What `apply` tells of its results: lines, JSON, a journal."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from tunectl.cli import console
from tunectl.errors import DiskFullError, TunectlError

if TYPE_CHECKING:
    from tunectl.inference.batch import Files, Tally
    from tunectl.inference.job import Asked, Job, Outcome
    from tunectl.inference.manifest import Manifest, Setup
    from tunectl.inference.model import Model
    from tunectl.inference.strength import Strength

    Runner = Callable[..., Tally]


def run_and_tell(
    run: Runner,
    model: Model,
    jobs: Sequence[Job],
    strengths: dict[Asked, Strength],
    files: Files,
    setup: Setup,
    journal: Manifest | None,
    quiet: bool,
    as_json: bool,
) -> Tally:
    """Do the jobs and tell of each. Raises what stops a run: the one job's error, a full disk."""
    from tunectl.inference.manifest import entry

    with console.FileProgress(len(jobs), quiet, as_json) as progress:

        def done(outcome: Outcome, tally: Tally) -> None:
            error = outcome.error
            result: str | bytes | None = None
            if as_json:
                result = json.dumps(entry(outcome, setup))
            elif outcome.status == "done":
                result = outcome.data or outcome.job.target
            progress.show(outcome, result, tally)
            if error and (len(jobs) == 1 or isinstance(error, DiskFullError)):
                raise error
            if error:
                console.complain(error, progress.say)

        record = journal.journal.append if journal else lambda outcome: None
        tally = run(model, jobs, strengths, files, done, record)
    if len(jobs) > 1 and (tally.failed or not quiet):
        console.say(f"tunectl: {tally.done} done, {tally.skipped} skipped, {tally.failed} failed")
    return tally


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
        console.emit(json.dumps(planned(job, setup)) if as_json else console.plan_line(job))
