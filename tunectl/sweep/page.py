"""A sweep as one HTML file with a slider: it needs no network, and can be mailed."""

from __future__ import annotations

import base64
import html
import io
import json
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path

from PIL import Image

from tunectl.atomic import write_new
from tunectl.knob import is_share
from tunectl.sweep.frames import Strip
from tunectl.sweep.views import View

LIMIT = 14_500_000  # bytes of the file
# Qualities of WebP, and scales of its pictures, until the file is below the limit.
SETTINGS = ((92, 1.0), (85, 1.0), (75, 1.0), (60, 1.0), (45, 1.0), (45, 0.7), (40, 0.5))


def page(
    path: Path,
    title: str,
    views: Sequence[View],
    source: Sequence[Image.Image],
    strips: Sequence[Strip],
    start: float,
) -> int:
    """Write it, and return how many bytes it has: below LIMIT, if what is shown allows that.

    `source` and each frame hold a picture a view; the slider begins at `start`.
    """
    for quality, scale in SETTINGS:
        text = _page(title, views, source, strips, start, quality, scale)
        if len(text) <= LIMIT:
            break
    data = text.encode(errors="backslashreplace")
    write_new(path, data)
    return len(data)


def _page(
    title: str,
    views: Sequence[View],
    source: Sequence[Image.Image],
    strips: Sequence[Strip],
    start: float,
    quality: int,
    scale: float,
) -> str:
    def urls(pictures: Sequence[Image.Image]) -> list[str]:
        return [_url(picture, quality, scale) for picture in pictures]

    data = {
        "start": start,
        "views": [{"name": view.name, "size": view.size} for view in views],
        "photo": urls(source),
        "strips": [
            {
                "model": strip.model,
                "symbol": "" if is_share(strip.symbol) else strip.symbol,
                "command": strip.command(title),
                "frames": [
                    {
                        "alpha": frame.alpha,
                        "level": frame.level,
                        "psnr": frame.psnr,
                        "pictures": urls(frame.pictures),
                    }
                    for frame in strip.frames
                ],
            }
            for strip in strips
        ],
    }
    # Inside a script element only "</" and "<!--" would end or change what is read.
    encoded = json.dumps(data).replace("<", "\\u003c")
    template = files("tunectl.sweep").joinpath("page.html").read_text(encoding="utf-8")
    before, after = template.split("DATA")
    return before.replace("TITLE", html.escape(title)) + encoded + after


def _url(picture: Image.Image, quality: int, scale: float) -> str:
    if scale < 1:  # the page draws it at its view's size
        width, height = (max(1, round(side * scale)) for side in picture.size)
        picture = picture.resize((width, height), Image.Resampling.LANCZOS)
    file = io.BytesIO()
    picture.save(file, "WEBP", quality=quality)
    return "data:image/webp;base64," + base64.b64encode(file.getvalue()).decode()
