"""Memory that is limited: what would be killed, or die inside a library, is kept within."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from tunectl.device import pick_precision
from tunectl.errors import is_out_of_memory
from tunectl.inference import memory

CODE = """
import resource, sys
from pathlib import Path
import numpy as np
import tunectl

model = tunectl.load("denoise", device="cpu", precision="fp32")
picture = np.random.default_rng(0).integers(0, 256, (700, 900, 3)).astype(np.uint8)
free = model(picture, alpha=0.3)
used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + 150_000_000, resource.RLIM_INFINITY))
windows = []
run = tunectl.Model._engine(model, 0.3).network.body
tunectl.Model._engine(model, 0.3).network.body = lambda x: windows.append(x.shape) or run(x)
limited = model(picture, alpha=0.3)
assert np.array_equal(free, limited)
assert len(windows) > 1, windows
print("kept within")
"""


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="limits are told by Linux")
def test_a_limit_on_the_address_space_gives_smaller_windows_and_the_same_picture():
    done = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True)
    assert "kept within" in done.stdout, done.stderr


def test_a_system_that_tells_nothing_of_memory(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delattr(os, "sysconf")
    monkeypatch.setattr(Path, "read_text", lambda *_, **__: "")
    assert memory.free_bytes(torch.device("cpu")) == memory.ASSUMED


@pytest.mark.parametrize(
    ("capability", "dtype"), [((7, 5), torch.float32), ((8, 0), torch.bfloat16)]
)
def test_bf16_where_a_gpu_has_it(monkeypatch: pytest.MonkeyPatch, capability, dtype):
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)
    assert pick_precision(torch.device("cuda", 1)) == dtype


def test_failed_allocations_are_known_by_their_words():
    assert is_out_of_memory(MemoryError())
    assert is_out_of_memory(RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried"))
    assert is_out_of_memory(RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB"))
    assert is_out_of_memory(RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling"))
    assert not is_out_of_memory(RuntimeError("shapes differ"))
    assert not is_out_of_memory(ValueError("out of memory"))
