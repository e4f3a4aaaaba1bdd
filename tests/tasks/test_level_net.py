from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from tunectl.learning.level import learn_level
from tunectl.learning.photos import Photos, list_photos
from tunectl.learning.table import decode
from tunectl.tasks import Evidence, build_task
from tunectl.tasks.level_net import LevelNet

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def net() -> LevelNet:
    torch.manual_seed(0)
    return LevelNet().requires_grad_(False)


def noisy(shape: tuple[int, ...] = (200, 300, 3)) -> np.ndarray:
    return np.random.default_rng(0).random(shape).astype(np.float32)


def test_surer_places_count_for_more(net: LevelNet):
    x = torch.rand(2, 3, 64, 48)
    roots, weights = net.places(x)
    assert roots.shape == weights.shape == (2, 8, 6)
    assert weights.min() > 0
    expected = [(r * w).sum() / w.sum() for r, w in zip(roots, weights, strict=True)]
    torch.testing.assert_close(net(x), torch.stack(expected))


def test_depth_changes_nothing(net: LevelNet):
    deep = (noisy() * 65535).round().astype(np.uint16)
    assert net.level_of(deep) == pytest.approx(net.level_of(noisy()), rel=1e-3)


def test_what_is_hidden_is_not_looked_at(net: LevelNet):
    picture, seen = noisy(), np.ones((200, 300), bool)
    seen[:, 140:] = False
    other = picture.copy()
    other[:, 140:] = 0
    assert net.level_of(picture, seen) == net.level_of(other, seen)
    assert net.level_of(picture) != net.level_of(other)
    assert net.level_of(picture, np.zeros((200, 300), bool)) is None


@pytest.mark.parametrize("shape", [(16, 16, 1), (17, 400, 3), (130, 20, 4)])
def test_small_and_narrow_pictures(net: LevelNet, shape: tuple[int, ...]):
    found = net.level_of(noisy(shape))
    assert found is not None
    assert found >= 0


def test_what_cannot_be_told(net: LevelNet):
    assert net.level_of(noisy((15, 300, 3))) is None
    assert build_task("photo").estimate(Evidence(noisy())) is None


def test_it_learns_to_read_noise(photos: Path):
    task = build_task("denoise")
    table = Photos(decode(list_photos(photos)), 32, CPU)
    nets = [learn_level(table, task, (0, 50), 0.1, 3, steps) for steps in (150, 150, 1)]
    assert all(torch.equal(a, b) for a, b in zip(*(n.parameters() for n in nets[:2]), strict=True))
    read = []
    for level in (0, 8, 20, 40):
        generator = torch.Generator().manual_seed(level)
        clean, _ = table.patches(16, 0, generator)
        x = task.degrade(clean, level, generator)
        read.append([net(x).mean().item() ** 2 for net in (nets[0], nets[2])])
    told, untold = (list(found) for found in zip(*read, strict=True))
    assert told == sorted(told)
    assert told[0] < 4
    assert told[3] == pytest.approx(40, rel=0.3)
    assert untold[3] < 10
