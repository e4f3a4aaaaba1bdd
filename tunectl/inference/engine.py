"""A network ready to run: on its device, in its precision, in the fastest layout."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Engine:
    """Runs a plain network, or a mapped one with alpha per pixel."""

    def __init__(self, network: nn.Module, device: torch.device, precision: torch.dtype) -> None:
        self.network = network.to(device, memory_format=torch.channels_last).eval()  # type: ignore[call-overload]
        self.device, self.precision = device, precision

    def __call__(self, x: Tensor, alpha: Tensor | None = None) -> Tensor:
        """(N, C, H, W) in [0, 1] to float32 of the same shape on the CPU, not clamped.

        C is 3, or 1: gray goes through as three equal planes and comes back as their mean. `alpha`
        is a mapped network's (1, 1, H, W) in [0, 1].
        """
        gray = x.shape[1] == 1
        x = x.expand(-1, 3, -1, -1).to(self.device).contiguous(memory_format=torch.channels_last)
        inputs = (x,) if alpha is None else (x, alpha.to(self.device))
        half = self.precision == torch.bfloat16
        with torch.inference_mode(), torch.autocast(self.device.type, torch.bfloat16, half):
            y: Tensor = self.network(*inputs).float()
            return (y.mean(1, keepdim=True) if gray else y).cpu()
