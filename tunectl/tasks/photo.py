"""Photos from real cameras: noise that was developed, smoothed, sharpened and saved as a JPEG."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from tunectl.errors import UsageError
from tunectl.knob import SYMBOLS
from tunectl.seeds import on_cpu
from tunectl.tasks.base import Evidence, Task
from tunectl.tasks.blur import blurred
from tunectl.tasks.camera import Camera, Cameras, to_ycc
from tunectl.tasks.jpeg import SUBSAMPLINGS, Saving
from tunectl.tasks.jpeg_batch import through_files
from tunectl.tasks.tone import one_tone
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
    """Levels are the noise's standard deviation on mid-gray, in 8-bit steps, before it is clipped
    and the file is saved; 0 is the photo as it is. Each photo is from a camera of its own
    (`Camera.draw`)."""

    Fields = PhotoFields
    symbol = SYMBOLS["photo"]
    keeps_gray = True
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
        drawn, by = torch.rand(len(sample), 2, generator=generator, device=generator.device).T
        deviation = torch.where(drawn < SOFT, SOFTEST * by, 0)
        return blurred(sample, deviation)

    def degrade(
        self, clean: Tensor, level: float, generator: torch.Generator, gray: Tensor | None = None
    ) -> Tensor:
        if level == 0:
            return clean.clone()
        random = on_cpu(generator)
        cameras = Cameras([Camera.draw(random) for _ in clean], clean.device)
        noise = cameras.noise(clean.expand(-1, 3, -1, -1), level / 255, generator)
        luma = to_ycc(noise)[:, :1]  # a camera's gray picture is that of a colour one
        if clean.shape[1] == 1:
            noise = luma
        elif gray is not None:
            noise = torch.where(gray[:, None, None, None], luma, noise)
        return self.saved(clean + noise, level, random, gray)

    def saved(
        self, photos: Tensor, level: float, generator: torch.Generator, gray: Tensor | None = None
    ) -> Tensor:
        """(N, C, H, W) in [0, 1] as files of noise `level` have them: JPEGs, or 8 bits."""
        random = on_cpu(generator)
        return through_files(photos, [self._savings(level, random) for _ in photos], gray)

    def _savings(self, level: float, generator: torch.Generator) -> list[Saving]:
        """None, one, or two JPEG files, one after the other."""
        draw = torch.rand(7, generator=generator).tolist()
        if draw[0] >= self.fields.saved:
            return []
        ways = list(SUBSAMPLINGS.values())
        coarsest = FINEST - (FINEST - COARSEST) * min(1.0, level / FULL)
        last = Saving(round(FINEST + (coarsest - FINEST) * draw[1]), ways[int(draw[2] * len(ways))])
        if draw[3] >= TWICE:
            return [last]
        quality = round(CAMERA + (FINEST - CAMERA) * draw[4])
        return [Saving(quality, ways[0], (int(8 * draw[5]), int(8 * draw[6]))), last]

    def estimate(self, evidence: Evidence) -> float | None:
        """From the noise that is in the file: also what saving added is to be taken out."""
        noise = visible_noise(one_tone(evidence.pixels, evidence.seen), evidence.seen)
        if noise is None:
            return None
        return 0.0 if noise < NOTHING else TAKEN * noise

    def expected_error(self, level: float) -> float:
        return 0.7 + 0.2 * level
