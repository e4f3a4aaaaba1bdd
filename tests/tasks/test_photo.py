from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from tunectl.errors import UsageError
from tunectl.tasks import build_task
from tunectl.tasks.camera import Camera, Cameras


def generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def cameras() -> list[Camera]:
    return [Camera.draw(generator(seed)) for seed in range(40)]


def noise_of(camera: Camera, picture: torch.Tensor, level: float, seed: int) -> torch.Tensor:
    """In 8-bit steps."""
    alone = Cameras([camera], picture.device)
    return alone.noise(picture[None], level / 255, generator(seed))[0] * 255


def test_cameras_differ_in_everything_they_do():
    drawn = cameras()
    assert {camera.curve for camera in drawn} == {True, False}
    assert {camera.mosaic for camera in drawn} == {(0, 0), (0, 1), (1, 0), (1, 1), None}
    for part in ("smooth", "sharpen", "coarse", "spared"):
        values = [getattr(camera, part) for camera in drawn]
        assert min(values) == 0 < max(values)
    for camera in drawn:
        torch.testing.assert_close(camera.matrix.sum(1), torch.ones(3))


@pytest.mark.parametrize("level", [1.0, 5.0, 20.0])
def test_the_level_is_the_deviation_on_mid_gray_whatever_the_camera(level):
    gray = torch.full((3, 512, 512), 0.5)  # blotches are few
    for seed, camera in enumerate(cameras()[:8]):
        noise = noise_of(camera, gray, level, seed)
        assert noise.square().mean().sqrt().item() == pytest.approx(level, rel=0.1)
        assert abs(noise.mean().item()) < 0.05 * level


def test_noise_is_neither_white_nor_even():
    ramp = torch.linspace(0, 1, 256).repeat(3, 64, 1)
    alike, black, middle, white = [], [], [], []
    for seed, camera in enumerate(cameras()):
        noise = noise_of(camera, ramp, 8, seed)
        inner = noise[1, :, 40:180]
        alike.append((inner[:, 1:] * inner[:, :-1]).mean() / inner.square().mean())
        power = noise.square().mean((0, 1))
        for found, where in (
            (black, slice(8)),
            (middle, slice(100, 150)),
            (white, slice(252, 256)),
        ):
            found.append(power[where].mean())
    assert torch.stack(alike).mean() > 0.2  # neighbours share their noise
    assert torch.stack(white).mean() < torch.stack(middle).mean() / 2  # a full sensor has none
    ratio = torch.stack(black) / torch.stack(middle)
    assert ratio.max() > 2 * ratio.min()  # read noise is the camera's own


def test_smoothing_leaves_blotches_and_spares_detail():
    flat = torch.full((3, 256, 256), 0.5)
    stripes = flat + 0.2 * (torch.arange(256) % 4 < 2) - 0.1
    fields = {"smooth": 0.0, "smooth_colour": 0.0, "sharpen": 0.0, "mosaic": None, "blotch": 4.0}

    def power(camera: Camera, picture: torch.Tensor, apart: int) -> float:
        luma = noise_of(camera, picture, 5, 1).mean(0)
        return (luma[:, apart:] * luma[:, : 256 - apart]).mean().item()

    white, coarse, sparing = (
        replace(cameras()[0], **fields, coarse=share, spared=spared)
        for share, spared in ((0, 0), (0.5, 0), (0, 0.5))
    )
    for camera, least, most in ((white, -0.05, 0.05), (coarse, 0.2, 0.6)):
        assert least < power(camera, flat, 4) / power(camera, flat, 0) < most
    assert power(sparing, stripes, 0) > 2 * power(white, stripes, 0)
    assert power(sparing, flat, 0) == pytest.approx(power(white, flat, 0), rel=0.1)


def test_a_camera_develops_what_it_took_back_to_the_picture():
    picture = 0.2 + 0.5 * torch.rand(1, 8, 8, generator=generator(0)).expand(40, 3, -1, -1)
    each = Cameras(cameras(), picture.device)
    torch.testing.assert_close(each._developed(each._raw(picture)), picture, atol=1e-3, rtol=0)


def test_cameras_at_once_do_what_each_does_alone():
    pictures, drawn = (
        make(40, 3, 37, 50, generator=generator(seed))
        for seed, make in enumerate((torch.rand, torch.randn))
    )
    scale = torch.full((40, 1, 1, 1), 0.02)
    every = Cameras(cameras(), pictures.device)
    found = every._noise(every._raw(pictures), scale, drawn)
    for i, camera in enumerate(cameras()):
        one, part = Cameras([camera], pictures.device), slice(i, i + 1)
        alone = one._noise(one._raw(pictures[part]), scale[part], drawn[part])
        torch.testing.assert_close(found[part], alone, atol=1e-5, rtol=1e-4)
    noise = Cameras(cameras(), pictures.device).noise(
        torch.full((40, 3, 256, 256), 0.5), 6 / 255, generator(2)
    )
    deviations = noise.square().mean((1, 2, 3)).sqrt() * 255
    torch.testing.assert_close(deviations, torch.full((40,), 6.0), atol=0, rtol=0.2)


def test_photos_come_in_8_bits_and_as_they_are_at_level_0():
    clean = torch.rand(3, 3, 40, 48, generator=generator(0))
    for saved in (0, 1):
        task = build_task("photo", {"saved": saved})
        assert torch.equal(task.degrade(clean, 0, generator(0)), clean)
        noisy = task.degrade(clean, 6, generator(0)) * 255
        torch.testing.assert_close(noisy, noisy.round())
        assert 0 <= noisy.min() <= noisy.max() <= 255
    assert "80%" in build_task("photo").protocol
    with pytest.raises(UsageError, match="is not a share"):
        build_task("photo", {"saved": 2})


@pytest.mark.parametrize("shape", [(1, 3, 1, 1), (2, 1, 3, 50), (1, 3, 2, 2)])
def test_photos_of_any_size_and_in_gray_have_camera_noise(shape):
    noisy = build_task("photo").degrade(torch.full(shape, 0.5), 20, generator(3))
    assert noisy.shape == shape
    assert noisy.isfinite().all()


def test_some_photos_are_learned_from_as_softer_ones():
    sharp = torch.rand(40, 3, 24, 32, generator=generator(0))
    varied = build_task("photo").vary(sharp, generator(1))
    assert torch.equal(varied, build_task("photo").vary(sharp, generator(1)))
    contrast = varied.std((1, 2, 3)) / sharp.std((1, 2, 3))
    assert 20 < (contrast < 0.999).sum() < 36
    assert 0.15 < contrast.min() < 0.4
    assert contrast.max() == 1
    torch.testing.assert_close(varied.mean((2, 3)), sharp.mean((2, 3)), atol=0.03, rtol=0)
