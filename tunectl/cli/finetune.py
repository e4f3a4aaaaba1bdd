"""`tunectl finetune`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tunectl.cli import choices as c
from tunectl.cli import console


def finetune(
    base: Annotated[Path, typer.Argument(help="A plain model trained for one level.")],
    data: c.DataOption,
    output: c.OutputOption,
    level: Annotated[float, typer.Option(help="The level at alpha 1.")],
    tuner: Annotated[str, typer.Option(help="dni, ftn, adafm or dynamic-net.")] = "ftn",
    way: Annotated[
        str,
        typer.Option(help="endpoint: train at alpha 1, as the papers do; path: all along the knob."),
    ] = "path",
    steps: c.StepsOption = None,
    minutes: c.MinutesOption = None,
    batch: c.BatchOption = 8,
    draws: c.DrawsOption = 2,
    patch: c.PatchOption = 96,
    lr: c.RateOption = 1e-3,
    warmup: c.WarmupOption = 200,
    optimizer: c.OptimizerOption = "adamw",
    loss: c.LossOption = "charbonnier",
    bias: c.BiasOption = 1.0,
    gray: c.GrayOption = 0.15,
    ema: c.EmaOption = 0.998,
    clip: c.ClipOption = 0.5,
    seed: c.SeedOption = 0,
    power: c.PowerOption = 1.0,
    knots: c.KnotsOption = "0,1",
    tuner_field: c.TunerFieldOption = [],  # noqa: B006 - typer copies it
    validation: c.ValidationOption = None,
    exclude: c.ExcludeOption = [],  # noqa: B006
    device: c.DeviceOption = "auto",
    precision: c.PrecisionOption = "auto",
    store: c.StoreOption = "fp32",
    licence: c.LicenceOption = "",
    card: c.CardOption = "",
    resume: c.ResumeOption = False,
) -> None:
    """Give a plain model a knob: a tuner learns the way from its level to another.

    The base is frozen; at alpha 0 the result is the base, bit for bit.

    \b
    tunectl finetune base.safetensors --tuner ftn --way path --level 50 --data photos --steps 5000 -o tuned.safetensors
    """
    knot_values = tuple(c.parse_numbers(knots, "--knots"))
    from tunectl.fields import parse_fields
    from tunectl.learning import jobs
    from tunectl.learning.options import Options

    options = Options(
        steps=steps,
        minutes=minutes,
        batch=batch,
        draws=draws,
        patch=patch,
        lr=lr,
        warmup=warmup,
        optimizer=optimizer,
        loss=loss,
        bias=bias,
        gray=gray,
        ema=ema,
        clip=clip,
        seed=seed,
    )
    with console.TrainingProgress() as progress:
        place = jobs.Place(
            data=data,
            output=output,
            validation=validation,
            exclude=tuple(exclude),
            device=device,
            precision=precision,
            dtype=store,
            resume=resume,
            command=c.command_line(),
            licence=licence,
            card=card,
            report=progress.show,
            say=console.say,
        )
        jobs.finetune(
            place,
            options,
            base,
            tuner,
            way,
            level,
            parse_fields(tuner_field, "--tuner-field"),
            power,
            knot_values,
        )
    print(output)
