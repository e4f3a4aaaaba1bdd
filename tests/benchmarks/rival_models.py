"""The published networks that tunectl is measured against; they are not part of it."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any


def load_rival(folder: Path, name: str) -> Any:
    """A network by name from a folder that holds the rivals' `models.py` and weights."""
    spec = importlib.util.spec_from_file_location("rivals", folder / "models.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.load(name)
