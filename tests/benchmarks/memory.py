"""Time and peak memory of `tunectl apply` on a large picture.

    python tests/benchmarks/memory.py PHOTO [--megapixels 100] [--deep] [-- OPTIONS OF APPLY]

The photo is repeated, mirrored, to the size asked for, as a PNG, or as a 16-bit TIFF with --deep.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from tunectl.images import Picture, arrays, read_rgb8, write_picture


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("photo", type=Path)
    parser.add_argument("--megapixels", type=float, default=100)
    parser.add_argument("--deep", action="store_true", help="a 16-bit TIFF")
    given, options = parser.parse_known_args()
    options = [word for word in options if word != "--"] or ["--alpha", "0.3"]
    height = int((given.megapixels * 1e6 * 2 / 3) ** 0.5)
    width = int(given.megapixels * 1e6 / height)
    with tempfile.TemporaryDirectory() as folder:
        ending = "tif" if given.deep else "png"
        source, out = Path(folder) / f"in.{ending}", Path(folder) / f"out.{ending}"
        write_picture(source, Picture(enlarged(given.photo, height, width, given.deep)))
        start = time.perf_counter()
        words = [sys.executable, "-m", "tunectl", "apply", str(source), "-o", str(out), *options]
        subprocess.run(words, check=True)
        seconds = time.perf_counter() - start
        # Of the processes waited for, that is of apply alone.
        peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 2**20
        print(f"{width} x {height}, {ending}: {seconds:.0f} s, peak memory {peak:.2f} GiB")


def enlarged(photo: Path, height: int, width: int, deep: bool) -> np.ndarray:
    """The photo repeated, every second one mirrored so that no edges arise."""
    tile = read_rgb8(photo)
    tile = np.concatenate([tile, tile[:, ::-1]], axis=1)
    tile = np.concatenate([tile, tile[::-1]], axis=0)
    if deep:
        tile = tile.astype(np.uint16) * 257
    pixels = arrays.new_array((height, width, 3), tile.dtype)
    for top in range(0, height, len(tile)):
        for left in range(0, width, tile.shape[1]):
            part = pixels[top : top + len(tile), left : left + tile.shape[1]]
            part[...] = tile[: part.shape[0], : part.shape[1]]
        arrays.release(pixels)
    return pixels


if __name__ == "__main__":
    main()
