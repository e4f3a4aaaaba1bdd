"""The mean over a picture's orientations."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from tunectl.errors import UsageError
from tunectl.inference.load import load


def orientations(picture: np.ndarray) -> list[np.ndarray]:
    return [np.rot90(p, k) for p in (picture, picture[:, ::-1]) for k in range(4)]


@pytest.fixture
def picture() -> np.ndarray:
    return np.random.default_rng(0).uniform(0.3, 0.7, (64, 96, 3)).astype(np.float32)


def test_all_eight_are_averaged_and_so_the_result_turns_with_the_picture(
    tunable_file: Path, picture
):
    single = load(tunable_file, device="cpu", precision="fp32")
    mean = load(tunable_file, device="cpu", precision="fp32", ensemble=8)
    restored = mean(picture, alpha=0.4)
    assert np.abs(restored - single(picture, alpha=0.4)).max() > 1e-4
    own = [single(turned, alpha=0.4) for turned in orientations(picture)]
    back = [np.rot90(turned, -k) for k, turned in enumerate(own[:4])]
    back += [np.rot90(turned, -k)[:, ::-1] for k, turned in enumerate(own[4:])]
    np.testing.assert_allclose(restored, np.mean(back, axis=0), atol=1e-5)
    for turned, expected in zip(orientations(picture), orientations(restored), strict=True):
        np.testing.assert_allclose(mean(turned, alpha=0.4), expected, atol=1e-5)


@pytest.mark.parametrize("ensemble", [2, 4])
def test_a_map_turns_with_the_picture(tunable_file: Path, picture, ensemble):
    mean = load(tunable_file, device="cpu", precision="fp32", ensemble=ensemble)
    constant = np.full(picture.shape[:2], 0.3, np.float32)
    whole = mean(picture, alpha=0.3)
    np.testing.assert_allclose(mean(picture, alpha_map=constant), whole, atol=1e-5)
    left = constant.copy()
    left[:, 48:] = 0
    np.testing.assert_allclose(mean(picture, alpha_map=left)[:, :8], whole[:, :8], atol=2e-2)
    right = mean(picture, alpha=0.0)[:, -8:]
    np.testing.assert_allclose(mean(picture, alpha_map=left)[:, -8:], right, atol=2e-2)


def test_windows_do_not_show(plain_file: Path):
    picture = torch.rand(3, 300, 520).mul(255).round().div(255)
    tiled, whole = (
        load(plain_file, device="cpu", precision="fp32", ensemble=4, tile=tile)(picture)
        for tile in (256, 4096)
    )
    torch.testing.assert_close(tiled, whole, atol=1e-5, rtol=0)


def test_other_numbers_are_refused(cli, photos: Path, tunable_file: Path, tmp_path: Path):
    with pytest.raises(UsageError, match="2, 4 or 8"):
        load(tunable_file, device="cpu", ensemble=3)
    with pytest.raises(UsageError, match="instance norm"):
        load("starry-night", device="cpu", ensemble=2)
    photo = next(photos.iterdir())
    words = ("apply", photo, "-m", tunable_file, "--alpha", 0.5, "--device", "cpu")
    code, _, told = cli(*words, "--ensemble", 3, "-o", tmp_path / "o.png")
    assert code == 2
    assert "2, 4 or 8" in told
    code, _, _ = cli(*words, "--ensemble", 2, "-o", tmp_path / "o.png")
    assert code == 0
