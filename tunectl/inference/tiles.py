"""Pictures of any size in windows that do not show."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d, pad

from tunectl.errors import PictureError

# Convolution libraries change their way of summing for feature maps below some tens of thousands
# of samples. Windows stay above that, so that a rounding tie falls the same way in every window.
SMALLEST_SIDE = 256
SMALLEST_AREA = SMALLEST_SIDE**2
# With AMX the convolutions that halve a map do so below 104 samples a row, and the last of them
# sees two for each sample of the coarsest map.
SMALLEST_COARSE = 52
STRIP = 64  # rows of a shrunken picture that are made at once

Step = Callable[[Tensor, Tensor | None], Tensor]
_DTYPES = {torch.uint8: 255.0, torch.uint16: 65535.0}


@dataclass(frozen=True)
class Span:
    """A window along one side: its ends, and those of the core that it decides."""

    start: int
    end: int
    core_start: int
    core_end: int

    @property
    def core(self) -> slice:
        """The core within the picture."""
        return slice(self.core_start, self.core_end)

    @property
    def inside(self) -> slice:
        """The core within the window."""
        return slice(self.core_start - self.start, self.core_end - self.start)


@dataclass(frozen=True)
class Grid:
    """How a network wants its windows: on multiples of `stride`, reaching `halo` past the core."""

    stride: int
    halo: int
    tile: int

    def cover(self, height: int, width: int) -> tuple[list[Span], list[Span]]:
        """The windows' rows and columns for a picture, past its end by less than the stride.

        Windows of one picture have one size, at most `tile` a side (more only where SMALLEST_SIDE,
        SMALLEST_COARSE or twice the halo asks for it). A window is cut where the picture ends, so
        that the network sees the same border as untiled.
        """
        sides = [max(-(-size // self.stride), 2) * self.stride for size in (height, width)]
        return self._spans(sides[0], sides[1]), self._spans(sides[1], sides[0])

    def _spans(self, size: int, other: int) -> list[Span]:
        stride, halo = self.stride, self.halo
        least = max(SMALLEST_SIDE, SMALLEST_COARSE * stride, SMALLEST_AREA // other)
        least = max(least, 2 * halo + stride)
        tile = -(-max(self.tile // stride * stride, least) // stride) * stride
        if size <= tile:
            return [Span(0, size, 0, size)]
        count = -(-(size - 2 * halo) // (tile - 2 * halo))
        side = -(-(size + 2 * halo * (count - 1)) // (count * stride)) * stride
        side = max(side, -(-least // stride) * stride)
        spans, core = [], 0
        while core < size:
            start = min(max(0, core - halo), size - side)
            end = start + side
            core_end = size if end == size else end - halo
            spans.append(Span(start, end, core, core_end))
            core = core_end
        return spans


def run_tiled(
    step: Step,
    source: Tensor,
    sink: Tensor,
    grid: Grid,
    device: torch.device,
    mask: Tensor | None = None,
    band_done: Callable[[], None] = lambda: None,
) -> None:
    """Send `source` window by window through `step` into `sink`; both are (C, H, W).

    Samples are uint8, uint16 or float32; `step` sees (1, C, h, w) float32 in [0, 1] on `device` and
    returns the same shape there, or both it and the sink are larger by one factor. What is stored
    is clamped to the range, and rounded where the sink is of whole numbers. `mask`, (H, W) of any
    of these types, is cut the same way and given along as (1, 1, h, w).
    `band_done` is called after each row of windows. Raises PictureError where what comes out is not
    a number, as far beyond a knob's ends.
    """
    height, width = source.shape[-2:]
    scale = sink.shape[-1] // width
    rows, columns = grid.cover(height, width)
    for row in rows:
        for column in columns:
            x = _cut(source, row, column, device)
            y = step(x, None if mask is None else _cut(mask[None], row, column, device))
            inside = y[0, :, _times(row.inside, scale), _times(column.inside, scale)]
            if not inside.isfinite().all():
                raise PictureError(
                    "the model makes of it what is no number",
                    "give an alpha within 0 to 1, and samples that are numbers",
                )
            core = _as_samples(inside, sink.dtype)
            place = sink[:, _times(row.core, scale), _times(column.core, scale)]
            place.copy_(core[:, : place.shape[1], : place.shape[2]])
        band_done()


def shrink(plane: Tensor, most: float) -> Tensor:
    """(C, H, W) of any sample type as (1, C, h, w) float32 in [0, 1], of at most `most` pixels.

    Whole pixels are averaged, strip by strip: the picture may be larger than memory.
    """
    height, width = plane.shape[-2:]
    factor = math.ceil(math.sqrt(height * width / most))
    strips = []
    for top in range(0, height, STRIP * factor):
        strip = _samples(plane[:, top : top + STRIP * factor])
        strips.append(avg_pool2d(strip, factor, ceil_mode=True) if factor > 1 else strip)
    return torch.cat(strips, 2)


def _times(part: slice, scale: int) -> slice:
    return slice(part.start * scale, part.stop * scale)


def _cut(plane: Tensor, row: Span, column: Span, device: torch.device) -> Tensor:
    """A window as (1, C, h, w) float32 in [0, 1]; beyond the picture its edge is repeated."""
    part = plane[:, row.start : row.end, column.start : column.end]
    if part.dtype == torch.uint8:
        part = part.to(device)  # a quarter of the bytes; accelerators know little of uint16
    x = _samples(part).to(device)
    bottom = row.end - row.start - x.shape[2]
    right = column.end - column.start - x.shape[3]
    return pad(x, (0, right, 0, bottom), mode="replicate") if bottom or right else x


def _samples(plane: Tensor) -> Tensor:
    x = plane.to(torch.float32)[None]
    return x / _DTYPES[plane.dtype] if plane.dtype in _DTYPES else x


def _as_samples(y: Tensor, dtype: torch.dtype) -> Tensor:
    if dtype not in _DTYPES:
        return y.clamp(0, 1)
    peak = _DTYPES[dtype]
    whole = y.mul(peak).round_().clamp_(0, peak)
    return (whole if dtype == torch.uint8 else whole.cpu()).to(dtype)
