"""A model from a file: the Python API."""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple, TypeVar, Unpack, overload

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn

from tunectl.errors import AlphaError, UsageError
from tunectl.header import Header
from tunectl.images.arrays import is_gray
from tunectl.inference.compose import as_gray, compose
from tunectl.inference.engine import Engine, Engines
from tunectl.inference.execution import Execution
from tunectl.inference.reading import reading_of
from tunectl.inference.samples import (
    AnyPicture,
    evidence,
    open_upright,
    planes,
    samples,
    through,
)
from tunectl.inference.strength import How, Strength
from tunectl.inference.tiles import Step
from tunectl.inference.windows import Windows
from tunectl.knob import Alpha, Knob, check_alpha, check_one
from tunectl.networks import Network, norms_of
from tunectl.tasks import Task, build_task
from tunectl.tasks.base import Tables
from tunectl.tuners import Knobbed

Given = TypeVar("Given", Tensor, Image.Image)
Sample = TypeVar("Sample", bound=np.generic)
MAPPED = "map"  # the key of the engine that takes alpha per pixel


class _Way(NamedTuple):
    """What happens to a window, by which engines, and alpha per pixel."""

    step: Step
    engines: list[Engine]
    mask: Tensor | None


class Model:
    """Network, tuner and calibration from one file, ready to run.

    Threads may share a model; their pictures go through it one after the other.
    """

    def __init__(self, header: Header, network: Network | Knobbed, execution: Execution) -> None:
        self.header = header
        self.network = network.eval().requires_grad_(False).to(execution.device)
        if execution.ensemble > 1 and norms_of([network]):
            raise UsageError(
                "a style with instance norm is not the mean of its orientations",
                "leave --ensemble away",
            )
        self.execution = execution
        self.windows = Windows(execution, self.base.stride, self._with_tuner)
        self._one_at_a_time = threading.RLock()
        self._engines = Engines(execution)

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name != "_one_at_a_time"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state, _one_at_a_time=threading.RLock())  # no lock travels

    @property
    def tunable(self) -> bool:
        """Whether the model has a knob."""
        return isinstance(self.network, Knobbed)

    @property
    def knob(self) -> Knob:
        """The knob: its levels, its knots and what was calibrated. Raises AlphaError of a plain
        model, which has none."""
        if not self.tunable or self.header.knob is None:
            raise AlphaError("this model is plain: it has no alpha", "leave --alpha away")
        return self.header.knob

    @functools.cached_property
    def task(self) -> Task | None:
        """What the model was trained for; None where that is not known."""
        part = self.header.task
        return None if part is None else build_task(part.name, part.fields)

    @property
    def base(self) -> Network:
        """The network without its tuner."""
        return self.network.network if isinstance(self.network, Knobbed) else self.network

    @property
    def scale(self) -> int:
        """How many times higher and wider than its input the result is; 1 of models of ours."""
        return self.base.scale

    @property
    def restores(self) -> bool:
        """Whether the model brings a picture back, rather than making another one of it."""
        return self.task is None or self.task.restores

    def level(self, alpha: float) -> float:
        """The level, in the task's unit, for which `alpha` was measured, or scheduled."""
        return self.knob.level(check_one(alpha, lowest=self.knob.lowest))

    def alpha(self, level: float) -> float:
        """The alpha measured to be best at `level`, or scheduled for it where none was measured.

        Raises AlphaError outside the knob's range.
        """
        return self.knob.alpha(level)

    def fold(self, alpha: Alpha | None = None, *, extrapolate: bool = False) -> Network:
        """The plain network at `alpha`, at a plain network's price; of a plain model, itself.

        It takes (N, 3, H, W) in [0, 1], does not clamp what it gives, and its parameters ask for no
        gradients.

        Several alphas are one for each site, of a tuner that tells its sites apart (Dynamic-Net
        does, with three).
        """
        if not isinstance(self.network, Knobbed):
            if alpha is not None:
                raise AlphaError("this model is plain: it has no alpha", "leave --alpha away")
            return self.network
        if alpha is None:
            raise AlphaError("this model has a knob", "give --alpha 0 to 1, or --level")
        return self.network.fold(check_alpha(alpha, extrapolate, self.knob.lowest))

    @overload
    def __call__(
        self,
        picture: str | Path,
        alpha: Alpha | None = None,
        level: float | None = None,
        **how: Unpack[How],
    ) -> Image.Image: ...

    @overload
    def __call__(
        self,
        picture: NDArray[Sample],
        alpha: Alpha | None = None,
        level: float | None = None,
        **how: Unpack[How],
    ) -> NDArray[Sample]: ...

    @overload
    def __call__(
        self,
        picture: Given,
        alpha: Alpha | None = None,
        level: float | None = None,
        **how: Unpack[How],
    ) -> Given: ...

    def __call__(
        self,
        picture: str | Path | AnyPicture,
        alpha: Alpha | None = None,
        level: float | None = None,
        **how: Unpack[How],
    ) -> AnyPicture:
        """Restore a picture at one alpha (see `fold`), or at the alpha calibrated for `level`.

        By keyword also `chroma_alpha`, `alpha_map`, `blend`, `keep_colours` and `extrapolate`, as
        `Strength` has them.

        Takes and returns the same kind, or the name of a file, which gives an upright PIL picture,
        its profile in `info`: a tensor (N, C, H, W) or (C, H, W) in [0, 1]; an array
        (H, W) or (H, W, C), uint8, uint16 or floating in [0, 1]; a PIL picture of mode L, LA, RGB
        or RGBA, whose opacity is kept. C is 3; 1 for gray, which stays gray, as gray in three equal
        channels does where the task keeps it; in arrays also 2 or 4, with an opacity, which is
        kept. The result is clamped to the range.

        Raises AlphaError where alpha or level is missing, given twice or outside the knob,
        UsageError for another kind of picture.
        """
        if level is not None:
            if alpha is not None:
                raise AlphaError("alpha and level are both given", "give one of the two")
            alpha = self.alpha(level)
        way = self._way(Strength(alpha, **how))
        if isinstance(picture, str | Path):
            picture = open_upright(picture)
        return through(picture, lambda source: self._run(way, source), self.scale)

    def estimate(
        self,
        pixels: NDArray[Any],
        tables: Tables | None = None,
        seen: NDArray[np.bool_] | None = None,
    ) -> float:
        """The level to restore a picture at, told from its pixels, within the knob's range.

        `pixels` are an array as in a call; `tables` and `seen` are as `Evidence` has them, the
        latter by default what is not transparent. Raises AlphaError where nothing can be told.
        """
        return reading_of(self.task, self.knob, evidence(pixels, tables, seen)).level

    def doubt(
        self,
        pixels: NDArray[Any],
        tables: Tables | None = None,
        seen: NDArray[np.bool_] | None = None,
    ) -> str | None:
        """What to know of a picture, given as in `estimate`, in which the model finds nothing."""
        if self.task is None:
            return None
        return self.task.doubt(evidence(pixels, tables, seen))

    def run(
        self,
        pixels: NDArray[Any],
        sink: NDArray[Any],
        strength: Strength,
        band_done: Callable[[], None] = lambda: None,
    ) -> None:
        """As a call on an array (H, W, C), written into `sink`: its type, `scale` times its size.
        C may be 4 here, the inks of CMYK.

        For pictures larger than memory: both may be memory-mapped, and `band_done` is called
        after each row of windows. Raises UsageError for another sink, as a call for the rest.
        """
        if pixels.ndim != 3 or pixels.shape[2] not in (1, 3, 4):
            raise UsageError(f"{pixels.shape} is no picture's shape", "give (H, W, 1, 3 or 4)")
        height, width, channels = pixels.shape
        wanted = (height * self.scale, width * self.scale, channels)
        alike = sink.shape == wanted and sink.dtype == pixels.dtype and sink.dtype.isnative
        if not (alike and sink.flags.writeable and min(sink.strides) >= 0):
            raise UsageError(
                f"a sink of shape {sink.shape} and type {sink.dtype} does not take the result",
                f"give one of shape {wanted} and type {pixels.dtype} that may be written to",
            )
        self._through_windows(self._way(strength), planes(samples(pixels)), planes(sink), band_done)

    def check(self, strength: Strength) -> None:
        """Raise as `run` would, before any picture is there."""
        self._way(strength)

    def forget(self) -> None:
        """Fold anew at the next call: what the model's weights are made of has changed."""
        with self._one_at_a_time:
            self._engines.clear()

    def _with_tuner(self) -> Network:
        """The plain network with everything that a tuner inserts."""
        return self.fold(1.0 if self.tunable else None)

    def _way(self, strength: Strength) -> _Way:
        alpha, chroma_alpha = strength.alpha, strength.chroma_alpha
        scale, mask, chroma = 1.0, None, None
        with self._one_at_a_time:
            if strength.alpha_map is not None:
                if chroma_alpha is not None:
                    raise UsageError(
                        "a map says alpha for luma and colour alike", "leave chroma alpha away"
                    )
                if strength.extrapolate:
                    raise UsageError("a map does not go beyond the knob", "leave extrapolate away")
                mask = torch.from_numpy(samples(strength.alpha_map))
                # Between the knots it is mixed, and nothing lies beyond them.
                scale = check_one(1.0 if alpha is None else alpha, lowest=self.knob.lowest)
                engine = self._engines.get(MAPPED, self._mapped)
            else:
                engine = self._engine(alpha, strength.extrapolate)
            if chroma_alpha is not None:
                chroma = self._engine(chroma_alpha, strength.extrapolate)
        step = compose(engine, scale, chroma, strength.blend, strength.keep_colours)
        return _Way(step, [engine] if chroma is None else [engine, chroma], mask)

    def _engine(self, alpha: Alpha | None, extrapolate: bool = False) -> Engine:
        if self.tunable and alpha is not None:
            alpha = check_alpha(alpha, extrapolate, self.knob.lowest)
        return self._engines.get(alpha, lambda: self.fold(alpha, extrapolate=extrapolate))

    def _mapped(self) -> nn.Module:
        assert isinstance(self.network, Knobbed)
        return self.network.mapped()

    def _run(self, way: _Way, source: Tensor) -> Tensor:
        channels, height, width = source.shape
        sink = source.new_empty(channels, height * self.scale, width * self.scale)
        self._through_windows(way, source, sink)
        return sink

    def _through_windows(
        self,
        way: _Way,
        source: Tensor,
        sink: Tensor,
        band_done: Callable[[], None] = lambda: None,
    ) -> None:
        step = way.step
        if self.task is not None and self.task.keeps_gray and len(source) == 3:
            step = as_gray(step) if is_gray(source.permute(1, 2, 0).numpy()) else step
        with self._one_at_a_time:  # windows set a network's statistics, and share their size
            self.windows.run(step, way.engines, source, sink, way.mask, band_done)
