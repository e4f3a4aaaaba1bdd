from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from conftest import draw
from PIL import Image
from strangers import esrgan, saved

from tunectl.errors import AlphaError, UsageError
from tunectl.images import Picture, arrays, read_picture
from tunectl.images.turn import as_stored, upright
from tunectl.inference import restore as restoring
from tunectl.inference.load import load
from tunectl.inference.model import Model
from tunectl.inference.reading import Reading
from tunectl.inference.restore import restore
from tunectl.inference.strength import Strength
from tunectl.tasks import Evidence


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


def test_unasked_what_was_a_jpeg_is_held_to_its_file():
    clean = (40 + 0.65 * draw(72, 80, 1)).astype(np.uint8)
    model = load("deblock", device="cpu", precision="fp32")

    def far(of: np.ndarray) -> float:
        return float(np.square(of.astype(float) - clean).mean())

    for quality in (75, 90, 95, 99):
        picture = read_picture(jpeg(clean, quality))
        held = restore(model, picture, Strength())
        guess = restore(model, picture, Strength(held.alpha)).picture.pixels
        assert far(held.picture.pixels) < far(guess)
        assert far(held.picture.pixels) < 1.02 * far(picture.pixels)
    assert far(picture.pixels) < far(guess)  # of the finest
    weaker = restore(model, picture, Strength(share=0.9)).picture.pixels
    assert far(weaker) < 1.02 * far(picture.pixels)
    # Who says how strongly, where, or what of it, has it so.
    mask = np.ones((72, 80), np.uint8)
    for strength in (Strength(0.9), Strength(1.0, alpha_map=mask)):
        asked = restore(model, picture, strength).picture.pixels
        one = model(picture.pixels, strength.alpha, alpha_map=strength.alpha_map)
        assert np.array_equal(asked, one)
    middling = read_picture(jpeg(clean, 85))
    for strength in (Strength(blend=0.5), Strength(keep_colours=True)):
        mixed = restore(model, middling, strength)
        one = model(
            middling.pixels, mixed.alpha, blend=strength.blend, keep_colours=strength.keep_colours
        )
        assert np.array_equal(mixed.picture.pixels, one)
        fine = restore(model, picture, strength)  # which nothing would hold
        assert np.array_equal(fine.picture.pixels, picture.pixels)
    # And a file says nothing of one before it.
    noise = np.random.default_rng(0).normal(0, 4, (320, 320, 3))
    twice = (40 + 0.65 * draw(320, 320, 4) + noise).astype(np.uint8)
    cropped = read_picture(jpeg(twice, 20)).pixels[3:, 5:]
    again = read_picture(jpeg(cropped, 95))
    restored = restore(model, again, Strength())
    assert restored.level == pytest.approx(20, abs=2)
    assert np.array_equal(restored.picture.pixels, model(again.pixels, alpha=restored.alpha))


def test_a_fine_jpeg_of_other_channels_stays_as_it_is():
    model = load("deblock", device="cpu")
    clean = Image.fromarray(draw(72, 80, 1))
    for image, options in ((clean.convert("CMYK"), {}), (clean, {"keep_rgb": True})):
        file = io.BytesIO()
        image.save(file, "JPEG", quality=98, **options)
        picture = read_picture(file.getvalue())
        assert np.array_equal(restore(model, picture, Strength()).picture.pixels, picture.pixels)


def test_little_noise_for_a_knob_that_begins_above_it_is_removed(model: Model):
    knob = replace(model.knob, levels=(15.0, 50.0), calibration=())
    late = Model(replace(model.header, knob=knob), model.network, model.execution)
    restored = restore(late, Picture(noisy(sigma=8)), Strength())
    assert restored.level == 15
    assert np.array_equal(restored.picture.pixels, late(noisy(sigma=8), alpha=0.0))


def jpeg(pixels: np.ndarray, quality: int) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", quality=quality, subsampling=0)
    return file.getvalue()


@pytest.mark.parametrize("name", ["photo", "deblock", "denoise"])
def test_what_seems_to_need_nothing_stays_as_it_is(name: str):
    drawn = np.full((120, 140, 3), 200, np.uint8)
    drawn[60:] = (20, 90, 160)
    model = load(name, device="cpu")
    restored = restore(model, Picture(drawn), Strength())
    assert np.array_equal(restored.picture.pixels, drawn)
    assert restored.estimated
    assert restored.picture.notes == [
        "next to nothing to remove was found in it, so that it stays as it is"
    ]
    asked = restore(model, Picture(drawn), Strength(restored.alpha))
    assert not asked.estimated


def test_a_part_of_what_the_picture_says(model: Model):
    picture = Picture(noisy())
    whole = restore(model, picture, Strength())
    part = restore(model, picture, Strength(share=0.5))
    assert part.alpha == pytest.approx(0.5 * whole.alpha)
    assert np.array_equal(part.picture.pixels, model(picture.pixels, part.alpha))
    assert restore(model, picture, Strength(share=9.0)).alpha == 1
    white = np.full((90, 100), 255, np.uint8)
    mapped = restore(model, picture, Strength(alpha_map=white, share=1.0))
    assert (mapped.alpha, mapped.estimated) == (whole.alpha, True)
    apart = np.abs(mapped.picture.pixels.astype(int) - whole.picture.pixels)
    assert apart.max() <= 1  # a map mixes outputs, not weights
    assert restore(model, picture, Strength(alpha_map=white)).alpha == 1


@pytest.mark.parametrize(("precision", "told"), [("bf16", True), ("fp32", False)])
def test_deep_samples_through_bf16_are_told(tunable_file: Path, precision: str, told: bool):
    model = load(tunable_file, device="cpu", precision=precision)
    deep = noisy().astype(np.uint16) * 257
    notes = restore(model, Picture(deep), Strength(0.5)).picture.notes
    assert any("bf16" in note for note in notes) == told
    assert not restore(model, Picture(noisy()), Strength(0.5)).picture.notes


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

    def spied(_task: object, _knob: object, evidence: Evidence) -> Reading:
        seen.append(evidence.pixels)
        return Reading(20.0, nothing=False, by_file=False)

    monkeypatch.setattr(restoring, "reading_of", spied)
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
