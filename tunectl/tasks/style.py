"""Fast style transfer: perceptual losses, and a knob from one objective to another."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn.functional import mse_loss

from tunectl.errors import UsageError
from tunectl.images import fill_transparent, read_picture, rgb8
from tunectl.images.metadata import orientation
from tunectl.images.turn import upright
from tunectl.knob import SYMBOLS
from tunectl.tasks.base import Evidence, Task
from tunectl.tasks.features import CONTENT_TAP, STYLE_TAPS, Features

PHOTO = "photo"
SMALLEST_STYLE = 64  # pixels: below it there is hardly a Gram matrix at the deepest features


@dataclass(frozen=True)
class StyleFields:
    """The objectives at level 0 (`first`) and 1 (`second`): a style's name, or `photo`.

    `lower`, where it is not empty, is that at level -1. `size` is the shorter side, in pixels, at
    which a style picture is looked at: it sets the size of the strokes. `content`, `style` and
    `variation` weigh the three losses of a style, `pixels` the one of `photo`. The second's style
    loss counts `boost` times: from a style to itself that makes a knob of its strength.
    """

    first: str = PHOTO
    second: str = PHOTO
    lower: str = ""
    perceptual: str = "vgg16"
    size: int = 384
    content: float = 1.0
    style: float = 1500.0
    variation: float = 1000.0
    pixels: float = 2e4
    boost: float = 1.0


class StyleTask(Task):
    """What tasks of style share: levels from 0 to 1, and photos that come in as they are."""

    weakest, strongest = 0.0, 1.0
    least = 16  # which the features' poolings leave something of
    takes_style, restores = True, False

    @property
    def protocol(self) -> str:
        return "photos as they are"

    def degrade(
        self, clean: Tensor, level: float, generator: torch.Generator, gray: Tensor | None = None
    ) -> Tensor:
        return clean

    def estimate(self, evidence: Evidence) -> float:
        """The whole style: a photo does not say how much of it is wanted."""
        return self.strongest


class Style(StyleTask):
    """The level is the share of the second objective in the loss; 1 is that style alone.

    Below 0 it is, its sign turned, the share of the lower one.

    A style's loss is Johnson, Alahi and Fei-Fei's (ECCV 2016, section 3): content at relu3_3, as
    their code has it, Gram matrices at relu1_2 to relu4_3 as far as the features reach, and the
    total variation. Unlike theirs, each Gram matrix's distance is relative to the style's own, so
    that layers count alike and one weight fits every painting. The photo's own loss is the mean
    squared difference: its pull grows with the distance, as a style's does, so that between the
    two the output moves evenly with the level.
    """

    Fields = StyleFields
    symbol = SYMBOLS["style"]
    network = "transform-net"
    fields: StyleFields

    def levels(self, tunable: bool) -> tuple[float, float]:
        last = float(self.fields.second != PHOTO)
        return (0.0 if tunable else last, last)

    @property
    def replaces_input(self) -> bool:
        return self.fields.first == PHOTO != self.fields.second

    def prepare(self, model: nn.Module, styles: Mapping[str, Path], device: torch.device) -> None:
        """Look at the style pictures, by their names in the fields.

        One that is not given is missed when a loss needs it. Raises UsageError for one that is
        too small.
        """
        fields = self.fields
        self._features = Features(fields.perceptual).to(device)
        self._taps = [tap for tap in STYLE_TAPS if tap in self._features.taps]
        self._grams: dict[str, dict[str, Tensor]] = {}
        for name in (fields.first, fields.second, fields.lower):
            if name in styles:
                picture = read_style(styles[name], fields.size).to(device)
                with torch.no_grad():
                    found = self._features(picture, self._taps)
                self._grams[name] = {tap: _gram(features) for tap, features in found.items()}

    def onward(
        self, start: float, level: float | None, styles: Mapping[str, str]
    ) -> tuple[Task, tuple[float, float]]:
        if "second" not in styles:
            raise UsageError("finetuning a style needs a picture of it", "give --style PICTURE")
        first = self._objective(start)
        if "first" in styles and first == PHOTO:
            raise UsageError("the base leaves photos as they are", "leave --from-style away")
        first = styles.get("first", first)  # its picture may be called otherwise than it was
        lower = styles.get("lower", "")
        fields = replace(self.fields, first=first, second=styles["second"], lower=lower)
        last = self.check_level(1.0 if level is None else level)
        self.check_way(0.0, last, "leave --level away, or give a share above 0")
        return Style(fields), (0.0, last)

    def towards(self, level: float, other: Task, last: float) -> tuple[Task, tuple[float, float]]:
        assert isinstance(other, Style)
        first, second = self._objective(level), other._objective(last)
        if first == second:
            raise UsageError(f"both models end at {first}", "name two styles that differ")
        return Style(replace(self.fields, first=first, second=second)), (0.0, 1.0)

    def _objective(self, level: float) -> str:
        """What a network for this level was learning: that of 0, or the one on its side of it."""
        fields = self.fields
        return fields.first if level == 0 else fields.second if level > 0 else fields.lower

    def loss(self, kind: str, output: Tensor, clean: Tensor, level: float) -> Tensor:
        """The two objectives' losses, mixed by the level; `kind` says nothing here."""
        fields = self.fields
        far = (fields.second, fields.boost) if level >= 0 else (fields.lower, 1.0)
        ends = [((fields.first, 1.0), 1 - abs(level)), (far, abs(level))]
        photo = sum(share for (name, _), share in ends if name == PHOTO)
        total = photo * fields.pixels * mse_loss(output, clean)
        styles = [(name, share * weight) for (name, weight), share in ends if name != PHOTO]
        styles = [(name, weight) for name, weight in styles if weight]
        if styles:
            content, style = self._parts(output, clean, [name for name, _ in styles])
            total = total + (1 - photo) * (content + fields.variation * _variation(output))
            for name, weight in styles:
                total = total + weight * style[name]
        return total

    def error(self, kind: str, loss: float) -> float:
        return math.sqrt(loss)

    def scores(self, output: Tensor, clean: Tensor, level: float) -> dict[str, float]:
        content, style = self._parts(output, clean, list(self._grams))
        found = {"pixels": float((output - clean).abs().mean()) * 255, "content": float(content)}
        return found | {f"style {name}": float(value) for name, value in style.items()}

    def _parts(
        self, output: Tensor, clean: Tensor, names: list[str]
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """The weighed content loss, and the style losses by name."""
        fields, found = self.fields, self._features(output, self._taps)
        with torch.no_grad():
            target = self._features(clean, [CONTENT_TAP])[CONTENT_TAP]
        content = fields.content * mse_loss(found[CONTENT_TAP].float(), target.float())
        own = {tap: _gram(features) for tap, features in found.items()}
        style = {}
        for name in names:
            if name not in self._grams:
                raise UsageError(
                    f"the picture of style {name} is missing", "give --from-style PICTURE"
                )
            distances = [
                (own[tap] - gram).square().mean() / gram.square().mean()
                for tap, gram in self._grams[name].items()
            ]
            style[name] = fields.style * torch.stack(distances).sum()
        return content, style


def _gram(features: Tensor) -> Tensor:
    """(N, C, H, W) to (N, C, C), divided by C * H * W."""
    count, channels, height, width = features.shape
    flat = features.float().reshape(count, channels, height * width)
    with torch.autocast(features.device.type, enabled=False):
        return flat @ flat.transpose(1, 2) / (channels * height * width)


def _variation(x: Tensor) -> Tensor:
    """The mean squared step between neighbours."""
    return x.diff(dim=2).square().mean() + x.diff(dim=3).square().mean()


def read_style(path: Path, size: int) -> Tensor:
    """(1, 3, h, w) in [0, 1], the shorter side `size`. Raises PictureError or UsageError."""
    picture = read_picture(path)
    if picture.alpha is not None:  # colours that nobody sees are no style
        picture = replace(picture, pixels=fill_transparent(picture.pixels, picture.alpha))
    array = np.ascontiguousarray(upright(rgb8(picture, path), orientation(picture.exif)))
    height, width = array.shape[:2]
    if min(height, width) < SMALLEST_STYLE:
        raise UsageError(
            f"{path}: has {width} x {height} pixels, too few for a style",
            f"give a picture of at least {SMALLEST_STYLE} pixels a side",
        )
    factor = size / min(height, width)
    if factor < 1:  # enlarging would invent smooth strokes
        shape = (round(width * factor), round(height * factor))
        array = np.asarray(Image.fromarray(array).resize(shape, Image.Resampling.LANCZOS))
    return torch.from_numpy(array.copy()).permute(2, 0, 1)[None].float() / 255
