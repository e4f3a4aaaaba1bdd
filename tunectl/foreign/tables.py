"""Tables of weights without a tunectl header: read, mixed and written, whatever network's."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import safetensors.torch
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from tunectl.atomic import write_new
from tunectl.errors import CheckpointError, CorruptError, ForeignError, IncompatibleError
from tunectl.header import ENDING, PICKLES

LONGEST = 600  # seconds that unpickling may take
Table = dict[str, Tensor]


def read_table(path: Path) -> Table:
    """The tensors of a safetensors file. Raises CheckpointError."""
    if path.suffix in PICKLES:
        raise ForeignError(
            f"{path}: is a pickle, which may run code when it is read",
            f"make it safe first: tunectl convert {path} -o {path.with_suffix(ENDING)}",
        )
    try:
        return safetensors.torch.load_file(path)  # mapped: several are mixed at once
    except (SafetensorError, ValueError) as error:
        raise CorruptError(
            f"{path}: is not a safetensors file ({error})", "get it again"
        ) from error
    except OSError as error:
        raise CheckpointError(f"{path}: {error.strerror or error}", "check its name") from error


def read_pickle(path: Path, key: str = "") -> Table:
    """The weights in an old PyTorch file, read by another process that runs none of its code.

    `key` names the table to take where there are several. Raises CheckpointError.
    """
    if not path.is_file():
        raise CheckpointError(f"{path}: there is no such file", "check its name")
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / "weights"
        # -P: or a torch.py beside somebody's weights would be run.
        module = [sys.executable, "-P", "-m", "tunectl.foreign.unpickle"]
        reader = [*module, str(path), str(target), key]
        try:
            done = subprocess.run(reader, capture_output=True, text=True, timeout=LONGEST)
        except subprocess.TimeoutExpired as error:
            raise CorruptError(f"{path}: takes forever to read", "get it again") from error
        if done.returncode:
            cause = (done.stderr.strip().splitlines() or ["the reader was ended by the system"])[-1]
            raise ForeignError(
                f"{path}: its weights cannot be read ({cause})",
                "get it again, name the table with --key, or ask its maker for safetensors",
            )
        try:
            return safetensors.torch.load(target.read_bytes())
        except SafetensorError as error:
            raise ForeignError(
                f"{path}: its weights cannot be kept ({error})", "ask its maker for safetensors"
            ) from error


def write_table(path: Path, table: Table, metadata: dict[str, str]) -> None:
    """Write a safetensors file that is not there yet, as `write_new`."""
    write_new(path, safetensors.torch.save(table, metadata))


def mix_tables(paths: Sequence[Path], weights: Sequence[float]) -> tuple[Table, dict[str, str]]:
    """The weighted mean of several files' tensors, and the first one's metadata.

    Every tensor must be in all of them, with one shape; means are taken in fp32 and stored as the
    first file has them. Whole numbers, such as counters, are no weights: they are the first one's.
    Raises IncompatibleError at the first mismatch.
    """
    tables = [read_table(path) for path in paths]
    first = tables[0]
    for path, table in zip(paths[1:], tables[1:], strict=True):
        check_shapes(path, table, paths[0], first)
    mixed = {}
    for name, tensor in first.items():
        mixed[name] = tensor
        if tensor.dtype.is_floating_point:
            stack = torch.stack([table[name].float() for table in tables])
            mixed[name] = torch.tensordot(
                torch.tensor(weights, dtype=torch.float32), stack, dims=1
            ).to(tensor.dtype)
    with safe_open(paths[0], "pt") as file:
        return mixed, file.metadata() or {}


def check_shapes(path: Path, table: Table, first_path: Path, first: Table) -> None:
    """Raises IncompatibleError at the first tensor that is not in both with one shape."""
    for name in sorted(first.keys() | table.keys()):
        shapes = [tuple(t[name].shape) if name in t else None for t in (table, first)]
        if shapes[0] != shapes[1]:
            raise IncompatibleError(
                f"{path} and {first_path} differ in tensor {name!r}: {shapes[0]} and {shapes[1]}",
                "mix models that were finetuned from one another",
            )
