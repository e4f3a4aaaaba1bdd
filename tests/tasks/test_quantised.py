from __future__ import annotations

import io

import numpy as np
import pytest
from conftest import draw
from numpy.typing import NDArray
from PIL import Image

from tunectl.images import Component, Picture, read_picture
from tunectl.tasks import quantised
from tunectl.tasks.jpeg import dct
from tunectl.tasks.quantised import BELIEVED, ERROR, FROM_YCC, TO_YCC, _pooled, _samples, reconcile


def saved(clean: NDArray[np.uint8], quality: int, subsampling: int = 0) -> Picture:
    file = io.BytesIO()
    image = Image.fromarray(clean[..., 0] if clean.shape[2] == 1 else clean)
    image.save(file, "JPEG", quality=quality, subsampling=subsampling)
    return read_picture(file.getvalue())


def photo(height: int = 64, width: int = 80, channels: int = 3) -> NDArray[np.uint8]:
    """Away from black and white, where decoders clip."""
    noise = np.random.default_rng(1).normal(0, 4, (height, width, channels))
    picture = 40 + 0.65 * draw(height, width, 1)[..., :channels] + noise
    return picture.round().astype(np.uint8)


def coefficients(plane: NDArray[np.floating]) -> NDArray[np.floating]:
    """(h, W) as (N, 8, 8), each block transformed."""
    blocks = plane.reshape(len(plane) // 8, 8, -1, 8).swapaxes(1, 2).reshape(-1, 8, 8)
    return dct() @ blocks @ dct().T


def distance(one: NDArray[np.generic], other: NDArray[np.generic]) -> float:
    return float(np.square(one.astype(float) - other).mean())


@pytest.mark.parametrize("step", [1, 7, 60, 255])
@pytest.mark.parametrize("offset", [-0.9, -0.2, 0.0, 0.45, 1.5])
def test_a_coefficient_becomes_the_mean_of_what_guess_and_cell_leave(step: int, offset: float):
    wave = np.outer(dct()[2], dct()[1])
    whole = np.round(3 * 8 / step) * step  # of a multiple of the step, so that it is in the middle
    apart = np.clip(offset * step, -step / 2 - BELIEVED * ERROR, step / 2 + BELIEVED * ERROR)
    file = np.full((8, 8), 128.0) + whole * wave
    guess = file + offset * step * wave
    samples = (guess / 255).astype(np.float64)[..., None]
    reconcile(samples, (file / 255)[..., None], [Component([step] * 64, 1, 1)])
    found = (coefficients(samples[..., 0] * 255 - 128)[0, 2, 1]) - whole
    cell = np.linspace(-step / 2, step / 2, 20_001)
    likely = np.exp(-np.square((cell - apart) / ERROR) / 2)
    assert found == pytest.approx((likely * cell).sum() / likely.sum(), abs=0.02 * step**0.5)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("quality", [10, 50, 90])
def test_what_comes_out_lies_in_the_cells_of_the_file(channels: int, quality: int):
    picture = saved(photo(channels=channels), quality)
    guess = photo(channels=channels) / 255 + np.random.default_rng(0).normal(
        0, 0.08, (64, 80, channels)
    )
    reconcile(guess, picture.pixels, picture.components)
    to_planes = TO_YCC if channels == 3 else np.eye(1)
    for channel, (table, *_) in enumerate(picture.components):
        filed, found = (coefficients(x @ to_planes[channel]) for x in (picture.pixels, guess * 255))
        step = np.reshape(table, (8, 8))
        # Beside the cell there is what a decoder's rounding to whole samples moves.
        outside = np.abs(found - filed) > step / 2 + 1.5
        assert outside.mean() < 0.002


def test_where_cells_are_narrow_the_file_decides_and_where_they_are_wide_the_guess():
    clean = photo()
    fine, coarse = saved(clean, 98), saved(clean, 2)
    blurred = (clean // 4 * 4).astype(np.uint8)
    held = blurred.copy()
    reconcile(held, fine.pixels, fine.components)
    assert distance(held, clean) <= distance(fine.pixels, clean) * 1.02 < distance(blurred, clean)
    held = clean.copy()
    reconcile(held, coarse.pixels, coarse.components)
    assert distance(held, clean) < 0.02 * distance(coarse.pixels, clean)


@pytest.mark.parametrize("subsampling", [0, 1, 2])
@pytest.mark.parametrize("quality", [30, 75, 95])
def test_a_guess_comes_nearer_to_the_original(subsampling: int, quality: int):
    clean = photo()
    picture = saved(clean, quality, subsampling)
    noise = np.random.default_rng(0).normal(0, 2 * ERROR, clean.shape)
    guess = (clean + noise).round().clip(0, 255).astype(np.uint8)
    held = guess.copy()
    reconcile(held, picture.pixels, picture.components)
    assert distance(held, clean) < distance(guess, clean)


@pytest.mark.parametrize(("subsampling", "halved"), [(1, (1, 2)), (2, (2, 2))])
def test_colour_of_a_lower_resolution_is_held_in_the_mean(
    subsampling: int, halved: tuple[int, int]
):
    clean = photo(80, 96)
    picture = saved(clean, 97, subsampling)
    assert [component[1:] for component in picture.components] == [(1, 1), halved, halved]
    noise = np.random.default_rng(0).normal(0, 9, clean.shape)
    guess = (clean + noise) / 255
    held = guess.copy()
    reconcile(held, picture.pixels, picture.components)
    down, across = halved
    for channel in (1, 2):
        means = [
            (x.reshape(80, 96, 3) @ TO_YCC[channel])
            .reshape(80 // down, down, 96 // across, across)
            .mean((1, 3))
            for x in (clean, guess * 255, held * 255)
        ]
        assert distance(means[2], means[0]) < 0.5 * distance(means[1], means[0])
    np.testing.assert_allclose(TO_YCC @ FROM_YCC, np.eye(3), atol=1e-12)


@pytest.mark.parametrize("subsampling", [1, 2])
def test_samples_that_a_decoder_drew_out_are_found_again(subsampling: int):
    """Against the encoder: what it was given in pairs comes back, to its quantisation."""
    rng = np.random.default_rng(0)
    small = 128 + 40 * np.sin(np.cumsum(rng.uniform(0, 2, (40, 48)), axis=1))
    blue = small.repeat(2 if subsampling == 2 else 1, 0).repeat(2, 1)
    ycc = np.stack([np.full_like(blue, 128), blue, np.full_like(blue, 128)], 2)
    clean = np.array(Image.fromarray(ycc.round().astype(np.uint8), "YCbCr").convert("RGB"))
    picture = saved(clean, 100, subsampling)
    found = picture.pixels.astype(np.float32) @ TO_YCC[1].astype(np.float32) + 128
    for axis, count in enumerate(picture.components[1][1:]):
        found = _samples(found, axis, count)
    pooled = picture.pixels.astype(np.float32) @ TO_YCC[1].astype(np.float32) + 128
    for axis, count in enumerate(picture.components[1][1:]):
        pooled = _pooled(pooled, axis, count)
    assert distance(found, small) < 1.5
    assert distance(pooled, small) > 10 * distance(found, small)


def test_gray_in_three_equal_channels_stays_so():
    clean = np.repeat(photo()[..., :1], 3, axis=2)
    picture = saved(clean, 40)
    held = np.repeat(photo()[::-1, :, :1], 3, axis=2)
    reconcile(held, picture.pixels, picture.components)
    assert (held == held[..., :1]).all()


def test_blocks_that_the_picture_ends_in_stay_as_guessed():
    clean = photo(61, 75)
    picture = saved(clean, 60)
    guess = clean[::-1].copy()
    held = guess.copy()
    reconcile(held, picture.pixels, picture.components)
    assert np.array_equal(held[56:], guess[56:])
    assert np.array_equal(held[:, 72:], guess[:, 72:])
    assert not np.array_equal(held[:56, :72], guess[:56, :72])


@pytest.mark.parametrize("width", [33, 34, 47, 48])
def test_the_last_colour_of_an_odd_side_is_not_made_up(width: int):
    clean = np.full((64, width, 3), 120, np.uint8)
    clean[:, -1] = (200, 40, 40)
    for picture, whole in ((clean, False), (clean.swapaxes(0, 1), True)):
        file = saved(np.ascontiguousarray(picture), 97, 2)
        held = picture.copy()
        reconcile(held, file.pixels, file.components)
        assert distance(held, picture) < 1.5, whole


@pytest.mark.parametrize("subsampling", [0, 2])
def test_strips_do_not_show(subsampling: int, monkeypatch: pytest.MonkeyPatch):
    clean = photo(200, 80)
    picture = saved(clean, 60, subsampling)
    whole, parts = clean[:, ::-1] / 255, clean[:, ::-1] / 255
    reconcile(parts, picture.pixels, picture.components)
    monkeypatch.setattr(quantised, "STRIP", 208)
    reconcile(whole, picture.pixels, picture.components)
    np.testing.assert_allclose(whole, parts, atol=2e-5)


def test_only_gray_or_luma_and_colour_differences_are_told():
    clean = photo()
    assert [len(saved(x, 60).components) for x in (clean, clean[..., :1])] == [3, 1]
    inks = io.BytesIO()
    Image.fromarray(clean).convert("CMYK").save(inks, "JPEG")
    assert read_picture(inks.getvalue()).components == ()
    gray = io.BytesIO()
    Image.fromarray(clean[..., 0]).save(gray, "JPEG")
    adobe = b"\xff\xee\x00\x0eAdobe\x00\x64\x00\x00\x00\x00\x00"  # transform 0, as of RGB
    marked = gray.getvalue()[:2] + adobe + gray.getvalue()[2:]
    assert len(read_picture(marked).components) == 1
    rgb = io.BytesIO()
    Image.fromarray(clean).save(rgb, "JPEG", keep_rgb=True)
    assert read_picture(rgb.getvalue()).components == ()
    png = io.BytesIO()
    Image.fromarray(clean).save(png, "PNG")
    assert read_picture(png.getvalue()).components == ()
