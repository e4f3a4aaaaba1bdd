"""Tuners by name. Adding one: write its file, add its line; the contract tests find it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tunectl.errors import UsageError
from tunectl.fields import build_fields
from tunectl.networks import Network
from tunectl.tuners.adafm import AdaFM
from tunectl.tuners.adain import AdaIN
from tunectl.tuners.base import Knobbed, StepContext, Tunable, Tuner
from tunectl.tuners.dni import DNI
from tunectl.tuners.dynamic import DynamicNet
from tunectl.tuners.ftn import FTN
from tunectl.tuners.mapped import Mapped

TUNERS: dict[str, type[Tuner]] = {
    "dni": DNI,
    "ftn": FTN,
    "adafm": AdaFM,
    "dynamic-net": DynamicNet,
    "adain": AdaIN,
}

__all__ = [
    "DNI",
    "FTN",
    "TUNERS",
    "AdaFM",
    "AdaIN",
    "DynamicNet",
    "Knobbed",
    "Mapped",
    "StepContext",
    "Tunable",
    "Tuner",
    "build_tuner",
    "insert_sites",
]


def build_tuner(
    name: str,
    network: Network,
    fields: Mapping[str, Any] | None = None,
    knots: tuple[float, ...] = (0.0, 1.0),
) -> Tuner:
    """A tuner at birth for `network`. Raises UsageError on an unknown name or field."""
    kind = _kind(name)
    return kind(network, build_fields(kind.Fields, fields or {}, f"tuner {name}"), knots)


def insert_sites(
    name: str, network: Network, fields: Mapping[str, Any], knots: tuple[float, ...]
) -> None:
    """Give a plain network the inserted modules that folding this tuner left in it."""
    kind = _kind(name)
    kind.insert(network, build_fields(kind.Fields, fields, f"tuner {name}"), knots)


def _kind(name: str) -> type[Tuner]:
    if name not in TUNERS:
        raise UsageError(f"no tuner is called {name!r}", f"known: {', '.join(TUNERS)}")
    return TUNERS[name]
