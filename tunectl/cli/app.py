"""The `tunectl` command. Nothing here or in its subcommands' modules imports torch."""

from __future__ import annotations

import sys
from importlib.metadata import version
from typing import Annotated

import typer

from tunectl.cli import console
from tunectl.cli.apply import apply
from tunectl.cli.calibrate import calibrate
from tunectl.cli.config import configurable
from tunectl.cli.convert import convert
from tunectl.cli.evaluate import evaluate
from tunectl.cli.export import export
from tunectl.cli.finetune import finetune
from tunectl.cli.inspect import inspect
from tunectl.cli.interpolate import interpolate
from tunectl.cli.models import models
from tunectl.cli.sweep import sweep
from tunectl.cli.train import train
from tunectl.errors import UsageError

MAY_BE_EMPTY = ("--card", "--file", "--key", "--licence", "--name", "--suffix")

app = typer.Typer(
    help="Tunable image processing: one network, one knob.",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for command in (
    *(apply, sweep, train, finetune, interpolate, calibrate),
    *(convert, export, evaluate, inspect),
):
    app.command()(configurable(command))
app.add_typer(models, name="models")


def _print_version(wanted: bool) -> None:
    if wanted:
        console.emit(f"tunectl {version('tunectl')}")
        raise typer.Exit


@app.callback()
def _root(
    _version: Annotated[
        bool,
        typer.Option(
            "--version", help="Print the version.", callback=_print_version, is_eager=True
        ),
    ] = False,
) -> None:
    pass


def _refuse_empty(words: list[str]) -> None:
    """An empty word was a variable that is not set, and would stand for the current folder."""
    before = ""
    for word in words:
        option, sign, value = word.partition("=")
        named = before if not word else option
        empty = not word or (sign and not value and option.startswith("--"))
        if empty and named not in MAY_BE_EMPTY:
            what = f"{named} is" if named.startswith("-") else "an argument is"
            raise UsageError(f"{what} empty", "check the variable that it came from")
        before = word


def main() -> None:
    """Run the command line; errors become one line of cause and one of advice."""
    console.open_streams()
    with console.exit_codes():
        console.check_current_folder()
        _refuse_empty(sys.argv[1:])
        # On Windows typer would take brackets in names for patterns, and $ and % for variables.
        app(prog_name="tunectl", windows_expand_args=False)
