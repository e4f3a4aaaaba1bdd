"""`tunectl finetune`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tunectl.cli import choices as c
from tunectl.cli.learning import Run, learns


@learns
def finetune(
    run: Run,
    base: Annotated[
        str,
        typer.Argument(
            help="A plain model trained for one level.", autocompletion=c.complete_model
        ),
    ],
    level: Annotated[
        float | None, typer.Option(help="The level at alpha 1; of a style not needed.")
    ] = None,
    tuner: Annotated[str, typer.Option(help="dni, ftn, adafm, dynamic-net or adain.")] = "ftn",
    way: Annotated[
        str,
        typer.Option(help="endpoint: train at alpha 1, as the papers; path: all along the knob."),
    ] = "path",
) -> Path | None:
    """Give a plain model a knob.

    A tuner learns the way from the model's level to another. The base is frozen; at alpha 0 the
    result is the base, bit for bit, stored in fp32.

    \b
    tunectl finetune base.safetensors --tuner ftn --way path --level 50 \\
        --data photos --steps 5000 -o tuned.safetensors
    """
    from tunectl.learning import jobs

    return jobs.finetune(
        run.config,
        run.options,
        base,
        tuner,
        way,
        level,
        run.tuner_fields,
        run.power,
        run.knots,
        run.task_fields,
    )
