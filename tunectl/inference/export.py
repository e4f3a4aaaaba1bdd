"""A model as an ONNX graph, for programs without torch."""

from __future__ import annotations

import copy
import json
import logging
import warnings
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.func import functional_call

from tunectl.atomic import write_new
from tunectl.errors import IncompatibleError, UsageError, is_out_of_memory
from tunectl.inference.model import Model
from tunectl.knob import Alpha
from tunectl.networks import Network
from tunectl.tuners import Tunable
from tunectl.tuners.mapped import shares_of

OPSET = 18
ENDING = ".onnx"
TRIED = ((61, 83), (96, 64), (1, 1))  # pixels, high and wide, on which the graph is compared
CLOSE = 1e-3  # of the range of samples: a graph further from torch than this is not written


@dataclass(frozen=True)
class Difference:
    """The largest difference from torch, of samples in [0, 1], over all that was tried."""

    largest: float
    tried: int


class _Plain(nn.Module):
    def __init__(self, network: Network) -> None:
        super().__init__()
        self.network = network

    def forward(self, picture: Tensor) -> Tensor:
        """(N, 3, H, W) in [0, 1] to the same range, `scale` times the size."""
        height, width = picture.shape[-2:]
        y: Tensor = self.network.body(_fit(picture, self.network.stride))
        scale = self.network.scale
        return y[..., : height * scale, : width * scale].clamp(0, 1)


class _Tunable(nn.Module):
    """All knots side by side; their shares follow from alpha inside the graph."""

    def __init__(self, tunable: Tunable) -> None:
        super().__init__()
        network, tuner = tunable.network, tunable.tuner
        self.plain = _Plain(network)
        self.knots = tuner.knots
        own = dict(network.named_parameters())
        ends = [tuner.at_knot(network, knot) for knot in tuner.knots]
        self.names = sorted({name for end in ends for name in end})
        for i, name in enumerate(self.names):
            stack = torch.stack([end.get(name, own[name]).detach() for end in ends])
            self.register_buffer(f"tuned_{i}", stack)

    def forward(self, picture: Tensor, alpha: Tensor) -> Tensor:
        """As `_Plain`, at alpha (1), held to the knob's range."""
        alpha = alpha.clamp(self.knots[0], self.knots[-1])
        shares = torch.cat(shares_of(self.knots, alpha))
        weights = {}
        for i, name in enumerate(self.names):
            stack = self.get_buffer(f"tuned_{i}")
            mixed = shares @ stack.flatten(1)
            weights[f"network.{name}"] = mixed.reshape(stack.shape[1:])
        output: Tensor = functional_call(self.plain, weights, (picture,))
        return output


def _fit(picture: Tensor, stride: int) -> Tensor:
    """As `Network.fit`, for a height and width that the graph learns when it runs."""
    for side in (2, 3):
        size: Any = picture.shape[side]
        whole = torch.sym_max((size + stride - 1) // stride, 2) * stride
        index = torch.arange(whole, device=picture.device).clamp_max(size - 1)
        picture = picture.index_select(side, index)
    return picture


def export_file(model: Model, output: Path, alpha: Alpha | None = None) -> Difference:
    """Write the model as ONNX, at one alpha, or with alpha as its second input.

    The graph takes `picture`, (N, 3, H, W) float32 in [0, 1] of any N, H and W, and, of a model
    with a knob whose `alpha` is not given, `alpha`, (1) float32; it returns `restored`, of the
    picture's shape and range. The header travels in the metadata, key `tunectl`, and the alpha of a
    graph that has one in it under `tunectl.alpha`. The graph is run
    beside torch before it is written. Raises UsageError without onnx (extra `onnx`) or for an
    output that is there, IncompatibleError for a network that does not go into a graph.
    """
    try:
        import onnxruntime
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise UsageError(
            f"exporting needs {error.name}, which is not installed", "pip install 'tunectl[onnx]'"
        ) from error
    if output.suffix != ENDING:
        raise UsageError(f"{output}: is not named as ONNX", f"end it {ENDING}")
    network = model.network
    graph: nn.Module
    if model.tunable and alpha is None:
        if not isinstance(network, Tunable):
            raise UsageError("this network's knob does not go into a graph", "give --alpha")
        graph = _Tunable(network)
    else:
        graph = _Plain(model.fold(alpha))
    graph = copy.deepcopy(graph).cpu().float().eval()  # the model's own stays where it is
    words = {"tunectl": json.dumps(asdict(model.header))}
    if alpha is not None:
        words["tunectl.alpha"] = json.dumps(alpha)
    data = _onnx(graph, words)
    session = onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"])
    difference = _compare(session, model, graph, alpha)
    if not difference.largest <= CLOSE:
        raise IncompatibleError(
            f"the graph's output differs from torch's by {difference.largest:.2g}",
            "this is a fault of tunectl or onnxruntime; nothing was written",
        )
    write_new(output, data)
    return difference


def _onnx(graph: nn.Module, words: Mapping[str, str]) -> bytes:
    """The graph's bytes, with words in its metadata."""
    picture = torch.rand(2, 3, 40, 56)
    free = {0: torch.export.Dim("n"), 2: torch.export.Dim("height"), 3: torch.export.Dim("width")}
    tunable = isinstance(graph, _Tunable)
    inputs = (picture, torch.tensor([0.4])) if tunable else (picture,)
    shapes: tuple[Any, ...] = (free, None) if tunable else (free,)
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    with warnings.catch_warnings(), torch.inference_mode(False), torch.no_grad():
        warnings.simplefilter("ignore")
        try:
            program = torch.onnx.export(
                graph,
                inputs,
                input_names=["picture", "alpha"][: len(inputs)],
                output_names=["restored"],
                opset_version=OPSET,
                dynamic_shapes=shapes,
                verbose=False,
            )
        except Exception as error:  # of a stranger's network
            if is_out_of_memory(error):
                raise
            raise IncompatibleError(
                f"the network does not go into a graph ({type(error).__name__})",
                "export a network of tunectl's",
            ) from error
    assert program is not None
    program.model.metadata_props.update(words)
    return bytes(program.model_proto.SerializeToString())


def _compare(session: Any, model: Model, graph: nn.Module, alpha: Alpha | None) -> Difference:
    generator = torch.Generator().manual_seed(0)
    strengths = [0.0, 0.35, 1.0] if isinstance(graph, _Tunable) else [alpha]
    largest, tried = 0.0, 0
    for height, width in TRIED:
        picture = torch.rand(1, 3, height, width, generator=generator)
        for strength in strengths:
            given = {"picture": picture.numpy()}
            if isinstance(graph, _Tunable):
                given["alpha"] = np.array([strength], np.float32)
            with torch.inference_mode():
                network = copy.deepcopy(model.fold(strength)).cpu().float()
                expected = network(picture).clamp(0, 1)
            found = torch.from_numpy(session.run(None, given)[0])
            largest = max(largest, float((found - expected).abs().max()))
            tried += 1
    return Difference(largest, tried)
