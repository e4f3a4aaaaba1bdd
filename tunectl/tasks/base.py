"""What is learned: how a clean picture becomes an input, and what a level means."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import torch
from numpy.typing import NDArray
from torch import Tensor

from tunectl.errors import UsageError

Tables = Mapping[int, Sequence[int]]


class Task:
    """Degrades clean pictures at a level in the task's own unit.

    `weakest` and `strongest` are the legal levels, in the order of alpha (a JPEG quality falls
    where a noise level rises); `symbol` is how a person writes the level.
    """

    Fields: ClassVar[type[Any]]
    symbol: ClassVar[str]
    weakest: ClassVar[float]
    strongest: ClassVar[float]
    default_levels: ClassVar[tuple[float, float]]

    def __init__(self, fields: Any) -> None:
        self.fields = fields

    def degrade(
        self, clean: Tensor, level: float, generator: torch.Generator, gray: Tensor | None = None
    ) -> Tensor:
        """(N, C, H, W) in [0, 1] to the network's input of the same shape.

        C is 3, or 1 for gray pictures. `gray` is a boolean (N,) that marks pictures whose three
        channels are equal and have to stay so. All randomness comes from `generator`.
        """
        raise NotImplementedError

    def expected_error(self, level: float) -> float:
        """Roughly the error a good network leaves at this level, in 8-bit steps.

        The loss is divided by it: without that the low levels never learn.
        """
        raise NotImplementedError

    def estimate(self, pixels: NDArray[Any], tables: Tables | None = None) -> float | None:
        """The level that a picture seems to have; None if it cannot be told.

        `pixels` are (H, W, C), uint8, uint16 or floating in [0, 1]; `tables` the quantisation
        tables of the JPEG it came from, 64 numbers each in natural order.
        """
        return None

    def check_level(self, level: float) -> float:
        """Return the level. Raises UsageError if the task does not know it."""
        low, high = sorted((self.weakest, self.strongest))
        if not low <= level <= high:
            raise UsageError(
                f"level {level:g} is not a {self.symbol} this task knows",
                f"give {low:g} to {high:g}",
            )
        return level
