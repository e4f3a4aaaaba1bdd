"""The models do what they are for, on the example's photo."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from tunectl.evaluation.metrics import psnr
from tunectl.images import read_picture
from tunectl.inference.load import load
from tunectl.tasks import build_task

CLEAN = Path(__file__).parents[2] / "weights" / "example" / "clean.png"


@pytest.fixture(scope="module")
def clean() -> np.ndarray:
    return np.asarray(Image.open(CLEAN).convert("RGB"))[60:316, 180:436]


def decibels(one: np.ndarray, other: np.ndarray) -> float:
    tensors = [torch.from_numpy(a / 255).permute(2, 0, 1)[None] for a in (one, other)]
    return psnr(*tensors)


def test_denoise_takes_white_noise_out(clean: np.ndarray):
    noisy = clean + np.random.default_rng(0).normal(0, 12, clean.shape)
    noisy = noisy.round().clip(0, 255).astype(np.uint8)
    better = load("denoise", device="cpu")(noisy, alpha=0.3)
    assert decibels(better, clean) > decibels(noisy, clean) + 4


@pytest.mark.parametrize("level", [3.0, 8.0])
def test_photo_tells_a_cameras_noise_and_takes_it_out(clean: np.ndarray, level: float):
    model = load("photo", device="cpu")
    picture = torch.from_numpy(clean / 255).float().permute(2, 0, 1)[None]
    gains = []
    for seed in range(6):
        generator = torch.Generator().manual_seed(seed)
        noisy = build_task("photo").degrade(picture, level, generator)[0]
        noisy = noisy.mul(255).round().byte().permute(1, 2, 0).numpy()
        found = model.estimate(noisy)
        assert level / 2 < found < level * 2
        gains.append(decibels(model(noisy, level=found), clean) - decibels(noisy, clean))
    assert min(gains) > 0
    assert sum(gains) / 6 > 0.7


def test_deblock_reads_the_tables_and_takes_the_blocks_out(clean: np.ndarray):
    model = load("deblock", device="cpu")
    for quality, gain in ((10, 1.0), (30, 0.8), (60, 0.5)):
        file = io.BytesIO()
        Image.fromarray(clean).save(file, "JPEG", quality=quality)
        coded = read_picture(file.getvalue())
        found = model.estimate(coded.pixels, coded.tables)
        assert found == pytest.approx(quality, abs=1)
        better = model(coded.pixels, level=found)
        assert decibels(better, clean) > decibels(coded.pixels, clean) + gain


@pytest.mark.parametrize(("name", "least"), [("denoise", 45), ("photo", 45), ("deblock", 40)])
def test_alpha_0_keeps_the_picture(clean: np.ndarray, name: str, least: float):
    model = load(name, device="cpu")
    assert decibels(model(clean, alpha=0.0), clean) > least
