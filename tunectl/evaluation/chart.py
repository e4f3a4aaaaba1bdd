"""Curves over a few numbers, as SVG or PNG."""

from __future__ import annotations

import io
import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from tunectl.atomic import write_new

WIDTH, HEIGHT = 720, 440
LEFT, RIGHT, TOP, BOTTOM = 64, 16, 36, 48  # margins around the axes' rectangle
LINE = 18  # of text
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000", "#999999")
DASHES = ("", "6 4", "2 3")  # after all colours, the same again dashed
SCALE = 2  # of a PNG, for screens of today


@dataclass(frozen=True)
class Curve:
    """Points (x, y) joined in order."""

    name: str
    points: Sequence[tuple[float, float]]


def draw_chart(path: Path, title: str, x: str, y: str, curves: Sequence[Curve]) -> None:
    """Write the curves with axes and a legend: PNG if the path ends so, else SVG."""
    write_new(path, chart(title, x, y, curves, svg=path.suffix.lower() != ".png"))


def chart(title: str, x: str, y: str, curves: Sequence[Curve], svg: bool = True) -> bytes:
    """The curves with axes and a legend, as SVG or PNG.

    Curves whose name is told apart by more than eight colours are dashed.
    """
    height = HEIGHT + LINE * len(curves)
    canvas = _Svg(height) if svg else _Png(height)
    xs, ys = ([p[i] for curve in curves for p in curve.points] for i in (0, 1))
    across, up = ticks(min(xs), max(xs)), ticks(min(ys), max(ys))
    bottom = HEIGHT - BOTTOM

    def place(point: tuple[float, float]) -> tuple[float, float]:
        right = (point[0] - across[0]) / (across[-1] - across[0])
        high = (point[1] - up[0]) / (up[-1] - up[0])
        return LEFT + right * (WIDTH - LEFT - RIGHT), bottom - high * (bottom - TOP)

    canvas.text(WIDTH / 2, TOP - 20, title, "middle")
    for value in across:
        left, _ = place((value, up[0]))
        canvas.line([(left, TOP), (left, bottom)], "#dddddd", 1)
        canvas.text(left, bottom + 14, f"{value:g}", "middle")
    for value in up:
        _, top = place((across[0], value))
        canvas.line([(LEFT, top), (WIDTH - RIGHT, top)], "#dddddd", 1)
        canvas.text(LEFT - 8, top, f"{value:g}", "end")
    canvas.text(WIDTH / 2, bottom + 36, x, "middle")
    canvas.text(8, TOP - 20, y, "start")
    for i, curve in enumerate(curves):
        colour, dash = COLOURS[i % len(COLOURS)], DASHES[i // len(COLOURS) % len(DASHES)]
        points = [place(point) for point in curve.points]
        canvas.line(points, colour, 2, dash)
        for point in points:
            canvas.dot(point, colour)
        level = HEIGHT + LINE * i
        canvas.line([(LEFT, level), (LEFT + 32, level)], colour, 2, dash)
        canvas.text(LEFT + 40, level, curve.name, "start")
    return canvas.encoded()


def ticks(low: float, high: float) -> list[float]:
    """Round numbers from at or below `low` to at or above `high`, four to nine of them."""
    span = high - low or 1.0
    step = 10 ** math.floor(math.log10(span / 4))
    step *= next(factor for factor in (1, 2, 5, 10) if span / (step * factor) <= 7)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [float(f"{i * step:.10g}") for i in range(first, max(last, first + 1) + 1)]


class _Svg:
    def __init__(self, height: int) -> None:
        self.parts = [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" '
            f'width="{WIDTH}" height="{height}" font-family="sans-serif" font-size="12">',
            '<rect width="100%" height="100%" fill="white"/>',
        ]

    def line(
        self, points: Sequence[tuple[float, float]], colour: str, width: int, dash: str = ""
    ) -> None:
        dashed = f' stroke-dasharray="{dash}"' if dash else ""
        places = " ".join(f"{left:.1f},{top:.1f}" for left, top in points)
        self.parts.append(
            f'<polyline points="{places}" fill="none" stroke="{colour}" '
            f'stroke-width="{width}"{dashed}/>'
        )

    def dot(self, point: tuple[float, float], colour: str) -> None:
        self.parts.append(
            f'<circle cx="{point[0]:.1f}" cy="{point[1]:.1f}" r="3" fill="{colour}"/>'
        )

    def text(self, left: float, middle: float, words: str, anchor: str) -> None:
        self.parts.append(
            f'<text x="{left:.1f}" y="{middle:.1f}" text-anchor="{anchor}" '
            f'dominant-baseline="middle">{escape(words)}</text>'
        )

    def encoded(self) -> bytes:
        return ("\n".join([*self.parts, "</svg>"]) + "\n").encode(errors="backslashreplace")


class _Png:
    def __init__(self, height: int) -> None:
        self.image = Image.new("RGB", (WIDTH * SCALE, height * SCALE), "white")
        self.pen = ImageDraw.Draw(self.image)
        self.font = ImageFont.load_default(12 * SCALE)

    def line(
        self, points: Sequence[tuple[float, float]], colour: str, width: int, dash: str = ""
    ) -> None:
        strokes = _dashed(points, [float(part) for part in dash.split()])
        for stroke in strokes:
            scaled = [(left * SCALE, top * SCALE) for left, top in stroke]
            self.pen.line(scaled, colour, width * SCALE, joint="curve")

    def dot(self, point: tuple[float, float], colour: str) -> None:
        left, top = (value * SCALE for value in point)
        self.pen.circle((left, top), 3 * SCALE, colour)

    def text(self, left: float, middle: float, words: str, anchor: str) -> None:
        side = {"start": "l", "middle": "m", "end": "r"}[anchor]
        place = (left * SCALE, middle * SCALE)
        self.pen.text(place, words, "black", self.font, anchor=f"{side}m")

    def encoded(self) -> bytes:
        file = io.BytesIO()
        self.image.save(file, "PNG")
        return file.getvalue()


def _dashed(
    points: Sequence[tuple[float, float]], dash: Sequence[float]
) -> list[list[tuple[float, float]]]:
    """The strokes of a line through the points: itself, or what `dash` (on, off) leaves of it."""
    if not dash:
        return [list(points)]
    strokes = []
    period, on, walked = sum(dash), dash[0], 0.0
    for (x0, y0), (x1, y1) in itertools.pairwise(points):
        length = math.hypot(x1 - x0, y1 - y0)
        start = -(walked % period)
        while start < length:
            ends = max(0.0, start), min(length, start + on)
            if ends[0] < ends[1]:
                strokes.append(
                    [(x0 + (x1 - x0) * e / length, y0 + (y1 - y0) * e / length) for e in ends]
                )
            start += period
        walked += length
    return strokes
