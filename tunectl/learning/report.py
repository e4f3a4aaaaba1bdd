"""How a run went, as one HTML file to look at: curves, a sweep of the knob, previews, options."""

from __future__ import annotations

import base64
import html
import io
import json
from collections.abc import Sequence
from importlib.resources import files
from string import Template
from typing import Any

from PIL import Image
from torch import Tensor

from tunectl.evaluation.chart import Curve, chart
from tunectl.header import Header
from tunectl.learning.state import RunFolder

SHEETS = 3  # previews that are shown: the first, one in the middle, the last


def write_report(folder: RunFolder, header: Header, frames: Sequence[tuple[str, Tensor]]) -> None:
    """Write `report.html` from the run's log and previews; `frames` are a photo's sweep.

    Raises ResourceError if the disk refuses.
    """
    records = folder.records()
    sheets = folder.sheets()
    shown = sorted({i * (len(sheets) - 1) // (SHEETS - 1) for i in range(SHEETS)} if sheets else ())
    page = Template(files("tunectl.learning").joinpath("report.html").read_text(encoding="utf-8"))
    text = page.substitute(
        title=html.escape(folder.output.name),
        facts=_table(_facts(header, records)),
        curves="".join(_curves(records)),
        frames=json.dumps([[name, _url(_picture(frame))] for name, frame in frames]),
        sheets="".join(
            f"<figure><img src='{_url(Image.open(sheets[i]))}' alt='preview'>"
            f"<figcaption>step {int(sheets[i].stem)}</figcaption></figure>"
            for i in shown
        ),
        options=html.escape((folder.path / "config.toml").read_text(encoding="utf-8")),
    )
    folder.write("report.html", text)


def _facts(header: Header, records: Sequence[dict[str, Any]]) -> dict[str, str]:
    made = header.provenance
    facts = {
        "task": header.task.name if header.task else "",
        "network": header.network.name,
        "tuner": f"{header.tuner.name}, {header.knob.way}" if header.tuner and header.knob else "",
        "steps": str(made["steps"]),
        "hours": f"{made['hours']:g} on {made['device']}",
        "photos": str(made["data"]["photos"]),
        "command": made["command"],
    }
    measured = [record["validation"] for record in records if record["validation"]]
    for last in measured[-1:]:
        facts["last validation"] = "  ".join(f"{name}: {value:.2f}" for name, value in last.items())
    return {name: value for name, value in facts.items() if value}


def _curves(records: Sequence[dict[str, Any]]) -> list[str]:
    """Charts of the validation's measures, of the loss and of the learning rate."""
    measured = [record for record in records if record["validation"]]
    trained = [record for record in records if record["loss"] is not None]
    charts = []
    names = list(measured[-1]["validation"]) if measured else []
    for kind in dict.fromkeys(name.partition(" ")[2] for name in names):
        curves = [
            Curve(
                f"level {name.partition(' ')[0]}",
                [(record["step"], record["validation"][name]) for record in measured],
            )
            for name in names
            if name.partition(" ")[2] == kind
        ]
        charts.append(("Validation", kind or "PSNR, dB", curves))
    for name in ("loss", "lr"):
        charts.append((name, name, [Curve(name, [(r["step"], r[name]) for r in trained])]))
    return [
        f"<figure>{chart(title, 'step', unit, curves).decode()}</figure>"
        for title, unit, curves in charts
        if any(len(curve.points) > 1 for curve in curves)
    ]


def _table(facts: dict[str, str]) -> str:
    rows = (
        f"<tr><th>{html.escape(name)}</th><td>{html.escape(value)}</td></tr>"
        for name, value in facts.items()
    )
    return f"<table>{''.join(rows)}</table>"


def _picture(frame: Tensor) -> Image.Image:
    pixels = frame[0].float().clamp(0, 1).mul(255).round().byte().permute(1, 2, 0)
    return Image.fromarray(pixels.expand(-1, -1, 3).contiguous().numpy())


def _url(picture: Image.Image) -> str:
    file = io.BytesIO()
    picture.save(file, "WEBP", quality=92)
    return f"data:image/webp;base64,{base64.b64encode(file.getvalue()).decode()}"
