"""The network that tells how noisy a camera's photo is: weights/features/visible_noise.safetensors.

python weights/recipes/visible_noise.py PHOTOS VALIDATION OUT

From each of PHOTOS a dozen squares are cut, every fifth made gray, and given made-up noise of
cameras; the network is fitted to the noise that is then in them. Printed is how well it does on
squares of VALIDATION: by level, the median and the root mean square of the logarithm of what it
says over what is there.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor
from torch.nn.functional import smooth_l1_loss

from tunectl.images import find_pictures, read_picture
from tunectl.seeds import seeded
from tunectl.tasks import build_task
from tunectl.tasks.visible_noise import measured, noise_of

SIDE = 384
NOISY, CLEAN = 10, 2  # squares of a photo
GRAY = 5  # every so manyth is gray
FAINTEST, STRONGEST = 0.3, 30.0  # levels drawn, evenly in their logarithms
TOLD = (0.0, 0.8, 1.6, 3.0, 5.0, 8.0, 12.0, 18.0)  # levels of validation, twice each
FLOOR = 0.3  # 8-bit steps; what has less noise counts as if it had that
WIDTH, EPOCHS, BATCH, RATE, DECAY = 64, 40, 64, 2e-3, 1.0
JITTER = 0.1  # added to what the network sees, in deviations

Example = tuple[list[float], float, float]  # what is measured, the level, the logarithm of noise


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("photos", type=Path)
    parser.add_argument("validation", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--exclude", default="bsd_*", help="photos that are left out")
    parser.add_argument("--processes", type=int, default=2)
    given = parser.parse_args()
    photos = [path for path in find_pictures(given.photos) if not path.match(given.exclude)]
    drawn: list[float | None] = [None] * NOISY + [0.0] * CLEAN
    alone = partial(torch.set_num_threads, 1)
    with ProcessPoolExecutor(given.processes, initializer=alone) as pool:
        learned = list(pool.map(partial(examples, drawn, 1), range(len(photos)), photos))
        pictures = find_pictures(given.validation)
        told = [level for level in TOLD for _ in range(2)]
        checked = list(pool.map(partial(examples, told, 2), range(len(pictures)), pictures))
    weights = fitted(*_tensors(learned))
    save_file({name: tensor.contiguous() for name, tensor in weights.items()}, given.out)
    values, levels, noise = _tensors(checked)
    values = (values - weights["mean"]) / weights["deviation"]
    wrong = noise_of(weights, values) - noise
    for level in TOLD:
        some = wrong[levels == level]
        print(f"level {level:4}: {some.median():+.2f}, {some.square().mean().sqrt():.2f}")


def examples(levels: Sequence[float | None], every: int, index: int, path: Path) -> list[Example]:
    """Squares of one photo at `levels`, None for one drawn; each `every`th may be made softer."""
    task = build_task("photo")
    photo = torch.tensor(read_picture(path).pixels).permute(2, 0, 1).float() / 255
    made: list[Example] = []
    for turn, asked in enumerate(levels):
        random = seeded(torch.device("cpu"), "visible noise", index, turn)
        sides = [min(SIDE, size) for size in photo.shape[1:]]
        top, left = (
            int(torch.randint(size - side + 1, (1,), generator=random))
            for size, side in zip(photo.shape[1:], sides, strict=True)
        )
        clean = photo[None, :, top : top + sides[0], left : left + sides[1]]
        if turn % every == 0:
            clean = task.vary(clean, random)
        gray = torch.tensor([turn % GRAY == GRAY - 1])
        if gray:
            clean = clean.mean(1, keepdim=True).expand_as(clean)
        drawn = float(torch.rand(1, generator=random))
        level = FAINTEST * (STRONGEST / FAINTEST) ** drawn if asked is None else asked
        noisy = task.degrade(clean, level, random, gray)
        noise = float((noisy - clean).square().mean().sqrt()) * 255
        seen = measured(noisy[0].permute(1, 2, 0).contiguous().numpy())
        if seen is not None:
            made.append((seen.tolist(), level, float(np.log(max(noise, FLOOR)))))
    return made


def _tensors(found: list[list[Example]]) -> tuple[Tensor, Tensor, Tensor]:
    rows = [row for photo in found for row in photo]
    values, levels, noise = zip(*rows, strict=True)
    return torch.tensor(values), torch.tensor(levels), torch.tensor(noise)


def fitted(values: Tensor, levels: Tensor, noise: Tensor) -> dict[str, Tensor]:
    """The network's tensors."""
    mean, deviation = values.mean(0), values.std(0)
    values = (values - mean) / deviation
    torch.manual_seed(0)
    sizes = (values.shape[1], WIDTH, WIDTH, 1)
    weights = {"mean": mean, "deviation": deviation}
    for i, (into, out) in enumerate(pairwise(sizes), start=1):
        layer = torch.nn.Linear(into, out)
        weights |= {f"{i}.weight": layer.weight.data, f"{i}.bias": layer.bias.data}
    learned = [weights[name].requires_grad_() for name in weights if "." in name]
    optimizer = torch.optim.AdamW(learned, RATE, weight_decay=DECAY)
    for epoch in range(EPOCHS):
        optimizer.param_groups[0]["lr"] = RATE * (1 - epoch / EPOCHS)
        for batch in torch.randperm(len(values)).split(BATCH):
            seen = values[batch] + JITTER * torch.randn(len(batch), sizes[0])
            loss = smooth_l1_loss(noise_of(weights, seen), noise[batch], beta=0.3)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return {name: tensor.detach() for name, tensor in weights.items()}


if __name__ == "__main__":
    main()
