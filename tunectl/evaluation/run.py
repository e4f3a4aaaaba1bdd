"""From names of models and folders to tables: what `evaluate` does."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from tunectl.errors import UsageError
from tunectl.evaluation.cases import KEPT, Cases, Degraded, Pairs
from tunectl.evaluation.metrics import gray, gray_luma
from tunectl.evaluation.rivals import Rival, load_rival
from tunectl.evaluation.subjects import Subject, subject
from tunectl.evaluation.table import Made, Row, Table, label, measure
from tunectl.fields import fields_to_json
from tunectl.hashing import file_sha256
from tunectl.inference.execution import Execution
from tunectl.inference.find import find_model
from tunectl.inference.load import load
from tunectl.inference.model import Model
from tunectl.tasks import TASKS, Task, build_task


@dataclass(frozen=True)
class Pictures:
    """Where cases come from: folders of clean pictures to degrade at `levels`, or pairs.

    With `noisy`, a folder, or `endings` of names, clean and degraded pictures are paired, and
    `levels` are what models are told of them. `gray` makes them gray, by Matlab's rgb2gray, or,
    with `luma`, of their Y; `luma` alone measures the Y of colour pictures.
    """

    folders: Sequence[Path]
    levels: Sequence[float]
    noisy: Path | None = None
    endings: tuple[str, str] | None = None
    gray: bool = False
    luma: bool = False
    limit: int | None = None

    def cases(self, folder: Path, task: Task) -> Cases:
        """Of one of the folders. Raises DataError for what is missing."""
        to_gray = None if not self.gray else gray_luma if self.luma else gray
        kept = KEPT // len(self.folders)
        if not self.paired:
            cases: Cases = Degraded(folder, task, self.levels, to_gray, self.limit, kept)
        else:
            noisy, endings = self.noisy or folder, self.endings or ("", "")
            cases = Pairs(folder, noisy, endings, self.levels, to_gray, self.limit, kept)
        cases.over_luma = self.luma and not self.gray
        return cases

    @property
    def paired(self) -> bool:
        """Whether pictures come with their other halves, and no task makes those."""
        return self.noisy is not None or self.endings is not None

    @property
    def samples(self) -> str:
        """What is measured, as the header of a table says it."""
        if self.gray:
            return "gray (Y)" if self.luma else "gray"
        return "Y" if self.luma else "RGB"


def evaluate(
    pictures: Pictures,
    models: Sequence[str],
    settings: Sequence[str],
    rivals: Sequence[str] = (),
    task_fields: Mapping[str, Any] | None = None,
    task: str | None = None,
    *,
    with_ssim: bool = False,
    device: str = "auto",
    precision: str = "auto",
    ensemble: int = 1,
    say: Callable[[str], None] = lambda _line: None,
) -> tuple[Task, list[Table]]:
    """A table a folder: first the rivals, then each model at each setting of its knob.

    Returns the task that they were measured on as well.
    Raises UsageError for models that share no task, or whose task PSNR says nothing of.
    """
    execution = Execution.pick(device, precision, ensemble=ensemble)
    how: dict[str, Any] = {"device": device, "precision": precision, "ensemble": ensemble}
    loaded = {name: load(name, **how) for name in models}
    others = {word: load_rival(word, execution.device) for word in rivals}
    job = _task_of(loaded, {} if pictures.paired else others, task, task_fields or {})
    called = _told_apart(
        {name: Path(name).stem for name in loaded}
        | {word: one.name for word, one in others.items()}
    )
    subjects: list[Subject] = []
    for word, one in others.items():
        one.name = called[word]
        subjects.append(one)
    for name, model in loaded.items():
        for setting in settings if model.tunable else ["-"]:
            subjects.append(subject(called[name], model, setting))
    made = Made(
        tunectl=version("tunectl"),
        torch=torch.__version__,
        device=str(execution.device),
        precision=str(execution.precision).removeprefix("torch."),
        ensemble=ensemble,
        task=next(name for name, kind in TASKS.items() if type(job) is kind),
        task_fields=fields_to_json(job.fields),
        models={called[name]: file_sha256(find_model(name)) for name in loaded},
        rivals=list(rivals),
    )
    titles = _told_apart({str(folder): folder.resolve().name for folder in pictures.folders})
    tables = []
    sets = [pictures.cases(folder, job) for folder in pictures.folders]
    for who in subjects:
        who.check(sets[0].levels)
    for folder, cases in zip(pictures.folders, sets, strict=True):
        cases.title = titles[str(folder)]
        rows: list[Row] = []
        for who in subjects:
            say(f"{who.name} {who.setting}: {len(cases)} pictures of {cases.title}")
            rows.append(measure(who, cases, with_ssim))
        levels = [label(level) for level in cases.levels]
        facts = (cases.title, len(cases), cases.protocol, pictures.samples)
        tables.append(Table(*facts, levels, rows, with_ssim, pictures.paired, made))
    return job, tables


def _told_apart(short: Mapping[str, str]) -> dict[str, str]:
    """Short names by the whole ones, which stand where two would be called alike."""
    often = Counter(short.values())
    return {name: word if often[word] == 1 else name for name, word in short.items()}


def _task_of(
    models: Mapping[str, Model],
    rivals: Mapping[str, Rival],
    task: str | None,
    fields: Mapping[str, Any],
) -> Task:
    """The task that the models were trained for, with its fields as the first has them.

    Rivals whose task is not known are measured on that of the others, on `task`, or on denoise.
    """
    parts = {}
    for name, model in models.items():
        part = model.header.task
        if part is None:
            raise UsageError(
                f"{name}: what it was trained for is not known",
                "name it with --rival instead of -m",
            )
        if not model.restores:
            raise UsageError(
                f"{name}: does not bring a picture back, and PSNR says nothing of it",
                "name models that do",
            )
        parts[name] = part
    parts |= {word: rival.task for word, rival in rivals.items() if rival.task is not None}
    tasks = {name: part.name for name, part in parts.items()}
    if task is not None:
        tasks["--task"] = task
    if len(set(tasks.values())) > 1:
        found = ", ".join(f"{name}: {word}" for name, word in tasks.items())
        raise UsageError(f"the models differ in their task: {found}", "compare those of one task")
    known = next((part.fields for part in parts.values()), {})
    return build_task(next(iter(tasks.values()), "denoise"), {**known, **fields})
