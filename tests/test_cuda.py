"""The same promises on an accelerator."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import TINY_UNET, draw

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
# Steps that move the weights far enough for a lost draw, or other noise, to show.
FAST = Options(steps=10, batch=4, draws=2, patch=32, warmup=2, lr=2e-3)


def test_cuda_and_cpu_agree_in_full_precision(tunable_file: Path):
    picture = torch.rand(1, 3, 120, 96)
    cpu = load(tunable_file, device="cpu", precision="fp32")(picture, alpha=0.4)
    cuda = load(tunable_file, device="cuda", precision="fp32")(picture, alpha=0.4)
    torch.testing.assert_close(cpu, cuda, atol=2e-3, rtol=0)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
@pytest.mark.parametrize(
    "how",
    [
        {},
        {"blend": 0.7},
        {"chroma_alpha": 0.9, "blend": 0.5},
        {"keep_colours": True},
        {"alpha_map": np.linspace(0, 1, 300 * 340, dtype=np.float32).reshape(300, 340)},
    ],
    ids=["plain", "blend", "chroma", "colours", "map"],
)
def test_every_way_of_applying_agrees(tunable_file: Path, how, dtype):
    noise = np.random.default_rng(0).normal(0, 20, (300, 340, 3))
    picture = (draw(300, 340, 0) + noise).clip(0, 255) / 255
    peak = 1 if dtype == np.float32 else np.iinfo(dtype).max
    given = (picture * peak).astype(dtype)
    for array in (given, given[..., 0]):
        cpu, cuda = (
            load(tunable_file, device=device, precision="fp32", tile=256)(array, 0.4, **how)
            for device in ("cpu", "cuda")
        )
        assert np.abs(cpu.astype(float) - cuda).max() <= max(1, 2e-3 * peak)


def test_instance_norms_see_the_whole_picture_on_cuda():
    picture = draw(300, 340, 0)
    cpu, cuda = (
        load("starry-night", device=device, precision="fp32", tile=256)(
            picture, 0.6, keep_colours=True
        )
        for device in ("cpu", "cuda")
    )
    assert np.abs(cpu.astype(int) - cuda).max() <= 2


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
    where = jobs.RunConfig(photos, tmp_path / "m.safetensors", device="cuda")
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
    where = jobs.RunConfig(photos, tmp_path / "m.safetensors", device="cuda")
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
    where = jobs.RunConfig(photos, tmp_path / "m.safetensors", device="cuda")
    options = Options(steps=5, batch=4, draws=2, patch=32)
    jobs.train(where, options, "photo", "unet", [0, 30], TINY_UNET, tuner="dni")
    assert load(where.output, device="cuda").level(1.0) == 30


def learned(place: jobs.RunConfig, options: Options, tuner: str = "dni") -> torch.Tensor | None:
    """What a model of so many steps makes of one picture; None where it stopped before."""
    if jobs.train(place, options, "denoise", "unet", [0, 50], TINY_UNET, tuner=tuner) is None:
        return None
    picture = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    return load(place.output, device="cuda", precision="fp32")(picture, alpha=1.0)


def apart(one: torch.Tensor, other: torch.Tensor) -> float:
    return float((one - other).abs().max())


def test_a_run_goes_on_on_cuda(photos: Path, tmp_path: Path):
    where = jobs.RunConfig(photos, tmp_path / "m.safetensors", device="cuda", precision="fp32")
    assert learned(replace(where, stop_after=5), FAST) is None
    parts = learned(where, FAST)
    whole = learned(replace(where, output=tmp_path / "whole.safetensors"), FAST)
    other = learned(replace(where, output=tmp_path / "other.safetensors"), replace(FAST, seed=1))
    assert apart(parts, whole) < apart(whole, other) / 20


@pytest.mark.parametrize("tuner", ["dni", "ftn"])
def test_a_graph_of_a_step_learns_the_same(photos: Path, tmp_path: Path, tuner: str):
    where = jobs.RunConfig(photos, tmp_path / "m.safetensors", device="cuda", precision="fp32")
    whole = learned(where, FAST, tuner)
    graph = replace(where, output=tmp_path / "graph.safetensors", compile=True)
    other = replace(where, output=tmp_path / "other.safetensors")
    found = learned(graph, FAST, tuner)
    assert apart(found, whole) < apart(whole, learned(other, replace(FAST, seed=1), tuner)) / 20
