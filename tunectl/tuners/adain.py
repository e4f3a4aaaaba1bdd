"""Adaptive instance normalisation (Huang and Belongie, ICCV 2017, arXiv 1703.06868)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from tunectl.knob import Alpha
from tunectl.networks import InstanceNorm, Network
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
    """The statistics of the first latent, on their way from the picture's own to a style's.

    Finetuned, it is conditional instance normalisation: one learned style for 2 C + 1 numbers.
    With `adain-net`, whose latent knows what a style looks like, `set_style` takes any picture's.
    """

    Fields = AdaINFields

    def make(self, network: Network) -> None:
        self.site = _site(network)
        channels = network.sites[self.site].channels
        self.styles = nn.ModuleList(
            nn.ParameterDict(
                {
                    "amount": torch.zeros(1),
                    "scale": torch.zeros(channels),
                    "shift": torch.zeros(channels),
                }
            )
            for _ in self.tuned
        )
        # In training, the mean and deviation (N, C) of a style a picture, instead of the above.
        self.drawn: tuple[Tensor, Tensor] | None = None

    @classmethod
    def insert(cls, network: Network, fields: AdaINFields, knots: tuple[float, ...]) -> None:
        name = _site(network)
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
            mean, deviation = self.drawn
            style = {
                "amount": mean.new_full((1,), knot),
                "scale": deviation * knot,
                "shift": mean * knot,
            }
        else:
            parameters = self.styles[self.tuned.index(knot)]
            assert isinstance(parameters, nn.ParameterDict)
            style = dict(parameters.items())
        return {f"{self.site}.{name}": tensor for name, tensor in style.items()}

    def set_style(self, mean: Tensor, deviation: Tensor) -> None:
        """Alpha 1 gives the latent this mean and standard deviation, each (C)."""
        with torch.no_grad():
            for parameters, alpha in zip(self.styles, self.tuned, strict=True):
                assert isinstance(parameters, nn.ParameterDict)
                parameters["amount"].fill_(alpha)
                parameters["scale"].copy_(deviation * alpha)
                parameters["shift"].copy_(mean * alpha)


def _site(network: Network) -> str:
    return next(name for name, site in network.sites.items() if site.after is None)
