"""One picture at one strength: what `apply` does between reading and writing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from tunectl.images import Picture, empty_like, fill_transparent, in_rgb, new_array, release
from tunectl.images.arrays import STRIP
from tunectl.images.metadata import orientation
from tunectl.images.turn import as_stored, upright
from tunectl.inference.model import Model
from tunectl.inference.reading import reading_of
from tunectl.inference.samples import as_seen, enlarged, evidence
from tunectl.inference.strength import Strength, check_map
from tunectl.knob import Alpha


@dataclass(frozen=True)
class Restored:
    """The picture, and the alpha and level it was restored at (None for a plain model).

    With a map they are those of its white; several alphas have no level. `untouched` is one in
    which there was nothing to remove.
    """

    picture: Picture
    alpha: Alpha | None = None
    level: float | None = None
    estimated: bool = False
    untouched: bool = False


def restore(
    model: Model,
    picture: Picture,
    strength: Strength,
    check: Callable[[], None] = lambda: None,
) -> Restored:
    """The picture with its colour samples restored and everything else as it was.

    A picture in which nothing is found comes back as it was, and so does what lies under fully
    transparent pixels, which does not reach the others.
    Gray stays gray, except that a style which may change colours gives it some. `check` is called
    after each row of windows, and may raise.
    """
    if picture.pixels.shape[2] == 1 and not model.restores and not strength.keep_colours:
        picture = in_rgb(picture)
    source, hidden = picture.pixels, None
    if picture.alpha is not None and not picture.alpha.all():
        hidden = picture.alpha == 0
        source = fill_transparent(source, picture.alpha)
    turned, mask = orientation(picture.exif), strength.alpha_map
    if mask is not None:  # painted over what a viewer shows
        check_map(mask.shape, upright(source, turned).shape[:2])
    alpha, note, share, held = strength.alpha, None, strength.share, False
    unasked = model.tunable and alpha is None and (mask is None or share is not None)
    seen = evidence(as_seen(source), picture.tables, None if hidden is None else ~hidden)
    if unasked:
        found = reading_of(model.task, model.knob, seen)
        alpha = model.alpha(found.level)
        mixed = strength.chroma_alpha is not None or strength.blend < 1 or strength.keep_colours
        held = found.by_file and bool(picture.components) and not mixed
        little = found.nothing or found.level == model.knob.level(0.0)
        note = "next to nothing to remove was found in it" if little else None
        nothing = found.nothing or (little and found.by_file and not held)
        if nothing and strength.chroma_alpha is None:
            notes = [*picture.notes, f"{note}, so that it stays as it is"]
            as_it_was = replace(picture, notes=notes)
            return Restored(as_it_was, alpha, found.level, estimated=True, untouched=True)
        alpha = min(1.0, alpha * (1.0 if share is None else share))
    else:
        note = model.task.doubt(seen) if model.task else None
        if model.tunable and alpha is None:
            alpha = 1.0
    notes = [*picture.notes, note] if note else [*picture.notes]
    if source.dtype != np.uint8 and model.execution.precision == torch.bfloat16:
        notes.append("its samples went through bf16, which has 8 bits; --precision fp32 is exact")
    # Strokes lie as a viewer sees them; what is only cleaned stays as it is stored.
    seen_upright = turned != 1 and not model.restores
    if seen_upright:
        source = _packed(upright(source, turned))
    elif mask is not None:
        mask = np.ascontiguousarray(as_stored(mask, turned))
    sink = empty_like(source) if model.scale == 1 else _larger(source, model.scale)

    def band_done() -> None:
        release(source)
        release(sink)
        check()

    model.run(source, sink, replace(strength, alpha=alpha, alpha_map=mask), band_done)
    if seen_upright:
        sink = _packed(as_stored(sink, turned))
    opacity, extra = (
        None if plane is None else enlarged(plane, model.scale)
        for plane in (picture.alpha, picture.extra)
    )
    if held and model.task:
        model.task.reconcile(sink, source, picture.components)
    if hidden is not None and model.scale == 1:
        sink[hidden] = picture.pixels[hidden]
    level = model.knob.level(alpha) if isinstance(alpha, int | float) else None
    restored = replace(picture, pixels=sink, alpha=opacity, extra=extra, notes=notes)
    # How much of a style a photo wants nobody reads from it: it is applied whole.
    return Restored(restored, alpha, level, unasked and model.restores)


def _packed(pixels: NDArray[Any]) -> NDArray[Any]:
    """A copy whose samples lie in order, in a file where the array is large."""
    packed = new_array(pixels.shape, pixels.dtype)
    for top in range(0, len(pixels), STRIP):
        packed[top : top + STRIP] = pixels[top : top + STRIP]
        release(packed)
        release(pixels)
    return packed


def _larger(pixels: NDArray[Any], scale: int) -> NDArray[Any]:
    height, width, channels = pixels.shape
    return new_array((height * scale, width * scale, channels), pixels.dtype)
