"""Run a plan: decode, restore, encode, one file at a time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from tunectl.errors import TunectlError
from tunectl.images import Picture, read_picture, write_picture
from tunectl.inference.model import Model
from tunectl.inference.plan import Job


@dataclass(frozen=True)
class Outcome:
    """What became of a job: written, skipped, or failed for a reason."""

    job: Job
    error: TunectlError | None = None


def run(
    model: Model,
    jobs: Sequence[Job],
    extrapolate: bool = False,
    done: Callable[[Outcome], None] = lambda outcome: None,
) -> list[Outcome]:
    """Do every job that is not to be skipped; a bad picture does not stop the others."""
    outcomes = []
    source: Path | None = None
    picture: Picture | None = None
    for job in jobs:
        outcome = Outcome(job)
        if not job.skip:
            try:
                if job.source != source or picture is None:
                    source, picture = job.source, None
                    picture = read_picture(job.source)
                job.output.parent.mkdir(parents=True, exist_ok=True)
                write_picture(job.output, restore(model, picture, job.alpha, extrapolate))
            except TunectlError as error:
                outcome = Outcome(job, error)
        outcomes.append(outcome)
        done(outcome)
    return outcomes


def restore(
    model: Model, picture: Picture, alpha: float | None, extrapolate: bool = False
) -> Picture:
    """The picture with its colour samples restored and everything else as it was."""
    pixels = model(picture.pixels, alpha, extrapolate=extrapolate)
    return replace(picture, pixels=pixels)
