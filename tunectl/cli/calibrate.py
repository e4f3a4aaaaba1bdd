"""`tunectl calibrate`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tunectl.cli import choices as c
from tunectl.cli import console


def calibrate(
    model: c.ModelArgument,
    data: Annotated[
        Path,
        typer.Option(help="Folder of clean photos to measure on, or a .txt with a path a line."),
    ],
    output: c.OutputOption,
    limit: Annotated[int, typer.Option(min=1, help="Measure on so many photos.")] = 48,
    device: c.DeviceOption = "auto",
    precision: c.PrecisionOption = "auto",
) -> None:
    """Measure anew which alpha is best at which level.

    The weights stay as they are. Training does so at its end; this is for knobs that `interpolate`
    or `convert` made, for mixes, and for photos that are unlike those a model was trained on.

    \b
    tunectl calibrate both.safetensors --data photos -o calibrated.safetensors
    """
    from tunectl.atomic import check_new

    check_new(output)
    from tunectl.learning.calibration import calibrate_file

    header = calibrate_file(
        model, data, output, limit, device, precision, c.command_line(), console.say
    )
    assert header.knob is not None
    for alpha, level in header.knob.calibration:
        console.say(f"  level {level:<7.3g} alpha {alpha:.2f}")
    console.emit(str(output))
