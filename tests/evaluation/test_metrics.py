from __future__ import annotations

import numpy as np
import pytest
import torch
from conftest import draw
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from tunectl.errors import DataError
from tunectl.evaluation.metrics import gray, gray_luma, luma, psnr, ssim


def pair(channels: int, height: int = 40, width: int = 53) -> tuple[np.ndarray, np.ndarray]:
    """A drawn picture and a noisy one, uint8 (H, W, C)."""
    clean = draw(height, width, 3)[..., :channels]
    noise = np.random.default_rng(0).normal(0, 20, clean.shape)
    return clean, (clean + noise).round().clip(0, 255).astype(np.uint8)


def tensor(picture: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(picture).permute(2, 0, 1)[None] / 255


def test_psnr():
    clean = torch.full((1, 3, 8, 8), 0.5)
    assert psnr(clean, clean) == 100
    assert psnr(clean + 1.4 / 255, clean) == pytest.approx(48.1308, abs=1e-3)  # rounds to 1 step
    assert psnr(clean * 0 + 2, clean * 0) == pytest.approx(0)


@pytest.mark.parametrize("channels", [1, 3])
def test_metrics_agree_with_scikit_image(channels):
    clean, noisy = pair(channels)
    expected = peak_signal_noise_ratio(clean, noisy, data_range=255)
    assert psnr(tensor(noisy), tensor(clean)) == pytest.approx(expected, abs=1e-9)
    expected = structural_similarity(
        clean,
        noisy,
        data_range=255,
        channel_axis=2,
        gaussian_weights=True,
        sigma=1.5,
        use_sample_covariance=False,
    )
    assert ssim(tensor(noisy), tensor(clean)) == pytest.approx(expected, abs=1e-7)


def test_ssim_knows_its_limits():
    clean, _ = pair(3, 11, 11)
    assert ssim(tensor(clean), tensor(clean)) == 1
    with pytest.raises(DataError, match="11 x 11"):
        ssim(torch.rand(1, 3, 10, 30), torch.rand(1, 3, 10, 30))


def test_gray_and_luma_are_matlabs():
    colours = torch.tensor(
        [[255, 255, 255], [0, 0, 0], [255, 0, 0], [0, 255, 0], [10, 200, 30]], dtype=torch.uint8
    ).T[..., None]
    assert gray(colours).flatten().tolist() == [255, 0, 76, 150, 124]
    y = (luma(colours[None] / 255) * 255).round().flatten().tolist()
    assert y == [235, 16, 81, 145, 122]
    assert gray_luma(colours).flatten().tolist() == y
    ramp = torch.arange(256, dtype=torch.uint8).view(1, 16, 16).expand(3, -1, -1)
    assert torch.equal(gray_luma(ramp), ramp[:1])
