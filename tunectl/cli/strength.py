"""How strong, from the words of the command line to what a model is asked."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tunectl.cli import choices as c
from tunectl.errors import PictureError, UsageError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tunectl.inference.job import Asked
    from tunectl.inference.model import Model
    from tunectl.inference.strength import Strength


def parse_strengths(
    alpha: str | None, level: str | None, extrapolate: bool, mapped: bool = False
) -> list[Asked]:
    """How strong, as it was asked for: one result each. Without a word that is auto, or, where a
    map says how strong, all of it."""
    from tunectl.inference.job import Asked
    from tunectl.knob import check_one

    if alpha is not None and level is not None:
        raise UsageError("--alpha and --level are both given", "give one of the two")
    if level is not None:
        found = [Asked(level=number) for number in c.parse_numbers(level, "--level")]
    else:
        words = [] if alpha is None else alpha.split(",")
        found = [_one(word.strip(), mapped) for word in words] or [Asked()]
    for asked in found:
        for one in asked.alphas:
            # Whether it goes below 0 the model says itself, when it is there.
            check_one(one, extrapolate, lowest=-1.0 if one < 0 else 0.0)
    unlike: dict[str, Asked] = {}
    for asked in found:
        unlike.setdefault(asked.mark, asked)  # by which their files are told apart
    return list(unlike.values())


def _one(word: str, mapped: bool) -> Asked:
    """A word of --alpha. Beside a map only a picture that is asked decides."""
    from tunectl.inference.job import Asked

    if word == "auto":
        return Asked(share=1.0 if mapped else None)
    return (
        Asked(share=c.parse_share(word)) if word.startswith("auto") else Asked(c.parse_alpha(word))
    )


def check_strengths(
    model: Model, name: str, asked: Iterable[Asked], strength: Strength
) -> dict[Asked, Strength]:
    """Of each strength that is asked for, `strength` with its alpha, which is None where the
    picture decides; checked against the model before any picture is opened."""
    from tunectl.inference.job import Asked

    strengths = {}
    for one in dict.fromkeys(asked):
        if not model.tunable and one != Asked():
            raise UsageError(f"{name}: is a plain model without a knob", "leave --alpha away")
        alpha = model.alpha(one.level) if one.level is not None else one.alpha
        if strength.alpha_map is not None and isinstance(alpha, tuple):
            raise UsageError("--alpha-map scales one alpha", "give one, or leave --alpha away")
        strengths[one] = replace(strength, alpha=alpha, share=one.share)
        unread = model.tunable and alpha is None
        model.check(replace(strength, alpha=0.0) if unread else strengths[one])
    return strengths


def read_map(path: Path) -> NDArray[Any]:
    """The samples (H, W) of a gray picture, as a viewer turns it. Raises PictureError."""
    from tunectl.images import read_picture
    from tunectl.images.decode8 import gray_if_gray
    from tunectl.images.metadata import orientation
    from tunectl.images.turn import upright

    picture = read_picture(path)
    pixels = gray_if_gray(picture.pixels)  # many programs save a mask in three equal channels
    if pixels.shape[2] != 1:
        raise PictureError(f"{path}: is not gray", "give a gray picture: black is 0, white is 1")
    if picture.alpha is not None and not (picture.alpha == picture.alpha.max()).all():
        raise PictureError(f"{path}: is transparent in parts", "paint black where alpha is to be 0")
    return upright(pixels[..., 0], orientation(picture.exif))
