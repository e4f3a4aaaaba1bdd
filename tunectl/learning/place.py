"""Where a run takes its pictures from, where its model goes, and on what it is trained."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from tunectl.errors import UsageError
from tunectl.header import check_stored
from tunectl.learning.stepper import Report
from tunectl.tasks import TASKS
from tunectl.tasks.style import PHOTO


@dataclass(frozen=True)
class Place:
    """Where photos come from, where the model goes, and on what it is trained.

    `data` is a folder or a list of photos, `noisy` the folder of their other halves, where the task
    learns from pairs, whose names end as `endings` say; `cached` keeps what was decoded for the
    next run. `start` names a model of the same shape, of DNI with fewer knots at will, whose
    weights (in finetuning, only the tuner's) a new run begins with. `style` is the picture of the
    style at alpha 1, `from_style` that of the one at alpha 0, where it is not the photo itself,
    `lower_style` that at -1, which makes a knob with two ends.

    The state of a run is saved every `save_every` seconds. One that was interrupted, or ended
    `stop_after` so many steps, goes on, unless it is to begin `fresh`. Where `compiled`, its steps
    run through `torch.compile`. `config` are the options as the run's folder keeps them, in TOML;
    with `board` there are files for TensorBoard in it too.
    """

    data: Path
    output: Path
    validation: Path | None = None
    style: Path | None = None
    from_style: Path | None = None
    lower_style: Path | None = None
    exclude: tuple[str, ...] = ()
    noisy: Path | None = None
    endings: tuple[str, str] = ("", "")
    cached: bool = False
    device: str = "auto"
    precision: str = "auto"
    compiled: bool = False
    dtype: str = "fp32"
    start: Path | None = None
    fresh: bool = False
    save_every: float = 300.0
    stop_after: int | None = None
    board: bool = False
    config: str = ""
    command: str = ""
    licence: str = ""
    card: str = ""
    report: Callable[[Report], None] = field(default=lambda report: None)
    say: Callable[[str], None] = field(default=lambda words: None)

    def __post_init__(self) -> None:
        check_stored(self.dtype)
        if self.stop_after is not None and self.stop_after < 1:
            raise UsageError("--stop-after must be at least 1", "raise it")

    def check_pairs(self, task: str) -> None:
        """Raises UsageError if `task` learns from pairs and there are none, or the reverse."""
        takes = task in TASKS and TASKS[task].takes_pairs
        if takes and self.noisy is None:
            raise UsageError(f"{task} needs the photos' other halves", "give --noisy FOLDER")
        if not takes and self.noisy is not None:
            raise UsageError(f"{task} makes its own inputs", "give --task pairs, or no --noisy")
        if self.noisy is None and any(self.endings):
            raise UsageError("--pairs says how names of pairs end", "give --noisy FOLDER as well")
        for option, place in (("--data", self.data), ("--validation", self.validation)):
            if self.noisy is not None and place is not None and not place.is_dir():
                raise UsageError(f"{place}: pairs come in folders", f"name a folder with {option}")

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
        if task == "restyle" and set(names) - {"second"}:
            raise UsageError(
                "restyle learns any style, between no two", "give --style FOLDER, and no other"
            )
        if PHOTO in names.values():
            raise UsageError(f"a style cannot be called {PHOTO}", "give its picture another name")
        return names if task == "style" else {}
