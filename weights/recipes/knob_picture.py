"""A photo at several settings of a model's knob: the README's picture, and the card's.

python weights/recipes/knob_picture.py weights/example/noisy.png weights/example/knob.png
python weights/recipes/knob_picture.py weights/example/clean.png weights/example/card.png \
    --model denoise --sigma 10,25,60 --alpha 0,0.5,1,calibrated
"""

from __future__ import annotations

import argparse

import numpy as np
from PIL import Image, ImageDraw, ImageFont

import tunectl
from tunectl.knob import SYMBOLS

BAR, GAP = 24, 6


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("source")
    parser.add_argument("target")
    parser.add_argument("--model", default="photo")
    parser.add_argument("--sigma", default="", help="noise to add, a row each; clipped to 8 bits")
    parser.add_argument("--alpha", default="0.1,0.3,0.5,0.8")
    parser.add_argument("--crop", default="250,60,470,260", help="left, top, right, bottom")
    given = parser.parse_args()
    crop = tuple(int(side) for side in given.crop.split(","))
    photo = Image.open(given.source).convert("RGB")
    model = tunectl.load(given.model)
    assert model.header.task is not None
    unit = SYMBOLS[model.header.task.name]
    rows = []
    for sigma in [float(word) for word in given.sigma.split(",") if word] or [None]:
        start = photo if sigma is None else noisy(photo, sigma)
        row = [("input" if sigma is None else f"sigma {sigma:g}", start)]
        for word in given.alpha.split(","):
            alpha = model.alpha(sigma) if word == "calibrated" else float(word)
            name = "calibrated" if word == "calibrated" else "alpha"
            label = f"{name} {alpha:.2g}  ({unit} {model.level(alpha):.0f})"
            row.append((label, model(start, alpha=alpha)))
        rows.append(row)
    sheet(rows, crop).save(given.target, optimize=True)


def noisy(photo: Image.Image, sigma: float) -> Image.Image:
    pixels = np.asarray(photo, dtype=np.float64)
    pixels = pixels + np.random.default_rng(0).normal(0, sigma, pixels.shape)
    return Image.fromarray(pixels.round().clip(0, 255).astype(np.uint8))


def sheet(rows: list[list[tuple[str, Image.Image]]], crop: tuple[int, ...]) -> Image.Image:
    left, top, right, bottom = crop
    width, height = right - left + GAP, bottom - top + BAR + GAP
    picture = Image.new("RGB", (len(rows[0]) * width - GAP, len(rows) * height - GAP), "white")
    pen, font = ImageDraw.Draw(picture), ImageFont.load_default(15)
    for y, row in enumerate(rows):
        for x, (label, panel) in enumerate(row):
            picture.paste(panel.crop((left, top, right, bottom)), (x * width, y * height + BAR))
            pen.text((x * width + 2, y * height + 3), label, fill="black", font=font)
    return picture


if __name__ == "__main__":
    main()
