"""Plain networks between style models of one base: deep network interpolation, N-way.

    python tests/benchmarks/style_mix.py MODEL MODEL [MODEL ...] --photos FOLDER --styles FOLDER \\
        [--steps 4] [--alpha 1] [--limit 6] [--side 512] [--sheet sheet.jpg]

Each model is folded at ALPHA, and `tunectl interpolate --mix` makes the networks between each and
the next in STEPS steps, and the equal mix of all. For each, over photos of at most SIDE pixels: the
content loss and the loss of every model's style, as they were weighed in training. The sheet has a
row for each photo: the photo, then what each network makes of it.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from statistics import mean

import torch
from style_knob import add_photo_arguments, grid, photos, style_task

from tunectl.inference.interpolate import fold_file, mix_files
from tunectl.inference.load import load


def shares(count: int, steps: int) -> list[list[float]]:
    """From each model to the next, then all alike."""
    found = []
    for i in range(count - 1):
        for step in range(steps + (i == count - 2)):
            row = [0.0] * count
            row[i], row[i + 1] = 1 - step / steps, step / steps
            found.append(row)
    return found + ([[1 / count] * count] if count > 2 else [])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("models", nargs="+")
    parser.add_argument("--steps", type=int, default=4)
    parser.add_argument("--alpha", type=float, default=1.0)
    add_photo_arguments(parser)
    given = parser.parse_args()
    pictures = photos(given.photos, given.limit, given.side)
    tasks = [style_task(load(name, device="cpu"), given.styles) for name in given.models]
    names = [task.fields.second for task in tasks]
    print(f"| {' | '.join(names)} | content | {' | '.join(f'style {name}' for name in names)} |")
    print("|---" * (2 * len(names) + 1) + "|")
    columns = [pictures]
    with tempfile.TemporaryDirectory() as folder:
        plain = [Path(folder, f"{i}.safetensors") for i in range(len(names))]
        mixed = Path(folder, "mixed.safetensors")
        for name, path in zip(given.models, plain, strict=True):
            fold_file(name, given.alpha, path)
        for weights in shares(len(names), given.steps):
            mixed.unlink(missing_ok=True)
            mix_files(plain, weights, mixed)
            model = load(mixed, device="cpu")
            outputs = [model(picture) for picture in pictures]
            pairs = list(zip(outputs, pictures, strict=True))
            with torch.inference_mode():
                found = [[t.scores(o[None], p[None], 1.0) for o, p in pairs] for t in tasks]
            cells = [f"{weight:.2f}" for weight in weights]
            cells.append(f"{mean(score['content'] for score in found[0]):.1f}")
            for name, scores in zip(names, found, strict=True):
                cells.append(f"{mean(score[f'style {name}'] for score in scores):.1f}")
            print(f"| {' | '.join(cells)} |", flush=True)
            columns.append(outputs)
    if given.sheet is not None:
        grid([list(row) for row in zip(*columns, strict=True)]).save(given.sheet, quality=90)


if __name__ == "__main__":
    main()
