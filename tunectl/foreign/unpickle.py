"""The weights of an old PyTorch file, in a process of its own: `python -m ... SOURCE TARGET KEY`.

Only tensors and plain containers are unpickled (torch's `weights_only`); no code in the file runs.
The process apart is for what a damaged or hostile file may still do to the reader: crash it, or
take all memory.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pickle import UnpicklingError
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

# What the field's training codes call the weights to use, best first.
KEYS = ("params_ema", "params", "ema", "state_dict", "model_state_dict", "model", "net")
WRAPPER = "module."  # DataParallel's


def weights_in(content: Any, key: str = "") -> dict[str, Tensor]:
    """The one table of weights in a file's content, named by `key` or found.

    Raises ValueError where there is none, or several of which none has a known name.
    """
    tables = {"": content} | (dict(content) if isinstance(content, Mapping) else {})
    tables = {str(name): found for name, table in tables.items() if (found := _tensors(table))}
    if not key:
        # The weights' own table is last: a stray tensor may lie beside a table with a known name.
        key = next((name for name in (*KEYS, "") if name in tables), "")
        if key not in tables and len(tables) == 1:
            key = next(iter(tables))
    if key not in tables:
        known = ", ".join(name for name in tables if name) or "none"
        raise ValueError(f"no single table of weights; tables: {known}")
    found = tables[key]
    if all(name.startswith(WRAPPER) for name in found):
        found = {name.removeprefix(WRAPPER): tensor for name, tensor in found.items()}
    return {name: tensor.detach().clone().contiguous() for name, tensor in found.items()}


def _tensors(table: Any) -> dict[str, Tensor]:
    if not isinstance(table, Mapping):
        return {}
    return {str(name): value for name, value in table.items() if isinstance(value, Tensor)}


def main(source: str, target: str, key: str) -> None:
    """Write the weights in `source` to `target` as safetensors; ends with a word on stderr."""
    try:
        content = torch.load(source, map_location="cpu", weights_only=True)
    except UnpicklingError:
        sys.exit("it holds more than weights, and code in it is not run")
    except Exception as error:  # a file from anywhere raises anything
        sys.exit(f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}")
    try:
        save_file(weights_in(content, key), target, {"format": "pt"})
    except ValueError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main(*sys.argv[1:])
