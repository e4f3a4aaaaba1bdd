"""JPEG compression by a real encoder, or, on an accelerator, by its arithmetic."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import PIL
import torch
from numpy.typing import NDArray
from torch import Tensor

from tunectl.errors import UsageError
from tunectl.images import Component
from tunectl.knob import SYMBOLS
from tunectl.seeds import on_cpu
from tunectl.tasks.base import Evidence, Tables, Task, eight_bit_scale
from tunectl.tasks.jpeg import (
    SUBSAMPLINGS,
    Saving,
    ijg_scale,
    quality_of_pixels,
    quality_of_table,
)
from tunectl.tasks.jpeg_batch import through_files
from tunectl.tasks.quantised import reconcile

# Without a trace of compression there is next to nothing to remove.
UNTOUCHED = 100.0
FINE = 95  # from here up a network takes more than it gives, unless a file holds it
LOOKED_AT = 2048  # pixels a side, of which its past is told


@dataclass(frozen=True)
class DeblockFields:
    """How the files are made that the task learns from.

    `aligned` is the share of pictures whose 8x8 blocks start at the corner, as they do in a file
    straight from the encoder; the others' grid has a random phase, as in a cropped photo.
    `subsampling` of colour is 4:2:0, 4:4:4 or mixed, half and half. `twice` is the share of
    pictures that are compressed once more, before or after, on a grid of another phase and at a
    quality of at least the level's: saved pictures are cropped and saved again.
    """

    aligned: float = 0.0
    subsampling: str = "4:2:0"
    twice: float = 0.0

    def __post_init__(self) -> None:
        if self.subsampling not in (*SUBSAMPLINGS, "mixed"):
            raise UsageError(
                f"subsampling {self.subsampling!r} is not known", "give 4:2:0, 4:4:4 or mixed"
            )
        for name, share in (("aligned", self.aligned), ("twice", self.twice)):
            if not 0 <= share <= 1:
                raise UsageError(f"{name} {share:g} is not a share", "give 0 to 1")


class Deblock(Task):
    """Levels are IJG qualities, 1 to 100, of Pillow's encoder."""

    Fields = DeblockFields
    symbol = SYMBOLS["deblock"]
    keeps_gray = True
    weakest = 100.0
    strongest = 1.0
    fields: DeblockFields

    @property
    def protocol(self) -> str:
        share = self.fields.aligned
        phase = f"from the corner in {share:.0%}" if share else "at any phase"
        twice = f", {self.fields.twice:.0%} saved twice" if self.fields.twice else ""
        return (
            f"JPEG of quality as columns by Pillow {PIL.__version__}, "
            f"colour at {self.fields.subsampling}, blocks {phase}{twice}"
        )

    def degrade(
        self, clean: Tensor, level: float, generator: torch.Generator, gray: Tensor | None = None
    ) -> Tensor:
        random = on_cpu(generator)
        return through_files(clean, [self._savings(round(level), random) for _ in clean], gray)

    def _savings(self, level: int, generator: torch.Generator) -> list[Saving]:
        """One or two, one after the other; the worst is of the level."""
        qualities = [level]
        if _draw(1000, generator) < 1000 * self.fields.twice:
            other = level + _draw(max(1, 96 - level), generator)
            qualities = [level, other] if _draw(2, generator) else [other, level]
        # A crop since has moved the blocks of all but the last.
        shares = [0.0] * (len(qualities) - 1) + [self.fields.aligned]
        return [
            self._saving(quality, aligned, generator)
            for quality, aligned in zip(qualities, shares, strict=True)
        ]

    def _saving(self, quality: int, aligned: float, generator: torch.Generator) -> Saving:
        phase = (0, 0)
        if _draw(1000, generator) >= 1000 * aligned:
            phase = (_draw(8, generator), _draw(8, generator))
        how = self.fields.subsampling
        if how == "mixed":
            how = list(SUBSAMPLINGS)[_draw(len(SUBSAMPLINGS), generator)]
        return Saving(quality, SUBSAMPLINGS[how], phase)

    def estimate(self, evidence: Evidence) -> float | None:
        """The quality of the worst JPEG that the picture once was.

        That of the file is in its `tables`; one before it, as of a photo that was cropped and
        saved again, shows in the pixels. Without a trace of any the quality is 100.
        """
        file = self.level_of_file(evidence.tables)
        before = quality_of_pixels(_luma(evidence.pixels), aligned=file is None) or UNTOUCHED
        return min(file or UNTOUCHED, before if before < FINE else UNTOUCHED)

    def level_of_file(self, tables: Tables | None) -> float | None:
        return quality_of_table(np.asarray(tables[0])) if tables and 0 in tables else None

    def reconcile(
        self, restored: NDArray[Any], given: NDArray[Any], components: Sequence[Component]
    ) -> None:
        reconcile(restored, given, components)

    def doubt(self, evidence: Evidence) -> str | None:
        if evidence.tables or self.estimate(evidence) != UNTOUCHED:
            return None
        return "no trace of JPEG compression was found in it"

    def expected_error(self, level: float) -> float:
        return 1.5 + 0.4 * math.sqrt(ijg_scale(level))


def _draw(below: int, generator: torch.Generator) -> int:
    return int(torch.randint(below, (1,), generator=generator))


def _luma(pixels: NDArray[Any]) -> NDArray[np.floating[Any]]:
    """(H, W) in 8-bit steps, as JPEG defines it, of the middle of (H, W, C) of any depth.

    The middle begins at a block of the grid from the corner.
    """
    top, left = (max(0, side - LOOKED_AT) // 16 * 8 for side in pixels.shape[:2])
    middle = pixels[top : top + LOOKED_AT, left : left + LOOKED_AT].astype(np.float32)
    weights = np.array([0.299, 0.587, 0.114] if pixels.shape[2] == 3 else [1.0], np.float32)
    luma: NDArray[np.floating[Any]] = middle @ (weights * eight_bit_scale(pixels))
    return luma
