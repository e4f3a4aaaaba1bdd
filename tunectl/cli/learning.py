"""What `train` and `finetune` share: the options of a run, declared once."""

from __future__ import annotations

import dataclasses
import functools
import inspect
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from tunectl.cli import choices as c
from tunectl.cli import console
from tunectl.cli.config import resolved, takes
from tunectl.cli.progress import TrainingProgress
from tunectl.header import STORED
from tunectl.learning.config import RunConfig
from tunectl.learning.options import LOSSES, OPTIMIZERS, Options


@dataclasses.dataclass(frozen=True)
class Run:
    """The shared options of a command that learns, as the library takes them."""

    options: Options
    config: RunConfig
    task_fields: dict[str, Any]
    knots: tuple[float, ...]
    power: float
    tuner_fields: dict[str, str]


def _shared(
    ctx: typer.Context,
    data: Annotated[
        Path,
        typer.Option(
            help="Folder of clean photos, searched to the bottom, or a .txt with a path a line."
        ),
    ],
    output: c.OutputOption,
    steps: Annotated[int | None, typer.Option(help="Length of the run in steps.")] = None,
    minutes: Annotated[float | None, typer.Option(help="Length of the run in minutes.")] = None,
    batch: Annotated[int, typer.Option(help="Patches a step.")] = Options.batch,
    draws: Annotated[
        int, typer.Option(help="Levels a step; they share the batch.")
    ] = Options.draws,
    patch: Annotated[int, typer.Option(help="Side of a patch in pixels.")] = Options.patch,
    lr: Annotated[float, typer.Option(help="Highest learning rate.")] = Options.lr,
    warmup: Annotated[int, typer.Option(help="Steps until the rate is reached.")] = Options.warmup,
    optimizer: Annotated[str, typer.Option(help=f"{c.listed(OPTIMIZERS)}.")] = Options.optimizer,
    loss: Annotated[str, typer.Option(help=f"{c.listed(LOSSES)}.")] = Options.loss,
    bias: Annotated[
        float, typer.Option(help="Above 1, weak levels are drawn more often.")
    ] = Options.bias,
    gray: Annotated[float, typer.Option(help="Share of gray patches.")] = Options.gray,
    flat: Annotated[
        float, typer.Option(help="Share of patches of one colour, which stay as they are.")
    ] = Options.flat,
    ema: Annotated[float, typer.Option(help="Decay of the averaged weights.")] = Options.ema,
    clip: Annotated[float, typer.Option(help="Largest gradient norm.")] = Options.clip,
    micro: Annotated[
        int | None, typer.Option(help="Patches that run at once, where memory is short.")
    ] = None,
    seed: Annotated[
        int, typer.Option(help="All randomness follows from it and the step.")
    ] = Options.seed,
    power: Annotated[
        float, typer.Option(help="The level at alpha is first + (last - first) * alpha ** POWER.")
    ] = 1.0,
    knots: Annotated[
        str, typer.Option(help="Alphas between which the weights move on straight lines.")
    ] = "0,1",
    start: Annotated[
        Path | None,
        typer.Option(
            help="Begin with the weights of this model of the same shape; DNI's may have fewer "
            "knots.",
            autocompletion=c.complete_model,
        ),
    ] = None,
    task_field: c.TaskFieldOption = [],  # noqa: B006 - typer copies it
    tuner_field: Annotated[
        list[str], typer.Option(help="A field of the tuner, such as groups=16 or kernel=5.")
    ] = [],  # noqa: B006 - typer copies it
    validation: Annotated[
        Path | None,
        typer.Option(help="Folder of photos to validate on; else every 16th photo is held out."),
    ] = None,
    style: Annotated[
        Path | None,
        typer.Option(
            help="Of task style: a picture of the style at alpha 1; of restyle, a folder."
        ),
    ] = None,
    from_style: Annotated[
        Path | None,
        typer.Option(help="And one of the style at alpha 0, where that is not the photo."),
    ] = None,
    lower_style: Annotated[
        Path | None,
        typer.Option(help="And one of a style at alpha -1, for a knob with two ends."),
    ] = None,
    exclude: Annotated[
        list[str], typer.Option(help="Leave out photos whose name matches, such as 'scan_*'.")
    ] = [],  # noqa: B006
    noisy: Annotated[
        Path | None,
        typer.Option(help="Of task pairs: the folder of the photos' other halves."),
    ] = None,
    pairs: Annotated[
        str | None,
        typer.Option(
            metavar="CLEAN:NOISY", help="How names of pairs end, such as _mean:_real; else alike."
        ),
    ] = None,
    cache: Annotated[
        bool,
        typer.Option(
            "--cache", help="Keep the decoded photos on disk, for the next run and to save memory."
        ),
    ] = False,
    device: c.DeviceOption = "auto",
    precision: c.PrecisionOption = "auto",
    compile: Annotated[
        bool,
        typer.Option("--compile", help="Compile the network first: for GPUs; takes a minute."),
    ] = False,
    store: Annotated[
        str, typer.Option(help=f"{c.listed(STORED)}: precision of the file.")
    ] = RunConfig.store,
    licence: Annotated[
        str, typer.Option(help="Licence of the weights; else that of the model they began as.")
    ] = RunConfig.licence,
    card: Annotated[
        str, typer.Option(help="One line about the model, kept in the file.")
    ] = RunConfig.card,
    tensorboard: Annotated[
        bool, typer.Option("--tensorboard", help="Write files for TensorBoard as well.")
    ] = False,
    save_every: Annotated[
        float, typer.Option(help="Seconds between states from which an interrupted run goes on.")
    ] = RunConfig.save_every,
    stop_after: Annotated[
        int | None,
        typer.Option(help="End at this step on purpose; the same command without it goes on."),
    ] = None,
    fresh: Annotated[
        bool, typer.Option("--fresh", help="Begin anew what was interrupted or finished before.")
    ] = False,
) -> None:
    """Only its signature is used."""


def learns(command: Callable[..., Path | None]) -> Callable[..., None]:
    """Give `command` the shared options after its own; it receives them as `run`.

    What it returns is the file that was written, whose name is printed.
    """
    own = inspect.signature(command, eval_str=True).parameters
    shared = inspect.signature(_shared, eval_str=True).parameters

    @functools.wraps(command)
    def wrapper(**values: Any) -> None:
        given = {name: values.pop(name) for name in shared}
        try:
            with TrainingProgress() as progress:
                written = command(run=_run(given, progress), **values)
        except KeyboardInterrupt:  # of which typer says nothing
            same = "the same command without --fresh" if given["fresh"] else "the same command"
            console.say(f"tunectl: interrupted; {same} goes on")
            sys.exit(console.INTERRUPTED)
        if written is not None:
            console.emit(str(written))

    takes(wrapper, [*(p for name, p in own.items() if name != "run"), *shared.values()])
    return wrapper


def _run(given: dict[str, Any], progress: TrainingProgress) -> Run:
    from tunectl.evaluation.cases import parse_pairs
    from tunectl.fields import parse_fields

    own = {
        "exclude": tuple(given["exclude"]),
        "pairs": parse_pairs(given["pairs"]) if given["pairs"] else RunConfig.pairs,
        "command": c.command_line(),
        "toml": resolved(given["ctx"], without=("fresh", "stop-after")),  # so that it goes on
        "report": progress.show,
        "say": console.say,
    }
    return Run(
        Options(**_fields_of(Options, given)),
        RunConfig(**_fields_of(RunConfig, given) | own),
        parse_fields(given["task_field"], "--task-field"),
        tuple(c.parse_numbers(given["knots"], "--knots")),
        given["power"],
        parse_fields(given["tuner_field"], "--tuner-field"),
    )


def _fields_of(kind: Any, given: dict[str, Any]) -> dict[str, Any]:
    names = {field.name for field in dataclasses.fields(kind)}
    return {name: value for name, value in given.items() if name in names}
