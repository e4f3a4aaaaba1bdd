"""A model file verified and looked into: what `inspect` tells."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from tunectl.errors import UsageError
from tunectl.evaluation.chart import Curve, draw_chart
from tunectl.evaluation.layers import ALPHAS, Layer, layers
from tunectl.evaluation.smoothness import Smoothness, smoothness
from tunectl.images import read_rgb8
from tunectl.inference.catalogue import Entry, describe
from tunectl.inference.load import load
from tunectl.networks import macs_per_pixel, receptive_radius
from tunectl.tuners import Tunable

STEPS = 50  # of alpha that a photo is restored at


@dataclass(frozen=True)
class Inspection:
    """What is known of a model; `layers` is empty for a plain one, `photo` without a photo.

    `parameters` are those of the network and of the tuner; `macs` are multiplications a pixel and
    `radius` the pixels that reach an output pixel on each side, both of the folded network.
    """

    entry: Entry
    parameters: tuple[int, int]
    macs: float
    radius: int
    layers: list[Layer]
    photo: Smoothness | None

    def lines(self, with_layers: bool = False) -> Iterator[str]:
        """For a terminal; the table of layers is markdown."""
        for key, value in self.entry.card():
            yield f"{key:11} {value}"
        own, tuner = self.parameters
        yield f"{'verified':11} its content matches its sha256"
        yield f"{'parameters':11} {own:,} of the network, {tuner:,} of the tuner"
        yield f"{'price':11} {self.macs / 1e6:.3f} MMAC a pixel, {self.radius} pixels of reach"
        if self.photo is not None:
            found = self.photo
            yield (
                f"{'evenness':11} the largest change in a step of {1 / len(found.changes):g} is "
                f"{found.most:.3f} 8-bit steps, before alpha {found.where:g}, and "
                f"{found.unevenness:.2f} times the mean one"
            )
            yield (
                f"{'':11} the picture moves away from the one at alpha 0 in {found.growing} of "
                f"{len(found.changes)} steps"
            )
        if with_layers and self.layers:
            yield ""
            yield f"| layer | parameters | {' | '.join(f'alpha {a:g}' for a in ALPHAS)} |"
            yield "|---" * (len(ALPHAS) + 2) + "|"
            for layer in self.layers:
                moved = " | ".join(f"{value:.3g}" for value in layer.moved)
                name = f"{layer.name} (inserted)" if layer.inserted else layer.name
                yield f"| {name} | {layer.parameters} | {moved} |"

    def draw(self, path: Path) -> None:
        """How far the layers move, a curve an alpha, as SVG or PNG. Raises UsageError."""
        if not self.layers:
            raise UsageError(
                f"{self.entry.name}: is a plain model, no layer moves", "leave --plot away"
            )
        curves = [
            Curve(f"alpha {alpha:g}", [(j, layer.moved[i]) for j, layer in enumerate(self.layers)])
            for i, alpha in enumerate(ALPHAS)
        ]
        draw_chart(path, f"{self.entry.name}: how far layers move", "layer", "share", curves)

    def as_json(self) -> dict[str, Any]:
        """Everything, for programs."""
        return {
            **self.entry.as_json(),
            "parameters": {"network": self.parameters[0], "tuner": self.parameters[1]},
            "macs_per_pixel": self.macs,
            "receptive_radius": self.radius,
            "layers": [{**asdict(layer), "alphas": ALPHAS} for layer in self.layers],
            "smoothness": self.photo and asdict(self.photo),
        }


def inspect(
    name: str, photo: Path | None = None, device: str = "auto", precision: str = "auto"
) -> Inspection:
    """Read, verify and measure a model. Raises CheckpointError for a file that is not whole."""
    entry = describe(name)
    model = load(name, device=device, precision=precision)
    found = None
    if photo is not None:
        if not model.tunable:
            raise UsageError(f"{name}: is a plain model without a knob", "leave --photo away")
        pixels = torch.from_numpy(read_rgb8(photo).copy()).permute(2, 0, 1)[None] / 255
        found = smoothness(model, pixels, STEPS)
    learned = model.network.tuner.parameters() if isinstance(model.network, Tunable) else ()
    # What the tuner inserted into the network takes its weights from the tuner.
    own = model.base.own_state().values() if model.tunable else model.base.parameters()
    folded = model.fold(1.0 if model.tunable else None)
    return Inspection(
        entry,
        (sum(p.numel() for p in own), sum(p.numel() for p in learned)),
        macs_per_pixel(folded),
        receptive_radius(folded),
        layers(model) if model.tunable else [],
        found,
    )
