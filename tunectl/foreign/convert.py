"""Files of other programs into files that can do no harm, and into ours where we know them."""

from __future__ import annotations

from dataclasses import replace
from importlib.metadata import version
from pathlib import Path

from tunectl import checkpoint
from tunectl.atomic import check_new
from tunectl.errors import IncompatibleError, UsageError
from tunectl.foreign.adafm import from_adafm, is_adafm
from tunectl.foreign.tables import Table, read_pickle, read_table, write_table
from tunectl.hashing import file_sha256
from tunectl.header import ENDING, Header, is_ours, read_content
from tunectl.networks import build_network
from tunectl.tuners import build_tuner


def convert_file(
    source: Path,
    output: Path,
    key: str = "",
    task: str = "denoise",
    levels: tuple[float, ...] = (),
    command: str = "",
) -> str:
    """Write a `.pth`, `.pt`, `.ckpt` or foreign safetensors file as safetensors; say what it is.

    AdaFM's authors' networks become models of ours, for `task` at `levels`; of all others the
    tensors are kept under their names. Raises CheckpointError, and UsageError for an output that
    is there already.
    """
    if output.suffix != ENDING:
        raise UsageError(f"{output}: is not named as safetensors", f"end it {ENDING}")
    check_new(output)
    if source.suffix == ENDING and is_ours(source):
        read_content(source)  # raises for what is missing or torn
        raise UsageError(f"{source}: is a model of tunectl's already", "use it as it is")
    table = read_table(source) if source.suffix == ENDING else read_pickle(source, key)
    origin = file_sha256(source)
    made_of = {"command": command, "tunectl": version("tunectl"), "parents": [origin]}
    if is_adafm(table):
        try:
            header, tensors = from_adafm(source, table, task, levels)
            _check_fits(header, tensors)
        except (KeyError, ValueError, IndexError, RuntimeError) as error:
            raise IncompatibleError(
                f"{source}: has layers of other shapes than AdaFM's authors' network",
                "get it again",
            ) from error
        checkpoint.write(output, replace(header, provenance=made_of), tensors, new=True)
        return "an AdaFM network" + ("" if header.plain else " with its knob")
    write_table(output, table, {"format": "pt", "converted_from": str(origin)})
    return f"{len(table)} tensors of a network that tunectl does not know"


def _check_fits(header: Header, tensors: Table) -> None:
    """Raises RuntimeError for tensors that the header's network does not take."""
    network = build_network(header.network.name, header.network.fields)
    network.load_state_dict(checkpoint.under("network.", tensors))
    if header.tuner is not None:
        tuner = build_tuner(header.tuner.name, network, header.tuner.fields)
        tuner.load_state_dict(checkpoint.under("tuner.", tensors))
