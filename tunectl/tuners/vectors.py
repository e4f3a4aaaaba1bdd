"""A tunable network in training: its weights as one vector a knot, for all draws of a step."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.func import functional_call

from tunectl.networks import Network

if TYPE_CHECKING:
    from tunectl.tuners.base import Tuner


@dataclass(frozen=True)
class _Place:
    """Where a tensor lies in a vector, and in which of the two layouts of a kernel."""

    size: int
    shape: tuple[int, ...]
    last: bool

    @classmethod
    def of(cls, tensor: Tensor) -> _Place:
        last = tensor.ndim == 4 and tensor.is_contiguous(memory_format=torch.channels_last)
        return cls(tensor.numel(), tuple(tensor.shape), last)

    def flat(self, tensor: Tensor) -> Tensor:
        return (tensor.permute(0, 2, 3, 1) if self.last else tensor).reshape(-1)

    def back(self, part: Tensor) -> Tensor:
        """The tensor again, as a view of its part of the vector."""
        if not self.last:
            return part.view(self.shape)
        count, channels, height, width = self.shape
        return part.view(count, height, width, channels).permute(0, 3, 1, 2)


class KnotVectors:
    """Runs a network at any alpha; what a tuner moves is one vector a knot, made once a step.

    A draw mixes all of it by one operation, and by another rounds it for convolutions in half
    precision: of a hundred small tensors, one after the other, a GPU waits for each launch. What
    the draws say of a knot is added up, and goes on to the parameters in `backward`. Where
    `compiled`, the network runs through `torch.compile`, on CUDA as a graph that is launched at
    once; this takes every parameter that learns to be part of the vectors.
    """

    def __init__(self, network: Network, tuner: Tuner, compiled: bool) -> None:
        self.network, self.tuner, self.compiled = network, tuner, compiled
        self._tensors: dict[float, list[Tensor]] = {}
        self._vectors: dict[float, Tensor] = {}
        self._places: dict[str, _Place] = {}
        self._rounded = _run_in_half(network)
        self._graph: Callable[[Tensor, Tensor], Tensor] | None = None

    def __call__(self, x: Tensor, alpha: float) -> Tensor:
        """As `Tunable`. The graph ends at the vectors."""
        if alpha == 0:
            base: Tensor = self.network(x)
            return base
        start, end, t = self.tuner.span(alpha)
        # Weights are mixed in full precision even where the convolutions run in half.
        with torch.autocast(x.device.type, enabled=False):
            for knot in sorted((start, end), key=abs, reverse=True):  # the base has no names
                self._make(knot)
            vector = torch.lerp(self._vectors[start], self._vectors[end], t)
        return self._run_compiled(vector, x) if self.compiled else self._run(vector, x)

    def backward(self) -> None:
        """Send on what was gathered."""
        tensors: list[Tensor] = []
        gradients: list[Tensor] = []
        for knot, vector in self._vectors.items():
            if vector.grad is None:
                continue
            parts = self._parts(vector.grad).values()
            for tensor, part in zip(self._tensors[knot], parts, strict=True):
                if tensor.requires_grad:
                    tensors.append(tensor)
                    gradients.append(part)
        if tensors:
            torch.autograd.backward(tensors, gradients)

    def forget(self) -> None:
        """Let the next step make its own vectors."""
        self._tensors, self._vectors = {}, {}

    def _make(self, knot: float) -> None:
        if knot in self._vectors:
            return
        own = dict(self.network.named_parameters())
        tensors = self.tuner.at_knot(self.network, knot)
        if not self._places:
            moved = tensors
            if self.compiled:  # a graph's own gradients would not outlive its next launch
                moved = {name: p for name, p in own.items() if p.requires_grad} | tensors
            self._places = {name: _Place.of(tensor) for name, tensor in moved.items()}
        found = [tensors.get(name, own[name]) for name in self._places]
        places = self._places.values()
        with torch.no_grad():
            flat = [place.flat(tensor) for place, tensor in zip(places, found, strict=True)]
            vector = torch.cat(flat)
        self._tensors[knot] = found
        self._vectors[knot] = vector.requires_grad_(any(t.requires_grad for t in found))

    def _run(self, vector: Tensor, x: Tensor) -> Tensor:
        weights, kind = self._parts(vector), x.device.type
        if torch.is_autocast_enabled(kind):
            halved = self._parts(vector.to(torch.get_autocast_dtype(kind)))
            weights |= {name: halved[name] for name in weights if name in self._rounded}
        output: Tensor = functional_call(self.network, weights, (x,))
        return output

    def _run_compiled(self, vector: Tensor, x: Tensor) -> Tensor:
        if x.is_cuda:  # the last draw's output is done with
            torch.compiler.cudagraph_mark_step_begin()  # type: ignore[no-untyped-call]
        if self._graph is None:
            mode = "reduce-overhead" if x.is_cuda else None
            self._graph = torch.compile(self._run, dynamic=False, mode=mode)
            with warnings.catch_warnings():  # the compiler asks a mixture for its gradient
                warnings.filterwarnings("ignore", "The .grad attribute")
                return self._graph(vector, x)
        return self._graph(vector, x)

    def _parts(self, vector: Tensor) -> dict[str, Tensor]:
        parts = torch.split(vector, [place.size for place in self._places.values()])
        places = zip(self._places.items(), parts, strict=True)
        return {name: place.back(part) for (name, place), part in places}


def _run_in_half(network: Network) -> frozenset[str]:
    """The parameters of what autocast runs in half precision: convolutions, but not exact ones."""
    after = (name for name, site in network.sites.items() if site.after in network.exact)
    whole = (*network.exact, *after)
    return frozenset(
        f"{name}.{part}"
        for name, module in network.named_modules()
        if isinstance(module, nn.Conv2d)
        and not any(f"{name}.".startswith(f"{other}.") for other in whole)
        for part, _ in module.named_parameters(recurse=False)
    )
