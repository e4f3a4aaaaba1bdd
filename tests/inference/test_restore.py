from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from conftest import draw
from PIL import Image
from strangers import esrgan, saved

from tunectl.errors import AlphaError, UsageError
from tunectl.images import Picture, arrays
from tunectl.images.turn import as_stored, upright
from tunectl.inference.load import load
from tunectl.inference.model import Model
from tunectl.inference.restore import restore
from tunectl.inference.strength import Strength


@pytest.fixture
def model(tunable_file: Path) -> Model:
    return load(tunable_file, device="cpu", precision="fp32")


def noisy(height: int = 90, width: int = 100, sigma: float = 20) -> np.ndarray:
    noise = np.random.default_rng(0).normal(0, sigma, (height, width, 3))
    return (draw(height, width, 1) + noise).round().clip(0, 255).astype(np.uint8)


def test_without_an_alpha_the_picture_decides(model: Model):
    picture = Picture(noisy())
    restored = restore(model, picture, Strength())
    assert restored.estimated
    assert restored.level == pytest.approx(20, rel=0.15)
    assert restored.alpha == pytest.approx(model.alpha(restored.level))
    assert np.array_equal(restored.picture.pixels, model(picture.pixels, alpha=restored.alpha))
    given = restore(model, picture, Strength(alpha=0.3))
    assert (given.alpha, given.estimated) == (0.3, False)


@pytest.mark.parametrize("name", ["photo", "deblock", "denoise"])
def test_of_inks_what_they_show_is_looked_at(name: str):
    model = load(name, device="cpu")
    light = noisy(sigma=10)
    inks = np.concatenate([255 - light, np.zeros((90, 100, 1), np.uint8)], 2)
    restored = restore(model, Picture(inks), Strength())
    assert restored.picture.pixels.shape == inks.shape
    assert restored.level == restore(model, Picture(light), Strength()).level
    assert restore(model, Picture(inks), Strength(0.5)).alpha == 0.5


def test_noise_beyond_the_knob_is_restored_at_its_end(model: Model):
    restored = restore(model, Picture(noisy(sigma=90)), Strength())
    assert restored.level == model.level(1.0)


def test_a_plain_model_has_no_alpha(plain_file: Path):
    plain = load(plain_file, device="cpu", precision="fp32")
    restored = restore(plain, Picture(noisy()), Strength())
    assert (restored.alpha, restored.level, restored.estimated) == (None, None, False)
    with pytest.raises(AlphaError, match="plain"):
        restore(plain, Picture(noisy()), Strength(alpha=0.3))


def test_hidden_colours_stay_and_do_not_bleed(model: Model):
    opacity = np.full((90, 100), 255, np.uint8)
    opacity[20:50, 30:70] = 0
    outputs = []
    for hidden in (0, 255):
        pixels = noisy()
        pixels[opacity == 0] = hidden
        restored = restore(model, Picture(pixels, opacity), Strength(0.8)).picture
        assert (restored.pixels[opacity == 0] == hidden).all()
        assert np.array_equal(restored.alpha, opacity)
        outputs.append(restored.pixels[opacity > 0])
    assert np.array_equal(*outputs)


def test_a_level_is_not_told_from_hidden_colours(model: Model, monkeypatch: pytest.MonkeyPatch):
    seen: list[np.ndarray] = []
    monkeypatch.setattr(model, "estimate", lambda pixels, *_: seen.append(pixels) or 20.0)
    opacity = np.full((90, 100), 255, np.uint8)
    opacity[20:50, 30:70] = 0
    for hidden in (0, 255):
        pixels = noisy()
        pixels[opacity == 0] = hidden
        restore(model, Picture(pixels, opacity), Strength())
    assert np.array_equal(*seen)
    assert np.array_equal(seen[0][opacity > 0], noisy()[opacity > 0])


def test_opaque_pictures_are_run_as_they_are(model: Model):
    pixels = noisy()
    opaque = restore(model, Picture(pixels, np.full((90, 100), 255, np.uint8)), Strength(0.8))
    bare = restore(model, Picture(pixels), Strength(0.8))
    assert np.array_equal(opaque.picture.pixels, bare.picture.pixels)


def test_a_map_is_alpha_by_itself_and_scaled_by_one(model: Model):
    pixels, mask = noisy(), np.full((90, 100), 128, np.uint8)
    alone = restore(model, Picture(pixels), Strength(alpha_map=mask)).picture.pixels
    half = restore(model, Picture(pixels), Strength(0.5, alpha_map=mask)).picture.pixels
    for output, alpha in ((alone, 128 / 255), (half, 64 / 255)):
        expected = model(pixels, alpha=alpha).astype(int)
        assert np.abs(output - expected).max() <= 1


def test_a_map_of_another_size_is_told_as_it_is_shown(model: Model):
    exif = Image.Exif()
    exif[0x0112] = 6  # on its side: 48 wide and 64 high is how a viewer shows it
    picture = Picture(noisy(48, 64), exif=exif.tobytes())
    restore(model, picture, Strength(alpha_map=np.ones((64, 48), np.uint8)))
    with pytest.raises(UsageError, match="map has 64 x 48 pixels, the picture 48 x 64"):
        restore(model, picture, Strength(alpha_map=np.ones((48, 64), np.uint8)))


def test_pictures_larger_than_memory_give_the_same(model: Model, monkeypatch):
    pixels = noisy(400, 500)
    monkeypatch.setattr(arrays, "LARGE", 1000)
    model.windows.tile = 256
    large = arrays.new_array(pixels.shape, pixels.dtype)
    large[:] = pixels
    restored = restore(model, Picture(large), Strength(0.4)).picture
    assert isinstance(restored.pixels, np.memmap)
    assert np.array_equal(
        restored.pixels, restore(model, Picture(pixels), Strength(0.4)).picture.pixels
    )


@pytest.mark.parametrize("name", ["photo", "deblock", "denoise"])
def test_gray_stored_as_colour_stays_gray(name: str):
    model = load(name, device="cpu", precision="fp32")
    gray = noisy()[..., :1]
    alone = restore(model, Picture(gray), Strength(0.5)).picture.pixels
    restored = restore(model, Picture(gray.repeat(3, 2)), Strength(0.5)).picture.pixels
    assert np.array_equal(restored, alone.repeat(3, 2))


def test_a_further_channel_grows_with_the_picture(tmp_path: Path):
    model = load(saved(esrgan(), tmp_path / "e.safetensors"), device="cpu", precision="fp32")
    extra = np.full((40, 48), 90, np.uint8)
    restored = restore(model, Picture(noisy(40, 48), extra=extra), Strength()).picture
    assert restored.pixels.shape == (80, 96, 3)
    assert np.array_equal(restored.extra, np.full((80, 96), 90, np.uint8))


def test_a_style_is_applied_as_the_photo_is_shown():
    style = load("starry-night", device="cpu", precision="fp32")
    shown = draw(60, 80, 2)
    exif = Image.Exif()
    for turned in range(1, 9):
        exif[0x0112] = turned
        stored = Picture(np.ascontiguousarray(as_stored(shown, turned)), exif=exif.tobytes())
        mask = np.linspace(0, 1, 80, dtype=np.float32)[None].repeat(60, 0)
        found = restore(style, stored, Strength(0.7)).picture.pixels
        assert np.array_equal(upright(found, turned), style(shown, alpha=0.7))
        found = restore(style, stored, Strength(alpha_map=mask)).picture.pixels
        assert np.array_equal(upright(found, turned), style(shown, alpha_map=mask))
