"""The image transformation network of fast style transfer (Johnson, Alahi, Fei-Fei, ECCV 2016)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate, relu

from tunectl.networks.base import Network, Site, check_blocks, he_init, in_full
from tunectl.networks.norm import InstanceNorm

BIRTH_GAIN = 0.1  # of the last convolution: features of variance 1 become small steps
# About the deviation of a photo's pixels. In this unit, which is ImageNet's, published learning
# rates fit the last convolution too; it sums 81 * width features and would overshoot in units of 1.
OUTPUT_UNIT = 0.25


@dataclass(frozen=True)
class TransformNetFields:
    """`width` channels at full size, twice and four times that below, and `blocks` in between.

    32 and 5 are published. `residual` adds the input to the output, through a 1x1 convolution that
    is the identity at birth: then a base can be the photo itself, which the instance norms do not
    let through. Nor can they take it away, not knowing its contrast: a style has to give the
    convolution up.
    """

    width: int = 32
    blocks: int = 5
    residual: bool = False

    def __post_init__(self) -> None:
        check_blocks(self.blocks)


def _conv(inputs: int, outputs: int, kernel: int, stride: int = 1) -> nn.Conv2d:
    # Reflected edges: zeros would draw a frame around the picture.
    padding = kernel // 2
    return nn.Conv2d(inputs, outputs, kernel, stride, padding, padding_mode="reflect")


class _Layer(nn.Module):
    """Convolution, instance norm, ReLU; the input first doubled in size where `up`."""

    def __init__(
        self, inputs: int, outputs: int, kernel: int, stride: int = 1, up: bool = False
    ) -> None:
        super().__init__()
        self.conv = _conv(inputs, outputs, kernel, stride)
        self.norm = InstanceNorm(outputs)
        self.up = up

    def forward(self, x: Tensor) -> Tensor:
        if self.up:  # nearest neighbours: a transposed convolution leaves a checkerboard
            x = interpolate(x, scale_factor=2.0)
        return relu(self.norm(self.conv(x)))


class _Block(nn.Module):
    """conv, norm, ReLU, conv, norm, plus the input; a site after each norm."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv_a, self.norm_a = _conv(width, width, 3), InstanceNorm(width)
        self.site_a = nn.Identity()
        self.conv_b, self.norm_b = _conv(width, width, 3), InstanceNorm(width)
        self.site_b = nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        y = relu(self.site_a(self.norm_a(self.conv_a(x))))
        z: Tensor = self.site_b(self.norm_b(self.conv_b(y)))
        return x + z


class TransformNet(Network):
    """Two strided convolutions down, residual blocks, two doublings up, all instance-normed.

    1,679,235 parameters, 1,676,035 of them in convolutions, and 153,792 multiply-accumulates per
    pixel with the published fields. Instance norm's statistics are the whole picture's: a window
    needs them from outside (`norm.fixed_statistics`).
    """

    Fields = TransformNetFields
    stride = 4

    def __init__(self, fields: TransformNetFields) -> None:
        super().__init__()
        self.fields = fields
        width = fields.width
        self.down = nn.Sequential(
            _Layer(3, width, 9),
            _Layer(width, 2 * width, 3, stride=2),
            _Layer(2 * width, 4 * width, 3, stride=2),
        )
        self.blocks = nn.ModuleList(_Block(4 * width) for _ in range(fields.blocks))
        self.up = nn.Sequential(
            _Layer(4 * width, 2 * width, 3, up=True), _Layer(2 * width, width, 3, up=True)
        )
        self.last = _conv(width, 3, 9)
        # AdaFM follows the norms, which would undo whatever scale came before them.
        self.sites = {
            f"blocks.{i}.site_{end}": Site(4 * width, after=f"blocks.{i}.norm_{end}")
            for i in range(fields.blocks)
            for end in "ab"
        }
        # Dynamic-Net's three: before the third block, before going up, before the last conv.
        self.latent_0, self.latent_1, self.latent_2 = (nn.Identity() for _ in range(3))
        self.sites |= {"latent_0": Site(4 * width), "latent_1": Site(4 * width)}
        self.sites |= {"latent_2": Site(width)}
        if fields.residual:
            self.skip, self.site_skip = nn.Conv2d(3, 3, 1), nn.Identity()
            self.sites["site_skip"] = Site(3, after="skip")
            self.shortcut = "skip"
        self.exact = ("last", "skip") if fields.residual else ("last",)
        he_init(self)
        with torch.no_grad():
            self.last.weight.mul_(BIRTH_GAIN)
            if fields.residual:
                self.skip.weight.copy_(torch.eye(3)[:, :, None, None])
            else:
                assert self.last.bias is not None
                self.last.bias.fill_(0.5 / OUTPUT_UNIT)

    def body(self, x: Tensor) -> Tensor:
        z = self.down(x)
        for i, block in enumerate(self.blocks):
            if i == min(2, len(self.blocks) - 1):
                z = self.latent_0(z)
            z = block(z)
        y = OUTPUT_UNIT * in_full(self.last, self.latent_2(self.up(self.latent_1(z))))
        if self.fields.residual:
            y = y + in_full(self.site_skip, in_full(self.skip, x))
        return y
