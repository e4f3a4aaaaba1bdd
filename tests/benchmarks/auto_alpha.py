"""How much PSNR `--alpha auto` loses against the best alpha of each picture.

    python tests/benchmarks/auto_alpha.py IMAGES [--model denoise] [--limit N] [--level 5,15,25]

The same noise once as it is, and once rounded and clipped to 8 bits, as a file holds it. At level
0 nothing is added, and the PSNR of the result is printed instead.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from tunectl.evaluation.cases import degraded, load_pictures
from tunectl.evaluation.metrics import gray, mean, psnr
from tunectl.inference.load import load
from tunectl.inference.model import Model
from tunectl.tasks import build_task

STEP = 0.05  # of alpha


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("images", type=Path)
    parser.add_argument("--model", default="denoise")
    parser.add_argument("--level", default="0,5,15,25,35,50,75")
    parser.add_argument("--gray", action="store_true")
    parser.add_argument("--limit", type=int)
    given = parser.parse_args()
    pictures = load_pictures(given.images, gray if given.gray else None, given.limit)
    model = load(given.model)
    print(f"{given.images.name}, {len(pictures)} pictures, model {given.model}\n")
    print("| input | sigma | estimate: mean, least, most | PSNR lost: mean, most | PSNR: mean |")
    print("|---|---|---|---|---|")
    for clip in (False, True):
        for level in map(float, given.level.split(",")):
            if level or clip:
                print(row(model, pictures, level, clip), flush=True)


def row(model: Model, pictures: list[torch.Tensor], level: float, clip: bool) -> str:
    task = build_task("denoise", {"clip": str(clip)})
    levels, losses, scores = [], [], []
    for index, picture in enumerate(pictures):
        clean, noisy = degraded(picture, task, level, index)
        array = noisy[0].permute(1, 2, 0).numpy()
        if clip:
            array = (array * 255).round().astype(np.uint8)
        levels.append(model.estimate(array))
        own = model.alpha(levels[-1])

        def score(alpha: float, noisy: torch.Tensor = noisy, clean: torch.Tensor = clean) -> float:
            return psnr(model(noisy, alpha), clean)

        scores.append(score(own))
        if level:
            losses.append(highest(score, own, scores[-1]) - scores[-1])
    name = "8 bits, clipped" if clip else "as it is"
    lost = f"{mean(losses):.3f}, {max(losses):.3f}" if losses else "-"
    spread = f"{mean(levels):.2f}, {min(levels):.2f}, {max(levels):.2f}"
    return f"| {name} | {level:g} | {spread} | {lost} | {mean(scores):.2f} |"


def highest(score: Callable[[float], float], start: float, known: float) -> float:
    """The maximum of a smooth `score` near `start`, whose score is `known`.

    Up parabolas through three alphas, until the top lies between them.
    """
    middle = min(max(start, STEP), 1 - STEP)
    found = {start: known}
    for _ in range(12):
        near = (middle - STEP, middle, middle + STEP)
        found |= {x: score(x) for x in near if x not in found}
        left, centre, right = (found[x] for x in near)
        bend = left - 2 * centre + right
        moved = STEP if right > left else -STEP
        if bend < 0:
            moved = STEP * (left - right) / (2 * bend)
            if abs(moved) <= STEP:
                top = middle + moved
                found[top] = score(top)
                break
        before, middle = middle, middle + max(-2 * STEP, min(2 * STEP, moved))
        middle = min(max(middle, STEP), 1 - STEP)
        if middle == before:  # the top is an end of the knob
            break
    return max(found.values())


if __name__ == "__main__":
    main()
