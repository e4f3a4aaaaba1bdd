"""From options to a model file: what `train` and `finetune` do."""

from __future__ import annotations

import hashlib
import platform
from collections.abc import Mapping, Sequence
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from tunectl import checkpoint
from tunectl.device import pick_device, pick_precision
from tunectl.errors import IncompatibleError, UsageError
from tunectl.fields import fields_to_json
from tunectl.hashing import file_sha256
from tunectl.header import Header, Part
from tunectl.inference.find import find_model
from tunectl.knob import Knob
from tunectl.learning.calibration import calibrate
from tunectl.learning.curriculum import Curriculum
from tunectl.learning.loop import fit
from tunectl.learning.options import Options
from tunectl.learning.photos import Photos, list_photos, load_crops
from tunectl.learning.place import Place
from tunectl.learning.state import RunFolder
from tunectl.learning.validation import CROP_SIZE, CROPS, Folds, Validation
from tunectl.networks import Network, build_network
from tunectl.tasks import Task, build_task
from tunectl.tuners import Tunable, build_tuner

HELD_OUT = 16  # every 16th photo, where no folder for validation is named


def train(
    place: Place,
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
) -> Path:
    """Train a network from nothing and write it to `place.output`.

    Without a tuner the result is plain: one level, or a network that is blind between two. With
    one it is tunable, network and tuner learning together over the whole range (the joint way).
    `levels` are the first and the last, or one; None leaves them to the task, and so it does
    the network.
    Raises a TunectlError for whatever the data, the options or the disk refuse.
    """
    names = place.style_names(task)
    job = build_task(task, {**(task_fields or {}), **names})
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
        if tuner is not None:
            if span[0] == span[1]:
                raise UsageError(
                    "a knob needs two levels", f"give --level {job.weakest:g}-{span[0]:g}"
                )
            knob = Knob(span, power, knots, way="joint")
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
    if place.start is not None:
        tensors = _weights_of(place.start, header)
        net.load_state_dict(checkpoint.under("network.", tensors), strict=tuner is None)
        if isinstance(model, Tunable):
            model.tuner.load_state_dict(checkpoint.under("tuner.", tensors))
    return _learn(place, options, job, model, header, parent=place.start)


def finetune(
    place: Place,
    options: Options,
    base: str | Path,
    tuner: str,
    way: str,
    level: float | None = None,
    tuner_fields: Mapping[str, Any] | None = None,
    power: float = 1.0,
    knots: tuple[float, ...] = (0.0, 1.0),
    task_fields: Mapping[str, Any] | None = None,
) -> Path:
    """Train a tuner on a frozen plain model, from its level to `level`, and write the pair.

    Of a style, the way leads to the picture `place.style`. `task_fields` change the task that the
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
    names = place.style_names(parent.task.name)
    job = build_task(parent.task.name, {**parent.task.fields, **(task_fields or {})})
    job, span = job.onward(parent.level[0], level, names)
    if span[0] == span[1]:
        raise UsageError(
            f"{base}: was trained for level {span[1]:g} already", "give another --level"
        )
    if way not in ("endpoint", "path"):
        raise UsageError(f"finetuning has no way {way!r}", "give --way endpoint or --way path")
    knots = _check_knots(knots, names)
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
        knob=Knob(span, power, knots, way),
        plain=False,
    )
    if place.start is not None:
        tensors = _weights_of(place.start, header)  # the base stays what it is
        model.tuner.load_state_dict(checkpoint.under("tuner.", tensors))
    return _learn(place, options, job, model, header, parent=base)


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


def _weights_of(path: Path, header: Header) -> dict[str, torch.Tensor]:
    """The tensors of a model that was trained before, for a new run of the same shape."""
    found, tensors = checkpoint.read(path)
    if (found.network, found.tuner, found.plain) != (header.network, header.tuner, header.plain):
        raise IncompatibleError(
            f"{path}: has another network or tuner than the run that starts from it",
            "repeat the options that made it",
        )
    return tensors


def _learn(
    place: Place,
    options: Options,
    task: Task,
    model: Network | Tunable,
    header: Header,
    parent: Path | None,
) -> Path:
    device = pick_device(place.device)
    precision = pick_precision(device, place.precision)
    names = list_photos(place.data, place.exclude)
    held_out = list_photos(place.validation) if place.validation else names[::HELD_OUT]
    names = [name for name in names if name not in set(held_out)] or names
    photos = Photos(names, options.patch, device)
    for line in photos.skipped:
        place.say(f"left out: {line}")
    crops = load_crops(held_out, CROP_SIZE, min(CROPS, len(held_out)))
    place.say(
        f"{photos.count} photos, {photos.megapixels:.1f} megapixels; {len(crops)} for validation; "
        f"{device}, {str(precision).removeprefix('torch.')}"
    )
    model.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    task.prepare(model, {path.stem: path for path in place.style_pictures().values()}, device)
    knob = header.knob
    levels = knob.levels if knob else header.level
    assert levels is not None
    curriculum = Curriculum(
        way=knob.way if knob else None,
        levels=levels,
        power=knob.power if knob else 1.0,
        bias=options.bias,
        seed=options.seed,
        dual=knob is not None and knob.lowest < 0,
    )
    folder = RunFolder(place.output)
    end = fit(
        model,
        task,
        curriculum,
        photos,
        options,
        precision,
        folder,
        place.resume,
        validate=Validation(model, task, levels, knob, crops, device, precision, place.previews),
        report=place.report,
    )
    if isinstance(model, Tunable) and knob is not None and task.restores:
        place.say("calibrating alpha on the validation photos")
        folds = Folds(model, device, precision)
        header = replace(
            header, knob=replace(knob, calibration=calibrate(folds, knob, crops, task))
        )
    provenance = {
        "command": place.command,
        "tunectl": version("tunectl"),
        "torch": torch.__version__,
        "seed": options.seed,
        "steps": end.step,
        "hours": round(end.seconds / 3600, 3),
        "device": _device_name(device),
        "data": {"folder": place.data.name, "photos": photos.count, "sha256": _names_hash(names)},
        "parent": file_sha256(parent) if parent else None,
    }
    header = replace(
        header,
        dtype=place.dtype,
        provenance=provenance,
        licence=place.licence,
        card=place.card,
    )
    network = model.network if isinstance(model, Tunable) else model
    tensors = {f"network.{name}": t for name, t in network.own_state().items()}
    if isinstance(model, Tunable):
        tensors |= {f"tuner.{name}": t for name, t in model.tuner.state_dict().items()}
    checkpoint.write(place.output, header, tensors)
    folder.clear()  # a state that is left behind marks a run that was interrupted
    return place.output


def _names_hash(paths: Sequence[Path]) -> str:
    listing = "\n".join(f"{path.name} {path.stat().st_size}" for path in paths)
    return hashlib.sha256(listing.encode()).hexdigest()


def _device_name(device: torch.device) -> str:
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"CPU {platform.machine()}, {torch.get_num_threads()} threads"
