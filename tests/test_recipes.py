"""The recipes with what they call replaced: each of their commands is one that exists.

Branches that take an optional argument are not entered, but for OPTIONS.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import typer

from tunectl.cli.app import app

ROOT = Path(__file__).parents[1]
RECIPES = sorted((ROOT / "weights" / "recipes").glob("*.sh"))
# Writes down how it was called, and leaves a file where a result belongs.
DOUBLE = """#!{python}
import json, pathlib, sys
name, *words = sys.argv
with open({calls!r}, "a") as file:
    file.write(json.dumps([pathlib.Path(name).name, *words]) + "\\n")
if "-o" in words:
    pathlib.Path(words[words.index("-o") + 1]).touch()
"""
GIVEN = {
    "OUT": "out.safetensors",
    "BASE": "base.safetensors",
    "MODELS": str(ROOT / "weights" / "papers"),
    "FIRST": "one",
    "SECOND": "two",
    "THIRD": "three",
}
OPTIONS = {"denoise_further.sh": ["30", "a.safetensors", "32", "adamw", "--compile"]}


def calls_of(recipe: Path, room: Path) -> list[list[str]]:
    """What a recipe calls, with what its usage line asks for."""
    calls, double = room / "calls.jsonl", room / "bin" / "tunectl"
    double.parent.mkdir()
    double.write_text(DOUBLE.format(python=sys.executable, calls=str(calls)))
    double.chmod(0o755)
    (room / "bin" / "python").symlink_to(double)
    usage = re.search(rf"^#   {re.escape(recipe.name)} (.*)$", recipe.read_text(), re.MULTILINE)
    assert usage, "a recipe says how it is called"
    words = re.sub(r"\[.*", "", usage[1]).split()
    arguments = [GIVEN.get(word, word.lower()) for word in words] + OPTIONS.get(recipe.name, [])
    environment = {**os.environ, "PATH": f"{double.parent}:{os.environ['PATH']}"}
    subprocess.run(["bash", str(recipe), *arguments], cwd=room, env=environment, check=True)
    return [json.loads(line) for line in calls.read_text().splitlines()]


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda path: path.stem)
def test_a_recipe_calls_what_is_there(recipe: Path, tmp_path: Path):
    commands: Any = typer.main.get_command(app)
    for program, first, *words in calls_of(recipe, tmp_path):
        if program == "tunectl":
            commands.commands[first].make_context(first, words)
        else:
            script = Path(first).read_text()
            assert all(f'"{word}"' in script for word in words if word.startswith("--"))


def test_a_recipe_with_an_option_that_is_none_would_be_found(tmp_path: Path):
    recipe = tmp_path / "wrong.sh"
    recipe.write_text("# Wrong.\n#   wrong.sh OUT\ntunectl train --data x --patches 3 -o $1\n")
    with pytest.raises(Exception, match="No such option: --patches"):
        test_a_recipe_calls_what_is_there(recipe, tmp_path)
