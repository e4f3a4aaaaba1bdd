"""How much memory a picture will need, decided before it is run: the kernel kills, not raises."""

from __future__ import annotations

import contextlib
import copy
import os
import sys
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from tunectl.networks import Network

LARGEST_SIDE = 2048  # beyond it the halo's share falls slowly and nothing gets faster
LARGEST_BYTES = 1 << 30  # what a window may take where memory is plenty
GROUP, GROUPS_OF_PROCESS = Path("/sys/fs/cgroup"), Path("/proc/self/cgroup")
ASSUMED = 4 << 30  # bytes free where a system does not say
SHARE = 0.4  # of what is free: decoded pictures and other programs want some too


class _PeakBytes(TorchFunctionMode):
    """Counts the bytes of every tensor that is made while it lives."""

    def __init__(self) -> None:
        super().__init__()
        self.now = self.peak = 0
        self._seen: set[int] = set()

    def __torch_function__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        for tensor in result if isinstance(result, (tuple, list)) else [result]:
            if isinstance(tensor, Tensor):
                self._count(tensor.untyped_storage())
        return result

    def _count(self, storage: torch.UntypedStorage) -> None:
        key = storage._cdata
        if key in self._seen:
            return
        self._seen.add(key)
        size = storage.nbytes()
        self.now += size
        self.peak = max(self.peak, self.now)

        def freed() -> None:
            self._seen.discard(key)
            self.now -= size

        weakref.finalize(storage, freed)


def bytes_per_pixel(network: Network, precision: torch.dtype) -> float:
    """The most bytes of activations alive at once, per input pixel, from a run on a small input.

    A run on the meta device would need no arithmetic, but loading that costs seconds.
    """
    probe = copy.deepcopy(network).to("cpu", torch.float32)
    side = 8 * network.stride
    with torch.inference_mode(), _PeakBytes() as count:
        probe(torch.zeros(1, 3, side, side))
    size = torch.finfo(precision).bits / torch.finfo(torch.float32).bits
    return float(count.peak / side**2 * size)


def free_bytes(device: torch.device) -> int:
    """What may still be taken on the device: of main memory, within the process's limits."""
    if device.type == "cuda":
        kept = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return torch.cuda.mem_get_info(device)[0] + kept  # what torch keeps it gives again
    free = [_meminfo("MemAvailable"), _address_space_left()]
    free += [_left_in(group, *names) for group, names in _groups()]
    return max(0, min(free))


def _groups() -> Iterator[tuple[Path, tuple[str, str, str]]]:
    """The control groups that the process is in, up to the root, and what their files are called: a
    job of a batch system has limits of its own far below it."""
    own = {"": "", "memory": ""}
    with contextlib.suppress(OSError, ValueError):
        for line in GROUPS_OF_PROCESS.read_text().splitlines():
            _, controllers, place = line.split(":", 2)
            own |= {name: place for name in controllers.split(",") if name in own}
    for kind, root, names in (
        ("", GROUP, ("memory.max", "memory.current", "inactive_file")),
        (
            "memory",
            GROUP / "memory",
            ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
        ),
    ):
        innermost = root / own[kind].strip("/")
        for group in (innermost, *innermost.parents):
            yield group, names
            if group == root:
                break


def _left_in(group: Path, limit: str, used: str, cached: str) -> int:
    try:
        left = int((group / limit).read_text()) - int((group / used).read_text())
        counts = dict(line.split() for line in (group / "memory.stat").read_text().splitlines())
        return left + int(counts.get(cached, 0))  # files that were read can go
    except (OSError, ValueError):  # no such group, or "max"
        return sys.maxsize


def choose_tile(bytes_a_pixel: float, device: torch.device) -> int:
    """The side, in pixels, of the largest window to run at once."""
    budget = min(LARGEST_BYTES, SHARE * free_bytes(device))
    return int(min(LARGEST_SIDE, (budget / bytes_a_pixel) ** 0.5))


def _address_space_left() -> int:
    """What `ulimit -v` leaves: past it, an allocation inside a library ends the process."""
    try:
        import resource

        limit = resource.getrlimit(resource.RLIMIT_AS)[0]
        if limit != resource.RLIM_INFINITY:
            pages = int(Path("/proc/self/statm").read_text().split()[0])
            return limit - pages * resource.getpagesize()
    except (ImportError, OSError, ValueError):  # another system
        pass
    return sys.maxsize


def _meminfo(key: str) -> int:
    try:
        for line in Path("/proc/meminfo").read_text().splitlines():
            name, value = line.split(":")
            if name == key:
                return int(value.split()[0]) * 1024
    except (OSError, ValueError):
        pass
    if hasattr(os, "sysconf"):
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return ASSUMED  # Windows says it in ways of its own
