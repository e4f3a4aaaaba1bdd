"""Photos beside smaller copies of themselves, as the web shows them.

python weights/recipes/smaller.py PHOTOS OUT

OUT gets each of PHOTOS as it is, and as PNG at 0.75, 0.6 and 0.5 times its size. The larger a
photo, the more of its patches are smooth; made smaller, it has as much to see in fewer pixels.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

from PIL import Image

from tunectl.images import find_pictures, read_rgb8

SCALES = (0.75, 0.6, 0.5)


def main(photos: Path, out: Path) -> None:
    """Fill OUT, whose folders are those of PHOTOS."""
    for path in find_pictures(photos):
        target = out / path.relative_to(photos)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, target)
        picture = Image.fromarray(read_rgb8(path))
        for scale in SCALES:
            size = (round(picture.width * scale), round(picture.height * scale))
            smaller = picture.resize(size, Image.Resampling.LANCZOS)
            smaller.save(target.with_name(f"{target.name}_{round(100 * scale)}.png"))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
