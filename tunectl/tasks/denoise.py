"""Additive white Gaussian noise."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from tunectl.knob import SYMBOLS
from tunectl.tasks.base import Evidence, Task
from tunectl.tasks.noise_level import noise_level
from tunectl.tasks.tone import one_tone


@dataclass(frozen=True)
class DenoiseFields:
    """`clip`: the noisy picture is rounded and clipped to 8 bits, as AdaFM's and CResMD's are.

    Off by default, as in FFDNet's and DRUNet's tables. Figures of the two never share a table.
    """

    clip: bool = False


class Denoise(Task):
    """Levels are standard deviations in 8-bit steps: sigma 25 is 25/255 of the range."""

    Fields = DenoiseFields
    symbol = SYMBOLS["denoise"]
    keeps_gray = True
    weakest = 0.0
    strongest = 255.0
    fields: DenoiseFields

    @property
    def protocol(self) -> str:
        how = "rounded and clipped to 8 bits" if self.fields.clip else "not clipped"
        return f"Gaussian noise of sigma as columns, {how}"

    def degrade(
        self, clean: Tensor, level: float, generator: torch.Generator, gray: Tensor | None = None
    ) -> Tensor:
        noise = torch.randn(clean.shape, generator=generator, device=clean.device)
        if gray is not None:  # drawn once for the three channels
            noise = torch.where(gray[:, None, None, None], noise[:, :1], noise)
        noisy = clean + noise * (level / 255)
        if self.fields.clip:
            noisy = noisy.mul(255).round().clamp(0, 255).div(255)
        return noisy

    def estimate(self, evidence: Evidence) -> float | None:
        return noise_level(one_tone(evidence.pixels, evidence.seen), evidence.seen)

    def expected_error(self, level: float) -> float:
        return 1 + 0.15 * level
