from __future__ import annotations

import numpy as np
import pytest

from tunectl.tasks import Evidence, build_task
from tunectl.tasks.removal import LEVELS, level_like, removal


def takes_out(sigma: float):
    """A network that knows its noise: of `sigma` it takes out as much as the level says."""

    def restore(crop: np.ndarray, level: float) -> np.ndarray:
        assert crop.dtype == np.float32
        return crop - (crop - 0.5) * min(1.0, level / sigma)

    return restore


def noisy(sigma: float, shape: tuple[int, int, int] = (200, 300, 3)) -> np.ndarray:
    noise = np.random.default_rng(0).normal(0, sigma / 255, shape)
    return (0.5 + noise).astype(np.float32)


def test_what_is_taken_out_of_flat_noise_is_the_level_or_the_noise():
    found = removal(noisy(6), takes_out(6))
    for level, one in zip(LEVELS, found, strict=True):
        assert one == pytest.approx(min(level, 6), rel=0.15)


def test_depth_and_opacity_change_nothing():
    picture = noisy(6)
    expected = removal(picture, takes_out(6))
    deep = (picture.clip(0, 1) * 65535).round().astype(np.uint16)
    assert removal(deep, takes_out(6)) == pytest.approx(expected, rel=0.01)
    hidden = picture.copy()
    hidden[:, 150:] = noisy(25, (200, 150, 3))
    seen = np.ones(picture.shape[:2], bool)
    seen[:, 150:] = False
    assert removal(hidden, takes_out(6), seen) == pytest.approx(expected, rel=0.1)


@pytest.mark.parametrize("shape", [(16, 16, 1), (17, 400, 3), (130, 20, 4)])
def test_small_and_narrow_pictures(shape):
    found = removal(noisy(6, shape), takes_out(6))
    assert found[-1] == pytest.approx(6, rel=0.4)


def test_the_level_is_that_of_pictures_of_which_as_much_is_taken_out():
    sigmas = np.geomspace(0.5, 20, 15)
    examples = [(s, *removal(noisy(s), takes_out(s))) for s in sigmas]
    for sigma in (0.8, 3.0, 10.0):
        found = removal(noisy(sigma, (300, 200, 3)), takes_out(sigma))
        assert level_like(found, examples) == pytest.approx(sigma, rel=0.15)
    assert level_like([0.01] * len(LEVELS), examples) < 1.5  # a picture without any noise
    assert level_like([50.0] * len(LEVELS), examples) > 8


def test_what_cannot_be_told():
    assert removal(noisy(6, (15, 300, 3)), takes_out(6)) is None
    assert removal(noisy(6), takes_out(6), np.zeros((200, 300), bool)) is None
    photo = build_task("photo")
    assert photo.estimate(Evidence(noisy(6))) is None
    assert photo.estimate(Evidence(noisy(6), restore=takes_out(6))) is None
