"""`tunectl models`."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from tunectl.cli import choices as c
from tunectl.cli import console

models = typer.Typer(
    help="List, show, pull and push models.\n\n"
    "\b\ntunectl models list\ntunectl models show denoise\n"
    "tunectl models pull somebody/a-model",
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
        listed = [model.as_json() for model in found]
        console.emit_text(json.dumps({"schema": 1, "models": listed}, indent=1))
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
    name: c.ModelArgument,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """One model's card: what it does, its knob, what it is made of, where it came from.

    \b
    tunectl models show denoise
    """
    from tunectl.inference.catalogue import describe

    entry = describe(name)
    if as_json:
        console.emit_text(json.dumps({"schema": 1, **entry.as_json()}, indent=1))
    else:
        for key, value in entry.card():
            console.emit(f"{key:11} {value}")


@models.command()
def push(
    name: c.ModelArgument,
    repo: Annotated[str, typer.Argument(help="A Hugging Face repository, such as me/my-model.")],
    private: Annotated[
        bool, typer.Option("--private", help="Of a repository that is made: for your eyes only.")
    ] = False,
) -> None:
    """Put a model and its card into a Hugging Face repository (extra `hub`).

    The repository is made where there is none; a card that is there stays as it is.

    \b
    tunectl models push my-model me/my-model
    """
    from tunectl.inference import hub

    address, with_card = hub.push(name, repo, private)
    if not with_card:
        console.say(f"{repo}: has a card already, which stays as it is")
    console.emit(address)


@models.command()
def pull(
    repo: Annotated[str, typer.Argument(help="A Hugging Face repository.")],
    file: Annotated[str, typer.Option(help="Which model, where it holds several.")] = "",
    name: Annotated[str, typer.Option(help="What to call it here; else as it is there.")] = "",
    revision: Annotated[
        str | None, typer.Option(help="A branch, tag or commit; else the main branch.")
    ] = None,
) -> None:
    """Fetch a model from a Hugging Face repository into your own folder (extra `hub`).

    \b
    tunectl models pull somebody/a-model
    tunectl apply -m a-model photo.png -o result.png
    """
    from tunectl.inference import hub

    console.emit(str(hub.pull(repo, file, name, revision)))
