"""What a run works with, beside how it learns."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from tunectl.errors import UsageError
from tunectl.header import check_stored

if TYPE_CHECKING:
    from tunectl.learning.stepper import Report


@dataclass(frozen=True)
class RunConfig:
    """The photos, the model's file, and how the run itself goes.

    `data` is a folder or a list of photos, `noisy` the folder of their other halves, where the task
    learns from pairs, whose names end as `pairs` say; `cache` keeps what was decoded for the next
    run. `style` is the picture of the style at alpha 1, `from_style` that of the one at alpha 0,
    where it is not the photo itself, `lower_style` that at -1, which makes a knob with two ends.
    `start` names a model of the same shape, of DNI with fewer knots at will, whose weights (in
    finetuning, only the tuner's) a new run begins with.

    The model goes to `output`, in the precision `store`, with its `licence`, its `card`, and the
    `command` that made it.

    The state of a run is saved every `save_every` seconds. One that was interrupted, or ended
    `stop_after` so many steps, goes on, unless it is to begin `fresh`. With `compile` its steps run
    through `torch.compile`. `toml` are the options of the command line as the run's folder keeps
    them; with `tensorboard` there are files for TensorBoard in it too. `report` is told often
    how far it is, `say` in words what a user should know. Raises UsageError.
    """

    data: Path
    output: Path
    # what is learned from
    validation: Path | None = None
    exclude: tuple[str, ...] = ()
    noisy: Path | None = None
    pairs: tuple[str, str] = ("", "")
    cache: bool = False
    style: Path | None = None
    from_style: Path | None = None
    lower_style: Path | None = None
    start: Path | None = None
    # the file
    store: str = "fp32"
    licence: str = ""
    card: str = ""
    command: str = ""
    # the run
    device: str = "auto"
    precision: str = "auto"
    compile: bool = False
    fresh: bool = False
    save_every: float = 300.0
    stop_after: int | None = None
    tensorboard: bool = False
    toml: str = ""
    report: Callable[[Report], None] = field(default=lambda report: None)
    say: Callable[[str], None] = field(default=lambda words: None)

    def __post_init__(self) -> None:
        check_stored(self.store)
        if self.stop_after is not None and self.stop_after < 1:
            raise UsageError("--stop-after must be at least 1", "raise it")

    @property
    def styles(self) -> dict[str, Path]:
        """The pictures of styles by their role."""
        pictures = {"first": self.from_style, "second": self.style, "lower": self.lower_style}
        return {role: path for role, path in pictures.items() if path is not None}
