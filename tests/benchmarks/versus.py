"""Quality and speed beside what users would take instead, on 8-bit pictures, in one run.

    pip install opencv-python-headless bm3d
    python tests/benchmarks/versus.py IMAGES --rivals FOLDER [--limit 6] [--level 15,25,50]

Each gets the same pictures with the same noise, rounded and clipped to 8 bits as in a file, and is
told the level, except `denoise, auto`, which estimates it. FFDNet runs as its users run it: fp32,
default layout. Non-local means takes the best of three strengths at each level. The packages are
for this comparison only: bm3d's licence is not for commercial use, and tunectl needs neither.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from rival_models import load_rival

from tunectl.evaluation.cases import load_pictures
from tunectl.evaluation.metrics import mean
from tunectl.inference.load import load

Pixels = NDArray[np.uint8]
Denoiser = Callable[[Pixels, float], Pixels]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("images", type=Path)
    parser.add_argument("--rivals", type=Path)
    parser.add_argument("--limit", type=int, default=6)
    parser.add_argument("--level", default="15,25,50")
    given = parser.parse_args()
    levels = [float(level) for level in given.level.split(",")]
    pictures = [p.permute(1, 2, 0).numpy() for p in load_pictures(given.images, limit=given.limit)]
    print(f"{given.images.name}, {len(pictures)} pictures, noise clipped to 8 bits, PSNR in dB\n")
    print(f"| | {' | '.join(f'{level:g}' for level in levels)} | Mpx/s |")
    print(f"|---|{'---|' * (len(levels) + 1)}")
    for name, denoise in denoisers(given.rivals).items():
        scores, seconds = [], 0.0
        denoise(pictures[0], 25)
        for level in levels:
            results = []
            for i, clean in enumerate(pictures):
                noise = np.random.default_rng(i).normal(0, level, clean.shape)
                noisy = (clean + noise).round().clip(0, 255).astype(np.uint8)
                start = time.perf_counter()
                result = denoise(noisy, level)
                seconds += time.perf_counter() - start
                results.append(psnr(result, clean))
            scores.append(mean(results))
        rate = len(levels) * sum(p.shape[0] * p.shape[1] for p in pictures) / 1e6 / seconds
        cells = " | ".join(f"{score:.2f}" for score in scores)
        print(f"| {name} | {cells} | {rate:.3g} |", flush=True)


def denoisers(rivals: Path | None) -> dict[str, Denoiser]:
    """What is there, by name."""
    model = load("denoise")

    def automatic(x: Pixels, _: float) -> Pixels:
        return model(x, level=model.estimate(x))

    found: dict[str, Denoiser] = {
        "denoise, auto": automatic,
        "denoise, level given": lambda x, level: model(x, level=level),
    }
    if rivals is not None:
        found["FFDNet"] = ffdnet(rivals)
    if importlib.util.find_spec("cv2"):
        cv2: Any = importlib.import_module("cv2")
        for share in (0.4, 0.7, 1.0):
            found[f"non-local means, h = {share:g} sigma"] = lambda x, level, share=share: (
                cv2.fastNlMeansDenoisingColored(x, None, share * level, share * level, 7, 21)
            )
    if importlib.util.find_spec("bm3d"):
        bm3d: Any = importlib.import_module("bm3d")
        found["BM3D"] = lambda x, level: to_8_bits(bm3d.bm3d_rgb(x / 255, level / 255))
    return found


def ffdnet(folder: Path) -> Denoiser:
    network = load_rival(folder, "ffdnet_color")

    def denoise(x: Pixels, level: float) -> Pixels:
        with torch.inference_mode():
            tensor = torch.from_numpy(x).permute(2, 0, 1)[None].float() / 255
            y = network(tensor, level / 255)
        return to_8_bits(y[0].permute(1, 2, 0).numpy())

    return denoise


def to_8_bits(x: NDArray[Any]) -> Pixels:
    return (x * 255).round().clip(0, 255).astype(np.uint8)


def psnr(x: Pixels, clean: Pixels) -> float:
    error = np.square(x.astype(float) - clean).mean()
    return float(10 * np.log10(255**2 / error))


if __name__ == "__main__":
    main()
