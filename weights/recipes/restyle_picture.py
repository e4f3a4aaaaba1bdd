"""Photos in several styles by one model: the picture on the card of `adain`.

python weights/recipes/restyle_picture.py TARGET --photos A B ... --styles C D ... [--alpha 1]

A row a style, the style's picture first; above them the photos.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from PIL import Image

import tunectl
from tunectl.inference.styles import set_styles

GAP = 6


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("target")
    parser.add_argument("--model", default="adain")
    parser.add_argument("--photos", type=Path, nargs="+", required=True)
    parser.add_argument("--styles", type=Path, nargs="+", required=True)
    parser.add_argument("--alpha", type=float, default=1.0)
    parser.add_argument("--width", type=int, default=420)
    given = parser.parse_args()
    model = tunectl.load(given.model)
    photos = [scaled(path, given.width) for path in given.photos]
    rows = [[Image.new("RGB", (given.width, 1), "white"), *photos]]
    for style in given.styles:
        set_styles(model, [style])
        rows.append([scaled(style, given.width)] + [model(p, alpha=given.alpha) for p in photos])
    heights = [max(cell.height for cell in row) + GAP for row in rows]
    sheet = Image.new(
        "RGB", ((given.width + GAP) * len(rows[0]) - GAP, sum(heights) - GAP), "white"
    )
    for y, row in enumerate(rows):
        for x, cell in enumerate(row):
            sheet.paste(cell, (x * (given.width + GAP), sum(heights[:y])))
    sheet.save(given.target, quality=90)


def scaled(path: Path, width: int) -> Image.Image:
    picture = Image.open(path).convert("RGB")
    size = (width, round(picture.height * width / picture.width))
    return picture.resize(size, Image.Resampling.LANCZOS)


if __name__ == "__main__":
    main()
