"""Models out of models: fold a knob away, mix, or join (DNI, section 3 of its paper)."""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Sequence
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path

import torch
from torch import Tensor

from tunectl import checkpoint
from tunectl.errors import IncompatibleError, UsageError
from tunectl.fields import fields_to_json
from tunectl.foreign.tables import check_shapes, mix_tables, write_table
from tunectl.hashing import file_sha256
from tunectl.header import Header, Part, is_ours, joint_licence
from tunectl.inference.execution import Execution
from tunectl.inference.find import find_model
from tunectl.inference.load import from_tensors
from tunectl.knob import MOST_KNOTS, Alpha, Knob
from tunectl.networks import build_network
from tunectl.tasks import build_task
from tunectl.tuners import DNI


def fold_file(
    source: str | Path, alpha: Alpha, output: Path, extrapolate: bool = False, command: str = ""
) -> Header:
    """Write the plain model that a tunable file is at `alpha`, to a file that is not there yet.

    At several alphas, one a site, it is of no level. Raises as `load` and `fold` do.
    """
    path = find_model(source)
    header, tensors = checkpoint.read(path)
    model = from_tensors(header, tensors, Execution.pick("cpu", "fp32"))
    network = model.fold(alpha, extrapolate=extrapolate)
    kept = any(network.in_site(name) for name in network.state_dict())
    alphas = alpha if isinstance(alpha, tuple) else (alpha,)
    level = model.knob.level(alphas[0]) if len(alphas) == 1 else None
    told = "/".join(f"{one:g}" for one in alphas)
    folded = Header(
        network=header.network,
        task=header.task,
        level=level if level is None else (level, level),
        tuner=header.tuner if kept else None,
        knob=header.knob if kept else None,
        provenance=_provenance(command, [path], alpha=alpha),
        licence=header.licence,
        card=f"{header.card} Folded at alpha {told}.".strip(),
    )
    return checkpoint.write(output, folded, checkpoint.named(network.state_dict()), new=True)


def check_weights(sources: Sequence[str | Path], weights: Sequence[float]) -> None:
    """Raises UsageError for weights that do not fit the models."""
    if len(sources) < 2 or len(weights) != len(sources):
        raise UsageError(
            f"{len(sources)} models and {len(weights)} weights", "give one weight a model in --mix"
        )
    if not math.isclose(sum(weights), 1, abs_tol=1e-6):
        raise UsageError(f"the weights add up to {sum(weights):g}", "make them add up to 1")


def mix_files(
    sources: Sequence[str | Path], weights: Sequence[float], output: Path, command: str = ""
) -> None:
    """Write the weighted mean of two or more models of one descent, ours or any others, to a file
    that is not there yet.

    Those of ours are plain, or have one knob; that of the mix is as it was scheduled, since what
    was measured of the others does not hold for it.
    Raises UsageError if the weights do not fit, IncompatibleError at the first mismatch.
    """
    check_weights(sources, weights)
    paths = [find_model(source) for source in sources]
    if not is_ours(paths[0]):
        _mix_foreign(paths, weights, output, command)
        return
    header, mixed, _ = mix_ours(paths, weights)
    facts = _provenance(command, paths, mix=list(weights))
    checkpoint.write(output, replace(header, provenance=facts), mixed, new=True)


def mix_ours(
    paths: Sequence[Path], weights: Sequence[float]
) -> tuple[Header, dict[str, Tensor], list[Header]]:
    """The mix of models of ours, and their own headers. Raises IncompatibleError."""
    headers, contents = zip(*(checkpoint.read(path) for path in paths), strict=True)
    for path, header, tensors in zip(paths, headers, contents, strict=True):
        _check_mixable(path, header, tensors, paths[0], headers[0], contents[0])
    mixed: dict[str, Tensor] = {}
    for name in contents[0]:
        stack = torch.stack([tensors[name].float() for tensors in contents])
        mixed[name] = torch.tensordot(torch.tensor(weights, dtype=torch.float32), stack, dims=1)
    levels = [header.level for header in headers if header.level is not None]
    level = (levels[0][0], levels[-1][1]) if len(levels) == len(headers) else None
    if level and all(first == last for first, last in levels):
        one = mixed_level([first for first, _ in levels], weights)
        level = (one, one)
    tasks = [header.task for header in headers]
    task = tasks[0]
    if task is not None and any(other != task for other in tasks):
        task = Part(task.name, {})  # between two styles it is neither's
    card = "A mix of " + ", ".join(path.stem for path in paths) + "."
    knob = _uncalibrated(headers[0])
    header = replace(
        headers[0],
        task=task,
        level=level,
        dtype="fp32",
        licence=joint_licence(headers),
        card=card,
        knob=knob,
    )
    return header, mixed, list(headers)


def mixed_level(levels: Sequence[float], weights: Sequence[float]) -> float:
    """The level of a mix; beyond its ends, where the task may know none, that of the nearest."""
    one = sum(weight * level for weight, level in zip(weights, levels, strict=True))
    return min(max(one, min(levels)), max(levels))


def join_files(
    sources: Sequence[str | Path],
    output: Path,
    dtype: str = "fp32",
    command: str = "",
    card: str = "",
) -> Header:
    """Write the model whose knob goes through plain models of one descent, from the weakest to the
    strongest, to a file that is not there yet.

    Of two it is what DNI calls the interpolated network (section 3.1), its ends kept apart; more,
    each with a knot at its level, are for ranges over which one straight line is too long. Raises
    UsageError for models between whose levels no knob can go, IncompatibleError at the first
    mismatch, and for models that hold what a tuner inserted.
    """
    if not 2 <= len(sources) <= MOST_KNOTS:
        raise UsageError(f"a knob joins 2 to {MOST_KNOTS} models", "name so many plain ones")
    paths = [find_model(name) for name in sources]
    headers, contents = zip(*(checkpoint.read(path) for path in paths), strict=True)
    tasks, levels = [], []
    for path, header, tensors in zip(paths, headers, contents, strict=True):
        _check_mixable(path, header, tensors, paths[0], headers[0], contents[0])
        if header.tuner is not None or header.task is None or header.level is None:
            raise IncompatibleError(
                f"{path}: is not a plain network trained for a level of a task",
                "name two that `train` made, or that were folded from dni, ftn or adafm 1x1",
            )
        if header.level[0] != header.level[1]:
            raise IncompatibleError(
                f"{path}: was trained for levels {header.level[0]:g} to {header.level[1]:g}",
                "a knob goes from one level to another: name models of one level each",
            )
        tasks.append(build_task(header.task.name, header.task.fields))
        levels.append(header.level[0])
    task, (start, end) = tasks[0].towards(levels[0], tasks[-1], levels[-1])
    shares: list[float] = []  # of the models between
    if len(sources) > 2:
        if not task.restores:
            raise IncompatibleError("a knob goes from one style to one other", "name two models")
        for path, other in zip(paths, tasks, strict=True):
            if other.fields != tasks[0].fields:  # of one name they are
                raise IncompatibleError(
                    f"{path} and {paths[0]} differ in their task's fields",
                    "join more than two only of one task, at several levels",
                )
        for before, after in itertools.pairwise(levels):
            task.check_way(before, after, "name them from the weakest to the strongest")
        shares = [(level - start) / (end - start) for level in levels[1:-1]]
    part = headers[0].task
    assert part is not None
    network = build_network(headers[0].network.name, headers[0].network.fields)
    network.load_state_dict(checkpoint.under("network.", contents[0]))
    knots = (0.0, *shares, 1.0)
    tuner = DNI.through(network, [checkpoint.under("network.", one) for one in contents[1:]], knots)
    header = Header(
        network=headers[0].network,
        task=Part(part.name, fields_to_json(task.fields)),
        tuner=Part("dni"),
        knob=Knob((start, end), knots=knots),
        plain=False,
        dtype=dtype,
        provenance=_provenance(command, paths),
        licence=joint_licence(headers),
        card=card or f"From {' to '.join(path.stem for path in paths)}.",
    )
    tensors = checkpoint.named(network.state_dict(), tuner.state_dict())
    return checkpoint.write(output, header, tensors, new=True)


def _check_mixable(
    path: Path,
    header: Header,
    tensors: dict[str, Tensor],
    first_path: Path,
    first: Header,
    first_tensors: dict[str, Tensor],
) -> None:
    if header.plain != first.plain:
        knobbed = first_path if header.plain else path
        raise IncompatibleError(
            f"{knobbed}: has a knob, and not all of these models have",
            "fold it first: tunectl interpolate FILE --alpha 0.5 -o PLAIN",
        )
    for what, mine, its in (
        ("network", first.network, header.network),
        ("task", first.task and first.task.name, header.task and header.task.name),
        ("tuner", first.tuner, header.tuner),
        ("knob", _uncalibrated(first), _uncalibrated(header)),
    ):
        if mine != its:
            raise IncompatibleError(
                f"{path} and {first_path} differ in their {what}: {its} and {mine}",
                "mix models that were finetuned from one another",
            )
    check_shapes(path, tensors, first_path, first_tensors)


def _uncalibrated(header: Header) -> Knob | None:
    return header.knob and replace(header.knob, calibration=())


def _mix_foreign(
    paths: Sequence[Path], weights: Sequence[float], output: Path, command: str
) -> None:
    if ours := [path for path in paths if is_ours(path)]:
        raise IncompatibleError(
            f"{ours[0]} is a model of tunectl's, {paths[0]} is not", "mix models of one kind"
        )
    mixed, metadata = mix_tables(paths, weights)
    facts = _provenance(command, paths, mix=list(weights))
    write_table(output, mixed, {**metadata, "mixed": json.dumps(facts)})


def _provenance(command: str, parents: Sequence[Path], **facts: object) -> dict[str, object]:
    return {
        "command": command,
        "tunectl": version("tunectl"),
        "parents": [file_sha256(path) for path in parents],
        **facts,
    }
