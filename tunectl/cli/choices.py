"""Options that several subcommands share, and how their words are read."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import Annotated

import typer

from tunectl.errors import UsageError

DeviceOption = Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")]
PrecisionOption = Annotated[str, typer.Option(help="auto, fp32 or bf16; auto takes the faster.")]
DataOption = Annotated[Path, typer.Option(help="Folder of clean photos, searched to the bottom.")]
OutputOption = Annotated[Path, typer.Option("--output", "-o", help="The model file to write.")]
ExcludeOption = Annotated[
    list[str], typer.Option(help="Leave out photos whose name matches, such as 'scan_*'.")
]
ValidationOption = Annotated[
    Path | None,
    typer.Option(help="Folder of photos to validate on; else every 16th photo is held out."),
]
StepsOption = Annotated[int | None, typer.Option(help="Length of the run in steps.")]
MinutesOption = Annotated[float | None, typer.Option(help="Length of the run in minutes.")]
BatchOption = Annotated[int, typer.Option(help="Patches a step.")]
DrawsOption = Annotated[int, typer.Option(help="Levels a step; the batch is shared among them.")]
PatchOption = Annotated[int, typer.Option(help="Side of a patch in pixels.")]
RateOption = Annotated[float, typer.Option(help="Highest learning rate.")]
WarmupOption = Annotated[int, typer.Option(help="Steps until the learning rate is reached.")]
OptimizerOption = Annotated[str, typer.Option(help="adamw or adam.")]
LossOption = Annotated[str, typer.Option(help="charbonnier or l1.")]
BiasOption = Annotated[float, typer.Option(help="Above 1, weak levels are drawn more often.")]
GrayOption = Annotated[float, typer.Option(help="Share of gray patches.")]
EmaOption = Annotated[float, typer.Option(help="Decay of the averaged weights.")]
ClipOption = Annotated[float, typer.Option(help="Largest gradient norm.")]
SeedOption = Annotated[int, typer.Option(help="All randomness follows from it.")]
PowerOption = Annotated[
    float, typer.Option(help="The level at alpha is first + (last - first) * alpha ** POWER.")
]
KnotsOption = Annotated[str, typer.Option(help="Alphas at which the weights have a knot.")]
StoreOption = Annotated[str, typer.Option(help="fp32, fp16 or bf16: precision of the file.")]
ResumeOption = Annotated[bool, typer.Option("--resume", help="Go on from the last saved state.")]
FieldOption = Annotated[list[str], typer.Option(help="A field of the network, such as width=32.")]
TunerFieldOption = Annotated[
    list[str], typer.Option(help="A field of the tuner, such as groups=16 or kernel=5.")
]
TaskFieldOption = Annotated[list[str], typer.Option(help="A field of the task, such as clip=true.")]
LicenceOption = Annotated[str, typer.Option(help="Licence of the weights, kept in the file.")]
CardOption = Annotated[str, typer.Option(help="One line about the model, kept in the file.")]


def parse_levels(text: str) -> list[float]:
    """`25` or `0-75`. Raises UsageError."""
    try:
        levels = [float(part) for part in text.split("-")]
    except ValueError:
        levels = []
    if len(levels) not in (1, 2):
        raise UsageError(f"--level {text!r} is not a level", "give one, or a range such as 0-75")
    return levels


def parse_numbers(text: str, option: str) -> list[float]:
    """`0,0.5,1`. Raises UsageError."""
    try:
        return [float(part) for part in text.split(",")]
    except ValueError as error:
        raise UsageError(
            f"{option} {text!r} is not a list of numbers", f"for example {option} 0,0.5,1"
        ) from error


def command_line() -> str:
    """What was typed, for the model's provenance."""
    return shlex.join(["tunectl", *sys.argv[1:]])
