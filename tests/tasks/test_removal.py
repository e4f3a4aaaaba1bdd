from __future__ import annotations

import numpy as np
import pytest

from tunectl.tasks import Evidence, build_task
from tunectl.tasks.removal import LEVELS, REMOVED, level_by_removal


def takes_out(sigma: float):
    """A network that knows its noise: of `sigma` it takes out as much as the level says."""

    def restore(crop: np.ndarray, level: float) -> np.ndarray:
        assert crop.dtype == np.float32
        return crop - (crop - 0.5) * min(1.0, level / sigma)

    return restore


def noisy(sigma: float, shape: tuple[int, int, int] = (200, 300, 3)) -> np.ndarray:
    noise = np.random.default_rng(0).normal(0, sigma / 255, shape)
    return (0.5 + noise).astype(np.float32)


@pytest.mark.parametrize("sigma", [1.0, 3.0, 10.0])
def test_the_level_is_the_highest_of_which_enough_is_taken_out(sigma):
    found = level_by_removal(noisy(sigma), takes_out(sigma))
    assert found == pytest.approx(sigma / REMOVED, rel=0.15)


def test_depth_and_opacity_change_nothing():
    picture = noisy(6)
    expected = level_by_removal(picture, takes_out(6))
    deep = (picture * 65535).round().astype(np.uint16)
    assert level_by_removal(deep, takes_out(6)) == pytest.approx(expected, rel=0.01)
    hidden = picture.copy()
    hidden[:, 150:] = noisy(25, (200, 150, 3))
    seen = np.ones(picture.shape[:2], bool)
    seen[:, 150:] = False
    assert level_by_removal(hidden, takes_out(6), seen) == pytest.approx(expected, rel=0.1)


@pytest.mark.parametrize("shape", [(16, 16, 1), (17, 400, 3), (130, 20, 4)])
def test_small_and_narrow_pictures(shape):
    found = level_by_removal(noisy(6, shape), takes_out(6))
    assert found == pytest.approx(6 / REMOVED, rel=0.4)


def test_what_cannot_be_told():
    assert level_by_removal(noisy(6, (15, 300, 3)), takes_out(6)) == 0
    assert level_by_removal(noisy(6), takes_out(6), np.zeros((200, 300), bool)) == 0
    assert level_by_removal(np.full((64, 64, 3), 0.5, np.float32), takes_out(6)) == 0
    assert level_by_removal(noisy(200), takes_out(200)) == LEVELS[-1]
    assert build_task("photo").estimate(Evidence(noisy(6))) is None
