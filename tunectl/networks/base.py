"""What every network owes: any picture size, named sites, plain convolutions."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any, ClassVar, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tunectl.networks.norm import norms_of

_HALF = (torch.bfloat16, torch.float16)
MOST_BLOCKS = 256  # of one network: a model file from a stranger must not ask for millions


@dataclass(frozen=True)
class Site:
    """A named identity module of a network at which a tuner may insert something.

    `channels` is the width of the feature map there. `after` names the convolution or norm whose
    output arrives untouched (AdaFM attaches there); None marks a latent between blocks
    (Dynamic-Net).
    """

    channels: int
    after: str | None = None


class Network(nn.Module):
    """A plain convolutional network that knows nothing of alpha.

    Subclasses set `fields` (a frozen dataclass, stored in the model file), `stride` (the factor
    between the picture and the coarsest feature map) and `sites`, and implement `body`.
    `shortcut` names the convolution that alone carries the input to the output, where one does.
    `exact` names those that run in full precision in any case (`in_full`): of a picture in half
    precision eight bits would be left.
    """

    Fields: ClassVar[type[Any]]
    fields: Any
    stride: int
    sites: dict[str, Site]
    shortcut: str | None = None
    exact: tuple[str, ...] = ()
    scale = 1  # how many times higher and wider than its input the output is

    def body(self, x: Tensor) -> Tensor:
        """Map (N, 3, H, W) to the same shape, H and W being multiples of `stride`."""
        raise NotImplementedError

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, 3, H, W) in [0, 1], any H and W from 1, to the same shape, not clamped.

        The picture is extended at its right and bottom by repeating the edge, to a multiple of
        `stride` and at least twice that (reflection inside a tuning block needs two samples),
        and cropped back.
        """
        height, width = x.shape[-2:]
        return self.body(self.fit(x))[..., : height * self.scale, : width * self.scale]

    @property
    def styled(self) -> list[str]:
        """The latents at which AdaIN sets a style's statistics: the first one."""
        return [next(name for name, site in self.sites.items() if site.after is None)]

    def fit(self, x: Tensor) -> Tensor:
        """(N, C, H, W) extended as `forward` does before it calls `body`."""
        height, width = x.shape[-2:]
        bottom, right = (_padding(size, self.stride) for size in (height, width))
        if bottom or right:
            x = F.pad(x, (0, right, 0, bottom), mode="replicate")
        return x

    def radius(self) -> int | None:
        """How many pixels away an input can still move an output; None: as far as there are any."""
        return receptive_radius(self)

    def in_site(self, name: str) -> bool:
        """Whether the parameter or module `name` was inserted at a site by a tuner."""
        return any(name.startswith(site + ".") for site in self.sites)

    def own_state(self) -> dict[str, Tensor]:
        """The network's own tensors, without what a tuner inserted at its sites."""
        return {name: t for name, t in self.state_dict().items() if not self.in_site(name)}

    def convolutions(self) -> dict[str, nn.Conv2d]:
        """The network's own convolutions by name, in order of definition."""
        return {
            name: module
            for name, module in self.named_modules()
            if isinstance(module, nn.Conv2d) and not self.in_site(name)
        }


class ResidualBlock(nn.Module):
    """conv, ReLU, conv, plus the input; a site after each convolution."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv_a = nn.Conv2d(width, width, 3, padding=1)
        self.site_a = nn.Identity()
        self.conv_b = nn.Conv2d(width, width, 3, padding=1)
        self.site_b = nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to the same shape."""
        y: Tensor = self.site_b(self.conv_b(F.relu(self.site_a(self.conv_a(x)))))
        return x + y


def in_full(layer: nn.Module, x: Tensor) -> Tensor:
    """What the layer makes of (N, C, H, W), in full precision also under autocast."""
    if x.is_meta:  # which autocast does not know
        return cast(Tensor, layer(x))
    with torch.autocast(x.device.type, enabled=False):
        return cast(Tensor, layer(x.float() if x.dtype in _HALF else x))


def _padding(size: int, stride: int) -> int:
    return max(-(-size // stride), 2) * stride - size


def check_blocks(count: int) -> None:
    """Raises ValueError above MOST_BLOCKS."""
    if count > MOST_BLOCKS:
        raise ValueError(f"{count} blocks are more than {MOST_BLOCKS}")


def he_init(network: nn.Module, gain: float = 1.0) -> None:
    """Kaiming normal by fan-in times `gain` for every convolution, biases 0."""
    for module in network.modules():
        # Without memory only shapes count; torch would load seconds' worth of modules to draw none.
        if isinstance(module, nn.Conv2d) and not module.weight.is_meta:
            nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
            assert module.bias is not None
            with torch.no_grad():
                module.weight.mul_(gain)
                module.bias.zero_()


def receptive_radius(network: Network) -> int:
    """How many pixels away an input can still move an output, measured by impulses.

    Weights are replaced by positive constants, so that nothing cancels and every ReLU passes; an
    impulse at each phase of the stride is sent through a strip that is one stride high, in double
    precision, in which its last traces do not drown.
    """
    probe = copy.deepcopy(network).double().cpu()
    with torch.no_grad():
        for name, parameter in probe.named_parameters():
            if parameter.ndim == 4:
                parameter.fill_(1 / (3 * parameter.shape[1]))
            else:
                parameter.fill_(0 if name.endswith("bias") else 1)
    for norm in norms_of([probe]):  # what it takes from the whole picture has no radius
        norm.statistics = torch.zeros(1).double(), torch.ones(1).double()
    stride, half = network.stride, 128
    while True:
        half = -(-half // stride) * stride
        strip = torch.zeros(stride, 3, 2 * stride, 2 * half, dtype=torch.float64)
        phases = torch.arange(stride)
        strip[phases, :, 0, half + phases] = 1
        with torch.inference_mode():
            moved = (probe(strip) - probe(torch.zeros_like(strip[:1]))).abs().amax(dim=(1, 2)) > 0
        reach = max(
            int((row.nonzero()[:, 0] // network.scale - (half + phase)).abs().max())
            for phase, row in enumerate(moved)
        )
        if reach < half - stride:
            return reach
        half *= 2


def macs_per_pixel(network: Network) -> float:
    """Multiply-accumulates of all convolutions per input pixel (papers print them as FLOPs)."""
    total = 0

    def count(module: nn.Module, _inputs: object, output: Tensor) -> None:
        nonlocal total
        assert isinstance(module, nn.Conv2d)
        total += module.weight[0].numel() * output.numel()

    size = 8 * network.stride
    probe = copy.deepcopy(network).to("meta")
    for module in probe.modules():
        if isinstance(module, nn.Conv2d):
            module.register_forward_hook(count)
    with torch.inference_mode():
        probe(torch.empty(1, 3, size, size, device="meta"))
    return total / size**2
