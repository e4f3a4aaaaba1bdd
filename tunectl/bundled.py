"""Where the files that come with tunectl lie."""

from __future__ import annotations

from pathlib import Path

from tunectl.errors import CheckpointError


def bundled_folders() -> list[Path]:
    """In a wheel the weights lie inside the package, in a checkout beside it."""
    package = Path(__file__).parent
    return [package / "weights", package.parent / "weights"]


def bundled(name: str) -> Path:
    """A file among the bundled weights. Raises CheckpointError in a broken installation."""
    found = [folder / name for folder in bundled_folders() if (folder / name).is_file()]
    if not found:
        raise CheckpointError(f"{name} is missing from tunectl", "install tunectl anew")
    return found[0]
