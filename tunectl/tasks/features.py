"""Frozen ImageNet features for perceptual losses: as bundled, or torchvision's."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn.functional import max_pool2d, relu

from tunectl.bundled import bundled
from tunectl.errors import UsageError

STYLE_TAPS = ("relu1_2", "relu2_2", "relu3_3", "relu4_3")  # of which the bundled net has three
CONTENT_TAP = "relu3_3"  # relu2_2, the paper's, still sees single pixels and keeps areas flat
SMALL = "vgg19-small"
_CONVS = {"vgg16": (2, 2, 3, 3, 3), "vgg19": (2, 2, 4, 4, 4)}
# Caffe's weights want BGR in 8-bit steps around its means, torchvision's RGB of unit deviation.
# The unit below makes features of both about equally large, as published loss weights assume.
_CAFFE_MEANS = (123.68, 116.779, 103.939)
_MEANS, _DEVIATIONS = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
_CAFFE_UNIT = 255 * 0.225
PERCEPTUAL = ("vgg16", "torchvision-vgg16", "torchvision-vgg19")


class Features(nn.Module):
    """3x3 convolutions with ReLU in blocks, 2x2 maxima between blocks (Simonyan and Zisserman).

    `vgg16`, to relu3_3, and `vgg19-small`, a quarter as wide and to relu4_1, are bundled and need
    no network; torchvision's are whole, and downloaded once by torchvision where its cache does
    not hold them.
    """

    means: Tensor
    deviations: Tensor

    def __init__(self, name: str = "vgg16") -> None:
        """Raises UsageError for a name that is not known."""
        super().__init__()
        if name in (SMALL, "vgg16"):
            tensors = load_file(bundled(f"features/{name}.safetensors"))
        elif name in PERCEPTUAL:
            tensors = _from_torchvision(name)
        else:
            raise UsageError(
                f"no perceptual network is called {name!r}", f"known: {', '.join(PERCEPTUAL)}"
            )
        self.name = name
        self.convs = nn.ModuleDict()
        mode: Literal["reflect", "zeros"] = "reflect" if name == SMALL else "zeros"
        for key in sorted({key.rpartition(".")[0] for key in tensors}):
            weight, bias = tensors[f"{key}.weight"].float(), tensors[f"{key}.bias"].float()
            outputs, inputs, side, _ = weight.shape
            conv = nn.Conv2d(inputs, outputs, side, padding=side // 2, padding_mode=mode)
            conv.weight, conv.bias = nn.Parameter(weight), nn.Parameter(bias)
            self.convs[key] = conv
        means = _CAFFE_MEANS if name == "vgg16" else _MEANS
        for key, numbers in (("means", means), ("deviations", _DEVIATIONS)):
            self.register_buffer(key, torch.tensor(numbers)[:, None, None], persistent=False)
        self.taps = [key.replace("conv", "relu") for key in self.convs if key != "conv0"]
        self.eval().requires_grad_(False).to(memory_format=torch.channels_last)

    def forward(self, x: Tensor, taps: Sequence[str]) -> dict[str, Tensor]:
        """(N, 3, H, W), RGB in [0, 1], to the features at `taps`, such as relu2_2."""
        y, found = self._scaled(x), {}
        for key, conv in self.convs.items():
            if key == "conv0":
                continue
            if key.endswith("_1") and key != "conv1_1":
                y = max_pool2d(y, 2)
            y = relu(conv(y))
            tap = key.replace("conv", "relu")
            if tap in taps:
                found[tap] = y / _CAFFE_UNIT if self.name == "vgg16" else y
            if len(found) == len(taps):
                break
        return found

    def _scaled(self, x: Tensor) -> Tensor:
        if self.name == SMALL:
            y: Tensor = self.convs["conv0"](x)
            return y
        if self.name == "vgg16":
            return (x * 255 - self.means).flip(1)
        return (x - self.means) / self.deviations


def _from_torchvision(name: str) -> dict[str, Tensor]:
    """Torchvision's weights, named by block and place in it."""
    import torchvision

    kind = name.removeprefix("torchvision-")
    network = torchvision.models.get_model(kind, weights="IMAGENET1K_V1").features
    convs = [module for module in network if isinstance(module, nn.Conv2d)]
    places = [(b, i) for b, n in enumerate(_CONVS[kind], 1) for i in range(1, n + 1)]
    return {
        f"conv{b}_{i}.{part}": tensor.detach()
        for (b, i), conv in zip(places, convs, strict=True)
        for part, tensor in conv.named_parameters()
    }
