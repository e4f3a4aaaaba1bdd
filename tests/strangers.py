"""Networks that tunectl did not make, small and with random weights."""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors.torch import save_file
from spandrel.architectures.DRUNet import DRUNet
from spandrel.architectures.ESRGAN import ESRGAN
from torch import Tensor, nn

WIDTH, BLOCKS = 8, 2


class AuthorsAdaFM(nn.Module):
    """The authors' network after the layer table of the paper's code, with their names."""

    def __init__(self, kernel: int | None, channels: int = 3) -> None:
        super().__init__()
        norm = [] if kernel is None else [kernel]

        def block() -> nn.Module:
            module = nn.Module()
            layers = [_conv(), *map(_adafm, norm), nn.ReLU(), _conv(), *map(_adafm, norm)]
            names = [0, 1, 2, 3, 4] if norm else [0, 2, 3]
            module.res = nn.ModuleDict(zip(map(str, names), layers, strict=True))
            return module

        sub = [*(block() for _ in range(BLOCKS)), _conv(), *map(_adafm, norm)]
        trunk = nn.Module()
        trunk.sub = nn.ModuleList(sub)
        self.model = nn.ModuleDict(
            {
                "0": nn.Conv2d(channels, WIDTH, 3, 2, 1),
                "1": trunk,
                "2": nn.Conv2d(WIDTH, 4 * WIDTH, 3, 1, 1),
                "5": _conv(),
                "7": nn.Conv2d(WIDTH, channels, 3, 1, 1),
            }
        )

    def forward(self, x: Tensor, strength: float = 0.0) -> Tensor:
        def norm(layer: nn.Module, y: Tensor) -> Tensor:
            return y + strength * layer.transformer(y)

        start = y = self.model["0"](x)
        *blocks, last = self.model["1"].sub[:BLOCKS], self.model["1"].sub[BLOCKS:]
        for block in blocks[0]:
            z = y
            for layer in block.res.values():
                z = norm(layer, z) if hasattr(layer, "transformer") else layer(z)
            y = y + z
        for layer in last:
            y = norm(layer, y) if hasattr(layer, "transformer") else layer(y)
        y = torch.relu(nn.functional.pixel_shuffle(self.model["2"](y + start), 2))
        output: Tensor = self.model["7"](torch.relu(self.model["5"](y)))
        return output


def _conv() -> nn.Conv2d:
    return nn.Conv2d(WIDTH, WIDTH, 3, 1, 1)


def _adafm(kernel: int) -> nn.Module:
    module = nn.Module()
    module.transformer = nn.Conv2d(WIDTH, WIDTH, kernel, padding=kernel // 2, groups=WIDTH)
    return module


def drunet(seed: int = 0) -> DRUNet:
    torch.manual_seed(seed)
    return DRUNet(in_nc=4, out_nc=3, nc=[8, 8, 16, 16], nb=2, act_mode="R").eval()


def esrgan(seed: int = 0) -> ESRGAN:
    """One that makes a picture twice as large."""
    torch.manual_seed(seed)
    return ESRGAN(in_nc=3, out_nc=3, num_filters=8, num_blocks=1, scale=2).eval()


def saved(network: nn.Module, path: Path) -> Path:
    save_file({name: t.contiguous() for name, t in network.state_dict().items()}, path)
    return path
