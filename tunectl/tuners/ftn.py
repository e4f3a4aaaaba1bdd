"""Filter transition networks (Lee et al., arXiv 2003.05145 and 2010.02270)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import leaky_relu, prelu

from tunectl.errors import UsageError
from tunectl.networks import Network
from tunectl.tuners.base import Tuner, key


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
        """(O, I, h, w) to the same shape, its O filters mixed at each place."""
        # In the order of a channels-last kernel, so that nothing has to be moved in memory.
        places = kernel.permute(0, 2, 3, 1)
        filters = places.reshape(self.mix_a.groups, -1, places[0].numel())
        mixed = _mix(self.mix_a, filters)
        moved = _mix(self.mix_b, _prelu(mixed, self.slope.weight))
        moved = moved.view(places.shape).permute(0, 3, 1, 2)
        # A convolution sums in another order for another layout of the same kernel.
        return moved if moved.stride() == kernel.stride() else moved.reshape(-1).view(kernel.shape)


def _mix(convolution: nn.Conv2d, filters: Tensor) -> Tensor:
    """A 1x1 convolution over (groups, filters a group, places) as matrix products.

    That is several times as fast as torch's convolution, which is made for fewer channels than
    places.
    """
    assert convolution.bias is not None
    groups, count, _ = filters.shape
    weight = convolution.weight.view(groups, count, count)
    return torch.baddbmm(convolution.bias.view(groups, count, 1), weight, filters)


class _PReLU(torch.autograd.Function):
    """PReLU with one slope, whose gradient passes over memory half as often as torch's."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, slope: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        ctx.slope = slope.item()
        return leaky_relu(x, ctx.slope)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor]:
        (x,) = ctx.saved_tensors
        of_x = torch.ops.aten.leaky_relu_backward(gradient, x, ctx.slope, False)
        of_slope = torch.dot(gradient.reshape(-1), x.clamp_max(0).reshape(-1))
        return of_x, of_slope.view(1)


def _prelu(x: Tensor, slope: Tensor) -> Tensor:
    """PReLU of a tensor with one slope, (1,)."""
    if x.is_cuda:  # where to ask for the slope's number would be to wait for it
        return prelu(x, slope)
    result: Tensor = _PReLU.apply(x, slope)
    return result


class FTN(Tuner):
    """W(alpha) = (1 - alpha) * f + alpha * FTN(f) for every convolution's kernel f (figure 2).

    Biases stay the base's: the papers' parameter counts neither ask for nor exclude more.
    """

    Fields = FTNFields

    def make(self, network: Network) -> None:
        groups, counts = (
            self.fields.groups,
            {c.out_channels for c in network.convolutions().values()},
        )
        if all(count % groups for count in counts):
            raise UsageError(
                f"groups {groups} divides none of the network's filters",
                f"give a divisor of {max(counts)}",
            )
        self.transitions = nn.ModuleList(
            nn.ModuleDict(
                {
                    key(name): Transition(conv.out_channels, self.fields.groups)
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
            f"{name}.weight": transitions[key(name)](conv.weight)
            for name, conv in network.convolutions().items()
        }

    def silence(self, network: Network, convolution: str) -> None:
        with torch.no_grad():
            for transitions, alpha in zip(self.transitions, self.tuned, strict=True):
                assert isinstance(transitions, nn.ModuleDict)
                transition = transitions[key(convolution)]
                assert isinstance(transition, Transition)
                transition.mix_b.weight.mul_(1 - abs(alpha))
