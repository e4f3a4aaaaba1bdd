"""What a photo becomes at each alpha."""

from __future__ import annotations

import os
import shlex
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from PIL import Image
from torch import Tensor

from tunectl.evaluation.metrics import psnr
from tunectl.images import Picture
from tunectl.images.screen import for_screen
from tunectl.inference.catalogue import symbol_of
from tunectl.inference.model import Model
from tunectl.inference.restore import restore
from tunectl.inference.strength import Strength
from tunectl.knob import is_share
from tunectl.sweep.views import View


@dataclass(frozen=True)
class Frame:
    """The photo at one alpha, a picture a view; `level` is in the task's unit."""

    alpha: float
    level: float
    pictures: list[Image.Image]
    psnr: float | None = None


@dataclass(frozen=True)
class Strip:
    """One model's frames, alpha rising. `symbol` is how a person writes a level, `words` what else
    `apply` is to be told."""

    model: str
    symbol: str
    frames: list[Frame]
    words: tuple[str, ...] = ()

    def label(self, frame: Frame) -> str:
        """What stands above a frame."""
        words = f"alpha {frame.alpha:.3g}"
        if not is_share(self.symbol):
            words += f", {self.symbol} {frame.level:.3g}"
        return words if frame.psnr is None else f"{words}, {frame.psnr:.2f} dB"

    def command(self, photo: str) -> str:
        """What makes the photo so at the alpha that is to come behind it."""
        photo = f"./{photo}" if photo.startswith("-") else photo  # no option
        words = ["tunectl", "apply", photo, "-m", self.model, *self.words, "--alpha"]
        return subprocess.list2cmdline(words) if os.name == "nt" else shlex.join(words)


def sweep(
    name: str,
    model: Model,
    picture: Picture,
    alphas: Sequence[float],
    views: Sequence[View],
    clean: Image.Image | None = None,
    keep_colours: bool = False,
    words: Sequence[str] = (),
    done: Callable[[], None] = lambda: None,
) -> Strip:
    """The picture's views at each alpha.

    `clean`, upright and as large, is what PSNR is measured to; `words` are the strip's. Raises
    AlphaError for an alpha outside the knob.
    """
    target = None if clean is None else _tensor(clean)
    frames = []
    for alpha in alphas:
        found = restore(model, picture, Strength(alpha, keep_colours=keep_colours))
        image = for_screen(found.picture)
        score = None
        if target is not None:
            score = psnr(_tensor(image), target)
        pictures = [view.cut(image) for view in views]
        frames.append(Frame(alpha, model.level(alpha), pictures, score))
        done()
    return Strip(name, symbol_of(model.header.task), frames, tuple(words))


def _tensor(image: Image.Image) -> Tensor:
    samples = torch.frombuffer(bytearray(image.tobytes()), dtype=torch.uint8)
    return samples.view(1, image.height, image.width, 3).permute(0, 3, 1, 2) / 255
