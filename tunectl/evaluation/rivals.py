"""Other people's networks in the same table."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from tunectl.errors import TunectlError, UsageError
from tunectl.evaluation.subjects import Plain, Restore


def load_rival(word: str, device: torch.device) -> Plain:
    """`ADAPTER.py:WEIGHTS`, or a model file that spandrel loads (extra `spandrel`).

    An adapter is a Python file with a function `load(path)` that returns a function from
    ((1, C, H, W) in [0, 1], level or None) to the same shape: it is run, so it has to be trusted.
    Raises UsageError for a rival that cannot be had.
    """
    adapter, _, weights = word.partition(":")
    if adapter.endswith(".py"):
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
    except Exception as error:  # whatever a stranger's file raises
        raise UsageError(
            f"{adapter}: {type(error).__name__}: {error}",
            "it needs a function load(path) that returns restore(picture, level)",
        ) from error

    def restore(noisy: Tensor, level: float | None) -> Tensor:
        try:
            with torch.inference_mode():
                return found(noisy, level)
        except Exception as error:
            raise UsageError(
                f"{adapter}: {type(error).__name__}: {error}",
                "restore(picture, level) takes (1, C, H, W) in [0, 1] and gives the same shape",
            ) from error

    return restore


def _spandrel(path: Path, device: torch.device) -> Restore:
    try:
        import spandrel
    except ImportError as error:
        raise UsageError(
            f"{path}: other networks are loaded by spandrel, which is not installed",
            "pip install 'tunectl[spandrel]', or give --rival ADAPTER.py:WEIGHTS",
        ) from error
    try:
        found: Any = spandrel.ModelLoader(device=device).load_from_file(path)
    except Exception as error:  # it raises what its many architectures raise
        raise UsageError(
            f"{path}: spandrel cannot load it: {error}", "give --rival ADAPTER.py:WEIGHTS"
        ) from error
    if not isinstance(found, spandrel.ImageModelDescriptor) or found.scale != 1:
        raise UsageError(f"{path}: does not keep a picture's size", "name a restoration model")
    network = found.eval()

    def restore(noisy: Tensor, level: float | None) -> Tensor:
        with torch.inference_mode():
            channels = noisy.shape[1]
            picture = noisy.expand(-1, found.input_channels, -1, -1) if channels == 1 else noisy
            output: Tensor = network(picture.to(device)).cpu()
            return output.mean(1, keepdim=True) if channels == 1 else output

    return restore
