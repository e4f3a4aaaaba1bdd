"""The network that tells how noisy a camera's photo is: weights/features/visible_noise.safetensors.

python weights/recipes/visible_noise.py PHOTOS VALIDATION OUT

From each of PHOTOS two dozen squares are cut, every fifth made gray, six left clean, the others
given made-up noise of cameras, and most saved as JPEG. The network is fitted to the difference that
the noise then makes to the file.
Printed is how well it does on squares of VALIDATION: by level, the median and the root mean square
of the logarithm of what it says over what is there.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import save_file
from torch import Tensor
from torch.nn.functional import avg_pool2d, smooth_l1_loss

from tunectl.images import find_pictures, read_picture
from tunectl.seeds import seeded
from tunectl.tasks import build_task
from tunectl.tasks.photo import FULL, Photo
from tunectl.tasks.visible_noise import CROP, WINDOW, NoiseReader, energies

SIDE = 2 * CROP  # four crops
SQUARES, CLEAN, SHARP = 24, 6, 3  # of a photo, those of them without noise, and never made softer
GRAY = 5  # every so manyth is gray
FAINTEST, STRONGEST = 0.3, 30.0  # levels drawn, evenly in their logarithms
TOLD = (0.0, 0.8, 1.6, 3.0, 5.0, 8.0, 12.0, 18.0)  # levels of validation, twice each
FLOOR = 0.3  # 8-bit steps; what has less noise counts as if it had that
EPOCHS, BATCH, RATE, DECAY, WARMUP, CLIP = 10, 32, 2e-3, 0.1, 100, 1.0
JITTER = 0.05  # added to what the network sees, in deviations
WINDOWS = 0.3  # of the loss, beside that of the whole square
BETA = 0.3  # from where the loss is linear

# (4, FEATURES, h, w), the level, the logarithm of the noise, and that of the windows, (4, h, w)
Example = tuple[NDArray[np.float16], float, float, NDArray[np.float32]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("photos", type=Path)
    parser.add_argument("validation", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--exclude", default="bsd_*", help="photos that are left out")
    parser.add_argument("--processes", type=int, default=2)
    given = parser.parse_args()
    photos = [path for path in find_pictures(given.photos) if not path.match(given.exclude)]
    drawn = [0.0] * CLEAN + [None] * (SQUARES - CLEAN)
    pictures = find_pictures(given.validation)
    told = [level for level in TOLD for _ in range(2)]
    alone = partial(torch.set_num_threads, 1)
    with ProcessPoolExecutor(given.processes, initializer=alone) as pool:
        learned = list(pool.map(partial(examples, drawn, SHARP), range(len(photos)), photos))
        checked = list(pool.map(partial(examples, told, 1), range(len(pictures)), pictures))
    reader = fitted([example for photo in learned for example in photo])
    save_file({name: tensor.half() for name, tensor in reader.state_dict().items()}, given.out)
    told_of: dict[float, list[Tensor]] = {level: [] for level in TOLD}
    with torch.inference_mode():
        for seen, level, noise, _ in (example for photo in checked for example in photo):
            said, _ = reader(torch.from_numpy(seen)[None].float())
            told_of[level].append(said[0] - noise)
    for level, wrong in told_of.items():
        off = torch.stack(wrong)
        print(f"level {level:4}: {off.median():+.2f}, {off.square().mean().sqrt():.2f}")


def examples(levels: Sequence[float | None], sharp: int, index: int, path: Path) -> list[Example]:
    """Squares of one photo at `levels`, None for one drawn; the first `sharp` stay as sharp as they
    are. A photo that is too small has none."""
    task, unsaved = build_task("photo"), build_task("photo", {"saved": 0})
    assert isinstance(task, Photo)
    photo = torch.tensor(read_picture(path).pixels).permute(2, 0, 1).float() / 255
    if min(photo.shape[1:]) < SIDE:
        return []
    made: list[Example] = []
    for turn, asked in enumerate(levels):
        random = seeded(torch.device("cpu"), "visible noise", index, turn)
        top, left = (
            int(torch.randint(size - SIDE + 1, (1,), generator=random)) for size in photo.shape[1:]
        )
        clean = photo[None, :, top : top + SIDE, left : left + SIDE]
        if turn >= sharp:
            clean = task.vary(clean, random)
        gray = torch.tensor([turn % GRAY == GRAY - 1])
        if gray:
            clean = clean.mean(1, keepdim=True).expand_as(clean)
        clean = clean.mul(255).round() / 255
        drawn = float(torch.rand(1, generator=random))
        level = FAINTEST * (STRONGEST / FAINTEST) ** drawn if asked is None else asked
        noisy = unsaved.degrade(clean, level, random, gray)[0]
        if gray:
            clean, noisy = clean[:, :1], noisy[:1]
        # Both alike, and at any quality, which for little noise the task would keep high.
        keep, again = (seeded(torch.device("cpu"), "saving", index, turn) for _ in range(2))
        noisy, kept = task.saved(noisy, FULL, keep), task.saved(clean, FULL, again)
        power = ((noisy - kept) * 255).square().mean(1, keepdim=True)
        noise, windows = (
            mean.clamp_min(FLOOR**2).sqrt().log()
            for mean in (power.mean(), avg_pool2d(_four(power), WINDOW)[:, 0])
        )
        noisy = noisy.expand(-1, 3, -1, -1)
        seen = energies(_four(noisy) * 255).half().numpy()
        made.append((seen, level, float(noise), windows.numpy()))
    return made


def _four(square: Tensor) -> Tensor:
    """(1, C, SIDE, SIDE) as its crops (4, C, CROP, CROP)."""
    return torch.cat([half for row in square.split(CROP, 2) for half in row.split(CROP, 3)])


def fitted(learned: Sequence[Example]) -> NoiseReader:
    """The network."""
    seen = torch.from_numpy(np.stack([example[0] for example in learned]))
    noise = torch.tensor([example[2] for example in learned])
    windows = torch.from_numpy(np.stack([example[3] for example in learned]))
    torch.manual_seed(0)
    reader = NoiseReader()
    some = seen[torch.randperm(len(seen))[:1000]].float().flatten(0, 1)
    reader.mean.copy_(some.mean((0, 2, 3))[:, None, None])
    reader.deviation.copy_(some.std((0, 2, 3))[:, None, None])
    optimizer = torch.optim.AdamW(reader.parameters(), RATE, weight_decay=DECAY)
    steps = EPOCHS * (len(seen) // BATCH)
    pace = torch.optim.lr_scheduler.SequentialLR(
        optimizer,
        [
            torch.optim.lr_scheduler.LinearLR(optimizer, 1 / WARMUP, total_iters=WARMUP),
            torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps - WARMUP),
        ],
        [WARMUP],
    )
    for _ in range(EPOCHS):
        for batch in torch.randperm(len(seen))[: len(seen) // BATCH * BATCH].split(BATCH):
            sight = seen[batch].float()
            sight += JITTER * reader.deviation * torch.randn_like(sight)
            whole, parts = reader(sight)
            loss = smooth_l1_loss(whole, noise[batch], beta=BETA)
            loss = loss + WINDOWS * smooth_l1_loss(parts, windows[batch], beta=BETA)
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(reader.parameters(), CLIP)
            optimizer.step()
            pace.step()
    return reader.eval()


if __name__ == "__main__":
    main()
