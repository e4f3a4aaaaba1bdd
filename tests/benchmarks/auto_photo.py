"""What `photo --alpha auto` loses against the best alpha for each picture.

    python tests/benchmarks/auto_photo.py VALIDATION

From each photo squares are cut: clean, clean and softer, at seven levels of made-up noise, and two
saved as JPEG 70 to 95, which are to stay as they are. Each is restored at fourteen levels; between
them PSNR is interpolated. A row for each share of the noise that was read to be taken as the level
(`tunectl.tasks.photo.TAKEN`): the mean loss in dB over all, the noisy, the clean and the saved
squares. PSNR much above 45 dB nobody sees: a table counts it up to 45, another up to 51.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tunectl.images import find_pictures, read_picture
from tunectl.inference.load import load
from tunectl.seeds import seeded
from tunectl.tasks import build_task
from tunectl.tasks.jpeg import SUBSAMPLINGS, Saving, recode
from tunectl.tasks.visible_noise import visible_noise

SIDE = 256
LEVELS = np.array([0, 0.3, 0.6, 1, 1.5, 2, 3, 4, 6, 8, 11, 15, 20, 30])
NOISY = (0.8, 1.6, 3.0, 5.0, 8.0, 12.0, 18.0)
KEPT = (45.0, 51.0)  # dB
SHARES = (0.6, 0.7, 0.75, 0.8, 0.85, 0.9, 1.0)
CPU = torch.device("cpu")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("photos", type=Path)
    parser.add_argument("--limit", type=int)
    given = parser.parse_args()
    model = load("photo", device="cpu")
    kinds, said, errors = [], [], []
    for index, path in enumerate(find_pictures(given.photos)[: given.limit]):
        photo = torch.tensor(read_picture(path).pixels).permute(2, 0, 1).float() / 255
        for kind, picture, wanted in squares(photo, index):
            pixels = picture[0].mul(255).round().byte().permute(1, 2, 0).contiguous().numpy()
            found = visible_noise(pixels)
            assert found is not None
            kinds.append(kind)
            said.append(found)
            errors.append([error(model(picture, level=x), wanted) for x in LEVELS])
    for kept in KEPT:
        curves = 10 * np.log10(255**2 / (np.array(errors) + 255**2 / 10 ** (kept / 10)))
        print(f"\nup to {kept:g} dB\n\n| share | all | noisy | clean | saved |")
        print("|---|---|---|---|---|")
        for share in SHARES:
            lost = np.array([loss(c, share * s) for c, s in zip(curves, said, strict=True)])
            cells = [
                lost.mean(),
                *(lost[np.array(kinds) == k].mean() for k in ("noisy", "clean", "saved")),
            ]
            print(f"| {share:g} | " + " | ".join(f"{cell:.2f}" for cell in cells) + " |")


def squares(photo: Tensor, index: int) -> list[tuple[str, Tensor, Tensor]]:
    """Kind, what the model is given, and what it should make of it, both (1, 3, SIDE, SIDE)."""
    task, made = build_task("photo"), []
    for turn, level in enumerate((0.0, 0.0, *NOISY)):
        random = seeded(CPU, "val", index, turn)
        clean = cut(photo, random)
        if turn:
            clean = task.vary(clean, random)
        clean = clean.mul(255).round() / 255
        gray = torch.tensor([turn == 4 and index % 2 == 0])
        if gray:
            clean = clean.mean(1, keepdim=True).expand_as(clean).mul(255).round() / 255
        kind = "noisy" if level else "clean"
        made.append((kind, task.degrade(clean, level, random, gray), clean))
    for turn in range(2):
        random = seeded(CPU, "val2", index, turn)
        clean = cut(photo, random)
        if turn:
            clean = task.vary(clean, random)
        quality = int(70 + 25 * float(torch.rand(1, generator=random)))
        how = SUBSAMPLINGS["4:2:0" if index % 2 else "4:4:4"]
        kept = recode(clean[0], Saving(quality, how))[None]
        made.append(("saved", kept, kept))
    return made


def cut(photo: Tensor, random: torch.Generator) -> Tensor:
    top, left = (
        int(torch.randint(size - SIDE + 1, (1,), generator=random)) for size in photo.shape[1:]
    )
    return photo[None, :, top : top + SIDE, left : left + SIDE]


def error(restored: Tensor, wanted: Tensor) -> float:
    return float((restored.mul(255).round() - wanted * 255).square().mean())


def loss(curve: NDArray[np.float64], level: float) -> float:
    """Of one square at `level`, along alpha, against the best of LEVELS."""
    places = (LEVELS / LEVELS[-1]) ** (2 / 3)
    place = min(1.0, level / LEVELS[-1]) ** (2 / 3)
    return float(curve.max() - np.interp(place, places, curve))


if __name__ == "__main__":
    main()
