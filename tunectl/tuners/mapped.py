"""Alpha per pixel: each tuned layer at every knot, mixed by a map."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn.functional import adaptive_avg_pool2d

from tunectl.networks import Network

if TYPE_CHECKING:
    from tunectl.tuners.base import Tunable


def shares_of(knots: Sequence[float], alpha: Tensor) -> list[Tensor]:
    """Linear interpolation's weight of each knot, 1 there and 0 at its neighbours, as alpha is."""
    shares = []
    for i, here in enumerate(knots):
        share = torch.ones_like(alpha)
        if i > 0:
            share = share.minimum((alpha - knots[i - 1]) / (here - knots[i - 1]))
        if i < len(knots) - 1:
            share = share.minimum((knots[i + 1] - alpha) / (knots[i + 1] - here))
        shares.append(share.clamp_min(0))
    return shares


class _Shares:
    """How much each knot counts at each pixel, at any resolution of the map that is set."""

    def __init__(self, knots: Sequence[float]) -> None:
        self.knots = knots
        self._map: Tensor | None = None
        self._known: dict[tuple[int, int], list[Tensor]] = {}

    def set(self, alpha: Tensor) -> None:
        self._map, self._known = alpha, {}

    def at(self, size: tuple[int, int]) -> list[Tensor]:
        """One (N, 1, h, w) a knot, summing to 1; the map is averaged down to `size`."""
        assert self._map is not None
        if size not in self._known:
            alpha = adaptive_avg_pool2d(self._map, size)
            self._known[size] = shares_of(self.knots, alpha)
        return self._known[size]


class _MappedLayer(nn.Module):
    """Whatever a tuner moves, its layer is linear in: mixing outputs mixes weights per pixel."""

    def __init__(self, knots: Sequence[nn.Module], shares: _Shares) -> None:
        super().__init__()
        self.knots = nn.ModuleList(knots)
        self.shares = shares

    def forward(self, x: Tensor) -> Tensor:
        first: Tensor = self.knots[0](x)
        shares = self.shares.at((first.shape[-2], first.shape[-1]))
        mixed = first * shares[0]
        for layer, share in zip(self.knots[1:], shares[1:], strict=True):
            mixed = mixed + layer(x) * share  # one at a time: each is as large as what comes out
        return mixed


class Mapped(nn.Module):
    """A tunable network that takes alpha per pixel.

    A constant map gives what that alpha gives, to rounding. Where the map is 0 within the
    receptive radius, the output is the base's.
    """

    def __init__(self, tunable: Tunable) -> None:
        super().__init__()
        network, tuner = tunable.network, tunable.tuner
        plain = copy.deepcopy(network)
        self._shares = _Shares(tuner.knots)
        with torch.no_grad():
            ends = [tuner.at_knot(network, knot) for knot in tuner.knots]
            for module in sorted({name.rpartition(".")[0] for end in ends for name in end}):
                layers = []
                for end in ends:
                    layer = copy.deepcopy(network.get_submodule(module))
                    for part, parameter in layer.named_parameters():
                        parameter.copy_(end.get(f"{module}.{part}", parameter))
                    layers.append(layer)
                # What is the same at every knot, such as Dynamic-Net's first layers, runs once.
                same = all(_equal(layers[0], layer) for layer in layers[1:])
                mapped = layers[0] if same else _MappedLayer(layers, self._shares)
                plain.set_submodule(module, mapped)
        self.network: Network = plain.requires_grad_(False)

    def forward(self, x: Tensor, alpha: Tensor) -> Tensor:
        """(N, 3, H, W) in [0, 1] and a map (N or 1, 1, H, W) in [0, 1] to the shape of x."""
        self._shares.set(self.network.fit(alpha))
        y: Tensor = self.network(x)
        return y


def _equal(one: nn.Module, other: nn.Module) -> bool:
    pairs = zip(one.parameters(), other.parameters(), strict=True)
    return all(torch.equal(a, b) for a, b in pairs)
