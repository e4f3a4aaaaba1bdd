"""Adaptive instance normalisation (Huang and Belongie, ICCV 2017, arXiv 1703.06868)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn

from tunectl.knob import Alpha
from tunectl.networks import InstanceNorm, Network, Statistics
from tunectl.tuners.base import Tuner


@dataclass(frozen=True)
class AdaINFields:
    """AdaIN has nothing to choose."""


class Restyle(nn.Module):
    """(1 - amount) * z + scale * normalised z + shift, all zero at birth.

    At alpha this is alpha * AdaIN(z) + (1 - alpha) * z (section 6.4) where `amount` is alpha,
    `scale` alpha times the style's standard deviation and `shift` alpha times its mean.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = InstanceNorm(channels)
        self.amount = nn.Parameter(torch.zeros(1))
        # (C) of one style; in training (N, C), a style a picture.
        self.scale = nn.Parameter(torch.zeros(channels))
        self.shift = nn.Parameter(torch.zeros(channels))

    def forward(self, z: Tensor) -> Tensor:
        """(N, C, H, W) to the same shape."""
        scale, shift = self.scale[..., None, None], self.shift[..., None, None]
        y: Tensor = (1 - self.amount) * z + scale * self.norm(z) + shift
        return y


class AdaIN(Tuner):
    """The statistics of a network's latents, on their way from the picture's own to a style's.

    The paper's one latent is the first; a network may name more (`Network.styled`). Finetuned, it
    is conditional instance normalisation: one learned style for 2 C + 1 numbers a latent. With
    `adain-net`, whose latents know what a style looks like, `set_style` takes any picture's.
    """

    Fields = AdaINFields
    steady = False  # the pieces of a step have styles of their own

    def make(self, network: Network) -> None:
        self.sites = network.styled
        self.styles = nn.ModuleList(
            nn.ModuleDict({site: _parameters(network.sites[site].channels) for site in self.sites})
            for _ in self.tuned
        )
        # In training, by site the means and deviations (N, C) of a style a picture, instead.
        self.drawn: Statistics | None = None

    @classmethod
    def insert(cls, network: Network, fields: AdaINFields, knots: tuple[float, ...]) -> None:
        for name in network.styled:
            module = Restyle(network.sites[name].channels).requires_grad_(False)
            network.set_submodule(name, module)

    def fold(self, network: Network, alpha: Alpha) -> Network:
        drawn, self.drawn = self.drawn, None
        try:
            return super().fold(network, alpha)
        finally:
            self.drawn = drawn

    def at_knot(self, network: Network, knot: float) -> dict[str, Tensor]:
        if knot == 0:
            return {}
        if self.drawn is not None:
            styles = {site: _style(*found, knot) for site, found in self.drawn.items()}
        else:
            styles = {site: dict(style.items()) for site, style in self._at(knot).items()}
        return {
            f"{site}.{name}": tensor
            for site, style in styles.items()
            for name, tensor in style.items()
        }

    def set_style(self, statistics: Statistics) -> None:
        """Alpha 1 gives each latent this mean and standard deviation, each (C)."""
        with torch.no_grad():
            for alpha in self.tuned:
                for site, parameters in self._at(alpha).items():
                    for name, tensor in _style(*statistics[site], alpha).items():
                        parameters[name].copy_(tensor)

    def _at(self, knot: float) -> dict[str, nn.ParameterDict]:
        styles = self.styles[self.tuned.index(knot)]
        assert isinstance(styles, nn.ModuleDict)
        return cast(dict[str, nn.ParameterDict], dict(styles.items()))


def _parameters(channels: int) -> nn.ParameterDict:
    zeros = {"scale": torch.zeros(channels), "shift": torch.zeros(channels)}
    return nn.ParameterDict({"amount": torch.zeros(1), **zeros})


def _style(mean: Tensor, deviation: Tensor, alpha: float) -> dict[str, Tensor]:
    """What `Restyle` needs for the share `alpha` of a style."""
    return {
        "amount": mean.new_full((1,), alpha),
        "scale": deviation * alpha,
        "shift": mean * alpha,
    }
