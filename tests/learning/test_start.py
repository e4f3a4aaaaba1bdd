from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from tunectl import checkpoint
from tunectl.errors import IncompatibleError
from tunectl.hashing import file_sha256
from tunectl.learning import jobs
from tunectl.learning.options import Options

TINY_UNET = {"widths": [8, 12], "encoder": [1, 1], "decoder": [1]}


def test_a_run_starts_from_earlier_weights(photos: Path, tmp_path: Path, tunable_file: Path):
    place = jobs.Place(photos, tmp_path / "m.safetensors", device="cpu", precision="fp32")
    place = replace(place, start=tunable_file)
    still = Options(steps=1, batch=2, draws=1, patch=24, lr=1e-12, ema=0.0)
    jobs.train(place, still, "denoise", "unet", [0, 50], TINY_UNET, tuner="dni")
    header, tensors = checkpoint.read(place.output)
    _, before = checkpoint.read(tunable_file)
    for name, tensor in tensors.items():
        torch.testing.assert_close(tensor, before[name], atol=1e-9, rtol=0)
    assert header.provenance["parent"] == file_sha256(tunable_file)
    with pytest.raises(IncompatibleError, match="another network or tuner"):
        jobs.train(place, still, "denoise", "unet", [0, 50], TINY_UNET, tuner="ftn")
