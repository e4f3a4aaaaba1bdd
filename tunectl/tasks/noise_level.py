"""How noisy is a picture? Chen, Zhu and Heng (ICCV 2015), with clipping and a coarser scale."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from tunectl.tasks.base import eight_bit_scale

Floats = NDArray[np.floating[Any]]
PATCHES = 8_000
TRIES = 8  # places drawn for each patch that is wanted, where some pixels are not to be looked at
PEAK = 255.0
# On photos without noise the coarser scale reads up to about 3.3 times the finer one (texture),
# on noise that a camera or a JPEG has smoothed, 5 to 25 times.
SMOOTHED = 4.0


def noise_level(pixels: NDArray[Any], seen: NDArray[np.bool_] | None = None) -> float | None:
    """The noise to remove as a standard deviation in 8-bit steps.

    `pixels` are (H, W, C), uint8, uint16 or floating in [0, 1]; floats beyond that range were not
    clipped. Where `seen` (H, W) is given, only what it marks is looked at.
    White noise is read at full size. Where that says next to nothing and the picture at half
    size says much more, its noise was smoothed, and half size is believed. Of a picture of two
    tones, as a fax has, the answer is 0; None below about twenty pixels a side, of gray fifteen.
    """
    patches, side = _patches(pixels, seen)
    if not len(patches):
        return None
    if _of_two_tones(patches):
        return 0.0
    fine = _before_clipping(patches[:, :side, :side])
    coarse = _coarse_spread(patches)
    return coarse if coarse > SMOOTHED * fine else fine


def _of_two_tones(patches: Floats) -> bool:
    tones = patches.reshape(-1, patches.shape[-1])
    return bool(((tones == tones.min(0)) | (tones == tones.max(0))).all())


def _coarse_spread(patches: Floats) -> float:
    upper, lower = patches[:, ::2], patches[:, 1::2]
    halves = (upper[:, :, ::2] + upper[:, :, 1::2] + lower[:, :, ::2] + lower[:, :, 1::2]) / 4
    return 2 * _smallest_spread(halves)


def _patches(pixels: NDArray[Any], seen: NDArray[np.bool_] | None) -> tuple[Floats, int]:
    """Random (N, 2s, 2s, C) in 8-bit steps, and s: 8, or 4 where the picture is small."""
    if seen is not None and seen.any():  # of a large canvas what is not seen need not be drawn
        rows, columns = (np.flatnonzero(seen.any(axis=axis)) for axis in (1, 0))
        box = np.s_[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
        pixels, seen = pixels[box], seen[box]
    height, width, channels = pixels.shape
    scale = eight_bit_scale(pixels)
    for side, enough in ((8, 20), (4, 4)):
        down, across = (max(0, size - 2 * side + 1) for size in (height, width))
        if down * across < enough * channels * side**2:
            continue
        random, window = np.random.default_rng(0), (2 * side, 2 * side)
        if seen is None:
            chosen = random.integers(0, down * across, PATCHES)
        else:
            drawn = random.integers(0, down * across, PATCHES * TRIES)
            masks = sliding_window_view(seen, window)[drawn // across, drawn % across]
            chosen = drawn[masks.all(axis=(1, 2))][:PATCHES]
            if len(np.unique(chosen)) < enough * channels * side**2:
                continue
        patches = sliding_window_view(pixels, window, axis=(0, 1))
        patches = patches[chosen // across, chosen % across]
        return np.moveaxis(patches, 1, -1) * np.float32(scale), side
    return np.empty((0, 0, 0, 0)), 0


def _smallest_spread(patches: Floats) -> float:
    """Noise spreads patches alike in all directions; pictures only in some (section 3).

    The largest eigenvalues of the covariance are left out, one by one, until the mean of the
    others is their median: that is the noise's variance.
    """
    values = np.linalg.eigvalsh(np.cov(patches.reshape(len(patches), -1), rowvar=False))
    values = np.maximum(values, 0)
    for count in range(len(values), 0, -1):
        mean = values[:count].mean()
        if (values[:count] > mean).sum() == (values[:count] < mean).sum():
            return math.sqrt(mean)
    return math.sqrt(float(np.median(values)))


def _before_clipping(patches: Floats) -> float:
    """The noise where clipping to 0 to 255 has made strong noise look weaker.

    Clipping at a known mean leaves a known variance; one level would, over the means of all
    patches, have left what is seen. The answer lies midway between that level and what is seen:
    there the PSNR of a network that was trained on noise without clipping is highest (measured on
    validation photos at 35, 50 and 75).
    """
    seen = _smallest_spread(patches)
    if seen < 1 or patches.min() < 0 or patches.max() > PEAK:
        return seen
    means = patches.mean(axis=(1, 2)).ravel()
    low, high = seen, 3 * seen
    for _ in range(12):
        middle = (low + high) / 2
        mean, variance = _clipped(np.linspace(-PEAK, 2 * PEAK, 200), middle)
        if np.interp(means, mean, variance).mean() < seen**2:
            low = middle
        else:
            high = middle
    return (seen + (low + high) / 2) / 2


def _clipped(mean: Floats, sigma: float) -> tuple[Floats, Floats]:
    """Mean and variance of normal samples after clipping to 0 to PEAK."""
    low, high = -mean / sigma, (PEAK - mean) / sigma
    below, above = _normal(low), 1 - _normal(high)
    inside = 1 - below - above
    densities = [np.exp(-(t**2) / 2) / math.sqrt(2 * math.pi) for t in (low, high)]
    first = PEAK * above + mean * inside + sigma * (densities[0] - densities[1])
    second = PEAK**2 * above + (mean**2 + sigma**2) * inside
    second += sigma * (mean * densities[0] - (mean + PEAK) * densities[1])
    return first, second - first**2


def _normal(t: Floats) -> Floats:
    return np.array([0.5 * math.erfc(-x / math.sqrt(2)) for x in t])
