"""`tunectl export`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tunectl.cli import choices as c
from tunectl.cli import console
from tunectl.errors import UsageError


def export(
    model: c.ModelArgument,
    output: Annotated[Path, typer.Option("--output", "-o", help="The .onnx file to write.")],
    alpha: Annotated[
        str | None, typer.Option("--alpha", "-a", help="Fix alpha; else the graph takes it.")
    ] = None,
    level: Annotated[
        float | None, typer.Option(help="Fix alpha at the one calibrated for this level.")
    ] = None,
    style: Annotated[
        list[Path], typer.Option(help="Of a model that takes any style: the picture of one.")
    ] = [],  # noqa: B006  (Typer never changes it)
) -> None:
    """Write a model as ONNX.

    Also says how far its output is from torch's. The graph takes `picture`, N x 3 x height x width
    in 0 to 1, of any size, and, unless alpha is fixed, `alpha`, one number. Needs the extra `onnx`.

    \b
    tunectl export denoise -o denoise.onnx
    tunectl export denoise --level 25 -o sigma25.onnx
    """
    from tunectl.atomic import check_new

    if alpha is not None and level is not None:
        raise UsageError("--alpha and --level are both given", "give one of the two")
    check_new(output)
    strength = c.parse_alpha(alpha) if alpha is not None else None
    from tunectl.inference.export import export_file
    from tunectl.inference.load import load
    from tunectl.inference.styles import set_styles

    loaded = load(model, device="cpu", precision="fp32")
    if style:
        set_styles(loaded, style)
    if level is not None:
        strength = loaded.alpha(level)
    found = export_file(loaded, output, strength)
    console.say(f"{output}: differs from torch by {found.largest:.1e} at most, {found.tried} runs")
    console.emit(str(output))
