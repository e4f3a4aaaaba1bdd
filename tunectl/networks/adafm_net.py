"""AdaFM-Net, the backbone of the AdaFM and FTN papers (arXiv 1904.08118, section 4)."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn
from torch.nn.functional import pixel_shuffle, relu

from tunectl.networks.base import (
    Network,
    ResidualBlock,
    Site,
    check_blocks,
    he_init,
    in_full,
)


@dataclass(frozen=True)
class AdaFMNetFields:
    """`width` feature channels, `blocks` residual blocks. 64 and 16 are the papers' own."""

    width: int = 64
    blocks: int = 16

    def __post_init__(self) -> None:
        check_blocks(self.blocks)


class AdaFMNet(Network):
    """Residual blocks at half resolution, a long skip over them, no image-level residual.

    1,406,787 parameters and 380,016 multiply-accumulates per pixel with the papers' fields.
    """

    Fields = AdaFMNetFields
    stride = 2

    def __init__(self, fields: AdaFMNetFields) -> None:
        super().__init__()
        self.fields = fields
        width = fields.width
        self.first = nn.Conv2d(3, width, 3, stride=2, padding=1)
        self.latent_0 = nn.Identity()
        self.blocks = nn.ModuleList(ResidualBlock(width) for _ in range(fields.blocks))
        self.trunk = nn.Conv2d(width, width, 3, padding=1)
        self.site_trunk = nn.Identity()
        self.latent_1 = nn.Identity()
        self.up = nn.Conv2d(width, 4 * width, 3, padding=1)
        self.fine = nn.Conv2d(width, width, 3, padding=1)
        self.latent_2 = nn.Identity()
        self.last = nn.Conv2d(width, 3, 3, padding=1)
        self.sites = {
            f"blocks.{i}.site_{end}": Site(width, after=f"blocks.{i}.conv_{end}")
            for i in range(fields.blocks)
            for end in "ab"
        }
        self.sites["site_trunk"] = Site(width, after="trunk")
        # Dynamic-Net's three: in the middle of the blocks, before going up, before the last conv.
        self.sites |= {f"latent_{i}": Site(width) for i in range(3)}
        self.exact = ("last",)
        he_init(self, gain=0.1)

    def body(self, x: Tensor) -> Tensor:
        start = y = self.first(x)
        for i, block in enumerate(self.blocks):
            if i == len(self.blocks) // 2:
                y = self.latent_0(y)
            y = block(y)
        y = self.latent_1(self.site_trunk(self.trunk(y)) + start)
        y = relu(pixel_shuffle(self.up(y), 2))
        y = self.latent_2(relu(self.fine(y)))
        return in_full(self.last, y)
