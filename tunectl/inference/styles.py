"""Any picture's style for a model that takes one (Huang and Belongie, ICCV 2017)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from tunectl.errors import UsageError
from tunectl.inference.model import Model
from tunectl.networks import statistics
from tunectl.tasks.style import read_style
from tunectl.tuners import AdaIN, Tunable

SIZE = 512  # of a style picture's shorter side: it sets the size of the strokes


def set_styles(model: Model, pictures: Sequence[str | Path], shares: Sequence[float] = ()) -> None:
    """Make alpha 1 the style of a picture, or of several, mixed by `shares` (section 6.4).

    `pictures` are names of files. Shares are relative to their sum; without them all count the
    same. Raises UsageError where the model has its style for good, or the shares do not fit the
    pictures.
    """
    network = model.network
    if not isinstance(network, Tunable) or not isinstance(network.tuner, AdaIN):
        raise UsageError("this model has no style to choose", "leave --style away")
    weights = torch.tensor(list(shares) or [1.0] * len(pictures), dtype=torch.float64)
    if len(weights) != len(pictures) or bool((weights < 0).any()) or not weights.sum() > 0:
        raise UsageError(
            f"{len(weights)} style shares do not fit {len(pictures)} styles",
            "give one number from 0 for each --style",
        )
    plain = network.network
    with torch.inference_mode():
        found: dict[str, list[tuple[Tensor, Tensor]]] = {site: [] for site in network.tuner.sites}
        hooks = [
            plain.get_submodule(site).register_forward_pre_hook(
                lambda _module, inputs, site=site: found[site].append(statistics(inputs[0]))
            )
            for site in found
        ]
        try:
            for path in pictures:
                plain(read_style(Path(path), SIZE).to(model.execution.device))
        finally:
            for hook in hooks:
                hook.remove()
        mix = (weights / weights.sum()).float().to(model.execution.device)[:, None]
        network.tuner.set_style(
            {
                site: (_mixed([mean for mean, _ in each], mix), _mixed([d for _, d in each], mix))
                for site, each in found.items()
            }
        )
    model.forget()


def _mixed(parts: Sequence[Tensor], shares: Tensor) -> Tensor:
    return (torch.cat(list(parts)) * shares).sum(0)
