"""Encoder and decoder of arbitrary style transfer (Huang and Belongie, ICCV 2017)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate, max_pool2d, relu

from tunectl.networks.base import Network, Site, he_init

CONVS = (2, 2, 4, 1)  # a block, of VGG19 up to relu4_1
LAST_GAIN = 0.02


@dataclass(frozen=True)
class AdaINNetFields:
    """`width` channels at full size, twice as many a level below, four levels.

    64 is the paper's. With 16 the encoder can be the bundled distilled one.
    """

    width: int = 16


def _conv(inputs: int, outputs: int) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, 3, padding=1, padding_mode="reflect")


class AdaINNet(Network):
    """VGG19 to relu4_1 and its mirror image back, without a norm; a photo comes out as it was.

    What makes a style of it lies at the site between the two (tuner `adain`).
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
        self.latent_0 = nn.Identity()
        self.decoder = nn.ModuleDict()
        self.sites = {"latent_0": Site(widths[-1])}
        for block in reversed(range(1, len(CONVS) + 1)):
            width, finer = widths[block - 1], widths[block - 2] if block > 1 else 3
            for i in reversed(range(1, CONVS[block - 1] + 1)):
                outputs = finer if i == 1 else width
                self.decoder[f"conv{block}_{i}"] = _conv(width, outputs)
                if (block, i) != (1, 1):
                    site = f"site{block}_{i}"
                    self.decoder[site] = nn.Identity()
                    self.sites[f"decoder.{site}"] = Site(outputs, f"decoder.conv{block}_{i}")
        he_init(self)
        last = self.decoder["conv1_1"]
        assert isinstance(last, nn.Conv2d)
        assert last.bias is not None
        with torch.no_grad():  # the encoder's features are large: start from a faint gray picture
            last.weight.mul_(LAST_GAIN)
            last.bias.fill_(0.5)

    def encode(self, x: Tensor) -> Tensor:
        """(N, 3, H, W) in [0, 1] to relu4_1 at an eighth of the size."""
        y: Tensor = self.encoder["conv0"](x)
        for name, conv in self.encoder.items():
            if name == "conv0":
                continue
            if name.endswith("_1") and name != "conv1_1":
                y = max_pool2d(y, 2)
            y = relu(conv(y))
        return y

    def body(self, x: Tensor) -> Tensor:
        y: Tensor = self.latent_0(self.encode(x))
        for name, layer in self.decoder.items():
            y = layer(y)
            if name.startswith("site"):
                y = relu(y)
                if name.endswith("_1"):
                    y = interpolate(y, scale_factor=2.0)
        return y
