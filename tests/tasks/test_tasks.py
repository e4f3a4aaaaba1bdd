from __future__ import annotations

import io
import math
from typing import Any

import numpy as np
import pytest
import torch
from conftest import draw
from PIL import Image

from tunectl.errors import UsageError
from tunectl.tasks import Evidence, build_task
from tunectl.tasks.jpeg import Saving, luma_table, recode
from tunectl.tasks.jpeg_batch import recode_all
from tunectl.tasks.noise_level import noise_level
from tunectl.tasks.tone import one_tone


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_sigma_counts_in_8_bit_steps_and_noise_is_not_clipped():
    clean = torch.ones(1, 3, 200, 200)
    noisy = build_task("denoise").degrade(clean, 25, generator())
    assert (noisy - clean).std().item() == pytest.approx(25 / 255, rel=0.01)
    assert noisy.max() > 1


def test_clipped_noise_is_rounded_to_8_bits():
    noisy = build_task("denoise", {"clip": "true"}).degrade(
        torch.rand(1, 3, 64, 64), 50, generator()
    )
    assert 0 <= noisy.min() <= noisy.max() <= 1
    torch.testing.assert_close(noisy * 255, (noisy * 255).round())


@pytest.mark.parametrize(("task", "level"), [("denoise", 30.0), ("deblock", 20.0), ("photo", 10.0)])
def test_gray_patches_stay_gray_and_colour_does_not(task, level):
    clean = torch.rand(2, 1, 32, 32, generator=generator()).expand(-1, 3, -1, -1)
    degraded = build_task(task).degrade(clean, level, generator(), torch.tensor([True, False]))
    assert degraded.shape == clean.shape
    assert torch.equal(degraded[0, 0], degraded[0, 1])
    assert torch.equal(degraded[0, 1], degraded[0, 2])
    assert not torch.equal(degraded[0], clean[0])
    if task != "deblock":
        assert not torch.equal(degraded[1, 0], degraded[1, 1])


@pytest.mark.parametrize(("task", "level"), [("denoise", 75.0), ("deblock", 10.0), ("photo", 10.0)])
def test_the_same_generator_gives_the_same_input(task, level):
    job = build_task(task)
    clean = torch.rand(2, 3, 24, 24)
    first, again, other = (job.degrade(clean, level, generator(seed)) for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_deblock_is_pillows_own_jpeg():
    array = np.random.default_rng(0).integers(0, 256, (32, 40, 3)).astype(np.uint8)
    clean = torch.from_numpy(array).permute(2, 0, 1)[None] / 255
    task = build_task("deblock", {"aligned": 1})
    file = io.BytesIO()
    Image.fromarray(array).save(file, "JPEG", quality=30, subsampling=2)
    expected = np.asarray(Image.open(file))
    coded = task.degrade(clean, 30, generator())[0].permute(1, 2, 0) * 255
    assert np.array_equal(coded.round().numpy().astype(np.uint8), expected)


@pytest.mark.parametrize(("aligned", "least", "most"), [(0, 20, 40), (0.5, 8, 30), (1, 1, 1)])
def test_blocks_start_at_a_random_phase_in_those_that_are_not_aligned(aligned, least, most):
    clean = torch.rand(1, 1, 40, 40)
    task = build_task("deblock", {"aligned": aligned})
    outputs = [task.degrade(clean, 10, generator(s)).numpy().tobytes() for s in range(40)]
    assert least <= len(set(outputs)) <= most
    corner = build_task("deblock", {"aligned": 1}).degrade(clean, 10, generator()).numpy().tobytes()
    assert outputs.count(corner) >= 40 * aligned * 0.6
    with pytest.raises(UsageError, match="aligned 2 is not a share"):
        build_task("deblock", {"aligned": 2})


@pytest.mark.parametrize(
    ("task", "start", "end"), [("denoise", 0, 75), ("deblock", 95, 10), ("photo", 0, 30)]
)
def test_expected_error_grows_along_the_knob(task, start, end):
    job = build_task(task)
    errors = [job.expected_error(start + (end - start) * i / 10) for i in range(11)]
    assert errors == sorted(errors)
    assert errors[0] > 0


def test_losses_weigh_errors_as_they_promise():
    task, level = build_task("denoise"), 20.0
    clean = torch.zeros(2, 3, 4, 4)
    error = torch.tensor([4.0, 16.0]).view(2, 1, 1, 1) / 255
    weak, smooth, square, strong = (
        task.loss(kind, clean + error, clean, level)
        for kind in ("l1", "charbonnier", "mse", "psnr")
    )
    expected = task.expected_error(level)
    assert weak.item() == pytest.approx((4 + 16) / 2 / expected)
    assert weak < smooth < weak + 0.01
    assert square.item() == pytest.approx((4**2 + 16**2) / 2 / expected**2)
    assert strong.item() == pytest.approx((math.log(4) + math.log(16)) / 2, abs=1e-2)


def test_levels_outside_the_task_are_refused():
    for task, level in (("denoise", -1), ("denoise", 300), ("deblock", 0), ("deblock", 101)):
        with pytest.raises(UsageError, match="level"):
            build_task(task).check_level(level)
    with pytest.raises(UsageError, match="no task"):
        build_task("upscale")


@pytest.mark.parametrize("sigma", [5, 15, 25, 50])
def test_the_noise_level_is_read_from_the_picture(sigma):
    clean = draw(200, 240, 3).astype(np.float64)
    noisy = clean + np.random.default_rng(sigma).normal(0, sigma, clean.shape)
    assert noise_level(noisy / 255) == pytest.approx(sigma, rel=0.05)
    clipped = noisy.round().clip(0, 255).astype(np.uint8)
    # Clipping leaves a fifth less at the strong end, of which half is to be made up for.
    assert noise_level(clipped) == pytest.approx(sigma, rel=0.12)
    assert noise_level(clipped[..., :1]) == pytest.approx(sigma, rel=0.12)


def test_deep_pictures_have_the_same_noise():
    noisy = np.random.default_rng(0).normal(128, 20, (100, 100, 3)).clip(0, 255).astype(np.uint8)
    deep = noisy.astype(np.uint16) * 257
    assert noise_level(deep) == pytest.approx(noise_level(noisy), rel=1e-3)


def test_half_of_what_clipping_takes_is_made_up_for():
    noisy = np.random.default_rng(0).normal(100, 90, (150, 150, 3)).round().clip(0, 255)
    seen = noisy.std()
    assert seen < 80
    assert noise_level(noisy.astype(np.uint8)) == pytest.approx((seen + 90) / 2, rel=0.05)


def test_noise_that_was_smoothed_is_not_overlooked():
    clean = draw(240, 240, 3).astype(np.float64)
    noisy = clean + np.random.default_rng(0).normal(0, 20, clean.shape)
    smooth = sum(np.roll(noisy, (y, x), (0, 1)) for y in (0, 1) for x in (0, 1)) / 4
    assert noise_level(smooth / 255) > 10


def test_what_is_not_seen_tells_nothing_of_the_noise():
    noisy = draw(300, 300, 3) + np.random.default_rng(0).normal(0, 20, (300, 300, 3))
    seen = np.zeros((300, 300), bool)
    seen[40:200, 60:220] = True
    noisy[~seen] = 0
    assert noise_level(noisy / 255) < 15
    assert noise_level(noisy / 255, seen) == pytest.approx(20, rel=0.06)
    canvas = np.zeros((3000, 2000, 3), np.uint8)
    canvas[40:200, 60:220] = noisy[40:200, 60:220].round().clip(0, 255)
    sticker = np.zeros((3000, 2000), bool)
    sticker[40:200, 60:220] = True
    assert noise_level(canvas, sticker) == pytest.approx(20, rel=0.1)
    for side in (0, 12, 20):  # too little to tell
        seen[:] = False
        seen[40 : 40 + side, 60 : 60 + side] = True
        assert noise_level(noisy / 255, seen) is None


@pytest.mark.parametrize("shape", [(1, 1, 3), (3, 500, 1), (8, 8, 3), (30, 30, 1), (16, 900, 3)])
def test_pictures_of_any_size_have_a_noise_level(shape):
    noisy = np.random.default_rng(0).normal(128, 10, shape).clip(0, 255).astype(np.uint8)
    found, white = noise_level(noisy), noise_level(np.full(shape, 255, np.uint8))
    if min(shape[:2]) < 15:  # of so few pixels nothing can be told
        assert found is white is None
    else:
        assert found is not None
        assert 5 < found < 15
        assert white == 0


def saved(array: np.ndarray, quality: int, **options: Any) -> np.ndarray:
    file = io.BytesIO()
    Image.fromarray(array).save(file, "JPEG", quality=quality, **options)
    return np.asarray(Image.open(file))


@pytest.mark.parametrize("quality", range(1, 101, 9))
def test_the_quality_is_read_from_the_tables(quality):
    file = io.BytesIO()
    Image.fromarray(draw(16, 16, 0)).save(file, "JPEG", quality=quality)
    tables = Image.open(file).quantization
    pixels = draw(16, 16, 0)
    assert build_task("deblock").estimate(Evidence(pixels, tables)) == quality


def textured(seed: int) -> np.ndarray:
    noise = np.random.default_rng(seed).normal(0, 6, (200, 240, 1))
    return (draw(200, 240, seed) + noise).clip(0, 255).astype(np.uint8)


@pytest.mark.parametrize("quality", [10, 30, 60, 85])
@pytest.mark.parametrize("crop", [(0, 0), (3, 5)])
def test_the_quality_of_a_jpeg_saved_as_something_else_is_told_from_its_pixels(quality, crop):
    pixels = saved(textured(1), quality)[crop[0] :, crop[1] :]
    task = build_task("deblock")
    assert task.estimate(Evidence(pixels)) == pytest.approx(quality, abs=2)
    assert task.estimate(Evidence(pixels[..., :1])) is not None
    deep = (pixels.astype(np.uint16) * 257, pixels.astype(np.float32) / 255)
    assert [task.estimate(Evidence(same)) for same in deep] == [task.estimate(Evidence(pixels))] * 2


@pytest.mark.parametrize(("first", "second"), [(10, 80), (20, 90), (40, 95)])
def test_a_jpeg_cropped_and_saved_again_keeps_the_quality_of_the_first(first, second):
    again = saved(saved(textured(2), first)[5:, 2:], second)
    file = {0: luma_table(second).tolist()}
    assert build_task("deblock").estimate(Evidence(again, file)) == pytest.approx(first, abs=2)
    once = saved(textured(2), second)
    assert build_task("deblock").estimate(Evidence(once, file)) == second


@pytest.mark.parametrize("shape", [(1, 1, 3), (7, 300, 1), (9, 9, 3), (200, 240, 3)])
def test_what_was_never_a_jpeg_has_no_quality(shape):
    noise = np.random.default_rng(0).normal(128, 20, shape).clip(0, 255).astype(np.uint8)
    task = build_task("deblock")
    assert task.estimate(Evidence(noise)) == 100
    assert task.estimate(Evidence(np.full(shape, 77, np.uint8))) == 100
    smooth = np.broadcast_to(np.linspace(0, 1, shape[1])[None, :, None], shape)
    assert task.estimate(Evidence(smooth)) == 100


def test_what_deblock_learns_from_is_saved_as_its_fields_say():
    clean = torch.from_numpy(textured(3)).permute(2, 0, 1)[None] / 255
    plain, sharp = (
        build_task("deblock", {"aligned": 1, "subsampling": how}).degrade(clean, 60, generator())
        for how in ("4:2:0", "4:4:4")
    )
    expected = saved(textured(3), 60, subsampling=0)
    assert np.array_equal(sharp[0].permute(1, 2, 0).mul(255).round().byte().numpy(), expected)
    mixed = build_task("deblock", {"aligned": 1, "subsampling": "mixed"})
    found = [mixed.degrade(clean, 60, generator(seed)) for seed in range(8)]
    assert all(torch.equal(x, plain) or torch.equal(x, sharp) for x in found)
    assert len({x.numpy().tobytes() for x in found}) == 2

    twice = build_task("deblock", {"twice": 1})
    assert "twice" in twice.protocol
    once = build_task("deblock").degrade(clean, 20, generator())
    again = [twice.degrade(clean, 20, generator(seed)) for seed in range(4)]
    assert all((x - clean).square().mean() > 0.9 * (once - clean).square().mean() for x in again)
    for fields in ({"subsampling": "4:1:1"}, {"twice": 1.5}):
        with pytest.raises(UsageError, match="is not"):
            build_task("deblock", fields)


@pytest.mark.parametrize("phase", [(0, 0), (3, 5)])
@pytest.mark.parametrize("subsampling", [0, 2])
@pytest.mark.parametrize(("quality", "off"), [(5, 0.02), (30, 0.08), (75, 0.12), (95, 0.2)])
def test_many_pictures_at_once_come_out_as_an_encoder_has_them(quality, off, subsampling, phase):
    pictures = torch.from_numpy(np.stack([draw(45, 83, seed) for seed in range(4)]))
    pictures = pictures.permute(0, 3, 1, 2) / 255
    pictures[1] = pictures[1].mean(0, keepdim=True)
    plans = [
        [Saving(quality, subsampling, phase)],
        [Saving(quality, subsampling, phase)],
        [Saving(40, 2, (7, 1))],
        [Saving(50, 2, (2, 0)), Saving(60)],
    ]
    found = recode_all(pictures, plans)
    assert torch.equal(found[1, 0], found[1, 1])
    files = []
    for picture, plan in zip(pictures, plans, strict=True):
        for saving in plan:
            picture = recode(picture, saving)
        files.append(picture)
    files[1] = recode(pictures[1, :1], plans[1][0]).expand(3, -1, -1)  # a gray file
    difference = (found - torch.stack(files)).abs() * 255
    shares = (difference > 0.5).float().mean(dim=(1, 2, 3))
    assert shares[:2].max() < off
    assert shares[2:].max() < 0.15
    assert (difference > 1.5).float().mean() < 0.06
    assert difference.square().mean().sqrt() < 1.6


def toned(gray: np.ndarray, how: str) -> np.ndarray:
    """uint8 (H, W, 3) of a gray picture in 0 to 1, as it is or printed in a tone."""
    powers = {"gray": (1, 1, 1), "sepia": (0.8, 0.95, 1.25)}[how]
    planes = np.stack([gray**power for power in powers], -1)
    return (planes * 255).round().astype(np.uint8)


@pytest.mark.parametrize("how", ["gray", "sepia"])
@pytest.mark.parametrize("quality", [None, 85])
def test_noise_of_a_photo_in_one_tone_is_not_overlooked(how, quality):
    rng = np.random.default_rng(0)
    gray = draw(300, 320, 0).mean(2) + rng.normal(0, 20, (300, 320))
    photo = toned(gray.clip(0, 255) / 255, how)
    if quality:
        file = io.BytesIO()
        Image.fromarray(photo).save(file, "JPEG", quality=quality)
        photo = np.asarray(Image.open(file))
    assert one_tone(photo).shape == (300, 320, 1)
    assert build_task("denoise").estimate(Evidence(photo)) == pytest.approx(20, rel=0.2)
    assert build_task("photo").estimate(Evidence(photo)) > 10


@pytest.mark.parametrize("shape", [(1, 1), (9, 7), (300, 320)])
def test_colour_and_what_is_too_small_to_tell_are_looked_at_whole(shape):
    photo = np.random.default_rng(0).integers(0, 256, (*shape, 3)).astype(np.uint8)
    assert one_tone(photo) is photo
    coloured = draw(300, 320, 0)
    assert one_tone(coloured) is coloured


def page(sigma: float) -> np.ndarray:
    """A scan: faint noise on paper, and a few letters."""
    rng = np.random.default_rng(0)
    paper = np.full((400, 300), 245.0)
    for row in range(4):
        for letter in rng.integers(10, 280, 40):
            paper[60 + 40 * row : 70 + 40 * row, letter : letter + 2] = 20
    noisy = paper + rng.normal(0, sigma, paper.shape)
    return np.repeat(noisy.round().clip(0, 255).astype(np.uint8)[..., None], 3, axis=2)


@pytest.mark.parametrize("sigma", [0.5, 1, 1.5, 2, 3])
def test_faint_noise_beside_strong_edges_is_no_trace_of_jpeg(sigma: float):
    assert build_task("deblock").estimate(Evidence(page(sigma))) == 100
    night = 255 - page(sigma)
    assert build_task("deblock").estimate(Evidence(night)) == 100


@pytest.mark.parametrize("apart", [7, 16, 20])
@pytest.mark.parametrize("sigma", [0.5, 1, 2, 3])
def test_ruled_paper_is_no_jpeg_until_it_is_one(apart: int, sigma: float):
    task, paper = build_task("deblock"), np.full((400, 400), 230.0)
    paper[::apart] = 30
    noise = np.random.default_rng(0).normal(0, sigma, paper.shape)
    scan = (paper + noise).round().clip(0, 255).astype(np.uint8)[..., None]
    assert task.estimate(Evidence(scan)) == 100
    file = io.BytesIO()
    Image.fromarray(scan[..., 0]).save(file, "JPEG", quality=80)
    with Image.open(file) as saved:
        assert task.estimate(Evidence(np.asarray(saved)[..., None], saved.quantization)) == 80


@pytest.mark.parametrize("side", [16, 20, 24, 32])
def test_small_pictures_look_like_no_jpeg_by_chance(side: int):
    task = build_task("deblock")
    for seed in range(6):
        crop = draw(200, 200, seed)[60 : 60 + side, 80 : 80 + side]
        noise = np.random.default_rng(seed).normal(0, 6, crop.shape)
        noisy = (crop + noise).round().clip(0, 255).astype(np.uint8)
        found = task.estimate(Evidence(noisy))
        assert found is not None
        assert found >= 90  # next to nothing


@pytest.mark.parametrize("last", [50, 80, 95])
def test_a_jpeg_before_the_last_shows_in_the_pixels_alone(last: int):
    noise = np.random.default_rng(0).normal(0, 6, (320, 320, 3))
    clean = torch.from_numpy((draw(320, 320, 4) + noise).clip(0, 255) / 255).permute(2, 0, 1)
    before = recode(clean.float(), Saving(15, 2))[:, 3:, 5:]
    pixels = recode(before, Saving(last, 2)).permute(1, 2, 0).numpy()
    assert build_task("deblock").estimate(Evidence(pixels)) == pytest.approx(15, abs=1)


def test_a_picture_of_two_tones_is_not_noisy():
    rng = np.random.default_rng(0)
    for ink in ((0, 255), (30, 220)):
        dithered = np.where(rng.random((200, 200, 1)) < 0.4, *ink).astype(np.uint8)
        assert noise_level(dithered) == 0
        assert build_task("denoise").estimate(Evidence(dithered)) == 0
