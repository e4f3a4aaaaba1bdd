"""The published networks that tunectl is measured against; they are not part of it.

    tunectl evaluate IMAGES --rival tests/benchmarks/rival_models.py:RIVALS/ffdnet_color.safetensors

RIVALS is a folder with the weights and a `models.py` that builds the networks.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import Any

from torch import Tensor


def load_rival(folder: Path, name: str) -> Any:
    """A network by name from a folder that holds the rivals' `models.py` and weights."""
    spec = importlib.util.spec_from_file_location("rivals", folder / "models.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.load(name)


def load(path: Path) -> Callable[[Tensor, float | None], Tensor]:
    """The adapter for `tunectl evaluate --rival`."""
    network = load_rival(path.parent, path.stem)

    def restore(noisy: Tensor, level: float | None) -> Tensor:
        if network.blind:
            return network(noisy)
        if level is None:
            raise ValueError(f"{path.stem} has to be told the level: give --level")
        return network(noisy, level / 255)

    return restore
