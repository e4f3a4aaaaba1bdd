"""The same promises on an accelerator."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from tunectl.header import Header, Part
from tunectl.inference.execution import Execution
from tunectl.inference.load import load
from tunectl.inference.model import Model
from tunectl.learning import jobs
from tunectl.learning.options import Options
from tunectl.learning.photos import Photos, list_photos
from tunectl.networks import build_network
from tunectl.seeds import seeded

pytestmark = pytest.mark.cuda


def test_cuda_and_cpu_agree_in_full_precision(tunable_file: Path):
    picture = torch.rand(1, 3, 120, 96)
    cpu = load(tunable_file, device="cpu", precision="fp32")(picture, alpha=0.4)
    cuda = load(tunable_file, device="cuda", precision="fp32")(picture, alpha=0.4)
    torch.testing.assert_close(cpu, cuda, atol=2e-3, rtol=0)


def test_tiles_do_not_show_on_cuda():
    network = build_network("unet", {"widths": [8, 12], "encoder": [1, 1], "decoder": [1]})
    picture = torch.rand(1, 3, 300, 700)
    header, device = Header(Part("unet", {}), plain=True), torch.device("cuda")
    tiles = (256, 4096)
    outputs = [
        Model(header, network, Execution(device, torch.float32, tile))(picture) for tile in tiles
    ]
    torch.testing.assert_close(outputs[0], outputs[1], atol=1 / 255, rtol=0)


def test_training_keeps_photos_and_patches_on_the_device(photos: Path, tmp_path: Path):
    device = torch.device("cuda")
    clean, gray = Photos(list_photos(photos), 32, device).patches(4, 0.5, seeded(device, 0))
    assert clean.device.type == gray.device.type == "cuda"
    where = jobs.Place(photos, tmp_path / "m.safetensors", device="cuda")
    options = Options(steps=20, batch=4, draws=2, patch=32)
    fields = {"widths": [8, 12], "encoder": [1, 1], "decoder": [1]}
    jobs.train(where, options, "denoise", "unet", [0, 50], fields, tuner="dni")
    assert load(where.output, device="cuda").level(1.0) == 50
