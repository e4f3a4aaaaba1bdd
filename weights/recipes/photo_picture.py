"""Night, skin, sky and text with made-up noise of cameras: the card's picture of `photo`.

python weights/recipes/photo_picture.py CONTENT weights/example/photo.jpg

CONTENT holds the content photos for style transfer, of which four are taken. Each is seen by a
camera that smooths little and by one that leaves blotches of colour.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from knob_picture import sheet
from PIL import Image

import tunectl
from tunectl.tasks.camera import Camera, Cameras

SIZE = (200, 150)
PLACES = {
    "city_night": (650, 190, 7.0),  # left, top, level
    "portrait_woman": (210, 250, 6.0),
    "palms_building": (350, 100, 6.0),
    "market_stall": (690, 430, 10.0),
}
CAMERAS = {
    "fine": {"smooth": 0.4, "smooth_colour": 0.8, "coarse": 0.0},
    "blotches": {"smooth": 0.9, "smooth_colour": 2.5, "coarse": 0.5, "blotch": 4.0},
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("content", type=Path)
    parser.add_argument("target")
    parser.add_argument("--model", default="photo")
    given = parser.parse_args()
    model = tunectl.load(given.model)
    rows = []
    for name, (left, top, level) in PLACES.items():
        clean = Image.open(given.content / f"{name}.jpg").convert("RGB")
        box = (left, top, left + SIZE[0], top + SIZE[1])
        row = [("clean", clean.crop(box))]
        for camera, fields in CAMERAS.items():
            seen = noisy(clean, level, fields)
            alpha = model.alpha(model.estimate(np.array(seen)))
            row.append((f"level {level:g}, {camera}", seen.crop(box)))
            row.append((f"auto: {model.level(alpha):.1f}", model(seen, alpha=alpha).crop(box)))
        rows.append(row)
    sheet(rows, (0, 0, *SIZE)).save(given.target, quality=92)


def noisy(photo: Image.Image, level: float, fields: dict[str, float]) -> Image.Image:
    random = torch.Generator().manual_seed(0)
    camera = replace(Camera.draw(random), sharpen=0.3, spared=0.2, **fields)
    pixels = torch.tensor(np.array(photo)).permute(2, 0, 1).float() / 255
    pixels = pixels + Cameras([camera], pixels.device).noise(pixels[None], level / 255, random)[0]
    return Image.fromarray((pixels * 255).round().clamp(0, 255).byte().permute(1, 2, 0).numpy())


if __name__ == "__main__":
    main()
