"""Adaptive feature modification (He, Dong, Qiao, CVPR 2019, arXiv 1904.08118)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from tunectl.errors import UsageError
from tunectl.knob import Alpha
from tunectl.networks import InstanceNorm, Network, Site
from tunectl.tuners.base import Tuner, key

LARGEST_KERNEL = 31


@dataclass(frozen=True)
class AdaFMFields:
    """`kernel` is the side of the depth-wise filters, odd. The paper uses 1 and 5."""

    kernel: int = 1

    def __post_init__(self) -> None:
        if self.kernel % 2 == 0 or self.kernel > LARGEST_KERNEL:
            raise ValueError(f"kernel must be odd and at most {LARGEST_KERNEL}, got {self.kernel}")


class Modulation(nn.Module):
    """x + depthwise(x), with zero weights at birth (section 3.2)."""

    def __init__(self, channels: int, kernel: int) -> None:
        super().__init__()
        self.filter = nn.Conv2d(channels, channels, kernel, padding=kernel // 2, groups=channels)
        assert self.filter.bias is not None
        nn.init.zeros_(self.filter.weight)
        nn.init.zeros_(self.filter.bias)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to the same shape."""
        y: Tensor = x + self.filter(x)
        return y


def _sites(network: Network) -> dict[str, Site]:
    return {name: site for name, site in network.sites.items() if site.after is not None}


class AdaFM(Tuner):
    """A depth-wise filter after each convolution of the residual blocks, scaled by alpha."""

    Fields = AdaFMFields

    def make(self, network: Network) -> None:
        if not _sites(network):
            raise UsageError(
                "this network has no convolution after which AdaFM could come", "name another tuner"
            )
        self.filters = nn.ModuleList(
            nn.ModuleDict(
                {
                    key(name): Modulation(site.channels, self.fields.kernel).filter
                    for name, site in _sites(network).items()
                }
            )
            for _ in self.tuned
        )

    @classmethod
    def insert(cls, network: Network, fields: AdaFMFields, knots: tuple[float, ...]) -> None:
        for name, site in _sites(network).items():
            module = Modulation(site.channels, fields.kernel).requires_grad_(False)
            network.set_submodule(name, module)

    def at_knot(self, network: Network, knot: float) -> dict[str, Tensor]:
        if knot == 0:
            return {}
        filters = self.filters[self.tuned.index(knot)]
        assert isinstance(filters, nn.ModuleDict)
        return {
            f"{name}.filter.{part}": tensor
            for name in _sites(network)
            for part, tensor in filters[key(name)].named_parameters()
        }

    def silence(self, network: Network, convolution: str) -> None:
        centre = self.fields.kernel // 2
        for name, site in _sites(network).items():
            if site.after == convolution:
                for filters, alpha in zip(self.filters, self.tuned, strict=True):
                    assert isinstance(filters, nn.ModuleDict)
                    filter_ = filters[key(name)]
                    assert isinstance(filter_, nn.Conv2d)
                    with torch.no_grad():
                        filter_.weight[..., centre, centre] = -abs(alpha)

    def fold(self, network: Network, alpha: Alpha) -> Network:
        """As for every tuner; 1x1 filters disappear into the layers before them.

        A larger filter cannot: both pad with zeros, so that merging would change the border. It
        stays as a depth-wise layer.
        """
        plain = super().fold(network, alpha)
        if self.fields.kernel == 1 and alpha != 0:
            for name, site in _sites(plain).items():
                assert site.after is not None
                _merge(plain.get_submodule(site.after), plain.get_submodule(name))
                plain.set_submodule(name, nn.Identity())
        return plain


def _merge(layer: nn.Module, modulation: nn.Module) -> None:
    assert isinstance(layer, nn.Conv2d | InstanceNorm)
    assert layer.bias is not None
    assert isinstance(modulation, Modulation)
    assert modulation.filter.bias is not None
    with torch.no_grad():
        scale = 1 + modulation.filter.weight.flatten()
        layer.weight.mul_(scale.view(-1, *[1] * (layer.weight.ndim - 1)))
        layer.bias.mul_(scale).add_(modulation.filter.bias)
