"""Tunable image processing: one network, one knob.

    import tunectl

    model = tunectl.load("photo")
    better = model(picture, alpha=0.3)  # a PIL picture, an array or a tensor

What goes wrong is a `TunectlError`, with its cause and a hint; `tunectl.errors` has one for each.
Importing this costs nothing: torch is loaded with the first model.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tunectl.errors import TunectlError

if TYPE_CHECKING:
    from tunectl.inference.load import load
    from tunectl.inference.model import Model
    from tunectl.inference.strength import Strength
    from tunectl.inference.styles import set_styles

__all__ = ["Model", "Strength", "TunectlError", "load", "set_styles"]


def __getattr__(name: str) -> Any:
    if name == "load":
        from tunectl.inference.load import load

        return load
    if name == "Model":
        from tunectl.inference.model import Model

        return Model
    if name == "Strength":
        from tunectl.inference.strength import Strength

        return Strength
    if name == "set_styles":
        from tunectl.inference.styles import set_styles

        return set_styles
    raise AttributeError(f"module 'tunectl' has no attribute {name!r}")
