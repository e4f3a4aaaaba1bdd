"""How far each layer of a network moves along its knob."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from tunectl.inference.model import Model
from tunectl.tuners import Tunable

ALPHAS = (0.25, 0.5, 0.75, 1.0)


@dataclass(frozen=True)
class Layer:
    """A layer, its parameters, and how far they are from those at alpha 0 at each alpha.

    As a share of their norm at alpha 0, or, where that is 0, the distance itself: so it is with
    modules that the tuner inserted, which do nothing at 0.
    """

    name: str
    parameters: int
    inserted: bool
    moved: list[float]


def layers(model: Model) -> list[Layer]:
    """Each layer with weights, in the network's order. Raises AlphaError for a plain model."""
    network = model.fold(ALPHAS[-1])
    assert isinstance(model.network, Tunable)
    plain, tuner = model.network.network, model.network.tuner
    # With what a tuner inserted, which folding at 0 takes out.
    base = _by_layer({**plain.state_dict(), **tuner.weights(plain, 0.0)})
    others = [_by_layer(model.fold(alpha).state_dict()) for alpha in ALPHAS]
    found = []
    for name, last in others[-1].items():
        inserted = network.in_site(f"{name}.weight")
        weights = base.get(name, torch.zeros_like(last))
        unit = float(weights.norm()) or 1.0
        moved = [float((other[name] - weights).norm()) / unit for other in others]
        found.append(Layer(name, weights.numel(), inserted, moved))
    return found


def _by_layer(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """All numbers of a layer in one vector, by its name."""
    parts: dict[str, list[Tensor]] = {}
    for name, tensor in state.items():
        parts.setdefault(name.rpartition(".")[0], []).append(tensor.detach().double().flatten())
    return {name: torch.cat(tensors) for name, tensors in parts.items()}
