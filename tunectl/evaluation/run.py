"""From names of models and folders to tables: what `evaluate` does."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tunectl.device import pick_device
from tunectl.errors import UsageError
from tunectl.evaluation.cases import Cases, Degraded, Pairs
from tunectl.evaluation.rivals import load_rival
from tunectl.evaluation.subjects import Subject, subject
from tunectl.evaluation.table import Row, Table, label, measure
from tunectl.inference.load import load
from tunectl.inference.model import Model
from tunectl.tasks import Task, build_task


@dataclass(frozen=True)
class Pictures:
    """Where cases come from: folders of clean pictures to degrade at `levels`, or pairs.

    With `noisy`, a folder, or `endings` of names, clean and degraded pictures are paired, and
    `levels` are what models are told of them.
    """

    folders: Sequence[Path]
    levels: Sequence[float]
    noisy: Path | None = None
    endings: tuple[str, str] | None = None
    gray: bool = False
    limit: int | None = None

    def cases(self, folder: Path, task: Task) -> Cases:
        """Of one of the folders. Raises DataError for what is missing."""
        if self.noisy is None and self.endings is None:
            return Degraded(folder, task, self.levels, self.gray, self.limit)
        noisy, endings = self.noisy or folder, self.endings or ("", "")
        return Pairs(folder, noisy, endings, self.levels, self.gray, self.limit)


def evaluate(
    pictures: Pictures,
    models: Sequence[str],
    settings: Sequence[str],
    rivals: Sequence[str] = (),
    task_fields: Mapping[str, Any] | None = None,
    task: str | None = None,
    *,
    luma: bool = False,
    with_ssim: bool = False,
    device: str = "auto",
    precision: str = "auto",
    say: Callable[[str], None] = lambda _line: None,
) -> tuple[Task, list[Table]]:
    """A table a folder: first the rivals, then each model at each setting of its knob.

    Returns the task that they were measured on as well.
    Raises UsageError for models that share no task, or whose task PSNR says nothing of.
    """
    loaded = {name: load(name, device=device, precision=precision) for name in models}
    job = _task_of(loaded, task, task_fields or {})
    subjects: list[Subject] = [load_rival(word, pick_device(device)) for word in rivals]
    for name, model in loaded.items():
        for setting in settings if model.tunable else ["-"]:
            subjects.append(subject(Path(name).stem, model, setting))
    tables = []
    for folder in pictures.folders:
        cases = pictures.cases(folder, job)
        cases.over_luma = luma and not pictures.gray
        rows: list[Row] = []
        for one in subjects:
            say(f"{one.name} {one.setting}: {len(cases)} pictures of {cases.title}")
            rows.append(measure(one, cases, with_ssim))
        samples = "gray" if pictures.gray else "Y" if luma else "RGB"
        levels = [label(level) for level in cases.levels]
        facts = (cases.title, len(cases), cases.protocol, samples)
        tables.append(Table(*facts, levels, rows, with_ssim))
    return job, tables


def _task_of(models: Mapping[str, Model], task: str | None, fields: Mapping[str, Any]) -> Task:
    """The task that the models were trained for, with its fields as the first has them.

    Rivals alone are measured on `task`, or on denoise.
    """
    parts = {}
    for name, model in models.items():
        part = model.header.task
        if part is None or not model.restores:
            raise UsageError(
                f"{name}: does not bring a picture back, and PSNR says nothing of it",
                "name models that do",
            )
        parts[name] = part
    tasks = {name: part.name for name, part in parts.items()}
    if task is not None:
        tasks["--task"] = task
    if len(set(tasks.values())) > 1:
        found = ", ".join(f"{name}: {word}" for name, word in tasks.items())
        raise UsageError(f"the models differ in their task: {found}", "compare those of one task")
    known = next((part.fields for part in parts.values()), {})
    return build_task(next(iter(tasks.values()), "denoise"), {**known, **fields})
