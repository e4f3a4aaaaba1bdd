"""Other people's networks in the same table."""

from __future__ import annotations

import contextlib
import importlib.util
import sys
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from tunectl.errors import TunectlError, UsageError, is_out_of_memory
from tunectl.evaluation.subjects import Plain, Restore
from tunectl.foreign.networks import load_foreign
from tunectl.inference.execution import Execution
from tunectl.inference.model import Model


class Rival(Plain):
    """Somebody else's network; `task` is what its levels are of, where that is known."""

    def __init__(self, name: str, restore: Restore, model: Model | None = None) -> None:
        super().__init__(name, restore)
        self.model = model
        self.task = None if model is None else model.header.task

    def check(self, levels: Sequence[float | None]) -> None:
        if self.model is not None and self.model.tunable:
            for level in levels:
                if level is None:
                    raise UsageError(f"{self.name}: has to be told a level", "give --level")
                self.model.alpha(level)


def load_rival(word: str, device: torch.device) -> Rival:
    """`ADAPTER.py:WEIGHTS`, or a model file that spandrel loads (extra `spandrel`).

    An adapter is a Python file with a function `load(path)` that returns a function from
    ((1, C, H, W) in [0, 1], level or None) to the same shape: it is run, so it has to be trusted.
    Raises UsageError for a rival that cannot be had.
    """
    adapter, colon, weights = word.partition(".py:")  # there may be a drive's colon before
    if colon or word.endswith(".py"):
        adapter = adapter.removesuffix(".py") + ".py"
        return Rival(Path(weights or adapter).stem, _adapted(Path(adapter), weights))
    header, network = load_foreign(Path(word))
    model = Model(header, network, Execution.pick(str(device), "fp32"))
    if model.scale > 1:
        raise UsageError(f"{word}: enlarges pictures", "name a network that keeps their size")
    knobbed = model.tunable

    def restore(noisy: Tensor, level: float | None) -> Tensor:
        return model(noisy, level=level if knobbed else None)

    return Rival(Path(word).stem, restore, model)


def _adapted(adapter: Path, weights: str) -> Restore:
    adapter = adapter.resolve()
    if not adapter.is_file():
        raise UsageError(f"{adapter}: there is no such adapter", "give --rival ADAPTER.py:WEIGHTS")
    spec = importlib.util.spec_from_file_location(f"rival_{adapter.stem}", adapter)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # as Python itself does it: dataclasses look there
    known = set(sys.modules)
    sys.path.insert(0, str(adapter.parent))  # for files that it lies beside
    try:
        spec.loader.exec_module(module)
        load = module.load
        found: Restore = load(Path(weights)) if weights else load()
    except TunectlError:
        raise
    except (Exception, SystemExit) as error:  # whatever a stranger's file raises
        if is_out_of_memory(error):
            raise
        raise UsageError(
            f"{adapter}: {type(error).__name__}: {error}",
            "it needs a function load(path) that returns restore(picture, level)",
        ) from error
    finally:
        with contextlib.suppress(ValueError):  # it did so itself
            sys.path.remove(str(adapter.parent))
        beside = {path.stem for path in adapter.parent.iterdir()}
        for name in set(sys.modules) - known:  # another adapter may have its own of that name
            if name.partition(".")[0] in beside:
                del sys.modules[name]

    rule = "restore(picture, level) takes (1, C, H, W) in [0, 1] and gives the same shape"

    def restore(noisy: Tensor, level: float | None) -> Tensor:
        try:
            with torch.inference_mode():
                output = found(noisy, level)
        except (Exception, SystemExit) as error:
            if is_out_of_memory(error):
                raise
            raise UsageError(f"{adapter}: {type(error).__name__}: {error}", rule) from error
        if not isinstance(output, Tensor) or output.shape != noisy.shape:
            what = tuple(getattr(output, "shape", ())) or type(output).__name__
            raise UsageError(f"{adapter}: gave {what} for {tuple(noisy.shape)}", rule)
        if not output.isfinite().all():
            raise UsageError(f"{adapter}: gave what is not a number", rule)
        return output

    return restore
