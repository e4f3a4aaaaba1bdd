"""What `apply` makes of JPEG files, and how much of that comes from holding it to the file.

    python tests/benchmarks/jpeg_files.py PHOTOS [PHOTOS ...] [-m deblock] [--quality 10,30,90]
        [--colour 4:4:4,4:2:0,gray] [--limit 12] [--side 512] [--ensemble 2]

Clean photos, or the middle of each, are saved by Pillow and developed unasked: the quality is read
from the file. PSNR in dB, the mean over the pictures, of the file, of the model alone, and of what
`apply` gives; then the least that a picture gained, over the model alone and over its file. `luma`
is gray of Matlab's luma, as tables of the field have it.
"""

from __future__ import annotations

import argparse
import io
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from tunectl.evaluation.cases import load_pictures
from tunectl.evaluation.metrics import gray, gray_luma, mean
from tunectl.images import read_picture
from tunectl.inference.load import load
from tunectl.inference.model import Model
from tunectl.inference.restore import restore
from tunectl.inference.strength import Strength
from tunectl.tasks.jpeg import SUBSAMPLINGS

TO_GRAY = {"gray": gray, "luma": gray_luma}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("photos", type=Path, nargs="+")
    parser.add_argument("-m", "--model", default="deblock")
    parser.add_argument("--quality", default="10,30,50,75,90,95")
    parser.add_argument("--colour", default="4:4:4,4:2:0,gray")
    parser.add_argument("--limit", type=int)
    parser.add_argument("--side", type=int)
    parser.add_argument("--ensemble", type=int, default=1)
    given = parser.parse_args()
    model = load(given.model, ensemble=given.ensemble)
    print(
        "| photos | colour | quality | file | model | held to it | least gained | over the file |"
    )
    print("|---|---|---|---|---|---|---|---|")
    for folder in given.photos:
        for colour in given.colour.split(","):
            pictures = load_pictures(folder, TO_GRAY.get(colour), given.limit)
            cleans = [middle(picture, given.side) for picture in pictures]
            for quality in map(int, given.quality.split(",")):
                scores = [of_one(model, clean, quality, colour) for clean in cleans]
                file, alone, held = (mean(list(column)) for column in zip(*scores, strict=True))
                least = min(held - alone for _, alone, held in scores)
                lost = min(held - file for file, _, held in scores)
                print(
                    f"| {folder.name} | {colour} | {quality} | {file:.2f} | {alone:.2f} "
                    f"| {held:.2f} | {least:+.2f} | {lost:+.2f} |",
                    flush=True,
                )


def middle(picture: Tensor, side: int | None) -> NDArray[np.uint8]:
    """(C, H, W) as (h, w, C), at most `side` each way, from where a block of 8 begins."""
    pixels: NDArray[np.uint8] = picture.permute(1, 2, 0).numpy()
    if side is None:
        return pixels
    top, left = (max(0, length - side) // 16 * 8 for length in pixels.shape[:2])
    return pixels[top : top + side, left : left + side]


def of_one(
    model: Model, clean: NDArray[np.uint8], quality: int, colour: str
) -> tuple[float, float, float]:
    """The PSNR of the file, of the model alone, and of what `apply` makes of the file."""
    image = Image.fromarray(clean[..., 0] if clean.shape[2] == 1 else clean)
    file = io.BytesIO()
    image.save(file, "JPEG", quality=quality, subsampling=SUBSAMPLINGS.get(colour, 0))
    picture = read_picture(file.getvalue())
    held = restore(model, picture, Strength())
    alone = restore(model, picture, Strength(held.alpha))
    found = [psnr(p.pixels, clean) for p in (picture, alone.picture, held.picture)]
    return found[0], found[1], found[2]


def psnr(one: NDArray[np.generic], other: NDArray[np.generic]) -> float:
    error = torch.from_numpy(one.astype(np.float64) - other).square().mean()
    return float(10 * torch.log10(255**2 / error))


if __name__ == "__main__":
    main()
