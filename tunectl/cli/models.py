"""`tunectl models`."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from tunectl.cli import console

models = typer.Typer(
    help="The models that names stand for, and what each is.\n\n"
    "\b\ntunectl models list\ntunectl models show denoise",
    no_args_is_help=True,
)


@models.command("list")
def list_models(
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Your own models and the bundled ones: name, task, knob, size and a line about each.

    Your own lie in the folder TUNECTL_HOME, else in the system's folder for tunectl's data; of
    two of one name yours is taken.

    \b
    tunectl models list
    """
    from tunectl.inference.catalogue import catalogue, folder_of_own

    found = catalogue()
    if as_json:
        print(json.dumps({"schema": 1, "models": [model.as_json() for model in found]}, indent=1))
        return
    rows = [["name", "task", "alpha 0 to 1", "size", "", "about"]]
    rows += [model.cells() for model in found]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        console.emit("  ".join(cells).rstrip())
    console.say(f"your own models: {folder_of_own()}")


@models.command()
def show(
    name: Annotated[str, typer.Argument(help="A model by name, or a file.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """One model's card: what it does, its knob, what it is made of, where it came from.

    \b
    tunectl models show denoise
    """
    from tunectl.inference.catalogue import describe

    entry = describe(name)
    if as_json:
        print(json.dumps({"schema": 1, **entry.as_json()}, indent=1))
    else:
        for key, value in entry.card():
            console.emit(f"{key:11} {value}")
