"""Options that several subcommands share, and how their words are read."""

from __future__ import annotations

import math
import re
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from tunectl.errors import UsageError
from tunectl.header import ENDING
from tunectl.knob import Alpha

EXAMPLES = {"--level": "15,25,50", "--mix": "0.7,0.3", "--style-shares": "2,1"}
DEFAULT_MODEL = "photo"  # the better one on files of real cameras


def complete_model(incomplete: str) -> list[str]:
    """The names of models that begin so, for the shell."""
    from tunectl.inference.find import model_names

    return [name for name in model_names() if name.startswith(incomplete)]


ModelArgument = Annotated[
    str, typer.Argument(help="A model by name, or a file.", autocompletion=complete_model)
]
DeviceOption = Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")]
PrecisionOption = Annotated[
    str,
    typer.Option(
        help="auto, fp32 or bf16; auto takes the faster. For more than 8 bits a sample: fp32."
    ),
]
EnsembleOption = Annotated[
    int,
    typer.Option(
        help="Average over 2, 4 or 8 orientations of the picture: so much slower, a little better."
    ),
]


def _check_ending(path: Path) -> Path:
    """By which a model's file is known where it is named. Raises UsageError."""
    if path.suffix != ENDING:
        raise UsageError(f"{path}: is not named as a model", f"end it {ENDING}")
    return path


OutputOption = Annotated[
    Path,
    typer.Option("--output", "-o", help="The model file to write.", callback=_check_ending),
]
TaskFieldOption = Annotated[list[str], typer.Option(help="A field of the task, such as clip=true.")]


def listed(words: Sequence[str]) -> str:
    """`a, b or c`."""
    return f"{', '.join(words[:-1])} or {words[-1]}"


def parse_levels(text: str) -> list[float]:
    """`25` or `0-75`. Raises UsageError."""
    try:
        levels = [_finite(part) for part in text.split("-")]
    except ValueError:
        levels = []
    if len(levels) not in (1, 2):
        raise UsageError(f"--level {text!r} is not a level", "give one, or a range such as 0-75")
    return levels


def parse_numbers(text: str, option: str) -> list[float]:
    """`0,0.5,1`. Raises UsageError."""
    try:
        return [_finite(part) for part in text.split(",")]
    except ValueError as error:
        example = EXAMPLES.get(option, "0,0.5,1")
        raise UsageError(
            f"{option} {text!r} is not a list of numbers", f"for example {option} {example}"
        ) from error


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(text)
    return number


def parse_alpha(text: str) -> Alpha:
    """`0.3`, or `0.3/0.5/0`: one for each site. Raises UsageError."""
    alphas = tuple(parse_numbers(text.replace("/", ","), "--alpha"))
    return alphas[0] if len(alphas) == 1 else alphas


def parse_share(text: str) -> float:
    """The 0.8 of `auto*0.8`. Raises UsageError."""
    word, _, factor = text.partition("*")
    try:
        share = _finite(factor)
    except ValueError:
        share = 0.0
    if word.strip() != "auto" or share <= 0:
        raise UsageError(f"--alpha {text!r} is not known", "give auto, or a part of it: auto*0.8")
    return share


def command_line() -> str:
    """What was typed, for the model's provenance; of absolute paths only the last name.

    A model file is passed on, and nobody's folders should travel with it.
    """
    return shlex.join(["tunectl", *map(_without_folders, sys.argv[1:])])


def _without_folders(word: str) -> str:
    option = "".join(re.findall(r"^(?:-\w|--[\w-]+=)", word))  # of -o/a/b and --output=/a/b
    path = Path(word.removeprefix(option))
    return option + path.name if path.is_absolute() else word
