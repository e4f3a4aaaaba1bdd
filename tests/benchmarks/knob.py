"""How well knobs behave, apart from the PSNR that `tunectl evaluate` prints.

    python tests/benchmarks/knob.py IMAGES MODEL... [--limit N] [--rivals FOLDER] [--plot PNG]

A row a model: parameters and multiplications a pixel; flat pictures of 240 x 320, which must stay
as they are at every alpha; how evenly the output moves with alpha; whether PSNR at the two ends of
the knob moves one way only, both on what the model was trained for. With FOLDER, which holds
FFDNet, also the error in luma and in chroma apart, under Gaussian noise that is not clipped. PNG
gets the tint of flat white along alpha as curves.
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
from tunectl.evaluation.chart import Curve, draw_chart
from tunectl.evaluation.metrics import mean, psnr
from tunectl.evaluation.smoothness import smoothness
from tunectl.inference.load import load
from tunectl.inference.model import Model
from tunectl.networks import macs_per_pixel
from tunectl.tasks import Task, build_task

DENOISE = build_task("denoise")
FLAT = {"white": (1, 1, 1), "gray": (0.5, 0.5, 0.5), "black": (0, 0, 0), "red": (0.9, 0.1, 0.1)}
# Rows: BT.601's luma and colour differences, each scaled to a unit vector's length, so that white
# noise is as strong in each of them.
YUV = torch.tensor([(0.299, 0.587, 0.114), (-0.169, -0.331, 0.5), (0.5, -0.419, -0.081)])
YUV = YUV / YUV.norm(dim=1, keepdim=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("images", type=Path)
    parser.add_argument("models", nargs="+")
    parser.add_argument("--level", default="5,15,25,35,50,75", help="for luma and chroma")
    parser.add_argument("--rivals", type=Path)
    parser.add_argument("--limit", type=int)
    parser.add_argument("--plot", type=Path)
    given = parser.parse_args()
    levels = [float(level) for level in given.level.split(",")]
    pictures = load_pictures(given.images, limit=given.limit)
    models = {Path(name).stem: load(name, device="cpu") for name in given.models}
    print(f"{given.images.name}, {len(pictures)} pictures")
    table("What it costs, at alpha a half", "model", "parameters, M", "of the knob, M", "MMAC/px")
    rows(models, cost)
    table(
        "Flat pictures, all alphas in tenths, in 8-bit steps",
        *("model", *FLAT, "white's tint", "a pixel's shift, most"),
    )
    rows(models, flat)
    if given.plot is not None:
        curves = [Curve(name, white_tint(model)) for name, model in models.items()]
        title = "Flat white: how far its channels drift apart"
        draw_chart(given.plot, title, "alpha", "8-bit steps", curves)
    table(
        "The first picture at the middle level, alpha in hundredths: change per hundredth",
        *("model", "most", "most / mean", "distance from alpha 0 grows"),
    )
    rows(models, lambda model: evenness(model, pictures[0]))
    table(
        "PSNR as alpha goes from 0 to 1 in tenths",
        *("model", "at the weak end", "falls", "at the strong end", "rises"),
    )
    rows(models, lambda model: ends(model, pictures[:12]))
    if given.rivals is not None:
        colours(models, pictures, levels, given.rivals)


def rows(models: dict[str, Model], cells: Callable[[Model], list[str]]) -> None:
    for name, model in models.items():
        print(f"| {name} | {' | '.join(cells(model))} |", flush=True)


def table(title: str, *columns: str) -> None:
    print(f"\n{title}\n\n| {' | '.join(columns)} |\n|{'---|' * len(columns)}", flush=True)


def cost(model: Model) -> list[str]:
    """Parameters in all and of the tuner, and multiplications of what runs."""
    everything = sum(p.numel() for p in model.network.parameters())
    tuner = getattr(model.network, "tuner", None)
    own = 0 if tuner is None else sum(p.numel() for p in tuner.parameters())
    macs = macs_per_pixel(model.fold(0.5))
    return [f"{count / 1e6:.3f}" for count in (everything, own, macs)]


def flat(model: Model) -> list[str]:
    """The most that a channel's mean moves; white's channels apart; the most that a pixel moves.

    From the network itself: what `apply` clamps to the range is not hidden here.
    """
    cells, tint, pixel = [], 0.0, 0.0
    for name, colour in FLAT.items():
        picture = torch.tensor(colour, dtype=torch.float32).view(1, 3, 1, 1).repeat(1, 1, 240, 320)
        shift = 0.0
        for i in range(11):
            moved = move(model, picture, i / 10)
            means = moved.mean(dim=(2, 3))
            shift = max(shift, float(means.abs().max()))
            pixel = max(pixel, float(moved.abs().max()))
            if name == "white":
                tint = max(tint, float(means.max() - means.min()))
        cells.append(f"{shift:.2f}")
    return [*cells, f"{tint:.2f}", f"{pixel:.2f}"]


def move(model: Model, picture: Tensor, alpha: float) -> Tensor:
    with torch.inference_mode():
        return (model.fold(alpha)(picture) - picture) * 255


def white_tint(model: Model) -> list[tuple[float, float]]:
    """At each alpha, how far the means of white's channels are apart."""
    white = torch.ones(1, 3, 240, 320)
    points = []
    for i in range(21):
        means = move(model, white, i / 20).mean(dim=(2, 3))
        points.append((i / 20, float(means.max() - means.min())))
    return points


def task_of(model: Model) -> Task:
    part = model.header.task
    assert part is not None
    return build_task(part.name, part.fields)


def evenness(model: Model, picture: Tensor) -> list[str]:
    """The largest mean change in 8-bit steps, its ratio to the mean one, growth from alpha 0."""
    knob = model.header.knob
    assert knob is not None
    _clean, noisy = degraded(picture, task_of(model), knob.scheduled_level(0.5), 0)
    found = smoothness(model, noisy)
    return [
        f"{found.most:.3f} at {found.where:g}",
        f"{found.unevenness:.2f}",
        f"{found.growing} of 100",
    ]


def ends(model: Model, pictures: Sequence[Tensor]) -> list[str]:
    """At both ends' levels the first and last PSNR, and in how many tenths it moves as wished."""
    knob = model.header.knob
    assert knob is not None
    cells = []
    for level, sign in zip(knob.levels, (-1, 1), strict=True):
        inputs = [degraded(clean, task_of(model), level, i) for i, clean in enumerate(pictures)]
        curve = [
            mean([psnr(model(noisy, i / 10), clean) for clean, noisy in inputs]) for i in range(11)
        ]
        right = sum((b - a) * sign > 0 for a, b in itertools.pairwise(curve))
        cells += [f"{curve[0]:.2f} to {curve[-1]:.2f}", f"{right} of 10"]
    return cells


def colours(
    models: dict[str, Model], pictures: Sequence[Tensor], levels: Sequence[float], rivals: Path
) -> None:
    ffdnet = load_rival(rivals, "ffdnet_color")
    restorers: dict[str, Callable[[Tensor, float], Tensor]] = {
        "FFDNet": lambda noisy, level: ffdnet(noisy, level / 255).clamp(0, 1)
    }
    for name, model in models.items():
        restorers[name] = lambda noisy, level, model=model: model(noisy, level=level)
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
