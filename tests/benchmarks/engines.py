"""Other ways to run the bundled network on the processor, set against what `apply` does.

    python tests/benchmarks/engines.py [--side 768] [--rounds 7]

torch.compile with frozen weights needs a C++ compiler; OpenVINO and ONNX Runtime (with onnx) are
left out where they are not installed. tunectl uses none of them: weights/README.md says why.
"""

from __future__ import annotations

import argparse
import importlib.util
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import torch
import torch._inductor.config
from speed import Timed, medians
from torch import Tensor

from tunectl.inference.engine import Engine
from tunectl.inference.load import load

CPU = torch.device("cpu")
ALPHA = 0.5


def compiled(x: Tensor) -> dict[str, Callable[[], Tensor]]:
    torch._inductor.config.freezing = True
    network = load("denoise", device="cpu").fold(ALPHA).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    x = x.contiguous(memory_format=torch.channels_last)
    run = torch.compile(network)

    def call() -> Tensor:
        with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
            return run(x).float()  # type: ignore[no-any-return]

    return {"torch.compile, frozen, bf16": call}


def openvino(x: Tensor) -> dict[str, Callable[[], Tensor]]:
    import openvino as ov

    network = load("denoise", device="cpu").fold(ALPHA)
    core = ov.Core()
    calls: dict[str, Callable[[], Tensor]] = {}
    for precision in ("bf16", "f32"):
        graph = ov.convert_model(network, example_input=x)
        graph.reshape(list(x.shape))
        hints = {"INFERENCE_PRECISION_HINT": precision, "PERFORMANCE_HINT": "LATENCY"}
        request = core.compile_model(graph, "CPU", hints).create_infer_request()
        calls[f"OpenVINO, {precision}"] = lambda request=request: torch.from_numpy(  # type: ignore[misc]
            request.infer([x.numpy()], share_inputs=True, share_outputs=True)[0]
        )
    return calls


def onnx_runtime(x: Tensor) -> dict[str, Callable[[], Tensor]]:
    import onnxruntime

    network = load("denoise", device="cpu").fold(ALPHA)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "denoise.onnx"
        torch.onnx.export(network, (x,), str(path), dynamo=False)
        session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    return {"ONNX Runtime, f32": lambda: torch.from_numpy(session.run(None, {name: x.numpy()})[0])}


WAYS = {
    "torch": compiled,
    "openvino": openvino,
    "onnxruntime": onnx_runtime,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--side", type=int, default=768)
    parser.add_argument("--rounds", type=int, default=7)
    given = parser.parse_args()
    warnings.simplefilter("ignore")
    x = torch.rand(1, 3, given.side, given.side)
    eager = load("denoise", device="cpu").fold(ALPHA)
    calls: Timed = {"torch, f32, default layout": lambda: eager(x)}
    for precision, name in ((torch.float32, "f32"), (torch.bfloat16, "bf16")):
        engine = Engine(load("denoise", device="cpu").fold(ALPHA), CPU, precision)
        calls[f"apply, {name}"] = lambda engine=engine: engine(x)  # type: ignore[misc]
    ready: dict[str, float] = {}
    for package, way in WAYS.items():
        if importlib.util.find_spec(package) is None:
            print(f"{package} is not installed: left out")
            continue
        start = time.perf_counter()
        found = way(x)
        for call in found.values():
            call()
        ready |= dict.fromkeys(found, (time.perf_counter() - start) / len(found))
        calls |= found
    seconds = medians(calls, given.rounds)
    with torch.inference_mode():
        exact = eager(x)
        apart = {name: float((call() - exact).abs().max()) for name, call in calls.items()}  # type: ignore[operator]
    best = seconds["apply, bf16"]
    print(f"{'':30}       ms  of apply, bf16   first result, s   from f32")
    for name, value in seconds.items():
        first = f"{ready[name]:8.1f}" if name in ready else " " * 8
        print(f"{name:30} {value * 1000:8.0f} {value / best:10.2f} {first:>16} {apart[name]:16.4f}")


if __name__ == "__main__":
    main()
