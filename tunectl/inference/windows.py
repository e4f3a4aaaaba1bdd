"""A picture through a model in windows that the memory suffices for."""

from __future__ import annotations

import contextlib
import functools
import traceback
from collections.abc import Callable, Iterable

from torch import Tensor

from tunectl.errors import ResourceError, UsageError, is_out_of_memory
from tunectl.inference.engine import Engine
from tunectl.inference.execution import Execution
from tunectl.inference.memory import SHARE, bytes_per_pixel, choose_tile, free_bytes
from tunectl.inference.strength import check_map
from tunectl.inference.tiles import SMALLEST_SIDE, Grid, Step, run_tiled, shrink
from tunectl.networks import Network, fixed_statistics, norms_of

WHOLE_AREA = 2_000_000  # of the picture from which instance norms take their statistics
UNTILED_AREA = 512**2  # so few pixels need no thought about memory


class Windows:
    """Runs pictures through one model, whose network has `stride`.

    `folded` gives that network with everything a tuner inserts.
    """

    def __init__(self, execution: Execution, stride: int, folded: Callable[[], Network]) -> None:
        self.device, self.precision = execution.device, execution.precision
        self.tile = execution.tile
        self._stride, self._folded = stride, folded

    def run(
        self,
        step: Step,
        engines: Iterable[Engine],
        source: Tensor,
        sink: Tensor,
        mask: Tensor | None,
        band_done: Callable[[], None] = lambda: None,
    ) -> None:
        """As `run_tiled`, on windows that are made half as long where memory does not suffice.

        `engines` are those that the step may ask. Raises UsageError for a mask of another size,
        ResourceError where even the smallest windows are too large.
        """
        height, width = source.shape[-2:]
        if mask is not None:
            check_map(tuple(mask.shape), (height, width))
        failed = None
        while True:
            grid = self._grid(height, width, mask is not None)
            try:
                with self._whole_statistics(step, engines, source, mask, grid):
                    return run_tiled(step, source, sink, grid, self.device, mask, band_done)
            except Exception as error:
                if not is_out_of_memory(error):
                    raise
                traceback.clear_frames(error.__traceback__)  # which hold what did not fit
                if grid.tile <= SMALLEST_SIDE or grid == failed:  # it cannot do with less
                    raise ResourceError(
                        f"{self.device}: out of memory", "close other programs and try again"
                    ) from error
            failed = grid
            self.tile = max(SMALLEST_SIDE, min(grid.tile, max(height, width)) // 2)

    # Each takes up to seconds, and pictures that are one window need the second at most.
    @functools.cached_property
    def _halo(self) -> int | None:
        """The receptive radius, in multiples of the stride; None of a network that sees all of a
        picture, wherever it is."""
        radius = self._folded().radius()
        return None if radius is None else -(-radius // self._stride) * self._stride

    @functools.cached_property
    def _bytes(self) -> float:
        """A pixel's bytes of activations; an alpha map costs twice."""
        return bytes_per_pixel(self._folded(), self.precision)

    def _grid(self, height: int, width: int, mapped: bool) -> Grid:
        stride, tile, whole = self._stride, self.tile, max(height, width) + self._stride
        if tile is None:
            if height * width <= UNTILED_AREA:
                return Grid(stride, 0, whole)
            tile = choose_tile(self._bytes * (1 + mapped), self.device)
        if max(height, width) <= tile:
            return Grid(stride, 0, whole)
        if self._halo is not None:
            return Grid(stride, self._halo, tile)
        if height * width * self._bytes * (1 + mapped) > SHARE * free_bytes(self.device):
            raise ResourceError(
                "the picture is too large for a network that has to see it whole",
                "make it smaller, or name another model",
            )
        return Grid(stride, 0, whole)

    def _whole_statistics(
        self,
        step: Step,
        engines: Iterable[Engine],
        source: Tensor,
        mask: Tensor | None,
        grid: Grid,
    ) -> contextlib.AbstractContextManager[None]:
        """Instance norms see the whole picture at once, at most 2 megapixels of it, or less where
        memory is short, or windows would show. A picture that is one window has its own."""
        norms = norms_of(engine.network for engine in engines)
        area = source.shape[-2] * source.shape[-1]
        rows, columns = grid.cover(*source.shape[-2:])
        if not norms or (len(rows) * len(columns) == 1 and area <= WHOLE_AREA):
            return contextlib.nullcontext()
        if len(source) == 4:
            raise UsageError(
                "a model with instance norm does not take CMYK", "convert the picture to RGB"
            )
        room = SHARE * free_bytes(self.device) / self._bytes
        most = max(UNTILED_AREA, min(WHOLE_AREA, room))
        whole = shrink(source, most).to(self.device)
        small_mask = None if mask is None else shrink(mask[None], most).to(self.device)
        return fixed_statistics(norms, lambda: step(whole, small_mask))
