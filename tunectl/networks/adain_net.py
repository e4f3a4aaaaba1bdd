"""Encoder and decoder of arbitrary style transfer (Huang and Belongie, ICCV 2017)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate, max_pool2d, relu

from tunectl.networks.base import Network, Site, he_init, in_full

CONVS = (2, 2, 4, 1)  # a block, of VGG19 up to relu4_1
# The mean over photos of the bundled encoder's relu1_1, relu2_1, relu3_1 and relu4_1. The paper's
# VGG19 is scaled so that these are 1.
UNITS = (3.9, 11.1, 6.4, 3.1)
_LAST, LAST_GAIN = "conv1_1", 0.1


@dataclass(frozen=True)
class AdaINNetFields:
    """`width` channels at full size, twice as many a level below, four levels.

    64 is the paper's; with 16 the encoder can be the bundled distilled one. The decoder is given
    the first features of the coarsest `levels`: with the paper's 1, relu4_1 alone, all that is
    finer has to be invented; with 4 nothing has.
    """

    width: int = 16
    levels: int = 4

    def __post_init__(self) -> None:
        if self.levels > len(CONVS):
            raise ValueError(f"{self.levels} levels are more than {len(CONVS)}")


def _conv(inputs: int, outputs: int) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, 3, padding=1, padding_mode="reflect")


class AdaINNet(Network):
    """VGG19 to relu4_1 and its mirror image back, without a norm; a photo comes out as it was.

    What makes a style of it lies at the latents between the two (tuner `adain`): `latent_0` is
    relu4_1, `latent_1` relu3_1 and so on, one for each level.
    """

    Fields = AdaINNetFields
    stride = 8

    def __init__(self, fields: AdaINNetFields) -> None:
        super().__init__()
        self.fields = fields
        widths = [fields.width * 2**level for level in range(len(CONVS))]
        self.encoder = nn.ModuleDict({"conv0": nn.Conv2d(3, 3, 1)})
        inputs = 3
        for block, (width, count) in enumerate(zip(widths, CONVS, strict=True), 1):
            for i in range(1, count + 1):
                self.encoder[f"conv{block}_{i}"] = _conv(inputs, width)
                inputs = width
        self.decoder = nn.ModuleDict()
        self.sites = {}
        inputs = 0
        for block in reversed(range(1, len(CONVS) + 1)):
            width, finer = widths[block - 1], widths[block - 2] if block > 1 else 3
            if len(CONVS) - block < fields.levels:
                latent = latent_of(block)
                self.add_module(latent, nn.Identity())
                self.sites[latent] = Site(width)
                inputs += width
            for i in reversed(range(1, CONVS[block - 1] + 1)):
                outputs = finer if i == 1 else width
                self.decoder[f"conv{block}_{i}"] = _conv(inputs, outputs)
                inputs = outputs
                if f"conv{block}_{i}" != _LAST:
                    site = f"site{block}_{i}"
                    self.decoder[site] = nn.Identity()
                    self.sites[f"decoder.{site}"] = Site(outputs, f"decoder.conv{block}_{i}")
        self.exact = (f"decoder.{_LAST}",)
        he_init(self)
        last = self.decoder[_LAST]
        assert isinstance(last, nn.Conv2d)
        assert last.bias is not None
        with torch.no_grad():  # start from a faint gray picture
            last.weight.mul_(LAST_GAIN)
            last.bias.fill_(0.5)

    @property
    def styled(self) -> list[str]:
        """Every latent."""
        return [name for name, site in self.sites.items() if site.after is None]

    def encode(self, x: Tensor) -> dict[str, Tensor]:
        """(N, 3, H, W) in [0, 1] to the features at each latent, by its name.

        relu4_1 has an eighth of the size, each one above it twice the size of the one below.
        """
        y: Tensor = self.encoder["conv0"](x)
        found = {}
        for name, conv in self.encoder.items():
            if name == "conv0":
                continue
            first = name.endswith("_1")
            if first and name != "conv1_1":
                y = max_pool2d(y, 2)
            y = relu(conv(y))
            if first:
                found[latent_of(int(name[4]))] = y
        return {name: found[name] for name in self.styled}

    def body(self, x: Tensor) -> Tensor:
        latents = {name: self.get_submodule(name)(z) for name, z in self.encode(x).items()}
        y: Tensor | None = None
        for name, layer in self.decoder.items():
            block, i = int(name[4]), int(name[6])
            if i == CONVS[block - 1] and name.startswith("conv") and latent_of(block) in latents:
                z = latents[latent_of(block)] / UNITS[block - 1]
                y = z if y is None else torch.cat([y, z], 1)
            assert y is not None
            y = in_full(layer, y) if name == _LAST else layer(y)
            if name.startswith("site"):
                y = relu(y)
                if i == 1:
                    y = interpolate(y, scale_factor=2.0)
        assert y is not None
        return y


def latent_of(block: int) -> str:
    """The name of the latent that takes the first features of an encoder's block, 1 to 4."""
    return f"latent_{len(CONVS) - block}"
