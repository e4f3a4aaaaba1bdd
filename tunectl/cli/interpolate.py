"""`tunectl interpolate`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tunectl.atomic import check_new
from tunectl.cli import choices as c
from tunectl.cli import console
from tunectl.errors import UsageError
from tunectl.header import check_stored


def interpolate(
    models: Annotated[
        list[str],
        typer.Argument(
            metavar="MODEL...",
            help="One tunable model, or two or more of one kind.",
            autocompletion=c.complete_model,
        ),
    ],
    output: c.OutputOption,
    alpha: Annotated[
        str | None,
        typer.Option(
            "--alpha", "-a", help="Fold the tunable model at this alpha, or at one a site: 1/0.5/0."
        ),
    ] = None,
    mix: Annotated[str | None, typer.Option(help="Weights of the models, adding up to 1.")] = None,
    knob: Annotated[
        bool,
        typer.Option(
            "--knob", help="Of plain models: a knob that goes from the first to the last."
        ),
    ] = False,
    store: Annotated[
        str, typer.Option(help="With --knob, the file's precision: fp32, fp16, bf16 or int8.")
    ] = "fp32",
    card: Annotated[str, typer.Option(help="With --knob, a line about the model.")] = "",
    check: Annotated[
        Path | None,
        typer.Option(help="With --mix: a picture on which to measure the loss between the models."),
    ] = None,
    clean: Annotated[
        Path | None, typer.Option(help="What the models should make of the --check picture.")
    ] = None,
    extrapolate: Annotated[
        bool, typer.Option("--extrapolate", help="Allow alpha outside 0 to 1.")
    ] = False,
) -> None:
    """Fold a knob, mix models, or join them.

    --alpha makes a plain model of a tunable one, --mix one of several that were trained from the
    same weights, and --knob a tunable one that goes from one plain model to another, through those
    of the levels between if you name some.

    \b
    tunectl interpolate denoise --alpha 0.3 -o plain.safetensors
    tunectl interpolate a.safetensors b.safetensors --mix 0.7,0.3 -o plain.safetensors
    tunectl interpolate a.safetensors b.safetensors --knob -o tunable.safetensors

    --mix takes plain models, models with the same knob, or any safetensors files of one network,
    such as those of two ESRGANs; they mix if they were trained from the same weights. A mix and a
    knob so made are not calibrated: `tunectl calibrate` does that. --check says whether they mix: a
    photo, which models of ours get degraded and enlarging ones reduced; or, with --clean, any pair.
    Foreign networks are run by spandrel.

    \b
    tunectl interpolate a.safetensors b.safetensors --mix 0.8,0.2 --check photo.png -o c.safetensors
    """
    if sum((alpha is not None, mix is not None, knob)) != 1:
        raise UsageError(
            "what to make is not clear", "give --alpha to fold, --mix to mix, or --knob to join"
        )
    if alpha is not None and len(models) != 1:
        raise UsageError("--alpha folds one model", "name one model, or use --mix")
    if (check or clean) and (mix is None or check is None):
        raise UsageError("--check measures a mix", "give --mix, and --clean only with --check")
    if (store != "fp32" or card) and not knob:
        raise UsageError("--store and --card go with --knob", "leave them away")
    if extrapolate and alpha is None:
        raise UsageError("--extrapolate goes with --alpha", "leave it away")
    check_stored(store)
    check_new(output)
    weights = c.parse_numbers(mix, "--mix") if mix is not None else []
    from tunectl.inference.interpolate import fold_file, join_files, mix_files

    if knob:
        join_files(models, output, store, c.command_line(), card)
    elif alpha is not None:
        fold_file(models[0], c.parse_alpha(alpha), output, extrapolate, c.command_line())
    else:
        if check is not None:
            _measure(models, weights, check, clean)
        mix_files(models, weights, output, c.command_line())
    console.emit(str(output))


def _measure(models: list[str], weights: list[float], check: Path, clean: Path | None) -> None:
    """Tell of the loss barrier, before anything is written."""
    from tunectl.evaluation.barrier import barrier, verdict

    points = barrier(models, weights, check, clean)
    for point in points:
        shares = ", ".join(f"{weight:.2f}" for weight in point.weights)
        above = round(point.barrier, 2) + 0.0  # no -0.00
        console.say(f"  {shares}  {point.psnr:6.2f} dB  barrier {above:+.2f} dB")
    console.say(verdict(points))
