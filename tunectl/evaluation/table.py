"""Measure subjects on cases, and write down what came out."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tunectl.atomic import write_new
from tunectl.errors import DataError
from tunectl.evaluation.cases import Cases
from tunectl.evaluation.chart import Curve, draw_chart
from tunectl.evaluation.metrics import mean, psnr, ssim
from tunectl.evaluation.subjects import Subject

SCHEMA = 3
UNTOLD = "pairs"  # the column where no level was told


@dataclass(frozen=True)
class Result:
    """One picture at one level: PSNR in dB, and what it was reached with. A seed has more digits
    than many readers of numbers hold, and is text."""

    picture: str
    level: str
    alpha: float | None
    seed: str | None
    psnr: float
    ssim: float | None


@dataclass(frozen=True)
class Row:
    """A subject's results on all pictures at all levels."""

    model: str
    setting: str
    results: list[Result]

    def at(self, level: str) -> list[Result]:
        """The results of one level."""
        return [result for result in self.results if result.level == level]

    def psnr(self, level: str) -> float:
        """The mean over the pictures, in dB."""
        return mean([result.psnr for result in self.at(level)])

    def ssim(self, level: str) -> float:
        """The mean over the pictures, where it was measured."""
        return mean([result.ssim or 0.0 for result in self.at(level)])


@dataclass(frozen=True)
class Made:
    """With what figures were made: `models` are the SHA-256 of their files by the rows' names."""

    tunectl: str
    torch: str
    device: str
    precision: str
    ensemble: int
    task: str
    task_fields: dict[str, Any]
    models: dict[str, str | None]
    rivals: list[str]

    @property
    def words(self) -> str:
        """How the models ran, before more words; rivals run as they are."""
        if not self.models:
            return ""
        several = f", mean of {self.ensemble} orientations" if self.ensemble > 1 else ""
        whose = "models in " if self.rivals else ""
        return f"{whose}{self.precision}{several}, "


@dataclass(frozen=True)
class Table:
    """Rows that share pictures, inputs and metrics; `samples` are what PSNR is taken over.

    Where it is `paired`, the inputs are the same at each level, which is only what models are told.
    """

    title: str
    pictures: int
    protocol: str
    samples: str
    levels: list[str]
    rows: list[Row]
    with_ssim: bool
    paired: bool
    made: Made

    @property
    def header(self) -> str:
        """What every reader of the figures has to know."""
        metrics = "PSNR in dB" + (" and SSIM" if self.with_ssim else "")
        return (
            f"{self.title}, {self.pictures} pictures, {metrics} over {self.samples}; "
            f"{self.protocol}; {self.made.words}outputs rounded to 8 bits"
        )


def measure(subject: Subject, cases: Cases, with_ssim: bool = False) -> Row:
    """One row: every picture at every level."""
    results = []
    for level in cases.levels:
        subject.prepare(cases, level)
        for case in cases.at(level):
            output, alpha = subject(case)
            pair = case.measured(output)
            try:
                similar = ssim(*pair) if with_ssim else None
            except DataError as error:
                raise DataError(f"{case.name}: {error.message}", error.hint) from error
            seed = None if case.seed is None else str(case.seed)
            results.append(Result(case.name, label(level), alpha, seed, psnr(*pair), similar))
    return Row(subject.name, subject.setting, results)


def label(level: float | None) -> str:
    """A column's head."""
    return UNTOLD if level is None else f"{level:g}"


def markdown(table: Table) -> str:
    """The means, a line a row, under a line that says how they were taken.

    Where pairs were measured at several levels, two more columns: the mean at the one level that
    is best for all, and at the one that is best for each picture.
    """
    several = table.paired and len(table.levels) > 1
    heads = ["model", "alpha", *table.levels] + (["best level", "best each"] if several else [])
    lines = [table.header, "", f"| {' | '.join(heads)} |", "|---" * len(heads) + "|"]
    for row in table.rows:
        cells = [f"{row.psnr(level):.2f}" for level in table.levels]
        if several:
            columns = [[result.psnr for result in row.at(level)] for level in table.levels]
            cells.append(f"{max(map(mean, columns)):.2f}")
            cells.append(f"{mean([max(scores) for scores in zip(*columns, strict=True)]):.2f}")
        if table.with_ssim:
            for i, level in enumerate(table.levels):
                cells[i] += f" / {row.ssim(level):.4f}"
        lines.append(f"| {row.model} | {row.setting} | {' | '.join(cells)} |")
    return "\n".join(lines)


def as_json(tables: Sequence[Table]) -> str:
    """Everything, per picture."""
    found = []
    for table in tables:
        rows = [
            {
                "model": row.model,
                "setting": row.setting,
                "means": {level: row.psnr(level) for level in table.levels},
                "ssim": {level: row.ssim(level) for level in table.levels if table.with_ssim},
                "pictures": [asdict(result) for result in row.results],
            }
            for row in table.rows
        ]
        facts = {"title": table.title, "protocol": table.protocol, "samples": table.samples}
        made = asdict(table.made)
        found.append({**facts, "header": table.header, "made_with": made, "rows": rows})
    return json.dumps({"schema": SCHEMA, "tables": found}, indent=1)


def as_csv(tables: Sequence[Table]) -> str:
    """A line a picture, level, model and setting."""
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(["folder", "model", "setting", *Result.__dataclass_fields__, "header"])
    for table in tables:
        for row in table.rows:
            for result in row.results:
                values = asdict(result).values()
                writer.writerow([table.title, row.model, row.setting, *values, table.header])
    return file.getvalue()


def write_file(path: Path, tables: Sequence[Table]) -> None:
    """As CSV or JSON, by the path's ending."""
    text = as_csv(tables) if path.suffix.lower() == ".csv" else as_json(tables) + "\n"
    write_new(path, text.encode(errors="backslashreplace"))


def write_plot(path: Path, tables: Sequence[Table], symbol: str) -> None:
    """PSNR by level, a curve a row; `symbol` names the level."""
    curves = []
    for table in tables:
        for row in table.rows:
            name = row.model if row.setting == "-" else f"{row.model}, alpha {row.setting}"
            name += f", {table.title}" if len(tables) > 1 else ""
            curves.append(Curve(name, [(float(level), row.psnr(level)) for level in table.levels]))
    title = tables[0].title if len(tables) == 1 else f"{len(tables)} folders"
    draw_chart(path, title, symbol, "PSNR in dB", curves)
