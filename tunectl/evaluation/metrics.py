"""PSNR and SSIM, and the gray and luma that tables of the field are made of."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import conv2d

from tunectl.errors import DataError

PEAK = 255.0
RGB2GRAY = (0.298936021293775, 0.587043074451121, 0.114020904255103)  # Matlab's
RGB2Y = (65.481, 128.553, 24.966)  # of Matlab's rgb2ycbcr, ITU-R BT.601: 16 to 235
WINDOW, DEVIATION = 11, 1.5  # pixels, of SSIM's Gaussian window


def mean(values: Sequence[float]) -> float:
    """The arithmetic mean: of PSNR in dB, as the field's tables have it."""
    return sum(values) / len(values)


def psnr(output: Tensor, clean: Tensor) -> float:
    """PSNR in dB over all samples of one picture in [0, 1], the output rounded to 8 bits.

    Equal pictures give 100 dB, so that a mean stays finite.
    """
    _check(output, clean)
    error = (_in_8_bits(output) - _in_8_bits(clean)).square().mean().item()
    return 100.0 if error == 0 else 10 * math.log10(PEAK**2 / error)


def ssim(output: Tensor, clean: Tensor) -> float:
    """Structural similarity of pictures (1, C, H, W) in [0, 1], the mean over channels.

    Wang, Bovik, Sheikh and Simoncelli (2004): a Gaussian window of 11 x 11 pixels and deviation
    1.5, K 0.01 and 0.03, over the windows that lie wholly inside. The output is rounded to 8 bits.
    Raises DataError for a picture smaller than the window.
    """
    _check(output, clean)
    if min(clean.shape[-2:]) < WINDOW:
        raise DataError(
            f"SSIM needs {WINDOW} x {WINDOW} pixels, and a picture has "
            f"{clean.shape[-1]} x {clean.shape[-2]}",
            "leave the picture out, or --ssim away",
        )
    x, y = (picture.flatten(0, 1)[:, None] for picture in map(_in_8_bits, (output, clean)))
    of_x, of_y, of_xx, of_yy, of_xy = (_blurred(z) for z in (x, y, x * x, y * y, x * y))
    steady, lively = (0.01 * PEAK) ** 2, (0.03 * PEAK) ** 2
    along = (2 * of_x * of_y + steady) * (2 * (of_xy - of_x * of_y) + lively)
    apart = (of_x**2 + of_y**2 + steady) * (of_xx - of_x**2 + of_yy - of_y**2 + lively)
    return float((along / apart).mean())


def _check(output: Tensor, clean: Tensor) -> None:
    """Raises DataError for what would be compared wrongly without a word."""
    if output.shape != clean.shape:
        raise DataError(
            f"pictures of {tuple(output.shape)} and {tuple(clean.shape)} samples are not compared",
            "give two of one shape",
        )
    if not (output.is_floating_point() and clean.is_floating_point()):
        raise DataError(
            f"pictures of {output.dtype} and {clean.dtype} are not compared",
            "give floats in [0, 1]",
        )


def gray(picture: Tensor) -> Tensor:
    """uint8 (3, H, W) to uint8 (1, H, W), rounded as Matlab's rgb2gray does."""
    weights = torch.tensor(RGB2GRAY, dtype=torch.float64)
    levels: Tensor = torch.tensordot(weights, picture.double(), dims=1)
    return (levels + 0.5).floor().clamp(0, PEAK).to(torch.uint8)[None]


def luma(picture: Tensor) -> Tensor:
    """(1, 3, H, W) in [0, 1], rounded to 8 bits, to the Y of Matlab's rgb2ycbcr, (1, 1, H, W).

    What measures it rounds Y as well, as Matlab does: so are the tables of JPEG and of
    super-resolution made.
    """
    weights = torch.tensor(RGB2Y, dtype=torch.float64)
    y: Tensor = torch.tensordot(weights, _in_8_bits(picture)[0] / PEAK, dims=1)
    return ((y + 16) / PEAK)[None, None]


def gray_luma(picture: Tensor) -> Tensor:
    """uint8 (3, H, W) to uint8 (1, H, W): `luma`, rounded; of a gray picture, its gray levels.

    This is what tables of JPEG compress.
    """
    if torch.equal(picture[0], picture[1]) and torch.equal(picture[1], picture[2]):
        return picture[:1]
    return luma(picture[None] / PEAK)[0].mul(PEAK).round().to(torch.uint8)


def _in_8_bits(picture: Tensor) -> Tensor:
    return picture.double().cpu().mul(PEAK).round().clamp(0, PEAK)


def _blurred(planes: Tensor) -> Tensor:
    """(N, 1, H, W) under the window, without the borders that it does not fit into."""
    offsets = torch.arange(WINDOW, dtype=planes.dtype) - WINDOW // 2
    weights = (-(offsets**2) / (2 * DEVIATION**2)).exp()
    weights = weights / weights.sum()
    down = conv2d(planes, weights.view(1, 1, -1, 1))
    return conv2d(down, weights.view(1, 1, 1, -1))
