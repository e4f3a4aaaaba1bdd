"""Other people's networks in the same table."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import torch
from torch import Tensor

from tunectl.errors import TunectlError, UsageError
from tunectl.evaluation.subjects import Plain, Restore
from tunectl.foreign.networks import ForeignKnobbed, load_foreign


def load_rival(word: str, device: torch.device) -> Plain:
    """`ADAPTER.py:WEIGHTS`, or a model file that spandrel loads (extra `spandrel`).

    An adapter is a Python file with a function `load(path)` that returns a function from
    ((1, C, H, W) in [0, 1], level or None) to the same shape: it is run, so it has to be trusted.
    Raises UsageError for a rival that cannot be had.
    """
    adapter, colon, weights = word.partition(".py:")  # there may be a drive's colon before
    if colon or word.endswith(".py"):
        adapter = adapter.removesuffix(".py") + ".py"
        return Plain(Path(weights or adapter).stem, _adapted(Path(adapter), weights))
    return Plain(Path(word).stem, _spandrel(Path(word), device))


def _adapted(adapter: Path, weights: str) -> Restore:
    if not adapter.is_file():
        raise UsageError(f"{adapter}: there is no such adapter", "give --rival ADAPTER.py:WEIGHTS")
    spec = importlib.util.spec_from_file_location(f"rival_{adapter.stem}", adapter)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
        load = module.load
        found: Restore = load(Path(weights)) if weights else load()
    except TunectlError:
        raise
    except (Exception, SystemExit) as error:  # whatever a stranger's file raises
        raise UsageError(
            f"{adapter}: {type(error).__name__}: {error}",
            "it needs a function load(path) that returns restore(picture, level)",
        ) from error

    rule = "restore(picture, level) takes (1, C, H, W) in [0, 1] and gives the same shape"

    def restore(noisy: Tensor, level: float | None) -> Tensor:
        try:
            with torch.inference_mode():
                output = found(noisy, level)
        except (Exception, SystemExit) as error:
            raise UsageError(f"{adapter}: {type(error).__name__}: {error}", rule) from error
        if not isinstance(output, Tensor) or output.shape != noisy.shape:
            what = tuple(getattr(output, "shape", ())) or type(output).__name__
            raise UsageError(f"{adapter}: gave {what} for {tuple(noisy.shape)}", rule)
        if not output.isfinite().all():
            raise UsageError(f"{adapter}: gave what is not a number", rule)
        return output

    return restore


def _spandrel(path: Path, device: torch.device) -> Restore:
    header, network = load_foreign(path)
    network.to(device)
    plain_network = network.network if isinstance(network, ForeignKnobbed) else network
    if plain_network.scale > 1:
        raise UsageError(f"{path}: enlarges pictures", "name a network that keeps their size")

    def restore(noisy: Tensor, level: float | None) -> Tensor:
        plain = network
        if isinstance(network, ForeignKnobbed):
            if level is None or header.knob is None:
                raise UsageError(f"{path}: has to be told a level", "give --level")
            plain = network.fold(header.knob.alpha(level))
        with torch.inference_mode():
            output: Tensor = plain(noisy.expand(-1, 3, -1, -1).to(device)).cpu()
            return output.mean(1, keepdim=True) if noisy.shape[1] == 1 else output

    return restore
