"""Other people's networks as spandrel loads them, with the knobs that it leaves out.

A denoiser such as DRUNet is told the noise level by one more input plane, and spandrel always says
15. Here that input is the knob, and everything else of `apply` goes with it.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from tunectl.errors import AlphaError, ForeignError, IncompatibleError, UsageError
from tunectl.foreign.tables import Table, read_table
from tunectl.header import Header, Part
from tunectl.knob import Alpha, Knob
from tunectl.networks import Network, receptive_radius
from tunectl.tuners import Knobbed

# In these a distant pixel has no say, and how distant can be measured. Others see all of a picture
# at once, by attention or by means over all of it.
_LOCAL = {"Compact", "DnCNN", "DRUNet", "ESRGAN", "FBCNN"}
_STRIDES = {"FBCNN": 8}  # where a network pads by itself, and spandrel says 1


@dataclass(frozen=True)
class Input:
    """A knob that a network takes as an input: a task of ours or none, the levels at alpha 0 and 1.

    `call` takes the network, pictures (N, C, H, W) and the level of each pixel (1 or N, 1, H, W)
    or one number, in the task's unit.
    """

    task: str | None
    levels: tuple[float, float]
    call: Callable[[nn.Module, Tensor, Tensor | float], Tensor]
    mapped: bool
    unmoved: float = 0.0  # the level at which the input is 0


def _with_noise_map(network: nn.Module, x: Tensor, sigma: Tensor | float) -> Tensor:
    plane = torch.as_tensor(sigma / 255).to(x).expand(len(x), 1, *x.shape[-2:])
    output: Tensor = network(torch.cat([x, plane], 1))
    return output


def _with_quality(network: nn.Module, x: Tensor, quality: Tensor | float) -> Tensor:
    output: Tensor = network(x, x.new_full((len(x), 1), 1 - float(quality) / 100))[0]
    return output


def _with_strength(network: nn.Module, x: Tensor, strength: Tensor | float) -> Tensor:
    output: Tensor = network(x, float(strength))
    return output


def _input_of(descriptor: Any) -> Input | None:
    kind = descriptor.architecture.id
    if kind == "DRUNet":
        return Input("denoise", (0.0, 50.0), _with_noise_map, mapped=True)
    if kind == "DnCNN" and "FDnCNN" in descriptor.tags:
        return Input("denoise", (0.0, 75.0), _with_noise_map, mapped=True)
    if kind == "FBCNN":
        return Input("deblock", (95.0, 5.0), _with_quality, mapped=False, unmoved=100.0)
    if kind == "RealCUGAN" and "fast" not in descriptor.tags:  # what its authors recommend
        return Input(None, (1.3, 0.7), _with_strength, mapped=False)  # a larger one does less
    return None


class Foreign(Network):
    """A network that spandrel loaded, at one setting of its input if it takes one."""

    def __init__(self, descriptor: Any, given: Input | None = None) -> None:
        super().__init__()
        self.model: nn.Module = descriptor.model
        self.descriptor, self.given = descriptor, given
        self.level: Tensor | float = given.levels[0] if given else 0.0
        stride = descriptor.size_requirements.multiple_of
        self.stride = max(1, _STRIDES.get(descriptor.architecture.id, stride))
        self.bare = False
        self.scale = descriptor.scale
        self.sites = {}

    def body(self, x: Tensor) -> Tensor:
        channels = self.descriptor.input_channels
        if channels == 1:  # each colour by itself
            y = self._call(x.reshape(-1, 1, *x.shape[-2:]))
            return y.reshape(*x.shape[:2], *y.shape[-2:])
        return self._call(x).expand(-1, 3, -1, -1)

    def radius(self) -> int | None:
        if self.descriptor.architecture.id not in _LOCAL:
            return None
        probe = copy.copy(self)
        # An impulse would drown in what a level says everywhere, or be cut away by a clamp.
        probe.level = self.given.unmoved if self.given else 0.0
        probe.bare = True
        return receptive_radius(probe)

    def _call(self, x: Tensor) -> Tensor:
        if self.bare and self.given is None:
            output: Tensor = self.model(x)
            return output
        if self.given is None:
            with torch.inference_mode():
                return cast(Tensor, self.descriptor(x))
        least = self.descriptor.size_requirements.minimum
        bottom, right = (max(0, least - size) for size in x.shape[-2:])
        if bottom or right:
            x = pad(x, (0, right, 0, bottom), "replicate")
        return self.given.call(self.model, x, self.level)


class ForeignKnobbed(Knobbed):
    """A network whose input is its knob: alpha runs evenly from its first level to its last."""

    def __init__(self, network: Foreign, given: Input) -> None:
        super().__init__(network)
        self.given = given

    def fold(self, alpha: Alpha) -> Foreign:
        if isinstance(alpha, tuple):
            raise AlphaError("this model takes one alpha", "give one number")
        return self._at(self._level(alpha))

    def mapped(self) -> nn.Module:
        """Raises UsageError for a network that takes one level for the whole picture."""
        if not self.given.mapped:
            raise UsageError("this network takes one level for a picture", "leave --alpha-map away")
        return _Mapped(self)

    def _at(self, level: Tensor | float) -> Foreign:
        network = copy.copy(self.network)  # the weights are shared
        assert isinstance(network, Foreign)
        network.level = level
        return network

    def _level(self, alpha: Any) -> Any:
        start, end = self.given.levels
        return start + (end - start) * alpha


class _Mapped(nn.Module):
    """As `Mapped`, with alpha (1, 1, H, W) given to the network as it is."""

    def __init__(self, knobbed: ForeignKnobbed) -> None:
        super().__init__()
        self.knobbed = knobbed

    def forward(self, x: Tensor, alpha: Tensor) -> Tensor:
        height, width = x.shape[-2:]
        network = self.knobbed.network
        fitted = self.knobbed._level(network.fit(alpha))
        y: Tensor = self.knobbed._at(fitted).body(network.fit(x))
        return y[..., :height, :width]


def load_foreign(path: Path) -> tuple[Header, Foreign | ForeignKnobbed]:
    """A network that only spandrel knows (extra `spandrel`), from a safetensors file.

    Raises ForeignError where spandrel is missing or does not know it, IncompatibleError for a
    network of other channels than colour's or gray's.
    """
    descriptor = describe_foreign(path, read_table(path))
    given = _input_of(descriptor)
    if {descriptor.input_channels, descriptor.output_channels} - {1, 3}:
        raise IncompatibleError(
            f"{path}: is a {descriptor.architecture.name} of {descriptor.input_channels} channels",
            "name a network of colour or gray pictures",
        )
    network = Foreign(descriptor, given)
    about = f"{descriptor.architecture.name}, as spandrel loads it."
    part = Part(descriptor.architecture.id)
    if given is None:
        return Header(part, card=about), network
    task = Part(given.task) if given.task else None
    knob = Knob(given.levels)
    header = Header(part, task, tuner=Part("input"), knob=knob, plain=False, card=about)
    return header, ForeignKnobbed(network, given)


def describe_foreign(path: Path, table: Table) -> Any:
    """Spandrel's descriptor of a network. Raises ForeignError."""
    try:
        import spandrel
    except ImportError as error:
        raise ForeignError(
            f"{path}: is no model of tunectl's; others need spandrel, which is not installed",
            "pip install 'tunectl[spandrel]'",
        ) from error
    try:
        found = spandrel.ModelLoader("cpu").load_from_state_dict(table)
    except Exception as error:  # it raises what its many architectures raise
        raise ForeignError(
            f"{path}: is no network that tunectl or spandrel knows ({type(error).__name__})",
            "name a model of tunectl's, or of an architecture that spandrel lists",
        ) from error
    if not isinstance(found, spandrel.ImageModelDescriptor):
        raise ForeignError(f"{path}: takes more than a picture", "name a network that restores")
    return found.eval()
