"""`tunectl interpolate`."""

from __future__ import annotations

from typing import Annotated

import typer

from tunectl.cli import choices as c
from tunectl.errors import UsageError


def interpolate(
    models: Annotated[
        list[str],
        typer.Argument(metavar="MODEL...", help="One tunable model, or two or more plain ones."),
    ],
    output: c.OutputOption,
    alpha: Annotated[
        float | None, typer.Option("--alpha", "-a", help="Fold the tunable model at this alpha.")
    ] = None,
    mix: Annotated[
        str | None, typer.Option(help="Weights of the plain models, adding up to 1.")
    ] = None,
    extrapolate: Annotated[
        bool, typer.Option("--extrapolate", help="Allow alpha outside 0 to 1.")
    ] = False,
) -> None:
    """Make a plain model: fold a knob at one alpha, or mix models of one descent.

    \b
    tunectl interpolate denoise --alpha 0.3 -o plain.safetensors
    tunectl interpolate a.safetensors b.safetensors --mix 0.7,0.3 -o plain.safetensors
    """
    if (alpha is None) == (mix is None):
        raise UsageError("what to make is not clear", "give --alpha to fold, or --mix to mix")
    if alpha is not None and len(models) != 1:
        raise UsageError("--alpha folds one model", "name one model, or use --mix")
    weights = c.parse_numbers(mix, "--mix") if mix is not None else []
    from tunectl.inference.interpolate import fold_file, mix_files

    if alpha is not None:
        fold_file(models[0], alpha, output, extrapolate, c.command_line())
    else:
        mix_files(models, weights, output, c.command_line())
    print(output)
