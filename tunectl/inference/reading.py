"""What a picture tells of the strength that it wants."""

from __future__ import annotations

from dataclasses import dataclass

from tunectl.errors import AlphaError
from tunectl.knob import Knob
from tunectl.tasks import Task
from tunectl.tasks.base import Evidence


@dataclass(frozen=True)
class Reading:
    """The level within the knob; whether there is `nothing` to remove; and whether the level is
    that of the file itself, by a JPEG's tables, and not that of one before it, of which the file
    says nothing."""

    level: float
    nothing: bool
    by_file: bool


def reading_of(task: Task | None, knob: Knob, evidence: Evidence) -> Reading:
    """Raises AlphaError where nothing can be told."""
    if task is None:
        raise AlphaError(
            "how strongly to apply this model cannot be told from a picture",
            f"give --alpha {knob.lowest:g} to 1",
        )
    level = task.estimate(evidence)
    if level is None:
        raise AlphaError(
            "how strongly to apply this model cannot be told from so small a picture, or so "
            "little of it that is not transparent",
            "give --alpha 0 to 1, or --level in the task's unit",
        )
    by_file = level == task.level_of_file(evidence.tables)
    return Reading(knob.within(level), level == task.weakest, by_file)
