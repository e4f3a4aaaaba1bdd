"""Filter transition networks (Lee et al., arXiv 2003.05145 and 2010.02270)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from tunectl.networks import Network
from tunectl.tuners.base import Tuner


@dataclass(frozen=True)
class FTNFields:
    """`groups` of the 1x1 convolutions: more of them, fewer parameters and a smoother path."""

    groups: int = 1


class Transition(nn.Module):
    """1x1 convolution, PReLU with one slope, 1x1 convolution, over the *filters* of a kernel.

    Born as the identity: each filter is passed on by itself and the slope is 1. A kernel whose
    filter count is not divisible by `groups` (the last one, with 3) takes a single group.
    """

    def __init__(self, filters: int, groups: int) -> None:
        super().__init__()
        groups = groups if filters % groups == 0 else 1
        self.mix_a = nn.Conv2d(filters, filters, 1, groups=groups)
        self.slope = nn.PReLU(1, init=1.0)
        self.mix_b = nn.Conv2d(filters, filters, 1, groups=groups)
        for mix in (self.mix_a, self.mix_b):
            nn.init.dirac_(mix.weight, groups=groups)
            assert mix.bias is not None
            nn.init.zeros_(mix.bias)

    def forward(self, kernel: Tensor) -> Tensor:
        """(O, I, h, w) to the same shape: I images of O channels, so that filters are mixed."""
        images = kernel.transpose(0, 1).contiguous()
        moved: Tensor = self.mix_b(self.slope(self.mix_a(images)))
        return moved.transpose(0, 1).contiguous()


class FTN(Tuner):
    """W(alpha) = (1 - alpha) * f + alpha * FTN(f) for every convolution's kernel f (figure 2).

    Biases stay the base's: the papers' parameter counts neither ask for nor exclude more.
    """

    Fields = FTNFields

    def make(self, network: Network) -> None:
        self.transitions = nn.ModuleList(
            nn.ModuleDict(
                {
                    name.replace(".", "/"): Transition(conv.out_channels, self.fields.groups)
                    for name, conv in network.convolutions().items()
                }
            )
            for _ in self.tuned
        )

    def at_knot(self, network: Network, knot: float) -> dict[str, Tensor]:
        if knot == 0:
            return {}
        transitions = self.transitions[self.tuned.index(knot)]
        assert isinstance(transitions, nn.ModuleDict)
        return {
            f"{name}.weight": transitions[name.replace(".", "/")](conv.weight)
            for name, conv in network.convolutions().items()
        }

    def silence(self, network: Network, convolution: str) -> None:
        with torch.no_grad():
            for transitions, alpha in zip(self.transitions, self.tuned, strict=True):
                assert isinstance(transitions, nn.ModuleDict)
                transition = transitions[convolution.replace(".", "/")]
                assert isinstance(transition, Transition)
                transition.mix_b.weight.mul_(1 - abs(alpha))
