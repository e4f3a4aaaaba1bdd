"""Samples as they are stored, and as a viewer turns them: orientations 1 to 8 as EXIF counts."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tunectl.images import metadata
from tunectl.images.picture import Picture


def upright(samples: NDArray[Any], orientation: int) -> NDArray[Any]:
    """Stored samples (H, W, ...) the way a viewer shows them."""
    if orientation in (5, 7):
        samples = samples.swapaxes(0, 1)
    turns = {3: 2, 6: -1, 7: 2, 8: 1}.get(orientation, 0)
    if orientation == 1:
        return samples
    if orientation == 2:
        return samples[:, ::-1]
    if orientation == 4:
        return samples[::-1]
    return np.rot90(samples, turns)


def same_way_up(one: Picture, other: Picture) -> tuple[NDArray[Any], NDArray[Any]]:
    """The samples of two pictures that a viewer shows alike: as stored where both are turned alike,
    else upright."""
    turns = [metadata.orientation(picture.exif) for picture in (one, other)]
    if turns[0] == turns[1]:
        return one.pixels, other.pixels
    return upright(one.pixels, turns[0]), upright(other.pixels, turns[1])


def as_stored(samples: NDArray[Any], orientation: int) -> NDArray[Any]:
    """The way back."""
    return upright(samples, {6: 8, 8: 6}.get(orientation, orientation))
