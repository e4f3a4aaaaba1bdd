"""Deep network interpolation (Wang et al., CVPR 2019, arXiv 1811.10515)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from tunectl.networks import Network
from tunectl.tuners.base import Tuner, key


@dataclass(frozen=True)
class DNIFields:
    """DNI has nothing to choose."""


class DNI(Tuner):
    """Every weight and bias moves on a straight line: W(alpha) = W0 + alpha * delta (section 3).

    Stored is the difference to the base, one a knot. Note that the paper's own snippet counts
    alpha from the other end.
    """

    Fields = DNIFields

    def make(self, network: Network) -> None:
        own = dict(network.named_parameters())  # nothing is inserted
        self.deltas = nn.ModuleList(
            nn.ParameterDict({key(name): torch.zeros_like(w) for name, w in own.items()})
            for _ in self.tuned
        )

    @classmethod
    def through(
        cls, network: Network, others: Sequence[Mapping[str, Tensor]], knots: tuple[float, ...]
    ) -> DNI:
        """The way from a network through `others`' weights of the same names, each at a knot."""
        found = cls(network, DNIFields(), knots)
        with torch.no_grad():
            for deltas, other in zip(found.deltas, others, strict=True):
                assert isinstance(deltas, nn.ParameterDict)
                for name, weights in network.named_parameters():
                    deltas[key(name)].copy_(other[name] - weights)
        return found

    def at_knot(self, network: Network, knot: float) -> dict[str, Tensor]:
        if knot == 0:
            return {}
        deltas = self.deltas[self.tuned.index(knot)]
        assert isinstance(deltas, nn.ParameterDict)
        return {
            name: parameter + deltas[key(name)] for name, parameter in network.named_parameters()
        }

    def refine(self, network: Network, coarser: Tuner) -> bool:
        """The new knots lie on the straight lines of before."""
        if not set(coarser.knots) <= set(self.knots) or coarser.knots[0] != self.knots[0]:
            return False
        own = network.own_state()
        with torch.no_grad():
            for deltas, knot in zip(self.deltas, self.tuned, strict=True):
                assert isinstance(deltas, nn.ParameterDict)
                for name, weights in coarser.weights(network, knot).items():
                    deltas[key(name)].copy_(weights - own[name])
        return True

    def silence(self, network: Network, convolution: str) -> None:
        with torch.no_grad():
            for deltas, alpha in zip(self.deltas, self.tuned, strict=True):
                assert isinstance(deltas, nn.ParameterDict)
                for name, parameter in network.get_submodule(convolution).named_parameters():
                    deltas[key(f"{convolution}.{name}")].copy_(-abs(alpha) * parameter)
