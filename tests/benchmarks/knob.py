"""How well a model's knob behaves, apart from the PSNR that `tunectl evaluate` prints.

    python tests/benchmarks/knob.py IMAGES [--model denoise] [--rivals FOLDER] [--limit N]

Three tables: flat pictures, which must stay as they are at any alpha; how evenly the output moves
with alpha; and, beside FFDNet where FOLDER holds it, the error in luma and in chroma apart. Noise
is not clipped.
"""

from __future__ import annotations

import argparse
import itertools
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from rival_models import load_rival
from torch import Tensor

from tunectl.evaluation.cases import degraded, load_pictures
from tunectl.inference.load import load
from tunectl.inference.model import Model
from tunectl.tasks import build_task

DENOISE = build_task("denoise")
FLAT = {"white": (1, 1, 1), "gray": (0.5, 0.5, 0.5), "black": (0, 0, 0), "red": (0.9, 0.1, 0.1)}
# Rows: BT.601's luma and colour differences, each scaled to a unit vector's length, so that white
# noise is as strong in each of them.
YUV = torch.tensor([(0.299, 0.587, 0.114), (-0.169, -0.331, 0.5), (0.5, -0.419, -0.081)])
YUV = YUV / YUV.norm(dim=1, keepdim=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("images", type=Path)
    parser.add_argument("--model", default="denoise")
    parser.add_argument("--level", default="5,15,25,35,50,75")
    parser.add_argument("--rivals", type=Path)
    parser.add_argument("--limit", type=int)
    given = parser.parse_args()
    levels = [float(level) for level in given.level.split(",")]
    pictures = load_pictures(given.images, limit=given.limit)
    model = load(given.model)
    print(f"{given.images.name}, {len(pictures)} pictures, model {given.model}")
    flat(model)
    smoothness(model, pictures[0])
    colours(model, pictures, levels, given.rivals)


def table(title: str, *columns: str) -> None:
    print(f"\n{title}\n\n| {' | '.join(columns)} |\n|{'---|' * len(columns)}", flush=True)


def flat(model: Model) -> None:
    alphas = [i / 10 for i in range(11)]
    table(
        "Flat pictures of 240 x 320, all alphas from 0 to 1 in tenths, in 8-bit steps",
        *("picture", "mean shift, most", "a pixel's shift, most", "at alpha"),
    )
    for name, colour in FLAT.items():
        picture = (
            torch.tensor(colour, dtype=torch.float32)
            .view(1, 3, 1, 1)
            .expand(1, 3, 240, 320)
            .contiguous()
        )
        # From the network itself: what `apply` clamps to the range is not hidden here.
        moved = [(model.fold(alpha)(picture) - picture) * 255 for alpha in alphas]
        means = max(float(m.mean(dim=(2, 3)).abs().max()) for m in moved)
        most = [float(m.abs().max()) for m in moved]
        worst = alphas[most.index(max(most))]
        print(f"| {name} | {means:.2f} | {max(most):.2f} | {worst:g} |", flush=True)


def smoothness(model: Model, picture: Tensor) -> None:
    table(
        "The first picture at sigma 25, alpha from 0 to 1 in hundredths, in 8-bit steps",
        *("mean change a hundredth, most", "at alpha", "least", "distance from alpha 0 grows"),
    )
    _clean, noisy = degraded(picture, DENOISE, 25.0, 0)
    first = before = model(noisy, 0.0)
    changes, distances = [], [0.0]
    for i in range(1, 101):
        now = model(noisy, i / 100)
        changes.append(float((now - before).abs().mean()) * 255)
        distances.append(float((now - first).abs().mean()) * 255)
        before = now
    most, least = max(changes), min(changes)
    grows = sum(b > a for a, b in itertools.pairwise(distances))
    print(
        f"| {most:.3f} | {(changes.index(most) + 1) / 100:g} | {least:.3f} | {grows} of 100 steps |"
    )


def colours(
    model: Model, pictures: Sequence[Tensor], levels: Sequence[float], rivals: Path | None
) -> None:
    restorers: dict[str, Callable[[Tensor, float], Tensor]] = {
        "this": lambda noisy, level: model(noisy, level=level)
    }
    if rivals is not None:
        ffdnet = load_rival(rivals, "ffdnet_color")
        restorers["FFDNet"] = lambda noisy, level: ffdnet(noisy, level / 255).clamp(0, 1)
    table(
        "Error in luma and the two colour differences, as PSNR in dB",
        *("sigma", "model", "luma", "blue", "red"),
    )
    for level in levels:
        for name, restore in restorers.items():
            rows = []
            for index, clean in enumerate(pictures):
                target, noisy = degraded(clean, DENOISE, level, index)
                with torch.inference_mode():
                    error = restore(noisy, level) - target
                error = torch.einsum("kc,nchw->nkhw", YUV, error)
                rows.append(-10 * error.square().mean(dim=(0, 2, 3)).log10())
            cells = " | ".join(f"{value:.2f}" for value in torch.stack(rows).mean(0).tolist())
            print(f"| {level:g} | {name} | {cells} |", flush=True)


if __name__ == "__main__":
    main()
