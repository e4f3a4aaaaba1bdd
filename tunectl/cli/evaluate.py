"""`tunectl evaluate`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tunectl.cli import choices as c
from tunectl.cli import console
from tunectl.errors import UsageError


def evaluate(
    folder: Annotated[Path, typer.Argument(help="Folder of clean pictures.")],
    level: Annotated[str, typer.Option(help="Levels to degrade at, such as 15,25,50.")],
    model: Annotated[
        list[str], typer.Option("--model", "-m", help="A model; may be given several times.")
    ] = ["denoise"],  # noqa: B006 - typer copies it
    alpha: Annotated[
        str, typer.Option("--alpha", "-a", help="calibrated, or alphas: a row each.")
    ] = "calibrated",
    gray: Annotated[bool, typer.Option("--gray", help="Measure on gray pictures.")] = False,
    task_field: c.TaskFieldOption = [],  # noqa: B006
    limit: Annotated[int | None, typer.Option(help="Use so many pictures only.")] = None,
    device: c.DeviceOption = "auto",
    precision: c.PrecisionOption = "auto",
    json_output: Annotated[bool, typer.Option("--json", help="Print JSON, per picture.")] = False,
) -> None:
    """Mean PSNR in dB over a folder, by level: pictures are degraded with fixed seeds.

    Colour PSNR is over all RGB samples, gray pictures are Matlab's rgb2gray; outputs are rounded
    to 8 bits. The table is markdown.

    \b
    tunectl evaluate photos -m denoise --level 15,25,50
    tunectl evaluate photos -m tuned.safetensors --level 15,50 --alpha 0,0.5,1,calibrated
    """
    levels = c.parse_numbers(level, "--level")
    alphas = [
        None if word == "calibrated" else c.parse_numbers(word, "--alpha")[0]
        for word in alpha.split(",")
    ]
    import json
    from dataclasses import asdict

    from tunectl.fields import parse_fields
    from tunectl.inference.load import load
    from tunectl.learning.evaluation import evaluate_model, load_pictures, markdown

    pictures = load_pictures(folder, gray, limit)
    rows = []
    for name in model:
        loaded = load(name, device=device, precision=precision)
        if loaded.header.task is None:
            raise UsageError(f"{name}: was not trained for a task", "name another model")
        for value in alphas if loaded.tunable else [None]:
            console.say(f"{name}: {len(pictures)} pictures at {len(levels)} levels")
            fields = parse_fields(task_field, "--task-field")
            rows.append(evaluate_model(Path(name).stem, loaded, pictures, levels, value, fields))
    if json_output:
        print(json.dumps({"schema": 1, "rows": [asdict(row) for row in rows]}, indent=1))
    else:
        print(markdown(rows, f"{folder.name}{' gray' if gray else ''}", len(pictures)))
