"""Tasks by name. Adding one: write its file, add its line, and its symbol to `knob.SYMBOLS`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tunectl.errors import UsageError
from tunectl.fields import build_fields
from tunectl.tasks.base import Evidence, Task
from tunectl.tasks.deblock import Deblock
from tunectl.tasks.denoise import Denoise
from tunectl.tasks.pairs import Pairs
from tunectl.tasks.photo import Photo
from tunectl.tasks.restyle import Restyle
from tunectl.tasks.style import Style

TASKS: dict[str, type[Task]] = {
    "denoise": Denoise,
    "deblock": Deblock,
    "photo": Photo,
    "pairs": Pairs,
    "style": Style,
    "restyle": Restyle,
}

__all__ = ["TASKS", "Evidence", "Task", "build_task"]


def build_task(name: str, fields: Mapping[str, Any] | None = None) -> Task:
    """A task by name. Raises UsageError on an unknown name or field."""
    if name not in TASKS:
        raise UsageError(f"no task is called {name!r}", f"known: {', '.join(TASKS)}")
    kind = TASKS[name]
    return kind(build_fields(kind.Fields, fields or {}, f"task {name}"))
