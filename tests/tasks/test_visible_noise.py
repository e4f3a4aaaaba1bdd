from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch

from tunectl.images import read_picture
from tunectl.tasks import Evidence, build_task
from tunectl.tasks.visible_noise import crops_of, visible_noise

CLEAN = Path(__file__).parents[2] / "weights" / "example" / "clean.png"
LEVELS = (1.5, 4.0, 10.0)


@pytest.fixture(scope="module")
def clean() -> torch.Tensor:
    pixels = torch.tensor(read_picture(CLEAN).pixels)
    return pixels.permute(2, 0, 1)[None].float() / 255


def noisy(clean: torch.Tensor, level: float, seed: int = 0) -> np.ndarray:
    """(H, W, 3) of uint8."""
    degraded = build_task("photo").degrade(clean, level, torch.Generator().manual_seed(seed))
    return (degraded[0].permute(1, 2, 0) * 255).round().numpy().astype(np.uint8)


@pytest.mark.parametrize("level", LEVELS)
def test_what_is_said_is_what_is_there_whatever_the_camera(clean, level):
    said, wrong = [], []
    task, unsaved = build_task("photo"), build_task("photo", {"saved": 0})
    for seed in range(16):
        photo = unsaved.degrade(clean, level, torch.Generator().manual_seed(seed))
        photo, without = (
            task.saved(one, level, torch.Generator().manual_seed(seed))[0] * 255
            for one in (photo, clean)
        )
        said.append(visible_noise(photo.round().byte().permute(1, 2, 0).numpy()))
        noise = (photo - without).square().mean().sqrt().item()  # what it changed in the file
        wrong.append(math.log(said[-1] / noise))
    assert abs(np.median(wrong)) < 0.35
    assert np.abs(wrong).max() < 0.8


def test_little_noise_is_said_of_a_clean_photo(clean):
    assert visible_noise(noisy(clean, 0)) < 2


def test_depth_changes_nothing(clean):
    photo = noisy(clean, 6)
    expected = visible_noise(photo)
    assert visible_noise(photo.astype(np.uint16) * 257) == pytest.approx(expected, rel=0.01)
    assert visible_noise(photo.astype(np.float32) / 255) == pytest.approx(expected, rel=0.01)


def test_gray_is_as_gray_in_three_channels(clean):
    gray = noisy(clean, 6)[..., :1]
    both = [visible_noise(gray), visible_noise(gray.repeat(3, axis=2))]
    assert both[0] == pytest.approx(both[1], rel=0.1)


def test_only_what_is_seen_counts(clean):
    photo, seen = noisy(clean, 2), np.ones(clean.shape[2:], bool)
    seen[:, 256:] = False
    other = photo.copy()
    other[:, 256:] = np.random.default_rng(0).integers(0, 256, other[:, 256:].shape)
    assert visible_noise(other, seen) == pytest.approx(visible_noise(photo, seen), rel=1e-6)
    assert visible_noise(other) != pytest.approx(visible_noise(other, seen), rel=0.01)


def test_a_little_that_is_hidden_does_not_hide_the_noise(clean):
    photo = noisy(clean, 6)
    seen = np.ones(photo.shape[:2], bool)
    seen[::90, ::90] = False  # in every crop
    assert visible_noise(photo, seen) == pytest.approx(visible_noise(photo), rel=0.1)


@pytest.mark.parametrize("shape", [(16, 16, 1), (17, 400, 3), (130, 20, 3)])
def test_small_and_narrow_pictures(shape):
    picture = np.random.default_rng(0).normal(0.5, 6 / 255, shape).astype(np.float32)
    assert 2 < visible_noise(picture) < 18


def test_what_cannot_be_told(clean):
    photo = build_task("photo")
    assert crops_of(np.zeros((15, 300, 3), np.uint8)) == []
    assert visible_noise(np.zeros((15, 300, 3), np.uint8)) is None
    assert photo.estimate(Evidence(np.zeros((15, 300, 3), np.uint8))) is None
    nothing = np.zeros(clean.shape[2:], bool)
    assert photo.estimate(Evidence(noisy(clean, 6), seen=nothing)) is None


def test_a_picture_that_shows_no_noise_is_left_alone():
    ramp = np.linspace(0, 255, 300).round().astype(np.uint8)
    assert build_task("photo").estimate(Evidence(np.tile(ramp[:, None], (200, 1, 3)))) == 0


def test_levels_rise_with_the_noise(clean):
    photo = build_task("photo")
    told = [photo.estimate(Evidence(noisy(clean, level))) for level in LEVELS]
    assert told == sorted(told)
    for level, one in zip(LEVELS, told, strict=True):
        assert level / 2.5 < one < 2.5 * level
