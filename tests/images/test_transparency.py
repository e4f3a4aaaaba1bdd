from __future__ import annotations

import handmade
import numpy as np
import pytest

from tunectl.images import encode_picture, fill_transparent, read_picture

RNG = np.random.default_rng(0)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
@pytest.mark.parametrize("shape", [(600, 48), (37, 51), (1, 9), (1, 1)])
def test_visible_colour_stays_and_hidden_colour_is_made_up(shape, dtype):
    peak = 1 if dtype == np.float32 else np.iinfo(dtype).max
    pixels = (RNG.random((*shape, 3)) * peak).astype(dtype)
    alpha = (RNG.random(shape) > 0.4).astype(dtype)
    filled = fill_transparent(pixels, alpha)
    assert filled.dtype == dtype
    assert np.array_equal(filled[alpha > 0], pixels[alpha > 0])
    if (alpha > 0).any():
        seen = pixels[alpha > 0]
        low, high = seen.min(axis=0), seen.max(axis=0)
        assert (filled >= low).all()
        assert (filled <= high).all()


def test_garbage_behind_an_edge_becomes_what_is_beside_it():
    y, x = np.mgrid[0:96, 0:128]
    clean = np.stack([x, y, 120 + 0 * x], axis=-1).astype(np.uint8)
    alpha = np.where((x - 60) ** 2 + (y - 50) ** 2 < 35**2, 255, 0).astype(np.uint8)
    garbage = RNG.integers(0, 256, clean.shape).astype(np.uint8)
    filled = fill_transparent(np.where(alpha[..., None] > 0, clean, garbage), alpha).astype(int)
    near = (alpha == 0) & ((x - 60) ** 2 + (y - 50) ** 2 < 38**2)
    assert np.abs(filled - clean)[near].max() < 16
    assert np.abs(np.diff(filled, axis=1)).max() < 16  # smooth everywhere


def test_nothing_hidden_or_nothing_seen_costs_nothing():
    pixels = RNG.integers(0, 256, (8, 8, 3)).astype(np.uint8)
    for alpha in (np.full((8, 8), 9, np.uint8), np.zeros((8, 8), np.uint8)):
        assert fill_transparent(pixels, alpha) is pixels


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "WEBP"])
def test_colour_under_full_transparency_comes_back(kind):
    samples = RNG.integers(0, 256, (9, 7, 4)).astype(np.uint8)
    samples[2:6, 1:5, 3] = 0
    again = read_picture(encode_picture(read_picture(handmade.png(samples)), kind))
    assert np.array_equal(again.pixels, samples[..., :3])
    assert np.array_equal(again.alpha, samples[..., 3])
