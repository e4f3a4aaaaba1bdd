"""`tunectl convert`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tunectl.cli import choices as c
from tunectl.cli import console


def convert(
    source: Annotated[Path, typer.Argument(help="A .pth, .pt, .ckpt or .safetensors file.")],
    output: c.OutputOption,
    key: Annotated[
        str, typer.Option(help="Which of the tables in the file to take; else the usual one.")
    ] = "",
    task: Annotated[
        str, typer.Option(help="Of an AdaFM network: what it was trained for, denoise or deblock.")
    ] = "denoise",
    level: Annotated[
        str | None,
        typer.Option(help="Of an AdaFM network: the levels of alpha 0 and 1, such as 15-75."),
    ] = None,
) -> None:
    """Make safetensors of an old PyTorch file.

    No code in it is run: the old file is read by a process of its own that accepts weights alone.
    Networks of AdaFM's authors become tunectl models, with their knob; of all others the weights
    are kept under their names, for `interpolate --mix`, or for `apply` where spandrel knows the
    network.

    \b
    tunectl convert esrgan.pth -o esrgan.safetensors
    tunectl convert noise15to75.pth --level 15-75 -o adafm.safetensors
    """
    levels = tuple(c.parse_levels(level)) if level is not None else ()
    from tunectl.foreign.convert import convert_file

    what = convert_file(source, output, key, task, levels, c.command_line())
    console.say(f"{source}: {what}")
    console.emit(str(output))
