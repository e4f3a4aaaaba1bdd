"""A style model along its knob: losses, smoothness and a contact sheet.

    python tests/benchmarks/style_knob.py MODEL [MODEL ...] --photos FOLDER --styles FOLDER \\
        [--limit 6] [--side 512] [--sheet sheet.jpg] [--alphas 0,0.25,0.5,0.75,1]

At 11 alphas from 0 to 1 (21 from -1 of a knob with two ends), over photos of at most SIDE pixels:
how far the output lies from the photo (mean absolute difference in 8-bit steps), the content loss,
the loss of each style that the model knows, as they were weighed in training, and the step from
the alpha before (RMSE in 8-bit steps). The style pictures are found in FOLDER by name. Smoothness
is the largest step over the mean one: 1 is even. The sheet has a row for each photo and model: the
photo, then what comes out at ALPHAS.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from statistics import mean

import torch
from PIL import Image
from torch import Tensor

from tunectl.images import find_pictures, read_rgb8
from tunectl.inference.load import load
from tunectl.inference.model import Model
from tunectl.tasks import build_task
from tunectl.tasks.style import Style

GAP = 6


def photos(folder: Path, limit: int, side: int) -> list[Tensor]:
    """Each (3, H, W) in [0, 1], the longer side at most `side`."""
    found = []
    for path in find_pictures(folder)[:limit]:
        picture = Image.fromarray(read_rgb8(path).copy())
        picture.thumbnail((side, side), Image.Resampling.LANCZOS)
        samples = torch.frombuffer(bytearray(picture.tobytes()), dtype=torch.uint8)
        found.append(samples.view(picture.height, picture.width, 3).permute(2, 0, 1) / 255)
    return found


def style_task(model: Model, styles: Path) -> Style:
    part = model.header.task
    assert part is not None
    task = build_task(part.name, part.fields)
    assert isinstance(task, Style), f"{part.name} is not style"
    pictures = {path.stem: path for path in find_pictures(styles)}
    task.prepare(model.network, pictures, torch.device("cpu"))
    return task


def along(model: Model, task: Style, pictures: list[Tensor]) -> list[dict[str, float]]:
    """The measures at each alpha."""
    knob = model.header.knob
    assert knob is not None
    alphas = [i / 10 for i in range(-10 if knob.lowest < 0 else 0, 11)]
    rows: list[dict[str, float]] = []
    before: list[Tensor] = []
    for alpha in alphas:
        outputs = [model(picture, alpha) for picture in pictures]
        with torch.inference_mode():
            scores = [
                task.scores(output[None], picture[None], knob.scheduled_level(alpha))
                for output, picture in zip(outputs, pictures, strict=True)
            ]
        row = {"alpha": alpha} | {name: mean(s[name] for s in scores) for name in scores[0]}
        if before:
            row["step"] = 255 * mean(
                float((a - b).square().mean().sqrt()) for a, b in zip(outputs, before, strict=True)
            )
        rows.append(row)
        before = outputs
    return rows


def table(rows: list[dict[str, float]]) -> str:
    names = [name for name in rows[-1] if name != "alpha"]
    lines = [f"| alpha | {' | '.join(names)} |", "|---" * (len(names) + 1) + "|"]
    for row in rows:
        cells = (f"{row[name]:.1f}" if name in row else "" for name in names)
        lines.append(f"| {row['alpha']:.1f} | {' | '.join(cells)} |")
    return "\n".join(lines)


def grid(rows: list[list[Tensor]]) -> Image.Image:
    """The cells (3, H, W) of each row side by side, as wide as the widest of all."""
    width = max(cell.shape[2] for row in rows for cell in row) + GAP
    heights = [max(cell.shape[1] for cell in row) + GAP for row in rows]
    result = Image.new("RGB", (width * len(rows[0]) - GAP, sum(heights) - GAP), "white")
    for y, row in enumerate(rows):
        for x, cell in enumerate(row):
            pixels = cell.mul(255).round().to(torch.uint8).permute(1, 2, 0).numpy()
            result.paste(Image.fromarray(pixels), (x * width, sum(heights[:y])))
    return result


def add_photo_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--photos", type=Path, required=True)
    parser.add_argument("--styles", type=Path, required=True)
    parser.add_argument("--limit", type=int, default=6)
    parser.add_argument("--side", type=int, default=512)
    parser.add_argument("--sheet", type=Path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("models", nargs="+")
    add_photo_arguments(parser)
    parser.add_argument("--alphas", default="0,0.25,0.5,0.75,1")
    given = parser.parse_args()
    pictures = photos(given.photos, given.limit, given.side)
    models = [load(name, device="cpu") for name in given.models]
    for name, model in zip(given.models, models, strict=True):
        rows = along(model, style_task(model, given.styles), pictures)
        steps = [row["step"] for row in rows[1:]]
        print(f"\n{name}, {len(pictures)} photos\n\n{table(rows)}")
        print(f"\nlargest step / mean step: {max(steps) / mean(steps):.2f}", flush=True)
    if given.sheet is not None:
        alphas = [float(alpha) for alpha in given.alphas.split(",")]
        rows = [
            [picture, *(model(picture, alpha) for alpha in alphas)]
            for picture in pictures
            for model in models
        ]
        grid(rows).save(given.sheet, quality=90)


if __name__ == "__main__":
    main()
