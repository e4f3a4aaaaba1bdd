"""`tunectl apply`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tunectl.cli import choices as c
from tunectl.cli import console
from tunectl.errors import UsageError

if TYPE_CHECKING:
    from tunectl.inference.batch import Outcome
    from tunectl.inference.model import Model


def apply(
    inputs: Annotated[list[Path], typer.Argument(metavar="IN...", help="Pictures or folders.")],
    model: Annotated[
        str, typer.Option("--model", "-m", help="A bundled or own model by name, or a file.")
    ] = "denoise",
    alpha: Annotated[
        str | None,
        typer.Option("--alpha", "-a", help="0 (gentlest) to 1 (strongest), or a list: 0,0.5,1."),
    ] = None,
    level: Annotated[
        str | None,
        typer.Option(help="Instead of alpha, in the task's unit (noise sigma, JPEG quality)."),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="A file for one result, else a folder."),
    ] = None,
    if_exists: Annotated[str, typer.Option(help="error, skip, overwrite or rename.")] = "error",
    extrapolate: Annotated[
        bool, typer.Option("--extrapolate", help="Allow alpha outside 0 to 1.")
    ] = False,
    device: c.DeviceOption = "auto",
    precision: c.PrecisionOption = "auto",
    tile: Annotated[
        int, typer.Option(min=1, help="Largest side, in pixels, that runs at once; bounds memory.")
    ] = 1024,
) -> None:
    """Restore pictures at any strength.

    Profile, tags, opacity and orientation of a picture are kept; gray stays gray. Exit code 1
    means that some pictures failed and the rest are done.

    \b
    tunectl apply --alpha 0.3 noisy.png
    tunectl apply photos -m denoise --level 15 -o clean
    """
    if alpha is not None and level is not None:
        raise UsageError("--alpha and --level are both given", "give one of the two")
    numbers = c.parse_numbers(alpha, "--alpha") if alpha is not None else None
    levels = c.parse_numbers(level, "--level") if level is not None else None
    from tunectl.inference.plan import plan

    # With alphas given, what would clash is found before torch is loaded.
    jobs = plan(inputs, output, numbers, if_exists) if numbers is not None else []
    from tunectl.inference import batch
    from tunectl.inference.model import load

    loaded = load(model, device=device, precision=precision, tile=tile)
    alphas = _alphas(loaded, model, numbers, levels, extrapolate)
    jobs = jobs or plan(inputs, output, alphas, if_exists)
    with console.FileProgress(len(jobs)) as progress:

        def done(outcome: Outcome) -> None:
            progress.advance()
            if outcome.job.skip:
                console.say(f"{outcome.job.output}: exists, skipped")
            elif outcome.error is not None and len(jobs) > 1:
                console.say(f"tunectl: {outcome.error.message}\n  {outcome.error.hint}")
            elif outcome.error is None:
                print(outcome.job.output)

        outcomes = batch.run(loaded, jobs, extrapolate, done)
    failed = [outcome for outcome in outcomes if outcome.error is not None]
    if failed and len(jobs) == 1:
        assert failed[0].error is not None
        raise failed[0].error
    if failed:
        console.say(f"tunectl: {len(failed)} of {len(jobs)} failed, the rest are done")
        sys.exit(1)


def _alphas(
    model: Model,
    name: str,
    alphas: list[float] | None,
    levels: list[float] | None,
    extrapolate: bool,
) -> list[float | None]:
    """The alphas to run, checked against the model before any picture is opened."""
    from tunectl.tuners import check_alpha

    if not model.tunable:
        if alphas is not None or levels is not None:
            raise UsageError(f"{name}: is a plain model without a knob", "leave --alpha away")
        return [None]
    if levels is not None:
        return [model.alpha(level) for level in levels]
    if alphas is None:
        raise UsageError(
            f"{name}: needs a strength", "give --alpha 0 to 1, or --level in the task's unit"
        )
    return [check_alpha(alpha, extrapolate) for alpha in alphas]
