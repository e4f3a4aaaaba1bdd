"""JPEG of many pictures: by an encoder, or, on an accelerator, at once.

An accelerator waits for an encoder that takes one picture after the other. This is what `recode`
has an encoder and a decoder do, without the file in between: libjpeg's colours, subsampling,
transform, rounding and smooth upsampling (ITU-T T.81, annexes A and K).
"""

from __future__ import annotations

import functools
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import avg_pool2d, pad

from tunectl.device import sent
from tunectl.tasks.camera import to_ycc
from tunectl.tasks.jpeg import SIDE, Saving, chroma_table, dct, luma_table, recode

UNIT = 2 * SIDE  # pixels a side that are coded together where colour has half the size
MIDDLE = 128.0
RED_BY_CR, GREEN_BY_CB, GREEN_BY_CR, BLUE_BY_CB = 1.402, -0.344136286, -0.714136286, 1.772


def through_files(
    pictures: Tensor, plans: Sequence[Sequence[Saving]], gray: Tensor | None = None
) -> Tensor:
    """(N, C, H, W) in [0, 1], rounded to 8 bits, each after the JPEG files of its plan, in turn.

    They are Pillow's; those of pictures that `gray` (N,) marks are gray ones. On an accelerator
    colour pictures stay there, and are coded all at once.
    """
    pictures = pictures.mul(255).round().clamp(0, 255).div(255)
    if pictures.is_cuda and pictures.shape[1] == 3:
        return recode_all(pictures, plans)
    files = []
    for i, (picture, plan) in enumerate(zip(pictures, plans, strict=True)):
        lone = gray is not None and bool(gray[i])
        file = picture[:1] if lone else picture
        for saving in plan:
            file = recode(file, saving)
        files.append(file.expand(len(picture), -1, -1))
    return torch.stack(files).to(pictures.device)


def recode_all(pictures: Tensor, plans: Sequence[Sequence[Saving]]) -> Tensor:
    """(N, 3, H, W) in [0, 1], each through the JPEG files of its plan, one after the other.

    Pictures whose channels are equal come out with such, as gray files would have them. What
    comes out is within a step of 255 of what `recode` gives, but for a few pixels in a hundred,
    whose coefficients lie on the edge between two multiples.
    """
    for turn in range(max(map(len, plans))):
        some = [i for i, plan in enumerate(plans) if len(plan) > turn]
        chosen = sent(torch.tensor(some), pictures.device)
        saved = _recoded(pictures[chosen], [plans[i][turn] for i in some])
        pictures = pictures.index_copy(0, chosen, saved)
    return pictures


def _recoded(pictures: Tensor, savings: Sequence[Saving]) -> Tensor:
    device, (height, width) = pictures.device, pictures.shape[-2:]
    numbers = sent(torch.from_numpy(np.stack([_numbers(saving) for saving in savings])), device)
    steps = numbers[:, 3:].view(-1, 3, 1, SIDE * SIDE)
    top, left = numbers[:, :1].long(), numbers[:, 1:2].long()
    rows, columns = _blocks(height, device) - top, _blocks(width, device) - left
    rgb = _picked(pictures, rows.clamp(0, height - 1), columns.clamp(0, width - 1))
    ycc = to_ycc(rgb.mul(255).round().clamp(0, 255))
    ycc = _rounded(ycc + _middles(device)).clamp(0, 255)
    half = _coded(_halved(ycc[:, 1:]), steps[:, 1:])
    ends = ((height + top - 1) // 2, (width + left - 1) // 2)  # a file knows no colour beyond
    places = (torch.arange(side, device=device) for side in half.shape[-2:])
    half = _picked(half, *(place.minimum(end) for place, end in zip(places, ends, strict=True)))
    whole = _coded(ycc, steps)
    halved = numbers[:, 2, None, None, None] > 0
    cb, cr = torch.split(torch.where(halved, _doubled(half), whole[:, 1:]) - MIDDLE, 1, 1)
    parts = RED_BY_CR * cr, GREEN_BY_CB * cb + GREEN_BY_CR * cr, BLUE_BY_CB * cb
    rgb = (whole[:, :1] + _rounded(torch.cat(parts, 1))).clamp(0, 255) / 255
    rows, columns = (torch.arange(side, device=device) for side in (height, width))
    return _picked(rgb, top + rows, left + columns)


def _numbers(saving: Saving) -> NDArray[np.float32]:
    """The phase, the subsampling and the three planes' quantisation tables, one after the other."""
    luma, chroma = luma_table(saving.quality), chroma_table(saving.quality)
    head = (*saving.phase, saving.subsampling)
    return np.concatenate([head, luma, chroma, chroma]).astype(np.float32)


def _blocks(length: int, device: torch.device) -> Tensor:
    """The places of whole units that hold `length` pixels, wherever in a block they begin."""
    return torch.arange(-(-(length + SIDE - 1) // UNIT) * UNIT, device=device)


def _picked(planes: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """Of (N, C, H, W) each one's rows (N, h) and columns (N, w)."""
    many = torch.arange(len(planes), device=planes.device)[:, None, None]
    last = planes.permute(0, 2, 3, 1)[many, rows[:, :, None], columns[:, None, :]]
    return last.permute(0, 3, 1, 2)


def _coded(planes: Tensor, steps: Tensor) -> Tensor:
    """(N, C, H, W) in 0 to 255, its blocks' coefficients rounded to multiples of (N, C, 1, 64)."""
    count, channels, height, width = planes.shape
    turn = _transform(planes.device)
    apart = (count, channels, height // SIDE, SIDE, width // SIDE, SIDE)
    blocks = (planes - MIDDLE).reshape(apart).transpose(3, 4)
    blocks = blocks.reshape(count, channels, -1, SIDE * SIDE)
    found = _rounded((blocks @ turn.T) * 8) / 8  # as finely as an encoder knows them
    found = torch.add(found / steps, found.sign(), alpha=0.5).trunc() * steps
    blocks = (found @ turn).reshape(*apart[:3], apart[4], SIDE, SIDE).transpose(3, 4)
    return _rounded(blocks.reshape(planes.shape) + MIDDLE).clamp(0, 255)


@functools.cache
def _transform(device: torch.device) -> Tensor:
    """The transform of a block's 64 values, row by row, as a matrix."""
    return torch.from_numpy(np.kron(dct(), dct())).to(device, torch.float32)


@functools.cache
def _middles(device: torch.device) -> Tensor:
    """Of luma none is added, for it has no sign: (3, 1, 1)."""
    return torch.tensor([0, MIDDLE, MIDDLE], device=device)[:, None, None]


def _halved(planes: Tensor) -> Tensor:
    """The means of 2x2 pixels, rounded up and down by turns."""
    sums = 4 * avg_pool2d(planes, 2)
    bias = torch.arange(sums.shape[-1], device=planes.device) % 2 + 1
    return ((sums + bias) / 4).floor()


def _doubled(planes: Tensor) -> Tensor:
    """Twice the height and width, each pixel three quarters of the nearest, in each direction."""
    rows = pad(planes, (0, 0, 1, 1), mode="replicate")
    above = 3 * planes + rows[:, :, :-2]
    below = 3 * planes + rows[:, :, 2:]
    tall = torch.stack([above, below], 3).flatten(2, 3)
    columns = pad(tall, (1, 1, 0, 0), mode="replicate")
    left = ((3 * tall + columns[..., :-2] + 8) / 16).floor()
    right = ((3 * tall + columns[..., 2:] + 7) / 16).floor()
    return torch.stack([left, right], 4).flatten(3, 4)


def _rounded(x: Tensor) -> Tensor:
    """To whole numbers, halves up, which are many."""
    return (x + 0.5).floor()
