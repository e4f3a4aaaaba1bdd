"""`tunectl train`."""

from __future__ import annotations

from typing import Annotated

import typer

from tunectl.cli import choices as c
from tunectl.cli import console


def train(
    data: c.DataOption,
    output: c.OutputOption,
    level: Annotated[str, typer.Option(help="A level, or a range such as 0-75.")],
    task: Annotated[str, typer.Option(help="denoise or deblock.")] = "denoise",
    network: Annotated[str, typer.Option(help="adafm-net or unet.")] = "unet",
    tuner: Annotated[
        str | None,
        typer.Option(help="dni, ftn, adafm or dynamic-net: learn the whole range by one knob."),
    ] = None,
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
    network_field: c.FieldOption = [],  # noqa: B006 - typer copies it
    tuner_field: c.TunerFieldOption = [],  # noqa: B006
    task_field: c.TaskFieldOption = [],  # noqa: B006
    validation: c.ValidationOption = None,
    exclude: c.ExcludeOption = [],  # noqa: B006
    device: c.DeviceOption = "auto",
    precision: c.PrecisionOption = "auto",
    store: c.StoreOption = "fp32",
    licence: c.LicenceOption = "",
    card: c.CardOption = "",
    resume: c.ResumeOption = False,
) -> None:
    """Train a network on a folder of clean photos.

    At one level the result is a plain model, from which `finetune` can start. With --tuner,
    network and knob learn a range of levels together.

    \b
    tunectl train --task denoise --network adafm-net --level 15 --data photos --steps 20000 -o base.safetensors
    tunectl train --network unet --tuner dni --level 0-75 --data photos --minutes 90 -o mine.safetensors
    """
    levels = c.parse_levels(level)
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
        jobs.train(
            place,
            options,
            task,
            network,
            levels,
            parse_fields(network_field, "--network-field"),
            parse_fields(task_field, "--task-field"),
            tuner,
            parse_fields(tuner_field, "--tuner-field"),
            power,
            knot_values,
        )
    print(output)
