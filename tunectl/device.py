"""Which device to run on, and in which precision it is fastest."""

from __future__ import annotations

import functools
import time

import torch
from torch.nn.functional import conv2d

from tunectl.errors import ResourceError, UsageError

PRECISIONS = ("auto", "fp32", "bf16")


def pick_device(name: str = "auto") -> torch.device:
    """`auto` is CUDA where there is one, else the CPU.

    Raises UsageError for a name torch does not know, ResourceError for an absent device.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise UsageError(
            f"no device is called {name!r}", "give auto, cpu, cuda or cuda:N"
        ) from error
    if device.type not in ("cpu", "cuda"):
        raise UsageError(f"device {name!r} is not supported", "give auto, cpu, cuda or cuda:N")
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise ResourceError(f"device {name!r} is not there", "use --device cpu, or --device auto")
    return device


def pick_precision(device: torch.device, name: str = "auto") -> torch.dtype:
    """float32 or bfloat16 for the convolutions. Raises UsageError on another name.

    `auto` takes bfloat16 on CUDA devices that have it, and on processors where it is measured to
    gain at least a fifth.
    """
    if name == "fp32":
        return torch.float32
    if name == "bf16":
        return torch.bfloat16
    if name != "auto":
        raise UsageError(f"no precision is called {name!r}", f"known: {', '.join(PRECISIONS)}")
    if device.type == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float32
    return torch.bfloat16 if _cpu_gains_from_bf16() else torch.float32


@functools.cache
def _cpu_gains_from_bf16() -> bool:
    """Time one convolution each way, interleaved, once per process (some tens of ms)."""

    def sample(dtype: torch.dtype) -> float:
        x = torch.randn(1, 64, 64, 64).to(dtype, memory_format=torch.channels_last)
        weight = torch.randn(64, 64, 3, 3).to(dtype, memory_format=torch.channels_last)
        conv2d(x, weight, padding=1)
        start = time.perf_counter()
        for _ in range(3):
            conv2d(x, weight, padding=1)
        return time.perf_counter() - start

    with torch.inference_mode():
        pairs = [(sample(torch.float32), sample(torch.bfloat16)) for _ in range(3)]
    return min(full for full, _ in pairs) > 1.2 * min(half for _, half in pairs)
