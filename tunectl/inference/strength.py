"""How strongly a model is applied: all that a user decides of what becomes of a picture."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypedDict

from numpy.typing import NDArray

from tunectl.errors import UsageError
from tunectl.knob import Alpha


class How(TypedDict, total=False):
    """What calls of a model take by keyword; see `Strength`."""

    chroma_alpha: float | None
    alpha_map: NDArray[Any] | None
    blend: float
    keep_colours: bool
    extrapolate: bool


@dataclass(frozen=True)
class Strength:
    """`alpha` is the knob (see `Model.fold`); None is for a plain model, which has none, and, where
    a picture may decide, lets it.

    `chroma_alpha` gives the colour differences an alpha of their own. `alpha_map`, (H, W), uint8,
    uint16 or floating in [0, 1], is alpha per pixel, times `alpha` where that is given; of files it
    lies over what a viewer shows. `blend` below 1 mixes the result with the input; `keep_colours`
    takes only the result's luma. `extrapolate` lets alpha leave the knob. `share` multiplies the
    alpha that a picture decides, which without a share is 1 under a map.
    """

    alpha: Alpha | None = None
    chroma_alpha: float | None = None
    alpha_map: NDArray[Any] | None = None
    blend: float = 1.0
    keep_colours: bool = False
    extrapolate: bool = False
    share: float | None = None


def check_map(mask: tuple[int, ...], picture: tuple[int, ...]) -> None:
    """Raises UsageError where the shape of an alpha map is not the (H, W) of the picture."""
    if mask != picture:
        sizes = [" x ".join(map(str, reversed(shape))) for shape in (mask, picture)]
        raise UsageError(
            f"the alpha map has {sizes[0]} pixels, the picture {sizes[1]}",
            "give a map of the picture's size",
        )
