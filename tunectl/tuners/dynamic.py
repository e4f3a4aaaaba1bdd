"""Dynamic-Net (Shoshan, Mechrez, Zelnik-Manor, ICCV 2019, arXiv 1811.08760)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import relu

from tunectl.networks import Network, Site
from tunectl.tuners.base import Tuner


@dataclass(frozen=True)
class DynamicFields:
    """Dynamic-Net has nothing to choose: three blocks of three 3x3 convolutions."""


class TuningBlock(nn.Module):
    """Three 3x3 convolutions with reflected edges, ReLU after the first two (section 3.1).

    The last one is zero at birth, unlike the authors', so that a fresh block changes nothing.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv_a, self.conv_b, self.conv_c = (
            nn.Conv2d(channels, channels, 3, padding=1, padding_mode="reflect") for _ in "abc"
        )
        assert self.conv_c.bias is not None
        nn.init.zeros_(self.conv_c.weight)
        nn.init.zeros_(self.conv_c.bias)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W), H and W from 2, to the same shape."""
        y: Tensor = self.conv_c(relu(self.conv_b(relu(self.conv_a(x)))))
        return y


class _Branches(nn.Module):
    """z + the sum of one tuning block a knot; alpha lives in each block's last convolution."""

    def __init__(self, channels: int, count: int) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(TuningBlock(channels) for _ in range(count))

    def forward(self, x: Tensor) -> Tensor:
        y = x
        for block in self.blocks:
            y = y + block(x)
        return y


def _sites(network: Network) -> dict[str, Site]:
    return {name: site for name, site in network.sites.items() if site.after is None}


class DynamicNet(Tuner):
    """z + alpha * psi(z) at three latents, psi being a tuning block trained at alpha = 1.

    Each latent takes an alpha of its own where three are given. With knots -1, 0, 1 it is the
    paper's dual network: tuning blocks of their own for either sign.
    """

    Fields = DynamicFields

    def make(self, network: Network) -> None:
        self.branches = nn.ModuleDict(
            {
                name: _Branches(site.channels, len(self.tuned))
                for name, site in _sites(network).items()
            }
        )

    @classmethod
    def insert(cls, network: Network, fields: DynamicFields, knots: tuple[float, ...]) -> None:
        for name, site in _sites(network).items():
            module = _Branches(site.channels, len(knots) - 1).requires_grad_(False)
            network.set_submodule(name, module)

    def parts(self) -> list[str]:
        return list(self.branches)

    def at_knot(self, network: Network, knot: float) -> dict[str, Tensor]:
        branch = self.tuned.index(knot) if knot != 0 else None
        # The first two convolutions are the same along the whole path: alpha scales psi's output.
        return {
            f"{name}.{part}": torch.zeros_like(tensor)
            if ".conv_c." in part and not part.startswith(f"blocks.{branch}.")
            else tensor
            for name, branches in self.branches.items()
            for part, tensor in branches.named_parameters()
        }
