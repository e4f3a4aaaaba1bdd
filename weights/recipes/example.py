"""The example's noisy photo: a night under a camera that smooths, and smooths colour more.

python weights/recipes/example.py weights/example/clean.png weights/example/noisy.png
"""

from __future__ import annotations

import argparse

from photo_picture import noisy
from PIL import Image

LEVEL = 6.0
CAMERA = {"smooth": 0.6, "smooth_colour": 1.5, "coarse": 0.15, "blotch": 3.0}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("clean")
    parser.add_argument("target")
    given = parser.parse_args()
    clean = Image.open(given.clean).convert("RGB")
    noisy(clean, LEVEL, CAMERA).save(given.target, optimize=True)


if __name__ == "__main__":
    main()
