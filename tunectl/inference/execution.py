"""Where and how a model runs."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from tunectl.device import pick_device, pick_precision
from tunectl.errors import UsageError

ENSEMBLES = (1, 2, 4, 8)


@dataclass(frozen=True)
class Execution:
    """Where and how a model runs.

    `tile` is the side, in pixels, of the largest window that runs at once, None for one that fits
    the free memory: a result in 8 bits does not depend on it, for networks whose widths are
    multiples of 16. With an `ensemble` of 2, 4 or 8 the result is the mean over so many
    orientations of the picture: so much slower, and a little better. Raises UsageError for another.
    """

    device: torch.device
    precision: torch.dtype
    tile: int | None = None
    ensemble: int = 1

    def __post_init__(self) -> None:
        if self.ensemble not in ENSEMBLES:
            raise UsageError(
                f"an ensemble has 2, 4 or 8 orientations, not {self.ensemble}", "give one of these"
            )
        if self.tile is not None and self.tile < 1:
            raise UsageError(f"a window of {self.tile} pixels a side is none", "give 1 or more")

    @classmethod
    def pick(
        cls,
        device: str = "auto",
        precision: str = "auto",
        tile: int | None = None,
        ensemble: int = 1,
    ) -> Execution:
        """`device` is auto, cpu, cuda or cuda:N; `precision` auto, fp32 or bf16.

        Raises UsageError for another word, ResourceError for a device that is not there.
        """
        place = pick_device(device)
        return cls(place, pick_precision(place, precision), tile, ensemble)
