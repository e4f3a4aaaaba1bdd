"""The flagship's network: a residual U-Net on 2x2 pixel blocks."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn.functional import pixel_shuffle, pixel_unshuffle

from tunectl.networks.base import Network, ResidualBlock, Site, check_blocks, he_init

BLOCK_GAIN = 0.1  # of each block's second convolution at birth
TAIL_GAIN = 0.1


@dataclass(frozen=True)
class UNetFields:
    """Feature channels a level (at 1/2, 1/4, ... of the size) and residual blocks a level.

    `encoder` has one entry a level, the last being the bottom; `decoder` one less.
    """

    widths: tuple[int, ...] = (64, 128, 256)
    encoder: tuple[int, ...] = (2, 2, 2)
    decoder: tuple[int, ...] = (2, 2)

    def __post_init__(self) -> None:
        check_blocks(sum(self.encoder) + sum(self.decoder))
        levels = len(self.widths)
        if levels < 2 or len(self.encoder) != levels or len(self.decoder) != levels - 1:
            raise ValueError(
                "a unet needs at least two widths, as many encoder entries and one decoder entry "
                f"less; got {self.widths}, {self.encoder}, {self.decoder}"
            )


def _blocks(width: int, count: int) -> nn.Sequential:
    return nn.Sequential(*(ResidualBlock(width) for _ in range(count)))


class UNet(Network):
    """Pixel-unshuffle by 2, residual blocks at each level, additive skips, one global residual.

    Between levels lie 2x2 convolutions of stride 2 down, and 1x1 convolutions followed by a
    pixel shuffle up (the same map as a 2x2 transposed convolution, but every weight of the
    network then has its output filters on axis 0, which is what FTN mixes).
    """

    Fields = UNetFields

    def __init__(self, fields: UNetFields) -> None:
        super().__init__()
        self.fields = fields
        widths = fields.widths
        self.stride = 2 ** len(widths)
        self.head = nn.Conv2d(12, widths[0], 3, padding=1)
        self.encoder = nn.ModuleList(map(_blocks, widths, fields.encoder))
        self.down = nn.ModuleList(
            nn.Conv2d(fine, coarse, 2, stride=2) for fine, coarse in pairwise(widths)
        )
        self.up = nn.ModuleList(nn.Conv2d(coarse, 4 * fine, 1) for fine, coarse in pairwise(widths))
        self.decoder = nn.ModuleList(map(_blocks, widths[:-1], fields.decoder))
        self.tail = nn.Conv2d(widths[0], 12, 3, padding=1)
        self.latent_0 = nn.Identity()
        self.latent_1 = nn.Identity()
        self.latent_2 = nn.Identity()
        self.sites = {
            f"{name}.site_{end}": Site(block.conv_a.out_channels, after=f"{name}.conv_{end}")
            for name, block in self.named_modules()
            if isinstance(block, ResidualBlock)
            for end in "ab"
        }
        # Dynamic-Net's three: the bottom, the entry of the finest decoder level, before the tail.
        self.sites |= {
            "latent_0": Site(widths[-1]),
            "latent_1": Site(widths[0]),
            "latent_2": Site(widths[0]),
        }
        he_init(self)
        with torch.no_grad():  # starts near the identity: small residuals, a small correction
            for block in self.modules():
                if isinstance(block, ResidualBlock):
                    block.conv_b.weight.mul_(BLOCK_GAIN)
            self.tail.weight.mul_(TAIL_GAIN)

    def body(self, x: Tensor) -> Tensor:
        y = self.head(pixel_unshuffle(x, 2))
        skips = []
        for encoder, down in zip(self.encoder, self.down, strict=False):
            skips.append(encoder(y))
            y = down(skips[-1])
        y = self.latent_0(self.encoder[-1](y))
        for level in reversed(range(len(skips))):
            # In this order: the first decides the layout, and shuffled pixels lose it on CUDA.
            y = skips[level] + pixel_shuffle(self.up[level](y), 2)
            y = self.decoder[level](self.latent_1(y) if level == 0 else y)
        return x + pixel_shuffle(self.tail(self.latent_2(y)), 2)
