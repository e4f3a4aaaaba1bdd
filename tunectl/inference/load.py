"""Models from files."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from tunectl import checkpoint
from tunectl.device import pick_device, pick_precision
from tunectl.errors import IncompatibleError
from tunectl.header import Header, is_ours
from tunectl.inference.find import find_model
from tunectl.inference.model import Model
from tunectl.networks import Network, build_network
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

    `device` is auto, cpu, cuda or cuda:N; `precision` auto, fp32 or bf16; `tile` the side of the
    largest window that runs at once, None for one that fits the free memory. With an `ensemble`
    of 2, 4 or 8 the result is the mean over so many orientations of the picture: so much slower,
    and a little better. A safetensors file that tunectl did not write is loaded by spandrel, where
    that is installed. Raises CheckpointError if there is no such model or its file is refused.
    """
    path = find_model(name)
    if not is_ours(path):
        from tunectl.foreign.networks import load_foreign

        header, module = load_foreign(path)
        place = pick_device(device)
        return Model(
            header, module.to(place), place, pick_precision(place, precision), tile, ensemble
        )
    return from_tensors(*checkpoint.read(path), device, precision, tile, ensemble)


def from_tensors(
    header: Header,
    tensors: dict[str, Tensor],
    device: str = "auto",
    precision: str = "auto",
    tile: int | None = None,
    ensemble: int = 1,
) -> Model:
    """Build the model that a file's header describes and give it the file's tensors."""
    place = pick_device(device)
    part, knots = header.tuner, header.knob.knots if header.knob else (0.0, 1.0)
    with torch.device("meta"):  # nothing is allocated for the header's word alone
        network = build_network(header.network.name, header.network.fields)
        if part is not None and header.plain:  # what the tuner inserted is part of the network
            insert_sites(part.name, network, part.fields, knots)
    module: Network | Tunable = network
    try:
        network.load_state_dict(checkpoint.under("network.", tensors), assign=True)
        if part is not None and not header.plain:
            tuner = build_tuner(part.name, network, part.fields, knots)
            tuner.load_state_dict(checkpoint.under("tuner.", tensors))
            module = Tunable(network, tuner)
    except RuntimeError as error:
        raise IncompatibleError(
            f"its tensors do not fit a {header.network.name}", "train or download it again"
        ) from error
    module.to(place)
    return Model(header, module, place, pick_precision(place, precision), tile, ensemble)
