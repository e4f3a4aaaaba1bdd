"""What a JPEG file and a network's guess say of one picture, weighed against each other.

The file has each coefficient of the 8x8 block transform to within half a quantisation step: the
original's lies somewhere in that cell. A network's guess of it is off by a normal error, and may
lie anywhere. The mean of what both leave open is the guess where cells are wide, the middle of the
cell where they are narrow, and in between nearer to the original than either.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tunectl.images.arrays import STRIP, release
from tunectl.images.picture import Component
from tunectl.tasks.base import eight_bit_scale
from tunectl.tasks.jpeg import SIDE, dct

Floats = NDArray[np.floating[Any]]

ERROR = (
    2.0  # of a guessed coefficient, in 8-bit steps: with more, some smooth photos come out worse
)
BELIEVED = 8  # errors beyond a cell from which on a guess is as good as any farther one
TOLD = 2  # from larger steps on the cell is known, however pixels were rounded since
POINTS, KNOTS = 257, 1025  # of a cell, and of what is known of it
MIDDLE = 128  # of gray and Y, from which the transform counts
# RGB to Y, Cb and Cr of BT.601, as in JPEG.
TO_YCC = np.array([[0.299, 0.587, 0.114], [-0.168736, -0.331264, 0.5], [0.5, -0.418688, -0.081312]])
FROM_YCC = np.linalg.inv(TO_YCC)
# Decoders draw samples that stand for two pixels out 3 to 1 with the next. The means of two are
# then those of three samples, 1 to 6 to 1, and this takes that back.
REACH = 8  # samples each way
SHARPER = 2**0.5 * (8**0.5 - 3) ** np.abs(np.arange(-REACH, REACH + 1))


def reconcile(
    restored: NDArray[Any], decoded: NDArray[Any], components: Sequence[Component]
) -> None:
    """Move a guess, in place, to the mean of what it and the file it was made from leave open.

    Both are (H, W, C), uint8 or floating in [0, 1]; `decoded` is the file's picture as a decoder
    gives it. Blocks at the right and lower edge that the picture ends in stay as guessed; so do
    components whose samples stand for more than two pixels a side, and pictures of other channels
    than the file's.
    """
    if len(components) != decoded.shape[2]:
        return
    halo = 2 * REACH
    for top in range(0, len(decoded), STRIP):
        first = max(0, top - halo)
        strip, around = restored[top : top + STRIP], decoded[first : top + STRIP + halo]
        scale = eight_bit_scale(strip)
        guess = strip * np.float32(scale)
        known = around * np.float32(eight_bit_scale(around))
        better = (guess + _correction(guess, known, top - first, components)).clip(0, 255) / scale
        strip[...] = better if strip.dtype.kind == "f" else better.round()
        release(decoded)
        release(restored)


def _correction(
    guess: Floats, known: Floats, above: int, components: Sequence[Component]
) -> Floats:
    """What to add to rows (h, W, C) of a guess, in 8-bit steps.

    `known` are the file's rows, `above` more of them before these, and some after.
    """
    in_colour = len(components) == 3
    moved = np.zeros(guess.shape, np.float32)
    for channel, (table, down, across) in enumerate(components):
        rows, columns = len(guess) // (SIDE * down), guess.shape[1] // (SIDE * across)
        if not rows or not columns or max(down, across) > 2:
            continue
        weights = np.array(TO_YCC[channel] if in_colour else [1], np.float32)
        guessed = _pooled(_pooled(guess @ weights, 0, down), 1, across)
        filed = _samples(_samples(known @ weights, 0, down), 1, across)[above // down :]
        size = np.s_[: rows * SIDE, : columns * SIDE]
        middle = 0 if channel else MIDDLE
        change = _of_plane(guessed[size] - middle, filed[size] - middle, table)
        change = change.repeat(down, 0).repeat(across, 1)
        moved[: len(change), : change.shape[1], channel] = change
    return moved @ FROM_YCC.T.astype(np.float32) if in_colour else moved


def _of_plane(guess: Floats, known: Floats, table: Sequence[int]) -> Floats:
    """What to add to a plane (h, W) of whole blocks of a guess; `known` is the file's."""
    guessed, filed = _coefficients(guess), _coefficients(known)
    for i, step in enumerate(table):
        at = np.s_[:, i // SIDE, :, i % SIDE]
        middle = (filed[at] / step).round() * step if step > TOLD else filed[at]
        knots, means = _means(step)
        filed[at] = middle + np.interp(guessed[at] - middle, knots, means)
    matrix = dct().astype(np.float32)
    change = (filed - guessed) @ matrix
    pixels: Floats = np.matmul(matrix.T, change.reshape(len(change), SIDE, -1))
    return pixels.reshape(guess.shape)


def _coefficients(plane: Floats) -> Floats:
    """(h, W) as (h / 8, 8, W / 8, 8), each block transformed."""
    matrix = dct().astype(np.float32)
    rows = np.matmul(matrix, plane.reshape(-1, SIDE, plane.shape[1]))
    found: Floats = rows.reshape(len(rows), SIDE, -1, SIDE) @ matrix.T
    return found


@functools.cache
def _means(step: int) -> tuple[Floats, Floats]:
    """Guesses counted from the middle of a cell `step` wide, and the mean of what each leaves of
    the cell: that of a normal distribution around the guess, cut at the cell's ends."""
    half = step / 2
    knots = np.linspace(-half - BELIEVED * ERROR, half + BELIEVED * ERROR, KNOTS)
    cell = (np.arange(POINTS) + 0.5) / POINTS * step - half
    powers = -(((cell - knots[:, None]) / ERROR) ** 2) / 2
    weights = np.exp(powers - powers.max(axis=1, keepdims=True))
    return knots, weights @ cell / weights.sum(axis=1)


def _pooled(plane: Floats, axis: int, count: int) -> Floats:
    """The means of `count` neighbours; where some lack at the end, the last is repeated."""
    if count == 1:
        return plane
    plane = np.moveaxis(plane, axis, -1)
    lacking = -plane.shape[-1] % count
    plane = np.pad(plane, ((0, 0), (0, lacking)), mode="edge") if lacking else plane
    return np.moveaxis(plane.reshape(*plane.shape[:-1], -1, count).mean(-1), -1, axis)


def _samples(plane: Floats, axis: int, count: int) -> Floats:
    """The samples, each for `count` pixels, that a decoder drew a plane out of."""
    if count == 1:
        return plane
    means = _pooled(plane, axis, count)
    length = means.shape[axis]
    ends = [(REACH, REACH) if i == axis else (0, 0) for i in range(2)]
    means = np.moveaxis(np.pad(means, ends, mode="symmetric"), axis, 0)
    parts = (weight * means[i : i + length] for i, weight in enumerate(SHARPER.astype(np.float32)))
    return np.moveaxis(sum(parts), 0, axis)
