"""What of a photo is shown: the whole, within reason, and parts of it pixel by pixel."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from PIL import Image

from tunectl.errors import UsageError

WHOLE = 1_500_000  # pixels that the whole photo is shown with at most
LONGEST = 16_383  # pixels a side that WebP holds
PART = 512  # the side of a part
ROWS, COLUMNS = 2, 3  # of parts that are chosen where nobody did


@dataclass(frozen=True)
class View:
    """A box (left, top, right, bottom) of the photo, shown at `size` (width, height)."""

    name: str
    box: tuple[int, int, int, int]
    size: tuple[int, int]

    def cut(self, photo: Image.Image) -> Image.Image:
        """The view of a photo, or of what became of it."""
        if self.size == photo.size:
            return photo
        if self.size == (self.box[2] - self.box[0], self.box[3] - self.box[1]):
            return photo.crop(self.box)
        return photo.resize(self.size, Image.Resampling.LANCZOS, self.box)


def whole(photo: Image.Image) -> View:
    """All of it, made smaller where it has more than WHOLE pixels, or is longer than WebP holds."""
    scale = min(1.0, math.sqrt(WHOLE / (photo.width * photo.height)), LONGEST / max(photo.size))
    size = max(1, round(photo.width * scale)), max(1, round(photo.height * scale))
    percent = "" if scale == 1 else f", {100 * scale:.0f} %"
    return View(f"whole{percent}", (0, 0, *photo.size), size)


def part(photo: Image.Image, box: tuple[int, int, int, int]) -> View:
    """A box of it, pixel by pixel.

    Raises UsageError where it lies outside the photo, or is longer than a page can show.
    """
    left, top, right, bottom = box
    if not (0 <= left < right <= photo.width and 0 <= top < bottom <= photo.height):
        raise UsageError(
            f"the part {left},{top},{right},{bottom} is not inside {photo.width} x {photo.height}",
            "give left, top, right and bottom in pixels",
        )
    if max(right - left, bottom - top) > LONGEST:
        raise UsageError(
            f"the part {left},{top},{right},{bottom} is longer than {LONGEST} pixels",
            "give a smaller --crop",
        )
    return View(f"{left}, {top}", box, (right - left, bottom - top))


def parts(photo: Image.Image) -> list[View]:
    """Six parts, each the liveliest of its sixth of the photo; none of one that is shown whole."""
    if whole(photo).size == photo.size:
        return []
    lively = _liveliness(photo)
    found = []
    for row in range(ROWS):
        for column in range(COLUMNS):
            found.append(part(photo, _best(lively, photo.size, row, column)))
    return found


def _liveliness(photo: Image.Image) -> np.ndarray:
    """The mean contrast between neighbours, by blocks of 16 pixels: noise counts little in it."""
    small = photo.convert("L").reduce(4)
    levels = np.asarray(small, dtype=np.float32)
    change = np.zeros_like(levels)
    change[:, 1:] += np.abs(np.diff(levels, axis=1))
    change[1:] += np.abs(np.diff(levels, axis=0))
    height, width = (side // 4 * 4 for side in change.shape)
    blocks = change[:height, :width].reshape(height // 4, 4, width // 4, 4)
    return np.asarray(blocks.mean(axis=(1, 3)))


def _best(
    lively: np.ndarray, size: tuple[int, int], row: int, column: int
) -> tuple[int, int, int, int]:
    """The liveliest box of PART pixels that begins within one of the ROWS x COLUMNS cells."""
    width, height = min(PART, size[0]), min(PART, size[1])
    sums = np.pad(lively, ((1, 0), (1, 0))).cumsum(0).cumsum(1)
    best, place = -1.0, (0, 0)
    for top in _starts(size[1], height, row, ROWS):
        for left in _starts(size[0], width, column, COLUMNS):
            y, x = top // 16, left // 16
            y1, x1 = (
                min(s, n - 1)
                for s, n in zip((y + height // 16, x + width // 16), sums.shape, strict=True)
            )
            score = float(sums[y1, x1] - sums[y, x1] - sums[y1, x] + sums[y, x])
            if score > best:
                best, place = score, (left, top)
    return (*place, place[0] + width, place[1] + height)


def _starts(length: int, part: int, index: int, count: int) -> range:
    """Where a part may begin along one side, in steps of 64 pixels, so that it stays in its cell
    or, in a small one, in the photo."""
    first, last = length * index // count, length * (index + 1) // count - part
    first = min(first, length - part)
    return range(first, max(first, min(last, length - part)) + 1, 64)
