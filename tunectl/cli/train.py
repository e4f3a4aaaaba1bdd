"""`tunectl train`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tunectl.cli import choices as c
from tunectl.cli.learning import Run, learns


@learns
def train(
    run: Run,
    level: Annotated[
        str | None,
        typer.Option(help="A level, or a range such as 0-75; of a style, 0-1 and not needed."),
    ] = None,
    task: Annotated[
        str, typer.Option(help="denoise, deblock, photo, pairs, style or restyle.")
    ] = "denoise",
    network: Annotated[
        str | None,
        typer.Option(help="adafm-net, unet, transform-net or adain-net; else what suits the task."),
    ] = None,
    tuner: Annotated[
        str | None,
        typer.Option(
            help="dni, ftn, adafm, dynamic-net or adain: learn the whole range by one knob."
        ),
    ] = None,
    network_field: Annotated[
        list[str], typer.Option(help="A field of the network, such as width=32.")
    ] = [],  # noqa: B006 - typer copies it
) -> Path | None:
    """Train a network on a folder of clean photos.

    At one level the result is a plain model, from which `finetune` can start. With --tuner,
    network and knob learn a range of levels together.

    \b
    tunectl train --task denoise --network adafm-net --level 15 \\
        --data photos --steps 20000 -o base.safetensors
    tunectl train --tuner dni --level 0-75 --data photos --minutes 90 -o mine.safetensors
    tunectl train --task style --style wave.jpg --data photos --steps 2000 --patch 256 \\
        --batch 4 -o wave.safetensors
    """
    levels = None if level is None else c.parse_levels(level)
    from tunectl.fields import parse_fields
    from tunectl.learning import jobs

    return jobs.train(
        run.config,
        run.options,
        task,
        network,
        levels,
        parse_fields(network_field, "--network-field"),
        run.task_fields,
        tuner,
        run.tuner_fields,
        run.power,
        run.knots,
    )
