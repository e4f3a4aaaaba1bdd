"""Arbitrary style transfer: the style is chosen when the photo is, not in training."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import mse_loss

from tunectl.errors import UsageError
from tunectl.images import find_pictures
from tunectl.networks import statistics
from tunectl.tasks.features import SMALL, Features
from tunectl.tasks.style import StyleTask, read_style

TAPS = ("relu1_1", "relu2_1", "relu3_1", "relu4_1")
WIDTH = 16  # of the bundled encoder
Statistics = dict[str, tuple[Tensor, Tensor]]


@dataclass(frozen=True)
class RestyleFields:
    """`size` is the shorter side of style pictures in training; `style` and `pixels` are weights.

    They weigh the statistics of the style and, at the photo's end, the photo itself, against the
    content's 1.
    """

    size: int = 512
    style: float = 10.0
    pixels: float = 10.0


class Restyle(StyleTask):
    """The level is the share of the style's statistics in the latent, which is what alpha is.

    The losses are AdaIN's (Huang and Belongie, ICCV 2017, section 5.1) on a distilled VGG19: the
    output's relu4_1 against the latent it was decoded from, and its means and deviations at four
    depths against the style's. The encoder stays as it is; the decoder learns.
    """

    Fields = RestyleFields
    symbol = "share of the style"
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
        self._styles = [read_style(path, self.fields.size).to(device) for path in paths]
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
        mean, deviation = self._statistics(self._styles[0])[TAPS[-1]]
        tuner.requires_grad_(False)
        tuner.set_style(mean[0], deviation[0])

    def stage(self, model: nn.Module, clean: Tensor, generator: torch.Generator) -> None:
        """Draw a style for each photo, and tell the tuner its statistics."""
        count, side = len(clean), clean.shape[-1]
        draw = torch.rand(3, count, generator=generator, device=clean.device).tolist()
        crops = []
        for which, down, across in zip(*draw, strict=True):
            picture = self._styles[int(which * len(self._styles))]
            top, left = (
                int(share * max(0, size - side + 1))
                for share, size in zip((down, across), picture.shape[-2:], strict=True)
            )
            crops.append(picture[..., top : top + side, left : left + side])
        with torch.no_grad():
            found = [self._statistics(crop) for crop in crops]
            self._drawn = {
                tap: (
                    torch.cat([one[tap][0] for one in found]),
                    torch.cat([one[tap][1] for one in found]),
                )
                for tap in TAPS
            }
        drawing: Any = model.tuner
        drawing.drawn = self._drawn[TAPS[-1]]

    def loss(self, kind: str, output: Tensor, clean: Tensor, level: float) -> Tensor:
        """AdaIN's two losses, and near level 0 the photo's own; `kind` says nothing here."""
        content, style = self._parts(output, clean, level, self._drawn)
        pixels = (output - clean).abs().mean()
        fields = self.fields
        return content + level * fields.style * style + (1 - level) * fields.pixels * pixels

    def scores(self, output: Tensor, clean: Tensor, level: float) -> dict[str, float]:
        first = self._statistics(self._styles[0])
        content, style = self._parts(output, clean, level, first)
        pixels = float((output - clean).abs().mean()) * 255
        return {"pixels": pixels, "content": float(content), "style": float(style)}

    def _statistics(self, picture: Tensor) -> Statistics:
        with torch.no_grad():
            found = self._features(picture, TAPS)
        return {tap: statistics(features) for tap, features in found.items()}

    def _parts(
        self, output: Tensor, clean: Tensor, level: float, wanted: Statistics
    ) -> tuple[Tensor, Tensor]:
        """The content and style losses, not weighed."""
        found, deepest = self._features(output, TAPS), TAPS[-1]
        with torch.no_grad():
            own = self._features(clean, TAPS[-1:])[deepest].float()
            (mean, deviation), (new_mean, new_deviation) = statistics(own), wanted[deepest]
            normal = (own - mean[..., None, None]) / deviation[..., None, None]
            styled = normal * new_deviation[..., None, None] + new_mean[..., None, None]
            target = torch.lerp(own, styled, level)
        content = mse_loss(found[deepest].float(), target)
        style = output.new_zeros(())
        for tap in TAPS:
            (mean, deviation), (new_mean, new_deviation) = statistics(found[tap]), wanted[tap]
            style = style + mse_loss(mean, new_mean.expand_as(mean))
            style = style + mse_loss(deviation, new_deviation.expand_as(deviation))
        return content, style
