"""The example's noisy photo: a night under a camera that smooths a little, and colour more.

python weights/recipes/example.py weights/example/clean.png weights/example/noisy.png
"""

from __future__ import annotations

import argparse

from photo_picture import CAMERAS, noisy
from PIL import Image

LEVEL = 6.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("clean")
    parser.add_argument("target")
    given = parser.parse_args()
    clean = Image.open(given.clean).convert("RGB")
    noisy(clean, LEVEL, CAMERAS["fine"]).save(given.target, optimize=True)


if __name__ == "__main__":
    main()
