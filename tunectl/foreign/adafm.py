"""The files of AdaFM's authors as models of ours (arXiv 1904.08118; names as in their code)."""

from __future__ import annotations

import re
from pathlib import Path

from tunectl.errors import IncompatibleError, UsageError
from tunectl.foreign.tables import Table
from tunectl.header import Header, Part
from tunectl.knob import Knob
from tunectl.tasks import build_task

_FIRST = "model.0.weight"
_BLOCK = re.compile(r"model\.1\.sub\.(\d+)\.res\.(\d)\.")
_ENDS = {0: "conv_a", 3: "conv_b"}
_SITES = {1: "site_a", 4: "site_b"}


def is_adafm(table: Table) -> bool:
    """Whether the names are those of the authors' network, basic or adaptive."""
    return _FIRST in table and "model.1.sub.0.res.0.weight" in table


def from_adafm(
    path: Path, table: Table, task: str, levels: tuple[float, ...]
) -> tuple[Header, Table]:
    """The header and tensors of the same network in tunectl's names, exactly.

    The file does not say what it was trained for: `levels` are that of alpha 0 and, of the
    adaptive network, that of alpha 1. Raises UsageError where they do not fit, IncompatibleError
    for a network of gray pictures or one that lacks a layer.
    """
    width, channels = table[_FIRST].shape[:2]
    if channels != 3:
        raise IncompatibleError(
            f"{path}: is a network for {channels} channel", "convert one for colour pictures"
        )
    blocks = 1 + max(int(found[1]) for name in table if (found := _BLOCK.match(name)))
    renamed = _names(blocks)
    filters = [name for name in table if "transformer" in name]
    network = {ours: theirs for theirs, ours in renamed.items() if ours.startswith("network.")}
    needed = set(renamed) if filters else set(network.values())
    stems = {name.rpartition(".")[0] for name in table}
    if stems != needed:
        odd = sorted(stems ^ needed)[0]
        raise IncompatibleError(
            f"{path}: layer {odd!r} is missing or one too many", "convert a file of AdaFM's authors"
        )
    tensors = {}
    for name, tensor in table.items():
        stem, _, part = name.rpartition(".")
        tensors[f"{renamed[stem]}.{part}"] = tensor
    wanted = 2 if filters else 1
    if len(levels) != wanted:
        raise UsageError(
            f"{path}: was trained for {wanted} level{'s' * (wanted - 1)}, and does not say which",
            "give --level 15-75, as the name of the file says" if filters else "give --level 15",
        )
    job = build_task(task)
    for level in levels:
        job.check_level(level)
    if filters:
        job.check_way(levels[0], levels[1], "give the level at alpha 0, and then that at 1")
    kernel = table["model.1.sub.0.res.1.transformer.weight"].shape[-1] if filters else 0
    header = Header(
        network=Part("adafm-net", {"width": width, "blocks": blocks}),
        # Their denoisers saw pictures of 8 bits, noise and all.
        task=Part(task, {"clip": True} if task == "denoise" else {}),
        level=None if filters else (levels[0], levels[0]),
        tuner=Part("adafm", {"kernel": kernel}) if filters else None,
        knob=Knob((levels[0], levels[1])) if filters else None,
        plain=not filters,
        card=f"Converted from {path.name}.",
    )
    return header, tensors


def _names(blocks: int) -> dict[str, str]:
    """Their layers' names and ours."""
    names = {
        "model.0": "network.first",
        f"model.1.sub.{blocks}": "network.trunk",
        "model.2": "network.up",
        "model.5": "network.fine",
        "model.7": "network.last",
        f"model.1.sub.{blocks + 1}.transformer": "tuner.filters.0.site_trunk",
    }
    for i in range(blocks):
        theirs = f"model.1.sub.{i}.res"
        for place, end in _ENDS.items():
            names[f"{theirs}.{place}"] = f"network.blocks.{i}.{end}"
        for place, site in _SITES.items():
            names[f"{theirs}.{place}.transformer"] = f"tuner.filters.0.blocks/{i}/{site}"
    return names
