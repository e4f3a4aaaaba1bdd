"""Tunable image processing: one network, one knob.

    import tunectl

    model = tunectl.load("denoise")
    better = model(picture, alpha=0.3)  # a PIL picture, an array or a tensor

Importing this costs nothing: torch is loaded with the first model.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tunectl.inference.model import Model, load

__all__ = ["Model", "load"]


def __getattr__(name: str) -> Any:
    if name in __all__:
        from tunectl.inference import model

        return getattr(model, name)
    raise AttributeError(f"module 'tunectl' has no attribute {name!r}")
