"""The README's picture: one noisy photo at several settings of the knob.

python weights/recipes/knob_picture.py weights/example/noisy.png weights/example/knob.png
"""

from __future__ import annotations

import sys

from PIL import Image, ImageDraw, ImageFont

import tunectl

ALPHAS = (0.1, 0.3, 0.5, 0.9)
CROP = (250, 60, 470, 260)


def main(source: str, target: str) -> None:
    noisy = Image.open(source).convert("RGB")
    model = tunectl.load("denoise")
    panels = [("input", noisy)]
    for alpha in ALPHAS:
        label = f"alpha {alpha:g}  (sigma {model.level(alpha):.0f})"
        panels.append((label, model(noisy, alpha=alpha)))
    width, height, bar, gap = CROP[2] - CROP[0], CROP[3] - CROP[1], 24, 6
    sheet = Image.new("RGB", (len(panels) * (width + gap) - gap, height + bar), "white")
    pen = ImageDraw.Draw(sheet)
    font = ImageFont.load_default(15)
    for i, (label, picture) in enumerate(panels):
        left = i * (width + gap)
        sheet.paste(picture.crop(CROP), (left, bar))
        pen.text((left + 2, 3), label, fill="black", font=font)
    sheet.save(target, optimize=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
