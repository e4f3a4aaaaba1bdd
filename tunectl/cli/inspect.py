"""`tunectl inspect`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from tunectl.cli import choices as c
from tunectl.cli import console
from tunectl.errors import UsageError


def inspect(
    model: c.ModelArgument,
    photo: Annotated[
        Path | None,
        typer.Option(help="Measure how evenly this picture changes as alpha goes from 0 to 1."),
    ] = None,
    layers: Annotated[
        bool, typer.Option("--layers", help="How far each layer moves with alpha, as a table.")
    ] = False,
    plot: Annotated[
        Path | None, typer.Option(help="The same as curves: a .svg or .png file.")
    ] = None,
    json_output: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    device: c.DeviceOption = "auto",
    precision: c.PrecisionOption = "auto",
) -> None:
    """Verify a model file and look into it.

    Shows its card, its price, and how its knob moves. A layer's move is the distance of its weights
    from those at alpha 0 as a share of their norm there; where they are 0 at alpha 0, as those that
    a tuner inserted may be, the distance itself.

    \b
    tunectl inspect denoise
    tunectl inspect tuned.safetensors --layers --plot layers.svg --photo photo.png
    """
    from tunectl.atomic import check_new

    if plot is not None:
        check_new(plot)
    if plot is not None and plot.suffix.lower() not in (".svg", ".png"):
        raise UsageError(f"{plot}: is neither SVG nor PNG", "end its name with .svg or .png")
    from tunectl.evaluation import inspection

    found = inspection.inspect(model, photo, device, precision)
    try:  # first: the output may go nowhere by now
        if plot is not None:
            found.draw(plot)
    finally:
        if json_output:
            console.emit_text(json.dumps({"schema": 1, **found.as_json()}, indent=1))
        else:
            for line in found.lines(layers):
                console.emit(line)
