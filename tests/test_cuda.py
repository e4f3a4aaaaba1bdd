"""The same promises on an accelerator."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from conftest import TINY_UNET

from tunectl.header import Header, Part
from tunectl.inference.execution import Execution
from tunectl.inference.load import load
from tunectl.inference.model import Model
from tunectl.learning import jobs
from tunectl.learning.options import Options
from tunectl.learning.photos import Photos, list_photos
from tunectl.learning.table import decode
from tunectl.networks import build_network
from tunectl.seeds import seeded
from tunectl.tasks import build_task
from tunectl.tasks.jpeg import Saving
from tunectl.tasks.jpeg_batch import recode_all

pytestmark = pytest.mark.cuda


def test_cuda_and_cpu_agree_in_full_precision(tunable_file: Path):
    picture = torch.rand(1, 3, 120, 96)
    cpu = load(tunable_file, device="cpu", precision="fp32")(picture, alpha=0.4)
    cuda = load(tunable_file, device="cuda", precision="fp32")(picture, alpha=0.4)
    torch.testing.assert_close(cpu, cuda, atol=2e-3, rtol=0)


def test_tiles_do_not_show_on_cuda():
    network = build_network("unet", TINY_UNET)
    picture = torch.rand(1, 3, 300, 700)
    header, device = Header(Part("unet", {}), plain=True), torch.device("cuda")
    tiles = (256, 4096)
    outputs = [
        Model(header, network, Execution(device, torch.float32, tile))(picture) for tile in tiles
    ]
    torch.testing.assert_close(outputs[0], outputs[1], atol=1 / 255, rtol=0)


def test_training_keeps_photos_and_patches_on_the_device(photos: Path, tmp_path: Path):
    device = torch.device("cuda")
    clean, gray = Photos(decode(list_photos(photos)), 32, device).patches(4, 0.5, seeded(device, 0))
    assert clean.device.type == gray.device.type == "cuda"
    where = jobs.Place(photos, tmp_path / "m.safetensors", device="cuda")
    options = Options(steps=20, batch=4, draws=2, patch=32)
    jobs.train(where, options, "denoise", "unet", [0, 50], TINY_UNET, tuner="dni")
    assert load(where.output, device="cuda").level(1.0) == 50


def test_jpegs_are_made_on_the_device(photos: Path, tmp_path: Path):
    device = torch.device("cuda")
    clean, gray = Photos(decode(list_photos(photos)), 64, device).patches(
        16, 0.5, seeded(device, 0)
    )
    plans = [[Saving(30, 2, (3, 5))], [Saving(80), Saving(50, 2)]] * 8
    found, expected = recode_all(clean, plans), recode_all(clean.cpu(), plans)
    assert ((found.cpu() - expected).abs() > 0.5 / 255).float().mean() < 0.02

    task = build_task("deblock", {"subsampling": "mixed", "twice": 0.5, "aligned": 0.5})
    one, other = (task.degrade(clean, 30, seeded(device, 1), gray) for _ in range(2))
    assert one.device.type == "cuda"
    assert torch.equal(one, other)
    assert torch.equal(one[gray][:, 0], one[gray][:, 1])
    where = jobs.Place(photos, tmp_path / "m.safetensors", device="cuda")
    options = Options(steps=5, batch=4, draws=2, patch=32, loss="psnr", optimizer="muon")
    jobs.train(where, options, "deblock", "unet", [95, 5], TINY_UNET, tuner="dni")
    assert load(where.output, device="cuda").level(1.0) == 5


def test_cameras_noise_is_made_on_the_device(photos: Path, tmp_path: Path):
    device = torch.device("cuda")
    clean, gray = Photos(decode(list_photos(photos)), 64, device).patches(
        16, 0.5, seeded(device, 0)
    )
    task = build_task("photo")
    assert task.vary(clean, seeded(device, 1)).device.type == "cuda"
    one, other = (task.degrade(clean, 12, seeded(device, 1), gray) for _ in range(2))
    assert one.device.type == "cuda"
    assert torch.equal(one, other)
    assert torch.equal(one[gray][:, 0], one[gray][:, 1])
    assert 5 < ((one - clean) * 255).square().mean().sqrt() < 20
    where = jobs.Place(photos, tmp_path / "m.safetensors", device="cuda")
    options = Options(steps=5, batch=4, draws=2, patch=32)
    jobs.train(where, options, "photo", "unet", [0, 30], TINY_UNET, tuner="dni")
    assert load(where.output, device="cuda").level(1.0) == 30


def test_a_run_goes_on_on_cuda(photos: Path, tmp_path: Path):
    where = jobs.Place(photos, tmp_path / "m.safetensors", device="cuda", stop_after=5)
    options = Options(steps=10, batch=4, draws=2, patch=32)
    assert jobs.train(where, options, "denoise", "unet", [0, 50], TINY_UNET, tuner="dni") is None
    where = replace(where, stop_after=None)
    jobs.train(where, options, "denoise", "unet", [0, 50], TINY_UNET, tuner="dni")
    whole = replace(where, output=tmp_path / "whole.safetensors")
    jobs.train(whole, options, "denoise", "unet", [0, 50], TINY_UNET, tuner="dni")
    picture = torch.rand(1, 3, 64, 64)
    parts = (load(path, device="cuda", precision="fp32") for path in (where.output, whole.output))
    one, other = (model(picture, alpha=1.0) for model in parts)
    torch.testing.assert_close(one, other, atol=2e-3, rtol=0)


@pytest.mark.parametrize("tuner", ["dni", "ftn"])
def test_a_graph_of_a_step_learns_the_same(photos: Path, tmp_path: Path, tuner: str):
    options = Options(steps=6, batch=4, draws=2, patch=32)
    picture, outputs = torch.rand(1, 3, 64, 64), []
    for compiled in (False, True):
        where = jobs.Place(
            photos,
            tmp_path / f"{compiled}.safetensors",
            device="cuda",
            precision="fp32",
            compiled=compiled,
        )
        jobs.train(where, options, "denoise", "unet", [0, 50], TINY_UNET, tuner=tuner)
        outputs.append(load(where.output, device="cuda", precision="fp32")(picture, alpha=1.0))
    torch.testing.assert_close(*outputs, atol=2e-3, rtol=0)
