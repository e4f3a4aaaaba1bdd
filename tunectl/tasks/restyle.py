"""Arbitrary style transfer: the style is chosen when the photo is, not in training."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import mse_loss

from tunectl.errors import UsageError
from tunectl.images import find_pictures
from tunectl.knob import SYMBOLS
from tunectl.networks import Statistics, statistics
from tunectl.networks.adain_net import UNITS, latent_of
from tunectl.tasks.features import SMALL, Features
from tunectl.tasks.style import StyleTask, read_style

TAPS = {f"relu{block}_1": unit for block, unit in enumerate(UNITS, 1)}
DEEPEST = "relu4_1"
WIDTH = 16  # of the bundled encoder
PARTS = 16  # of each style picture that training draws from


@dataclass(frozen=True)
class RestyleFields:
    """`size` is the shorter side of style pictures in training; `style` and `pixels` are weights.

    They weigh the statistics of the style and, at the photo's end, the photo itself, against the
    content's 1.
    """

    size: int = 512
    style: float = 3.0
    pixels: float = 10.0


class Restyle(StyleTask):
    """The level is the share of the style's statistics in the latent, which is what alpha is.

    The losses are AdaIN's (Huang and Belongie, ICCV 2017, section 5.1) on a distilled VGG19: the
    output's relu4_1 against the latent it was decoded from, and its means and deviations at four
    depths against the style's. The encoder stays as it is; the decoder learns.
    """

    Fields = RestyleFields
    symbol = SYMBOLS["restyle"]
    network, tuner = "adain-net", "adain"
    fields: RestyleFields

    def levels(self, tunable: bool) -> tuple[float, float]:
        return (0.0, 1.0)

    def prepare(self, model: nn.Module, styles: Mapping[str, Path], device: torch.device) -> None:
        """Each of `styles` is a picture or a folder of them; the first is what validation shows."""
        paths = [
            path
            for place in styles.values()
            for path in (find_pictures(place) if place.is_dir() else [place])
        ]
        if not paths:
            raise UsageError("restyle learns from pictures of styles", "give --style FOLDER")
        self._features = Features(SMALL).to(device)
        pictures = [read_style(path, self.fields.size).to(device) for path in paths]
        tuner: Any = getattr(model, "tuner", None)
        encoder = getattr(getattr(model, "network", None), "encoder", None)
        if encoder is None or "conv0" not in encoder or not hasattr(tuner, "set_style"):
            raise UsageError("restyle is learned by adain-net", "leave --network and --tuner away")
        pretrained = self._features.convs.state_dict()
        if any(encoder.state_dict()[name].shape != pretrained[name].shape for name in pretrained):
            raise UsageError(
                "the bundled encoder has another width", f"leave width at its default, {WIDTH}"
            )
        encoder.load_state_dict(pretrained)
        encoder.requires_grad_(False)
        self._first = self._statistics(pictures[0])
        tuner.requires_grad_(False)
        first = {tap: (mean[0], deviation[0]) for tap, (mean, deviation) in self._first.items()}
        tuner.set_style(_by_site(first, tuner.sites))
        found = [self._statistics(part) for picture in pictures for part in _parts_of(picture)]
        self._seen = {
            tap: (
                torch.cat([one[tap][0] for one in found]),
                torch.cat([one[tap][1] for one in found]),
            )
            for tap in TAPS
        }

    def stage(
        self, model: nn.Module, count: int, chosen: slice, generator: torch.Generator
    ) -> None:
        """Draw a style for each photo, half of them between two, and tell the tuner."""
        deepest, _ = self._seen[DEEPEST]
        draw = torch.rand(3, count, generator=generator, device=deepest.device)[:, chosen]
        one, other = (draw[:2] * len(deepest)).long()
        share = (2 * draw[2] - 1).clamp(min=0)[:, None]
        self._drawn = {
            tap: (
                torch.lerp(mean[one], mean[other], share),
                torch.lerp(deviation[one], deviation[other], share),
            )
            for tap, (mean, deviation) in self._seen.items()
        }
        drawing: Any = model.tuner
        drawing.drawn = _by_site(self._drawn, drawing.sites)

    def loss(self, kind: str, output: Tensor, clean: Tensor, level: float) -> Tensor:
        """AdaIN's two losses, and near level 0 the photo's own; `kind` says nothing here."""
        content, style = self._parts(output, clean, level, self._drawn)
        pixels = (output - clean).abs().mean()
        fields = self.fields
        return content + fields.style * style + (1 - level) * fields.pixels * pixels

    def error(self, kind: str, loss: float) -> float:
        return math.sqrt(loss)  # it is mostly of squares

    def scores(self, output: Tensor, clean: Tensor, level: float) -> dict[str, float]:
        content, style = self._parts(output, clean, level, self._first)
        pixels = float((output - clean).abs().mean()) * 255
        return {"pixels": pixels, "content": float(content), "style": float(style)}

    def _statistics(self, picture: Tensor) -> Statistics:
        with torch.no_grad():
            found = self._features(picture, list(TAPS))
        return {tap: statistics(features) for tap, features in found.items()}

    def _parts(
        self, output: Tensor, clean: Tensor, level: float, wanted: Statistics
    ) -> tuple[Tensor, Tensor]:
        """The content and style losses, not weighed.

        What both are held against lies, as the latent does, `level` of the way from the photo's
        own features to those with the style's statistics.
        """
        found = self._features(output, list(TAPS))
        with torch.no_grad():
            own = self._features(clean, list(TAPS))
            (mean, deviation), (new_mean, new_deviation) = statistics(own[DEEPEST]), wanted[DEEPEST]
            normal = (own[DEEPEST].float() - mean[..., None, None]) / deviation[..., None, None]
            styled = normal * new_deviation[..., None, None] + new_mean[..., None, None]
            target = torch.lerp(own[DEEPEST].float(), styled, level)
        content = mse_loss(found[DEEPEST].float(), target) / TAPS[DEEPEST] ** 2
        style = output.new_zeros(())
        for tap, unit in TAPS.items():
            with torch.no_grad():
                pairs = zip(statistics(own[tap]), wanted[tap], strict=True)
                targets = [torch.lerp(old, new.expand_as(old), level) for old, new in pairs]
            for is_now, wished in zip(statistics(found[tap]), targets, strict=True):
                style = style + mse_loss(is_now, wished) / unit**2
        return content, style


def _by_site(found: Statistics, sites: Sequence[str]) -> Statistics:
    """Statistics by tap as statistics by the latent that takes the tap's features."""
    by_site = {latent_of(int(tap[4])): pair for tap, pair in found.items()}
    return {site: by_site[site] for site in sites}


def _parts_of(picture: Tensor) -> list[Tensor]:
    """The picture (1, 3, H, W) whole, then large squares of it at random.

    Every second one has its colours exchanged: few paintings shall stand for every style.
    """
    generator = torch.Generator().manual_seed(0)
    draws = torch.rand(PARTS - 1, 3, generator=generator).tolist()
    height, width = picture.shape[-2:]
    parts = [picture]
    for i, (size, down, across) in enumerate(draws):
        side = int(min(height, width) * (1 + size) / 2)
        top, left = int(down * (height - side + 1)), int(across * (width - side + 1))
        colours = torch.randperm(3, generator=generator).tolist() if i % 2 else [0, 1, 2]
        parts.append(picture[:, colours, top : top + side, left : left + side])
    return parts
