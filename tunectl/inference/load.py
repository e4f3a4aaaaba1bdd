"""Models from files."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from tunectl import checkpoint
from tunectl.errors import IncompatibleError, UsageError
from tunectl.header import Header, is_ours
from tunectl.inference.execution import Execution
from tunectl.inference.find import find_model
from tunectl.inference.model import Model
from tunectl.networks import Network, build_network
from tunectl.tasks import build_task
from tunectl.tuners import Tunable, build_tuner, insert_sites


def load(
    name: str | Path,
    *,
    device: str = "auto",
    precision: str = "auto",
    tile: int | None = None,
    ensemble: int = 1,
) -> Model:
    """Load a model by path, or by name: from the user's folder, else one that is bundled.

    `device` is auto, cpu, cuda or cuda:N; `precision` auto, fp32 or bf16; `tile` the largest side,
    in pixels, that runs at once, else as the memory allows; `ensemble` how many orientations of a
    picture the result is the mean of: 1, 2, 4 or 8. A safetensors file that tunectl did not write
    is loaded by spandrel, where that is installed. Raises CheckpointError if there is no such model
    or its file is refused, UsageError for another word or number, ResourceError for a device that
    is not there.
    """
    execution = Execution.pick(device, precision, tile, ensemble)
    path = find_model(name)
    if not is_ours(path):
        from tunectl.foreign.networks import load_foreign

        header, module = load_foreign(path)
        return Model(header, module, execution)
    try:
        return from_tensors(*checkpoint.read(path), execution)
    except IncompatibleError as error:
        raise IncompatibleError(f"{path}: {error.message}", error.hint) from error


def from_tensors(header: Header, tensors: dict[str, Tensor], execution: Execution) -> Model:
    """Build the model that a file's header describes and give it the file's tensors.

    Raises IncompatibleError for names, fields or shapes that are not known.
    """
    part, knots = header.tuner, header.knob.knots if header.knob else (0.0, 1.0)
    try:
        with torch.device("meta"):  # nothing is allocated for the header's word alone
            network = build_network(header.network.name, header.network.fields)
            if part is not None and header.plain:  # what the tuner inserted is part of the network
                insert_sites(part.name, network, part.fields, knots)
        if header.task is not None:
            build_task(header.task.name, header.task.fields)
        module: Network | Tunable = network
        network.load_state_dict(checkpoint.under("network.", tensors), assign=True)
        if part is not None and not header.plain:
            tuner = build_tuner(part.name, network, part.fields, knots)
            tuner.load_state_dict(checkpoint.under("tuner.", tensors))
            module = Tunable(network, tuner)
    except UsageError as error:  # of an unknown name or field
        raise IncompatibleError(error.message, "it may want a later tunectl") from error
    except RuntimeError as error:
        raise IncompatibleError(
            f"its tensors do not fit a {header.network.name}", "train or download it again"
        ) from error
    return Model(header, module, execution)
