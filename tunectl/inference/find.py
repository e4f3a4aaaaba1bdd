"""Which file a model's name stands for."""

from __future__ import annotations

import os
from pathlib import Path

from tunectl.bundled import bundled_folders
from tunectl.errors import CheckpointError
from tunectl.header import ENDING


def find_model(name: str | Path) -> Path:
    """The file of a model. Raises CheckpointError, listing what there is."""
    path = Path(name)
    if path.suffix == ENDING or os.path.dirname(name):
        if not path.is_file():
            whole = f"{name}{ENDING}"
            advice = f"give {whole}" if os.path.isfile(whole) else "check the path of the model"
            raise CheckpointError(f"{name}: there is no such file", advice)
        return path
    for folder in model_folders():
        candidate = folder / f"{name}{ENDING}"
        if os.path.isfile(candidate):
            return candidate
    if os.path.isfile(path):  # its reader says why it is no model
        return path
    if os.path.isfile(f"{path}{ENDING}"):
        raise CheckpointError(
            f"no model is called {name!r}", f"for the file here, -m {name}{ENDING}"
        )
    known = ", ".join(model_names()) or "none"
    raise CheckpointError(f"no model is called {name!r}", f"known: {known}")


def model_names() -> list[str]:
    """Every name that stands for a model, sorted."""
    return sorted({path.stem for folder in model_folders() for path in models_in(folder)})


def models_in(folder: Path) -> list[Path]:
    """The model files in a folder, sorted; none where it is missing or not to be looked into."""
    try:
        return sorted(folder / name for name in os.listdir(folder) if name.endswith(ENDING))
    except OSError:
        return []


def model_folders() -> list[Path]:
    """Where names are looked up, in order: the user's folder, then what came with tunectl."""
    from platformdirs import user_data_path

    home = os.environ.get("TUNECTL_HOME")
    user = Path(home) if home else user_data_path("tunectl")
    return [user, *bundled_folders()]
