"""How a network's weights depend on alpha: the one interface behind every tuner."""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Callable, Iterator
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.func import functional_call

from tunectl.errors import AlphaError, UsageError
from tunectl.knob import Alpha
from tunectl.networks import Network
from tunectl.tuners.mapped import Mapped
from tunectl.tuners.vectors import KnotVectors

StepContext = Callable[[], contextlib.AbstractContextManager[None]]


class Tuner(nn.Module):
    """A map from alpha to the weights of a network, piecewise linear between knots.

    `knots` are values of alpha, ascending from 0 (the base) to 1; two are the papers' straight
    line. From -1 through 0 they lead from the base to two ends. A subclass says which weights each
    knot has (`at_knot`) and what it inserts at the network's sites (`insert`); everything else
    follows from linear interpolation. At birth every knot equals the base, so that a fresh tuner
    changes nothing at any alpha.
    """

    Fields: ClassVar[type[Any]]
    steady = True  # the weights of a knot are the same for all pieces of a training step

    def __init__(
        self, network: Network, fields: Any, knots: tuple[float, ...] = (0.0, 1.0)
    ) -> None:
        super().__init__()
        ends = (knots[0], knots[-1]) if len(knots) > 1 and 0 in knots else None
        if ends not in ((0, 1), (-1, 1)) or list(knots) != sorted(set(knots)):
            raise UsageError(
                f"knots {knots} do not ascend from 0 to 1", "for example 0,0.5,1 or -1,0,1"
            )
        self.fields = fields
        self.knots = knots
        self.tuned = tuple(knot for knot in knots if knot != 0)
        self.make(network)

    def make(self, network: Network) -> None:
        """Create the parameters for each knot in `tuned`."""
        raise NotImplementedError

    @classmethod
    def insert(cls, network: Network, fields: Any, knots: tuple[float, ...]) -> None:
        """Put modules that do nothing yet at the network's sites. By default, none."""

    def at_knot(self, network: Network, knot: float) -> dict[str, Tensor]:
        """The tensors, by their names in `network`, that differ from its own at a knot.

        They have the same names at each of `tuned`; at 0 there may be none.
        """
        raise NotImplementedError

    def refine(self, network: Network, coarser: Tuner) -> bool:
        """Begin as one of the same kind that has some of these knots, with the same weights.

        False, and nothing is changed, where that cannot be. By default it cannot.
        """
        return False

    def parts(self) -> list[str]:
        """The sites that take an alpha of their own. By default, none."""
        return []

    def silence(self, network: Network, convolution: str) -> None:
        """At birth: let the output of a convolution of the network's fade to 0 at the last knot.

        A tuner that does not reach that convolution leaves it as it is.
        """

    def weights(self, network: Network, alpha: Alpha) -> dict[str, Tensor]:
        """The tensors that differ from the network's own at `alpha`, differentiable.

        Raises AlphaError for several alphas where there are not as many `parts`.
        """
        if isinstance(alpha, tuple):
            parts = self.parts()
            if len(parts) != len(alpha):
                raise AlphaError(
                    f"{len(alpha)} alphas for a model that takes "
                    + (f"one, or {len(parts)}" if parts else "one"),
                    "give one alpha for all sites, or one for each",
                )
            return {
                name: tensor
                for part, one in zip(parts, alpha, strict=True)
                for name, tensor in self.weights(network, one).items()
                if name.startswith(part + ".")
            }
        if alpha in self.knots:
            return self.at_knot(network, alpha)
        start, end, t = self.span(alpha)
        own = dict(network.named_parameters())
        low, high = self.at_knot(network, start), self.at_knot(network, end)
        return {
            name: torch.lerp(low.get(name, own[name]), high.get(name, own[name]), t)
            for name in low | high
        }

    def span(self, alpha: float) -> tuple[float, float, float]:
        """The two knots around `alpha`, and how far it is on the way from the first, 0 to 1."""
        upper = next((i for i, knot in enumerate(self.knots) if alpha < knot), len(self.knots) - 1)
        upper = max(upper, 1)
        start, end = self.knots[upper - 1], self.knots[upper]
        return start, end, (alpha - start) / (end - start)

    def fold(self, network: Network, alpha: Alpha) -> Network:
        """A plain copy of `network` with its weights fixed at `alpha`."""
        plain = copy.deepcopy(network)
        with torch.no_grad():
            overrides = self.weights(network, alpha)
            for name, tensor in overrides.items():
                plain.get_parameter(name).copy_(tensor)
        if not any(alpha if isinstance(alpha, tuple) else (alpha,)):  # what was inserted is idle
            remove_sites(plain)
        return plain.requires_grad_(False)


def key(name: str) -> str:
    """A tensor's or module's name where a ParameterDict or ModuleDict takes no dots."""
    return name.replace(".", "/")


class Knobbed(nn.Module):
    """A network with a knob. `knobbed(x, alpha)` equals `knobbed.fold(alpha)(x)`."""

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor, alpha: Alpha) -> Tensor:
        """(N, 3, H, W) in [0, 1] to the same shape at one alpha for the whole batch."""
        y: Tensor = self.fold(alpha)(x)
        return y

    def fold(self, alpha: Alpha) -> Network:
        """The plain network at `alpha`. Raises AlphaError for more of them than the knob takes."""
        raise NotImplementedError

    def mapped(self) -> nn.Module:
        """The network that takes alpha per pixel, (N, 1, H, W), beside the picture.

        Raises UsageError where there is none.
        """
        raise NotImplementedError


class Tunable(Knobbed):
    """A network and its tuner, which learn together or the one after the other."""

    def __init__(self, network: Network, tuner: Tuner) -> None:
        super().__init__(network)
        tuner.insert(network, tuner.fields, tuner.knots)
        self.tuner = tuner
        self._step: KnotVectors | None = None

    def forward(self, x: Tensor, alpha: Alpha) -> Tensor:
        """As `Knobbed`, with gradients for network and tuner."""
        if self._step is not None and not isinstance(alpha, tuple):
            return self._step(x, alpha)
        # Weights are mixed in full precision even where the convolutions run in half.
        with torch.autocast(x.device.type, enabled=False):
            weights = self.tuner.weights(self.network, alpha)
        output: Tensor = functional_call(self.network, weights, (x,))
        return output

    def steps(self, compiled: bool = False) -> StepContext:
        """A context for training steps: within it each knot's weights are made once.

        It is for steps of several draws or pieces, each with a backward pass of its own; the
        gradients reach the parameters at its end. `compiled` runs the network through
        `torch.compile`. Raises UsageError where it cannot.
        """
        if not self.tuner.steady:
            if compiled:
                raise UsageError(
                    "this tuner takes a style a picture, and cannot be compiled",
                    "leave out --compile",
                )
            return contextlib.nullcontext
        vectors = KnotVectors(self.network, self.tuner, compiled)

        @contextlib.contextmanager
        def step() -> Iterator[None]:
            self._step = vectors
            try:
                yield
                vectors.backward()
            finally:
                vectors.forget()
                self._step = None

        return step

    def fold(self, alpha: Alpha) -> Network:
        """As `Knobbed`. At 0 it is the base, bit for bit."""
        return self.tuner.fold(self.network, alpha)

    def mapped(self) -> nn.Module:
        """As `Knobbed`; there always is one."""
        return Mapped(self)


def remove_sites(network: Network) -> None:
    """Take out whatever was inserted at the network's sites."""
    for site in network.sites:
        network.set_submodule(site, nn.Identity())
