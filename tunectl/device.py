"""Which device to run on, and in which precision it is fastest."""

from __future__ import annotations

import torch

from tunectl.errors import ResourceError, UsageError

PRECISIONS = ("auto", "fp32", "bf16")
FIRST_WITH_BF16 = 8  # the compute capability of Ampere


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

    `auto` takes bfloat16 on CUDA devices and processors that have it.
    """
    if name == "fp32":
        return torch.float32
    if name == "bf16":
        return torch.bfloat16
    if name != "auto":
        raise UsageError(f"no precision is called {name!r}", f"known: {', '.join(PRECISIONS)}")
    if device.type == "cuda":
        # Older ones are said to support it too, but have to emulate it.
        has_it = torch.cuda.get_device_capability(device)[0] >= FIRST_WITH_BF16
        return torch.bfloat16 if has_it else torch.float32
    return torch.bfloat16 if _cpu_has_bf16() else torch.float32


def sent(tensor: torch.Tensor, device: torch.device) -> torch.Tensor:
    """`tensor` on `device`, which is asked for it without waiting until it has it."""
    return tensor.to(device, non_blocking=True)


def _cpu_has_bf16() -> bool:
    """Whether the processor has instructions for bf16.

    Asked, not timed: a busy moment would decide, and the same command would give other pixels.
    """
    checks = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
    return any(getattr(torch.cpu, check, bool)() for check in checks)
