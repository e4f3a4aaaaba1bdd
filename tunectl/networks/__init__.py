"""Plain networks by name. Adding one: write its file, add its line, and small ones of it to the
`SMALL`s of the tests, which then hold it to every tuner's contract."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tunectl.errors import UsageError
from tunectl.fields import build_fields
from tunectl.networks.adafm_net import AdaFMNet
from tunectl.networks.adain_net import AdaINNet
from tunectl.networks.base import Network, Site, macs_per_pixel, receptive_radius
from tunectl.networks.norm import (
    InstanceNorm,
    Statistics,
    fixed_statistics,
    norms_of,
    statistics,
)
from tunectl.networks.transform_net import TransformNet
from tunectl.networks.unet import UNet

NETWORKS: dict[str, type[Network]] = {
    "adafm-net": AdaFMNet,
    "adain-net": AdaINNet,
    "transform-net": TransformNet,
    "unet": UNet,
}

__all__ = [
    "NETWORKS",
    "InstanceNorm",
    "Network",
    "Site",
    "Statistics",
    "build_network",
    "fixed_statistics",
    "macs_per_pixel",
    "norms_of",
    "receptive_radius",
    "statistics",
]


def build_network(name: str, fields: Mapping[str, Any] | None = None) -> Network:
    """A network with freshly drawn weights. Raises UsageError on an unknown name or field."""
    if name not in NETWORKS:
        raise UsageError(f"no network is called {name!r}", f"known: {', '.join(NETWORKS)}")
    kind = NETWORKS[name]
    return kind(build_fields(kind.Fields, fields or {}, f"network {name}"))
