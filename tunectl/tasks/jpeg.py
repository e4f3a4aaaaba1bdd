"""JPEG: a picture through an encoder, and what a picture tells of those it went through.

An encoder leaves the 8x8 block transform of the luma on a lattice: multiples of the quantisation
step of each frequency. What was saved again since, as a PNG, cropped, or as another JPEG, still has
it, blurred by the rounding in between.
"""

from __future__ import annotations

import functools
import io
import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torch.nn.functional import pad

Floats = NDArray[np.floating[Any]]
SUBSAMPLINGS = {"4:4:4": 0, "4:2:0": 2}  # of colour, as Pillow numbers them
SIDE = 8
PHASES = [(y, x) for y in range(SIDE) for x in range(SIDE)]
FIRST_BLOCKS, BLOCKS = 250, 1_500  # looked at for the phase of the grid, and for the quality
FLAT = 2.0  # coefficients this small say nothing
ENOUGH = 24  # coefficients above that, without which nothing is told
COARSE = (95, 92, 90, 88, *range(85, 0, -5))
# How far rounding since has moved a coefficient: by a PNG, and by JPEGs of falling quality.
BLURS = (0.4, 1.0, 2.0, 4.0)
STRAYS = 0.02  # share of coefficients off the lattice, by clipping for one
SMALLEST = 0.6  # a spread of coefficients below which their rounding is all there is to see
# Of so many lattices the likeliest is likelier than none by this logarithm, only by chance.
CHANCE = math.log(SIDE**2 * 100 * len(BLURS))
EVIDENCE = 0.05  # mean logarithm of the likelihood ratio a coefficient, for a lattice to be there

# Annex K of the JPEG standard: the luma table at quality 50.
LUMA_BASE = np.array(
    [
        *(16, 11, 10, 16, 24, 40, 51, 61),
        *(12, 12, 14, 19, 26, 58, 60, 55),
        *(14, 13, 16, 24, 40, 57, 69, 56),
        *(14, 17, 22, 29, 51, 87, 80, 62),
        *(18, 22, 37, 56, 68, 109, 103, 77),
        *(24, 35, 55, 64, 81, 104, 113, 92),
        *(49, 64, 78, 87, 103, 121, 120, 101),
        *(72, 92, 95, 98, 112, 100, 103, 99),
    ]
)
# And that for the colour differences.
CHROMA_BASE = np.array(
    [
        *(17, 18, 24, 47, 99, 99, 99, 99),
        *(18, 21, 26, 66, 99, 99, 99, 99),
        *(24, 26, 56, 99, 99, 99, 99, 99),
        *(47, 66, 99, 99, 99, 99, 99, 99),
        *(99, 99, 99, 99, 99, 99, 99, 99),
        *(99, 99, 99, 99, 99, 99, 99, 99),
        *(99, 99, 99, 99, 99, 99, 99, 99),
        *(99, 99, 99, 99, 99, 99, 99, 99),
    ]
)
# Where photos have something left to see: the frequencies (y, x) with 1 <= y + x <= 4.
FREQUENCIES = [y * SIDE + x for y, x in PHASES if 1 <= y + x <= 4]
SLANTING = [i for i, k in enumerate(FREQUENCIES) if k >= SIDE and k % SIDE]


def ijg_scale(quality: float) -> float:
    """The IJG scale of the quantisation tables, in percent, at a quality of 1 to 100."""
    return 5000 / quality if quality < 50 else 200 - 2 * quality


@functools.cache
def luma_table(quality: int) -> NDArray[np.int64]:
    """The IJG encoder's luma quantisation table, 64 numbers in natural order."""
    return _table(LUMA_BASE, quality)


@functools.cache
def chroma_table(quality: int) -> NDArray[np.int64]:
    """That of the colour differences."""
    return _table(CHROMA_BASE, quality)


def _table(base: NDArray[np.int64], quality: int) -> NDArray[np.int64]:
    table: NDArray[np.int64] = np.clip((base * int(ijg_scale(quality)) + 50) // 100, 1, 255)
    return table


class Saving(NamedTuple):
    """How a JPEG file is made: `subsampling` of colour as Pillow numbers it; the picture's corner
    lies `phase` (y, x) pixels inside a block, as after a crop."""

    quality: int
    subsampling: int = 0
    phase: tuple[int, int] = (0, 0)


def recode(picture: Tensor, saving: Saving) -> Tensor:
    """(C, H, W) in [0, 1] through a JPEG file of Pillow's; C of 1 gives a gray file."""
    (top, left), (height, width) = saving.phase, picture.shape[-2:]
    picture = pad(picture[None], (left, 0, top, 0), mode="replicate")[0]
    array = picture.mul(255).round().clamp(0, 255).to("cpu", torch.uint8).permute(1, 2, 0).numpy()
    image = Image.fromarray(np.ascontiguousarray(array[..., 0] if len(picture) == 1 else array))
    file = io.BytesIO()
    image.save(file, "JPEG", quality=saving.quality, subsampling=saving.subsampling)
    decoded = np.asarray(Image.open(file), dtype=np.float32)
    pixels = torch.from_numpy(decoded.reshape(*array.shape)).permute(2, 0, 1) / 255
    return pixels[:, top : top + height, left : left + width]


def quality_of_table(table: NDArray[Any]) -> int:
    """The quality, 1 to 100, whose luma table is nearest to 64 numbers in natural order."""
    return min(range(1, 101), key=lambda quality: int(np.abs(luma_table(quality) - table).sum()))


def quality_of_pixels(luma: Floats, aligned: bool = True) -> int | None:
    """The quality, 1 to 100, of the worst JPEG that luma (H, W), 0 to 255, once was, None of none.

    Its blocks may begin anywhere; with `aligned` off no grid that shares its rows or columns with
    one from the picture's corner counts: that is the file's which the picture was just read from.
    """
    phases = [(y, x) for y, x in PHASES if aligned or (y and x)]
    first = {phase: _evidence(_blocks(luma, phase, FIRST_BLOCKS), COARSE)[0] for phase in phases}
    last = max(phases, key=first.__getitem__)
    # A picture that was saved, cropped and saved again has two grids.
    others = [phase for phase in phases if phase[0] != last[0] and phase[1] != last[1]]
    before = max(others, key=first.__getitem__)
    found = [_evidence(_blocks(luma, phase, BLOCKS), range(100, 0, -1)) for phase in (last, before)]
    return min((quality for evidence, quality in found if evidence > EVIDENCE), default=None)


def _blocks(luma: Floats, phase: tuple[int, int], count: int) -> Floats:
    """(N, K): the chosen frequencies of up to `count` distinct blocks of the grid at `phase`."""
    top, left = phase
    if min(luma.shape[0] - top, luma.shape[1] - left) < SIDE:
        return np.empty((0, len(FREQUENCIES)))
    windows = sliding_window_view(luma[top:, left:], (SIDE, SIDE))[::SIDE, ::SIDE]
    rows, columns = windows.shape[:2]
    total = rows * columns
    chosen = np.random.default_rng(0).choice(total, min(count, total), replace=False)
    blocks = windows[chosen // columns, chosen % columns]
    coefficients = (dct() @ blocks @ dct().T).reshape(-1, SIDE * SIDE)[:, FREQUENCIES]
    # Drawn pictures repeat themselves, and one block lies on some lattice.
    distinct: Floats = np.unique(coefficients.round(1), axis=0)
    return distinct


@functools.cache
def dct() -> Floats:
    """The orthonormal DCT-II of 8 values, as a matrix."""
    k, n = np.mgrid[0:SIDE, 0:SIDE]
    matrix: Floats = np.cos(math.pi * (2 * n + 1) * k / (2 * SIDE)) * math.sqrt(2 / SIDE)
    matrix[0] /= math.sqrt(2)
    return matrix


def _evidence(blocks: Floats, qualities: Sequence[int]) -> tuple[float, int]:
    """The highest mean log likelihood ratio of a coefficient, and the quality that has it."""
    best = (-math.inf, 0)
    steps = np.stack([luma_table(quality)[FREQUENCIES] for quality in qualities])
    columns = [values[values > FLAT] for values in np.abs(blocks).T]
    count = sum(map(len, columns))
    if count < ENOUGH:
        return best
    for blur in BLURS:
        each = np.zeros((len(FREQUENCIES), len(steps)))
        for k, values in enumerate(columns):
            distinct, inverse = np.unique(steps[:, k], return_inverse=True)
            if len(values):
                each[k] = _ratio(values, distinct, blur)[inverse]
        # Ruled lines repeat themselves, and so do their few coefficients: none of them slants.
        total = np.where(each[SLANTING].sum(axis=0) > 0, each.sum(axis=0), -math.inf)
        at = int(total.argmax())
        best = max(
            best, ((float(total[at]) - CHANCE) / count, qualities[at]), key=lambda found: found[0]
        )
    return best


def _ratio(values: Floats, steps: NDArray[Any], blur: float) -> Floats:
    """(S,): how much likelier sizes of coefficients, all above FLAT, are on the lattice of each
    step than on none: the sum of the logarithms.

    Off a lattice they are exponential; on it each point has the mass of its cell, blurred. Small
    ones say nothing: a flat area, too, has them on any lattice.
    """
    spread = max(float(values.mean()) - FLAT, SMALLEST)
    free = -(values - FLAT) / spread - math.log(spread)
    step = steps[:, None].astype(float)
    point = np.round(values / step)
    zero = -np.expm1(-step / (2 * spread))
    cell = np.exp(-(point - 0.5) * step / spread) * -np.expm1(-step / spread)
    beyond = np.exp(-(np.floor(FLAT / step) + 0.5) * step / spread)
    strayed = math.erfc(FLAT / blur / math.sqrt(2))
    mass = cell / (zero * strayed + beyond)
    offset = (values - point * step) / blur
    lattice = mass * np.exp(-(offset**2) / 2) / (blur * math.sqrt(2 * math.pi))
    ratio = np.log(STRAYS + (1 - STRAYS) * lattice / np.exp(free))
    # On a coarse lattice everything faint is 0, as paper between letters would be: it says nothing.
    total: Floats = np.where(point == 0, 0, ratio).sum(axis=1)
    return total
