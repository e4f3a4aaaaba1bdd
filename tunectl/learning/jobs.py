"""From options to a model file: what `train` and `finetune` do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from tunectl import checkpoint
from tunectl.errors import CorruptError, IncompatibleError, UsageError
from tunectl.fields import fields_to_json
from tunectl.header import Header, Part, joint_licence
from tunectl.inference.find import find_model
from tunectl.knob import Knob
from tunectl.learning.config import RunConfig
from tunectl.learning.options import Options
from tunectl.learning.run import learn
from tunectl.networks import Network, build_network
from tunectl.tasks import TASKS, Task, build_task
from tunectl.tasks.style import PHOTO
from tunectl.tuners import Tunable, build_tuner


def train(
    config: RunConfig,
    options: Options,
    task: str,
    network: str | None = None,
    levels: Sequence[float] | None = None,
    network_fields: Mapping[str, Any] | None = None,
    task_fields: Mapping[str, Any] | None = None,
    tuner: str | None = None,
    tuner_fields: Mapping[str, Any] | None = None,
    power: float = 1.0,
    knots: tuple[float, ...] = (0.0, 1.0),
) -> Path | None:
    """Train a network, from nothing or `config.start`, and write it to `config.output`.

    Without a tuner the result is plain: one level, or a network that is blind between two. With
    one it is tunable, network and tuner learning together over the whole range (the joint way).
    `levels` are the first and the last, or one; None leaves them to the task, and so it does
    the network.
    Raises a TunectlError for whatever the data, the options or the disk refuse.
    """
    names = _style_names(config, task)
    _check_pairs(config, task)
    job = build_task(task, {**(task_fields or {}), **names})
    _check_options(options, task, job)
    knots = _check_knots(knots, names)
    network, tuner = network or job.network, tuner or job.tuner
    levels = levels or job.levels(tunable=tuner is not None)
    span = (job.check_level(levels[0]), job.check_level(levels[-1]))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(options.seed)
        net = build_network(network, network_fields)
        knob = part = None
        model: Network | Tunable = net
        if tuner is None and "lower" in names:
            raise UsageError("two ends need a knob between them", "give --tuner")
        if tuner is None and (tuner_fields or len(knots) > 2 or power != 1):
            raise UsageError("a tuner's fields, knots and power need one", "give --tuner")
        if tuner is not None:
            advice = f"give --level from weak to strong, as {job.weakest:g}-{job.strongest:g}"
            job.check_way(*span, advice)
            knob = _knob(span, power, knots, "joint")
            model = _with_tuner(net, job, tuner, tuner_fields, knots)
            part = Part(tuner, fields_to_json(model.tuner.fields))
    header = Header(
        network=Part(network, fields_to_json(net.fields)),
        task=Part(task, fields_to_json(job.fields)),
        level=None if knob else span,
        tuner=part,
        knob=knob,
        plain=knob is None,
    )
    if config.start is not None:
        start = find_model(config.start)
        config = replace(config, start=start)
        found, tensors = _weights_of(start, header)
        weights = checkpoint.under("network.", tensors)
        if weights.keys() != net.own_state().keys():
            raise CorruptError(f"{config.start}: its weights are not all there", "get it again")
        header = replace(header, licence=found.licence)
        net.load_state_dict(weights, strict=False)  # it has what the tuner inserted as well
        if isinstance(model, Tunable):
            _begin(model, start, found, tensors)
    return learn(config, options, job, model, header, parent=config.start)


def finetune(
    config: RunConfig,
    options: Options,
    base: str | Path,
    tuner: str,
    way: str,
    level: float | None = None,
    tuner_fields: Mapping[str, Any] | None = None,
    power: float = 1.0,
    knots: tuple[float, ...] = (0.0, 1.0),
    task_fields: Mapping[str, Any] | None = None,
) -> Path | None:
    """Train a tuner on a frozen plain model, from its level to `level`, and write the pair.

    Of a style, the way leads to the picture `config.style`. `task_fields` change the task that the
    base was trained for.

    `endpoint` trains at alpha 1 only, as the papers do; `path` draws alpha over (0, 1]. Raises
    IncompatibleError if the base is tunable already or was trained for more than one level.
    """
    base = find_model(base)
    parent, tensors = checkpoint.read(base)
    if not parent.plain or parent.task is None or parent.level is None:
        raise IncompatibleError(
            f"{base}: is not a plain model that was trained for a task",
            "fold it first with tunectl interpolate, or name the output of tunectl train",
        )
    if parent.tuner is not None:
        raise IncompatibleError(
            f"{base}: holds modules that {parent.tuner.name} inserted",
            "finetuning starts from a network without them",
        )
    if parent.level[0] != parent.level[1]:
        raise IncompatibleError(
            f"{base}: was trained for levels {parent.level[0]:g} to {parent.level[1]:g}",
            "finetuning starts from a model of one level",
        )
    names = _style_names(config, parent.task.name)
    _check_pairs(config, parent.task.name)
    job = build_task(parent.task.name, {**parent.task.fields, **(task_fields or {})})
    job, span = job.onward(parent.level[0], level, names)
    _check_options(options, parent.task.name, job)
    if way not in ("endpoint", "path"):
        raise UsageError(f"finetuning has no way {way!r}", "give --way endpoint or --way path")
    knots = _check_knots(knots, names)
    if way == "endpoint" and not {-1.0, 0.0, 1.0}.issuperset(knots):
        raise UsageError(
            "the endpoint way never sees a knot between the ends", "give --way path, or no --knots"
        )
    net = build_network(parent.network.name, parent.network.fields)
    net.load_state_dict(checkpoint.under("network.", tensors))
    net.requires_grad_(False)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(options.seed)
        model = _with_tuner(net, job, tuner, tuner_fields, knots)
    header = Header(
        network=parent.network,
        task=Part(parent.task.name, fields_to_json(job.fields)),
        tuner=Part(tuner, fields_to_json(model.tuner.fields)),
        knob=_knob(span, power, knots, way),
        plain=False,
        licence=parent.licence,
    )
    if config.start is not None:
        start = find_model(config.start)
        config = replace(config, start=start)
        found, tensors = _weights_of(start, header)  # the base stays what it is
        header = replace(header, licence=joint_licence((parent, found)))
        _begin(model, start, found, tensors)
    return learn(config, options, job, model, header, parent=base)


def _knob(span: tuple[float, float], power: float, knots: tuple[float, ...], way: str) -> Knob:
    try:
        return Knob(span, power, knots, way)
    except ValueError as error:
        raise UsageError(str(error), "correct --level, --power or --knots") from error


def _check_pairs(config: RunConfig, task: str) -> None:
    """Raises UsageError if `task` learns from pairs and there are none, or the reverse."""
    takes = task in TASKS and TASKS[task].takes_pairs
    if takes and config.noisy is None:
        raise UsageError(f"{task} needs the photos' other halves", "give --noisy FOLDER")
    if not takes and config.noisy is not None:
        raise UsageError(f"{task} makes its own inputs", "give --task pairs, or no --noisy")
    if config.noisy is None and any(config.pairs):
        raise UsageError("--pairs says how names of pairs end", "give --noisy FOLDER as well")
    for option, place in (("--data", config.data), ("--validation", config.validation)):
        if config.noisy is not None and place is not None and not place.is_dir():
            raise UsageError(f"{place}: pairs come in folders", f"name a folder with {option}")


def _style_names(config: RunConfig, task: str) -> dict[str, str]:
    """What the styles that `task` leads to are called, by their role.

    Raises UsageError if it has no styles.
    """
    names = {role: path.stem for role, path in config.styles.items()}
    if names and task in TASKS and not TASKS[task].takes_style:
        raise UsageError(f"{task} knows no styles", "give --task style, or leave --style away")
    if len(set(config.styles.values())) != len(set(names.values())):
        raise UsageError("two styles have the same name", "rename one of the pictures")
    if task == "restyle" and set(names) - {"second"}:
        raise UsageError(
            "restyle learns any style, between no two", "give --style FOLDER, and no other"
        )
    if PHOTO in names.values():
        raise UsageError(f"a style cannot be called {PHOTO}", "give its picture another name")
    return names if task == "style" else {}


def _check_options(options: Options, name: str, task: Task) -> None:
    if options.patch < task.least:
        raise UsageError(
            f"{name} learns nothing from {options.patch} pixels",
            f"give --patch {task.least} or more",
        )
    if not task.restores and options.loss != Options.loss:
        raise UsageError(f"{name} has losses of its own", "leave --loss away")


def _check_knots(knots: tuple[float, ...], styles: Mapping[str, str]) -> tuple[float, ...]:
    """The knots, with one at -1 where a style was given for it."""
    if "lower" in styles:
        return knots if knots[0] < 0 else (-1.0, *knots)
    if knots[0] < 0:
        raise UsageError("nothing says what alpha -1 should be", "give --lower-style PICTURE")
    return knots


def _with_tuner(
    network: Network,
    task: Task,
    tuner: str,
    fields: Mapping[str, Any] | None,
    knots: tuple[float, ...],
) -> Tunable:
    fresh = build_tuner(tuner, network, fields, knots)
    if task.replaces_input and network.shortcut is not None:
        fresh.silence(network, network.shortcut)
    return Tunable(network, fresh)


def _weights_of(path: Path, header: Header) -> tuple[Header, dict[str, torch.Tensor]]:
    """A model that was trained before, for a new run of the same shape."""
    found, tensors = checkpoint.read(path)
    if (found.network, found.tuner, found.plain) != (header.network, header.tuner, header.plain):
        raise IncompatibleError(
            f"{path}: has another network or tuner than the run that starts from it",
            "repeat the options that made it",
        )
    return found, tensors


def _begin(model: Tunable, path: Path, found: Header, tensors: dict[str, torch.Tensor]) -> None:
    """Give the fresh tuner what one of its kind learned before, at its knots or at fewer."""
    assert found.tuner is not None
    assert found.knob is not None
    state, knots = checkpoint.under("tuner.", tensors), found.knob.knots
    same = knots == model.tuner.knots
    coarser = model.tuner
    if not same:
        coarser = build_tuner(found.tuner.name, model.network, found.tuner.fields, knots)
    if state.keys() != coarser.state_dict().keys():
        raise CorruptError(f"{path}: its weights are not all there", "get it again")
    coarser.load_state_dict(state)
    if same:
        return
    if not model.tuner.refine(model.network, coarser):
        raise IncompatibleError(
            f"{path}: has other knots than the run that starts from it",
            f"give --knots {','.join(f'{knot:g}' for knot in knots)}",
        )
