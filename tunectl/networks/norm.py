"""Instance normalisation whose statistics can be held fast, so that windows agree."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator

import torch
from torch import Tensor, nn
from torch.nn.functional import group_norm

EPSILON = 1e-5
Statistics = dict[str, tuple[Tensor, Tensor]]  # mean and standard deviation, by place


class InstanceNorm(nn.Module):
    """Each channel of each picture to mean 0 and variance 1, then scaled and shifted.

    Ulyanov, Vedaldi and Lempitsky, arXiv 1607.08022. `statistics`, (mean, variance), each
    (N, C, 1, 1), replace the input's own where they are set; `recording` sets them.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))
        self.statistics: tuple[Tensor, Tensor] | None = None
        self.recording = False

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to the same shape and dtype."""
        if self.recording:
            variance, mean = torch.var_mean(x.float(), dim=(2, 3), correction=0, keepdim=True)
            self.statistics = mean, variance
        elif self.statistics is None:
            # On channels last torch sums squares, which cancel, and is slow to go backward.
            y = group_norm(x.contiguous(), x.shape[1], self.weight, self.bias, EPSILON)
            return y.to(x.dtype)  # CUDA's autocast leaves it in full precision
        else:
            mean, variance = self.statistics
        scale = self.weight[:, None, None] * (variance + EPSILON).rsqrt()
        return (x * scale + (self.bias[:, None, None] - mean * scale)).to(x.dtype)


def statistics(features: Tensor) -> tuple[Tensor, Tensor]:
    """The mean and standard deviation of each channel of (N, C, H, W), each (N, C)."""
    variance, mean = torch.var_mean(features.float(), dim=(2, 3), correction=0)
    return mean, (variance + EPSILON).sqrt()


def norms_of(networks: Iterable[nn.Module]) -> list[InstanceNorm]:
    """Every instance norm inside the networks."""
    return [m for network in networks for m in network.modules() if isinstance(m, InstanceNorm)]


@contextlib.contextmanager
def fixed_statistics(norms: list[InstanceNorm], run: Callable[[], object]) -> Iterator[None]:
    """Within the block all `norms` use the statistics that they met while `run()` ran before it."""
    try:
        for norm in norms:
            norm.recording = True
        run()
        for norm in norms:
            norm.recording = False
        yield
    finally:
        for norm in norms:
            norm.recording, norm.statistics = False, None
