"""Photos from real cameras: noise that was developed, smoothed, sharpened and saved as a JPEG."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from tunectl.errors import UsageError
from tunectl.knob import SYMBOLS
from tunectl.tasks.base import Evidence, Task
from tunectl.tasks.camera import TO_YCC, Camera, blurred
from tunectl.tasks.jpeg import SUBSAMPLINGS, Saving, recode
from tunectl.tasks.visible_noise import visible_noise

FINEST, COARSEST = 98, 65  # JPEG qualities
TWICE = 0.3  # of the saved photos: by the camera, at CAMERA or finer, and again after a crop
CAMERA = 88
SOFT, SOFTEST = 0.7, 1.6  # share of the photos learned from that are made softer, and by how much
FULL = 4.0  # level at which the coarsest may be drawn; cleaner photos are saved finer
# The level for 1 of noise as it lies in the file: best on noisy and clean validation photos.
TAKEN = 0.85
NOTHING = 0.4  # what most photos without noise seem to have, in 8-bit steps


@dataclass(frozen=True)
class PhotoFields:
    """`saved` is the share of photos that are saved as a JPEG after their noise was made."""

    saved: float = 0.8

    def __post_init__(self) -> None:
        if not 0 <= self.saved <= 1:
            raise UsageError(f"saved {self.saved:g} is not a share", "give 0 to 1")


class Photo(Task):
    """Levels are the noise's standard deviation on mid-gray, in 8-bit steps, before the file is
    saved; 0 is the photo as it is. Each photo is from a camera of its own (`Camera.draw`)."""

    Fields = PhotoFields
    symbol = SYMBOLS["photo"]
    weakest = 0.0
    strongest = 100.0
    fields: PhotoFields

    @property
    def protocol(self) -> str:
        return (
            "synthetic camera noise of deviation on mid-gray as columns, "
            f"{self.fields.saved:.0%} saved as JPEG, 8 bits"
        )

    def vary(self, sample: Tensor, generator: torch.Generator) -> Tensor:
        """Some made softer: pixels of a camera's full size are not as sharp as those of photos that
        were scaled down, and fine detail in them is noise."""
        draw = torch.rand(len(sample), 2, generator=generator, device=generator.device).tolist()
        return torch.stack(
            [
                blurred(photo, SOFTEST * by) if drawn < SOFT else photo
                for photo, (drawn, by) in zip(sample, draw, strict=True)
            ]
        )

    def degrade(
        self, clean: Tensor, level: float, generator: torch.Generator, gray: Tensor | None = None
    ) -> Tensor:
        if level == 0:
            return clean.clone()
        photos = []
        for i, picture in enumerate(clean):
            lone = len(picture) == 1 or (gray is not None and bool(gray[i]))
            colours = picture.expand(3, -1, -1)
            noise = Camera.draw(generator).noise(colours, level / 255, generator)
            if lone:  # as a camera's gray picture is that of a colour one
                noise = torch.einsum("j,jhw->hw", TO_YCC[0].to(noise), noise)[None]
                photo = self.saved(picture[:1] + noise, level, generator)
            else:
                photo = self.saved(picture + noise, level, generator)
            photos.append(photo.expand(len(picture), -1, -1).to(clean.device))
        return torch.stack(photos)

    def saved(self, photo: Tensor, level: float, generator: torch.Generator) -> Tensor:
        """(C, H, W) in [0, 1] as a file of noise `level` has it: JPEG, or rounded to 8 bits."""
        draw = torch.rand(7, generator=generator, device=generator.device).tolist()
        if draw[0] >= self.fields.saved:
            return photo.mul(255).round().clamp(0, 255).div(255)
        ways = list(SUBSAMPLINGS.values())
        if draw[3] < TWICE:
            quality = round(CAMERA + (FINEST - CAMERA) * draw[4])
            photo = recode(photo, Saving(quality, ways[0], (int(8 * draw[5]), int(8 * draw[6]))))
        coarsest = FINEST - (FINEST - COARSEST) * min(1.0, level / FULL)
        quality = round(FINEST + (coarsest - FINEST) * draw[1])
        return recode(photo, Saving(quality, ways[int(draw[2] * len(ways))]))

    def estimate(self, evidence: Evidence) -> float | None:
        """From the noise that is in the file: also what saving added is to be taken out."""
        noise = visible_noise(evidence.pixels, evidence.seen)
        if noise is None:
            return None
        return 0.0 if noise < NOTHING else TAKEN * noise

    def expected_error(self, level: float) -> float:
        return 0.7 + 0.2 * level
