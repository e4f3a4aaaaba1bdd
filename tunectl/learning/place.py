"""Where a run takes its pictures from, where its model goes, and on what it is trained."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from tunectl.errors import UsageError
from tunectl.header import check_stored
from tunectl.learning.loop import Report
from tunectl.tasks import TASKS
from tunectl.tasks.style import PHOTO


@dataclass(frozen=True)
class Place:
    """Where photos come from, where the model goes, and on what it is trained.

    `start` names a model of the same shape whose weights (in finetuning, only the tuner's) a new
    run begins with; `resume` goes on with an interrupted run instead. `style` is the picture of the
    style at alpha 1, `from_style` that of the one at alpha 0, where it is not the photo itself,
    `lower_style` that at -1, which makes a knob with two ends. `previews` is a folder for pictures
    of how the run goes.
    """

    data: Path
    output: Path
    validation: Path | None = None
    style: Path | None = None
    from_style: Path | None = None
    lower_style: Path | None = None
    exclude: tuple[str, ...] = ()
    device: str = "auto"
    precision: str = "auto"
    dtype: str = "fp32"
    resume: bool = False
    previews: Path | None = None
    start: Path | None = None
    command: str = ""
    licence: str = ""
    card: str = ""
    report: Callable[[Report], None] = field(default=lambda report: None)
    say: Callable[[str], None] = field(default=lambda words: None)

    def __post_init__(self) -> None:
        check_stored(self.dtype)

    def style_pictures(self) -> dict[str, Path]:
        """The pictures of styles by their role."""
        pictures = {"first": self.from_style, "second": self.style, "lower": self.lower_style}
        return {role: path for role, path in pictures.items() if path is not None}

    def style_names(self, task: str) -> dict[str, str]:
        """What the styles that `task` leads to are called, by their role.

        Raises UsageError if it has no styles.
        """
        names = {role: path.stem for role, path in self.style_pictures().items()}
        if names and task in TASKS and not TASKS[task].takes_style:
            raise UsageError(f"{task} knows no styles", "give --task style, or leave --style away")
        if len(set(self.style_pictures().values())) != len(set(names.values())):
            raise UsageError("two styles have the same name", "rename one of the pictures")
        if PHOTO in names.values():
            raise UsageError(f"a style cannot be called {PHOTO}", "give its picture another name")
        return names if task == "style" else {}
