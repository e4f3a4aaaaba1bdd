"""The models that there are, and what their files say of themselves."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tunectl.errors import CheckpointError, StrangerError
from tunectl.hashing import size_and_time
from tunectl.header import Header, Part, read_header
from tunectl.inference.find import find_model, model_folders, models_in
from tunectl.knob import STYLES, SYMBOLS


@dataclass(frozen=True)
class Entry:
    """A model file: `header` is None where `fault` says why it cannot be read."""

    name: str
    path: Path
    size: int
    own: bool
    header: Header | None
    fault: str = ""

    def cells(self) -> list[str]:
        """A line of the list: name, task, knob, size, whose, and about."""
        task, about = "", self.fault
        if self.header is not None:
            task = self.header.task.name if self.header.task else "-"
            about = self.header.card
        size = f"{self.size / 1e6:.1f} MB"
        return [self.name, task, self.levels(), size, "yours" if self.own else "bundled", about]

    def levels(self) -> str:
        """What the knob goes through, in the task's unit; of a plain model its level."""
        if self.header is None:
            return "-"
        symbol = symbol_of(self.header.task)
        knob = None if self.header.plain else self.header.knob  # folded, it is only remembered
        ends = knob.levels if knob else self.header.level
        if ends is None:
            return "no knob"
        task = self.header.task
        if task is not None and task.name in STYLES:
            fields = task.fields
            first, second = fields.get("first", "photo"), fields.get("second", "any style")
            span = f"{first} to {second}" if knob else "a style"
        else:
            span = f"{symbol} {ends[0]:g}" + (f" to {ends[1]:g}" if ends[1] != ends[0] else "")
        return span if knob else f"{span}, no knob"

    def card(self) -> list[tuple[str, str]]:
        """Everything, a line each: what it is called and what it says."""
        header = self.header
        lines = [("name", self.name), ("file", f"{self.path}, {self.size / 1e6:.1f} MB")]
        if header is None:
            return [*lines, ("fault", self.fault)]
        lines += [("about", header.card or "-"), ("task", _part(header.task))]
        lines += [("knob", self.levels()), ("network", _part(header.network))]
        if header.tuner is not None:
            lines.append(("tuner", _part(header.tuner)))
        knob = header.knob
        if knob is not None:
            knots = ", ".join(f"{knot:g}" for knot in knob.knots)
            lines.append(
                ("learned", f"{knob.way} way, knots at alpha {knots}, power {knob.power:g}")
            )
        if knob is not None and knob.calibration:
            pairs = ", ".join(f"{alpha:.2f}: {level:.3g}" for alpha, level in knob.calibration)
            lines.append(("calibrated", pairs))
        lines += [("stored in", header.dtype), ("licence", header.licence or "not said")]
        for key, value in header.provenance.items():
            lines.append((key, _words(value)))
        return lines

    def as_json(self) -> dict[str, Any]:
        """Everything, for programs."""
        facts = {"name": self.name, "path": str(self.path), "bytes": self.size, "own": self.own}
        return {**facts, "fault": self.fault, "header": self.header and asdict(self.header)}


def catalogue() -> list[Entry]:
    """Every model that a name stands for, by name; damaged files among them, with their fault."""
    own = folder_of_own()
    found: dict[str, Entry] = {}
    for folder in model_folders():
        for path in models_in(folder):
            if path.stem not in found:
                found[path.stem] = _entry(path, folder == own)
    return [found[name] for name in sorted(found)]


def describe(name: str) -> Entry:
    """One model. Raises CheckpointError for one that is missing, or damaged as far as is read."""
    path = find_model(name)
    own = path.parent == folder_of_own()
    return Entry(path.stem, path, path.stat().st_size, own, read_header(path))


def folder_of_own() -> Path:
    """Where the user's models lie."""
    return model_folders()[0]


def symbol_of(task: Part | None) -> str:
    """How a person writes a level of the task."""
    return SYMBOLS.get(task.name, "level") if task is not None else "level"


def _entry(path: Path, own: bool) -> Entry:
    try:
        header, fault = read_header(path), ""
    except StrangerError:
        header, fault = None, "another program's, which spandrel may know"
    except CheckpointError as error:
        header, fault = None, error.message
    return Entry(path.stem, path, size_and_time(path)[0], own, header, fault)


def _part(part: Part | None) -> str:
    if part is None:
        return "-"
    fields = ", ".join(f"{key} {_words(value)}" for key, value in part.fields.items())
    return f"{part.name} ({fields})" if fields else part.name


def _words(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key} {_words(one)}" for key, one in value.items())
    if isinstance(value, list | tuple):
        return " ".join(map(_words, value))
    return "-" if value is None else str(value)
