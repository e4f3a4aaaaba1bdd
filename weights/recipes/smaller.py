"""Photos beside smaller copies of themselves, as the web shows them.

python weights/recipes/smaller.py PHOTOS OUT

OUT gets each of PHOTOS as it is, and as PNG at 0.75, 0.6 and 0.5 times its size. The larger a
photo, the more of its patches are smooth; made smaller, it has as much to see in fewer pixels.
"""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path

from PIL import Image

from tunectl.images import find_pictures, read_rgb8

SCALES = (0.75, 0.6, 0.5)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("photos", type=Path)
    parser.add_argument("out", type=Path)
    given = parser.parse_args()
    for path in find_pictures(given.photos):
        target = given.out / path.relative_to(given.photos)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, target)
        photo = Image.fromarray(read_rgb8(path))
        for scale in SCALES:
            size = (round(photo.width * scale), round(photo.height * scale))
            smaller = photo.resize(size, Image.Resampling.LANCZOS)
            smaller.save(target.with_name(f"{target.name}_{round(100 * scale)}.png"))


if __name__ == "__main__":
    main()
