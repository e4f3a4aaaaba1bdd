"""What `photo` makes of camera noise that is made in another way than what it has learned from.

    pip install opencv-python-headless
    python tests/benchmarks/other_cameras.py VALIDATION [--model photo] [--limit N]

A soft square of each photo is taken 40 times by cameras of OpenCV's parts: its demosaicking, its
noise reduction, its blur, and Pillow's JPEG. As in PolyU, one shot and the mean of all are cropped
and saved at quality 75, and the mean is what should come back. Nothing is learned from these: they
tell, without a test set, what holds for noise that was not made up by `tunectl.tasks.camera`.

A row for each camera: the deviation of the noise and what the model reads over it (median and
root mean square of the logarithm); PSNR in dB as taken, at the one level that is best for all, at
the best for each, and with `--alpha auto`.
"""

from __future__ import annotations

import argparse
import io
import math
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from tunectl.images import find_pictures, read_picture
from tunectl.inference.load import load
from tunectl.inference.model import Model
from tunectl.tasks.blur import blurred

Floats = NDArray[np.float64]
Bytes = NDArray[np.uint8]

SIDE, MARGIN = 256, 32  # pixels of a square, and taken beside them, so that crops lie at any phase
SHOTS = 40
FAINTEST, STRONGEST = 2.2, 6.5  # deviation of the noise in 8-bit steps, evenly in the logarithm
SOFT = (0.7, 1.6)  # deviations of the blur of a camera's full-size pixels
OWN_QUALITY, QUALITY = 97, 75  # of the camera's file, and of the crop
MATRIX = np.array([[1.6, -0.45, -0.15], [-0.2, 1.45, -0.25], [0.0, -0.5, 1.5]])
GAINS = np.array([2.0, 1.0, 1.6])
READ = 0.02  # read noise beside the shot noise of white
BLACK, WHITE = 4096, 45_000  # of 16 bits
GAMMA = 2.2
LEVELS = np.array([0, 0.5, 1, 1.5, 2, 3, 4, 6, 8, 11])


def untouched(photo: Bytes) -> Bytes:
    return photo


def colour_blurred(photo: Bytes) -> Bytes:
    planes = cv2.cvtColor(photo, cv2.COLOR_RGB2YCrCb).astype(np.float32)
    planes[..., 1:] = cv2.GaussianBlur(planes[..., 1:], (0, 0), 2.0)
    return cv2.cvtColor(planes.round().clip(0, 255).astype(np.uint8), cv2.COLOR_YCrCb2RGB)


def bilateral(photo: Bytes) -> Bytes:
    planes = cv2.cvtColor(photo, cv2.COLOR_RGB2YCrCb)
    luma = cv2.bilateralFilter(planes[..., 0], 5, 25, 1.5)
    colour = cv2.bilateralFilter(planes, 9, 40, 3)[..., 1:]
    return cv2.cvtColor(np.dstack([luma, colour]), cv2.COLOR_YCrCb2RGB)


def nonlocal_means(photo: Bytes) -> Bytes:
    return cv2.fastNlMeansDenoisingColored(photo, None, 6, 10, 5, 11)


# How the filter array is filled in, the noise reduction, the strength of the sharpening.
CAMERAS: dict[str, tuple[int, Callable[[Bytes], Bytes], float]] = {
    "even": (cv2.COLOR_BayerBG2RGB, untouched, 0.0),
    "along edges": (cv2.COLOR_BayerBG2RGB_EA, untouched, 0.3),
    "colour blurred": (cv2.COLOR_BayerBG2RGB_EA, colour_blurred, 0.3),
    "bilateral": (cv2.COLOR_BayerBG2RGB_EA, bilateral, 0.4),
    "non-local means": (cv2.COLOR_BayerBG2RGB_EA, nonlocal_means, 0.4),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("photos", type=Path)
    parser.add_argument("--model", default="photo")
    parser.add_argument("--limit", type=int)
    given = parser.parse_args()
    model = load(given.model)
    photos = find_pictures(given.photos)[: given.limit]
    print(f"{given.photos.name}, {len(photos)} pictures, model {given.model}\n")
    print("| camera | noise | read | as taken | one level | best each | auto |")
    print("|---|---|---|---|---|---|---|")
    for name in CAMERAS:
        print(row(model, name, photos), flush=True)


def row(model: Model, name: str, photos: list[Path]) -> str:
    noises, wrong, taken, curves, told = [], [], [], [], []
    for index, path in enumerate(photos):
        photo = torch.tensor(read_picture(path).pixels).permute(2, 0, 1).float() / 255
        noisy, clean = pair(photo, name, np.random.default_rng(index))
        noise = float(np.sqrt(np.square(noisy.astype(float) - clean).mean()))
        level = model.estimate(noisy)
        noises.append(noise)
        wrong.append(math.log(max(level, 0.1) / noise))
        source, wanted = tensor(noisy), tensor(clean)
        taken.append(decibels(source, wanted))
        curves.append([decibels(model(source, level=float(x)), wanted) for x in LEVELS])
        told.append(decibels(model(source, level=level), wanted))
    cells = [
        np.mean(taken),
        np.mean(curves, axis=0).max(),
        np.max(curves, axis=1).mean(),
        np.mean(told),
    ]
    read = f"{np.median(wrong):+.2f}, {np.sqrt(np.square(wrong).mean()):.2f}"
    said = " | ".join(f"{cell:.2f}" for cell in cells)
    return f"| {name} | {np.mean(noises):.1f} | {read} | {said} |"


def pair(photo: Tensor, name: str, random: np.random.Generator) -> tuple[Bytes, Bytes]:
    """One shot of a square of (3, H, W) in [0, 1], and the mean of all: (SIDE, SIDE, 3)."""
    side = min(SIDE + MARGIN, *photo.shape[1:]) // 2 * 2
    top, left = (random.integers(size - side + 1) for size in photo.shape[1:])
    square = photo[None, :, top : top + side, left : left + side]
    square = blurred(square, random.uniform(*SOFT))[0]
    linear = square.permute(1, 2, 0).double().numpy() ** GAMMA
    raw = (linear @ np.linalg.inv(MATRIX).T / GAINS).clip(0, 1)
    wanted = math.exp(random.uniform(math.log(FAINTEST), math.log(STRONGEST)))
    scale = 0.02
    for _ in range(4):  # until the noise is as strong as wanted
        some = np.stack([shot(raw, scale, name, random) for _ in range(4)]).astype(float)
        scale *= wanted / max(0.1, float(np.sqrt(some.var(0, ddof=1).mean())))
    shots = [saved(shot(raw, scale, name, random), OWN_QUALITY, 1) for _ in range(SHOTS)]
    mean = np.mean(shots, axis=0).round().astype(np.uint8)
    down, right = random.integers(side - min(side, SIDE) + 1, size=2)
    crop = slice(down, down + SIDE), slice(right, right + SIDE)
    return saved(shots[0][crop], QUALITY, 2), saved(mean[crop], QUALITY, 2)


def shot(raw: Floats, scale: float, name: str, random: np.random.Generator) -> Bytes:
    """(H, W, 3) of a camera's linear colours, seen once through its filter array and developed."""
    code, reduced, sharpen = CAMERAS[name]
    seen = raw[..., 1].copy()  # red, green; green, blue
    seen[::2, ::2], seen[1::2, 1::2] = raw[::2, ::2, 0], raw[1::2, 1::2, 2]
    seen += scale * np.sqrt(seen + READ) * random.standard_normal(seen.shape)
    counts = (seen * WHITE + BLACK).round().clip(0, 65535).astype(np.uint16)
    colours = (cv2.cvtColor(counts, code).astype(float) - BLACK) / WHITE
    tone = (colours * GAINS @ MATRIX.T).clip(0, 1) ** (1 / GAMMA)
    photo = reduced((tone * 255).round().astype(np.uint8)).astype(np.float32)
    photo += sharpen * (photo - cv2.GaussianBlur(photo, (0, 0), 1.0))
    return photo.round().clip(0, 255).astype(np.uint8)


def saved(photo: Bytes, quality: int, subsampling: int) -> Bytes:
    file = io.BytesIO()
    Image.fromarray(photo).save(file, "JPEG", quality=quality, subsampling=subsampling)
    return np.array(Image.open(file))


def tensor(photo: Bytes) -> Tensor:
    return torch.from_numpy(photo).permute(2, 0, 1)[None].float() / 255


def decibels(restored: Tensor, wanted: Tensor) -> float:
    error = (restored.mul(255).round() - wanted * 255).square().mean()
    return float(10 * torch.log10(255**2 / error))


if __name__ == "__main__":
    main()
