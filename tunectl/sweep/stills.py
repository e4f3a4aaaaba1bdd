"""A sweep as one picture, or as a moving one."""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from tunectl.atomic import write_new
from tunectl.errors import UsageError
from tunectl.sweep.frames import Strip

CELL = 420  # the width of a cell that shows the whole photo, in pixels
FILM = 720  # and of a moving picture
TALLEST = 4  # times as high as wide: the largest cell
COLUMNS = 4  # of one model's sheet
GAP, BAR, TEXT, SMALLEST = 8, 26, 15, 9
LONGEST = 65_500  # pixels a side that JPEG holds
HOLD, STEP = 900, 120  # milliseconds at the ends, and between
MOVING = {".webp": "WEBP", ".gif": "GIF", ".apng": "PNG"}


def contact_sheet(
    path: Path, source: Sequence[Image.Image], strips: Sequence[Strip], view: int
) -> None:
    """The photo, then what it becomes, each under its alpha; a row a model where it is several.

    PNG or JPEG, as the path ends.
    """
    rows = [
        [("photo" if len(strips) == 1 else f"photo; {strip.model}", source[view])]
        + [(strip.label(frame), frame.pictures[view]) for frame in strip.frames]
        for strip in strips
    ]
    if len(rows) == 1:
        rows = [rows[0][i : i + COLUMNS] for i in range(0, len(rows[0]), COLUMNS)]
    size = source[view].size if view else _within(source[view].size, CELL)
    longest = max((label for row in rows for label, _ in row), key=_smallest)
    width, height = max(size[0], _smallest(longest)) + GAP, size[1] + BAR + GAP
    font = _font(longest, width - GAP)
    as_png = path.suffix.lower() == ".png"
    if not as_png and max(width * len(rows[0]), height * len(rows)) + GAP > LONGEST:
        raise UsageError(
            f"{path}: a sheet of {width * len(rows[0])} x {height * len(rows)} pixels is no JPEG",
            "end it .png, or give a smaller --crop",
        )
    sheet = Image.new("RGB", (width * len(rows[0]) + GAP, height * len(rows) + GAP), "white")
    pen = ImageDraw.Draw(sheet)
    for y, row in enumerate(rows):
        for x, (label, picture) in enumerate(row):
            left, top = GAP + x * width, y * height
            sheet.paste(_resized(picture, size), (left, top + BAR))
            pen.text((left, top + BAR - 5), label, "black", font, anchor="ls")
    file = io.BytesIO()
    sheet.save(file, "PNG" if as_png else "JPEG", quality=92)
    write_new(path, file.getvalue())


def animation(path: Path, strips: Sequence[Strip], view: int) -> None:
    """The models side by side, alpha going up and down again: WebP, GIF or animated PNG."""
    first = strips[0].frames[0].pictures[view].size
    size = _within(first, FILM // len(strips) if len(strips) > 1 else FILM)
    pictures = []
    for frames in zip(*(strip.frames for strip in strips), strict=True):
        canvas = Image.new("RGB", (size[0] * len(strips), size[1] + BAR), "white")
        pen = ImageDraw.Draw(canvas)
        for i, (strip, frame) in enumerate(zip(strips, frames, strict=True)):
            canvas.paste(_resized(frame.pictures[view], size), (i * size[0], BAR))
            label = strip.label(frame)
            label = f"{strip.model}: {label}" if len(strips) > 1 else label
            pen.text((i * size[0] + 4, BAR - 6), label, "black", _font(label, size[0]), "ls")
        pictures.append(canvas)
    there_and_back = pictures + pictures[-2:0:-1]
    lasts = [STEP] * len(there_and_back)
    lasts[0] = lasts[len(pictures) - 1] = HOLD
    kind = MOVING[path.suffix.lower()]
    if kind == "GIF":
        there_and_back = [in_256_colours(p) for p in there_and_back]
    file = io.BytesIO()
    there_and_back[0].save(
        file,
        kind,
        save_all=True,
        append_images=there_and_back[1:],
        duration=lasts,
        loop=0,
        quality=85,
    )
    write_new(path, file.getvalue())


def in_256_colours(picture: Image.Image) -> Image.Image:
    """A palette picture whose in-between colours are scattered pixels, as GIF needs it."""
    # Pillow dithers only towards a palette that it is given.
    return picture.quantize(palette=picture.quantize(), dither=Image.Dither.FLOYDSTEINBERG)


def _within(size: tuple[int, int], width: int) -> tuple[int, int]:
    """The size, no wider than `width` and no higher than TALLEST of it."""
    scale = min(1.0, width / size[0], TALLEST * width / size[1])
    return max(1, round(size[0] * scale)), max(1, round(size[1] * scale))


def _resized(picture: Image.Image, size: tuple[int, int]) -> Image.Image:
    if picture.size == size:
        return picture
    return picture.resize(size, Image.Resampling.LANCZOS)


def _smallest(label: str) -> int:
    """How wide a label is at its smallest, in pixels."""
    return math.ceil(ImageFont.load_default(SMALLEST).getlength(label))


def _font(label: str, width: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """As large as usual, or so small that the label fits."""
    usual = ImageFont.load_default(TEXT)
    return ImageFont.load_default(min(TEXT, max(SMALLEST, TEXT * width / usual.getlength(label))))
