"""One run: from data and a model to be trained to the file that holds it."""

from __future__ import annotations

import hashlib
import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from tunectl import checkpoint
from tunectl.device import pick_precision
from tunectl.errors import DataError, ResourceError, is_out_of_memory
from tunectl.hashing import file_sha256, size_and_time
from tunectl.header import Header, read_header
from tunectl.images import find_pictures
from tunectl.knob import Knob
from tunectl.learning.calibration import calibrate
from tunectl.learning.config import RunConfig
from tunectl.learning.curriculum import Curriculum
from tunectl.learning.log import Log
from tunectl.learning.loop import Lesson, Watchers, fit, steps_of
from tunectl.learning.options import Options
from tunectl.learning.processes import Processes, joined
from tunectl.learning.report import write_report
from tunectl.learning.sources import read, split, split_words
from tunectl.learning.state import RunFolder
from tunectl.learning.stepper import Report
from tunectl.learning.table import Source, files_of
from tunectl.learning.validation import Folds, Validation
from tunectl.networks import Network
from tunectl.tasks import Task
from tunectl.tuners import Tunable

CONFIG = "config.toml"


def learn(
    config: RunConfig,
    options: Options,
    task: Task,
    model: Network | Tunable,
    header: Header,
    parent: Path | None,
) -> Path | None:
    """Train what requires a gradient in `model`, and write it to `config.output` with its header.

    `parent` is the file whose weights it has. A run that `config.output` has begun goes on, and one
    that is finished is left as it is. Returns the output, or None where the run stopped before its
    end, or another process writes. Raises a TunectlError for whatever the data, the options, the
    memory or the disk refuse.
    """
    with joined(config.device) as processes:
        if not processes.first:
            config = replace(config, report=lambda report: None, say=lambda words: None)
        folder = RunFolder(config.output)
        try:
            finished = _learn(config, options, task, model, header, parent, processes, folder)
        except (MemoryError, RuntimeError) as error:
            if config.compile and _is_of_compiler(error):
                raise ResourceError(
                    f"the network cannot be compiled here: {_reason(error)}",
                    "leave out --compile; it needs a C++ compiler, and on CUDA Triton",
                ) from error
            if not is_out_of_memory(error):
                raise
            raise ResourceError(
                "training ran out of memory", "give --micro 1, or a smaller --patch or --batch"
            ) from error
        finally:
            folder.release()
    return config.output if finished and processes.first else None


def _learn(
    config: RunConfig,
    options: Options,
    task: Task,
    model: Network | Tunable,
    header: Header,
    parent: Path | None,
    processes: Processes,
    folder: RunFolder,
) -> bool:
    device = processes.device
    precision = pick_precision(device, config.precision)
    steps = steps_of(model, config.compile)
    learned, held_out = split(config)
    run = _description(config, options, header, parent, learned, held_out)
    fresh = config.fresh and not processes.restarted
    if not processes.tell(folder.open(run, fresh) if processes.first else None):
        if processes.first:  # others may not see the file
            kept = _kept(config)
            config.say(f"{config.output}: is finished already{kept}; --fresh trains it anew")
        return True
    options.pieces(processes.count)
    photos, crops = read(config, options, task, learned, held_out, device)
    if processes.tell(photos.count) != photos.count:
        raise DataError(
            f"{photos.count} photos can be read here, and others where the run's first process is",
            "let all processes see the same files",
        )
    if header.level is not None and header.level[0] != header.level[1]:
        config.say("one network for all levels, without a knob: --tuner gives it one")
    config.say(
        f"{photos.count} photos, {photos.megapixels:.1f} megapixels; {len(crops)} more for "
        f"validation, {split_words(config)}; {device}, {str(precision).removeprefix('torch.')}"
    )
    model.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    task.prepare(model, {path.stem: path for path in config.styles.values()}, device)
    knob, levels = header.knob, header.knob.levels if header.knob else header.level
    assert levels is not None
    log = Log(folder, config.tensorboard and processes.first)
    if processes.first:  # whatever could be refused has been
        folder.begin(run, fresh, photos.count)
        folder.write(CONFIG, config.toml)
        if folder.states():
            config.say(f"{folder.path}: goes on after step {folder.step_of(folder.states()[-1])}")
    with log:
        validate = Validation(model, task, levels, knob, crops, device, precision, folder.previews)
        watchers = Watchers(validate, config.report, log)
        curriculum = _curriculum(knob, levels, options)
        end = fit(
            model,
            Lesson(task, curriculum, photos, options, precision),
            folder,
            processes,
            watchers,
            steps,
            config.save_every,
            config.stop_after,
        )
        frames = validate.sweep() if end and processes.first else []
        if end:
            log.sweep(end.step, frames)
    if end is None:
        config.say(
            f"stopped after step {config.stop_after}; the same command without --stop-after goes on"
        )
        return False
    if not processes.first:
        return True
    if isinstance(model, Tunable) and knob is not None and task.restores:
        config.say("calibrating alpha on the validation photos")
        calibration = calibrate(Folds(model, device, precision), knob, crops, task)
        header = replace(header, knob=replace(knob, calibration=calibration))
    header = replace(
        header,
        dtype=config.store,
        provenance=_provenance(config, options, run, end, processes, precision),
        licence=config.licence or header.licence,
        card=config.card,
    )
    checkpoint.write(config.output, header, _tensors(model))
    write_report(folder, header, frames)
    folder.finish()
    return True


def _kept(config: RunConfig) -> str:
    """Which words a finished model keeps, although others were given."""
    found = read_header(config.output)
    given = {"card": (config.card, found.card), "licence": (config.licence, found.licence)}
    kept = [name for name, (new, old) in given.items() if new and new != old]
    return f", and keeps its {' and '.join(kept)}" if kept else ""


def _curriculum(knob: Knob | None, levels: tuple[float, float], options: Options) -> Curriculum:
    return Curriculum(
        way=knob.way if knob else None,
        levels=levels,
        power=knob.power if knob else 1.0,
        bias=options.bias,
        seed=options.seed,
        dual=knob is not None and knob.lowest < 0,
    )


def _provenance(
    config: RunConfig,
    options: Options,
    run: Mapping[str, Any],
    end: Report,
    processes: Processes,
    precision: torch.dtype,
) -> dict[str, Any]:
    """What the model's file says of how it came about."""
    return {
        "command": config.command,
        "tunectl": version("tunectl"),
        "torch": torch.__version__,
        "seed": options.seed,
        "steps": end.step,
        "hours": round(end.seconds / 3600, 3),
        "device": _device_name(processes.device),
        "processes": processes.count,
        "precision": str(precision).removeprefix("torch."),
        "data": {"folder": config.data.name, **run["data"]},
        "validation": run["validation"],
        "options": asdict(options),
        "parent": run["parent"],
        "start": run["start"],
    }


def _tensors(model: Network | Tunable) -> dict[str, torch.Tensor]:
    """A model's tensors as its file names them."""
    if isinstance(model, Tunable):
        return checkpoint.named(model.network.own_state(), model.tuner.state_dict())
    return checkpoint.named(model.own_state())


def _description(
    config: RunConfig,
    options: Options,
    header: Header,
    parent: Path | None,
    sources: Sequence[Source],
    held_out: Sequence[Source],
) -> dict[str, Any]:
    """What makes a run this one: whoever repeats it means to go on with it.

    Where it runs, in which precision, and how many patches at once are not of it.
    """
    settings = asdict(options)
    settings.pop("micro")
    return settings | {
        "network": asdict(header.network),
        "task": asdict(header.task) if header.task else None,
        "tuner": asdict(header.tuner) if header.tuner else None,
        "knob": asdict(header.knob) if header.knob else None,
        "level": header.level,
        "data": {"photos": len(sources), "sha256": _names_hash(sources)},
        "validation": {"photos": len(held_out), "sha256": _names_hash(held_out)},
        "styles": {role: _content(path) for role, path in config.styles.items()},
        "parent": file_sha256(parent) if parent else None,
        "start": file_sha256(config.start) if config.start else None,
        "store": config.store,
    }


def _content(path: Path) -> str | None:
    """Of a picture, its hash; of a folder of them, that of their names and sizes."""
    return _names_hash(find_pictures(path)) if path.is_dir() else file_sha256(path)


def _names_hash(sources: Sequence[Source]) -> str:
    paths = [path for source in sources for path in files_of(source)]
    listing = "\n".join(f"{path.name} {size_and_time(path)[0]}" for path in paths)
    return hashlib.sha256(os.fsencode(listing)).hexdigest()


def _is_of_compiler(error: BaseException) -> bool:
    from torch._dynamo.exc import TorchDynamoException  # takes a second

    return isinstance(error, TorchDynamoException)


def _reason(error: BaseException) -> str:
    return " ".join(str(error).split("\n\n")[0].split())


def _device_name(device: torch.device) -> str:
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"CPU {platform.machine()}, {torch.get_num_threads()} threads"
