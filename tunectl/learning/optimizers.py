"""The optimisers, and what of theirs a run keeps."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn


class Optimizer:
    """Adam, AdamW, or Muon, which turns the step of each kernel into an orthogonal matrix.

    Muon (Jordan et al., 2024) takes a kernel (O, I, h, w) as a matrix of O rows. Whatever is no
    such matrix, biases and depth-wise filters among them, is AdamW's; the steps of both have the
    same size at the same learning rate (Liu et al., arXiv 2502.16982, section 2.2).
    """

    def __init__(self, parameters: Sequence[Tensor], kind: str) -> None:
        self.parameters = parameters
        self._matrices: dict[Tensor, nn.Parameter] = {}
        if kind == "muon":
            self._matrices = {
                p: nn.Parameter(_matrix(p.detach(), p)) for p in parameters if _is_matrix(p)
            }
        others = [p for p in parameters if p not in self._matrices]
        self._optimizers: list[torch.optim.Optimizer] = []
        # Decay would pull FTN's slopes and identities, and AdaFM's zeros, away from the base.
        if others:
            adam = torch.optim.Adam if kind == "adam" else torch.optim.AdamW
            self._optimizers.append(adam(others, weight_decay=0, fused=True))
        if self._matrices:
            found = torch.optim.Muon(
                self._matrices.values(), weight_decay=0, adjust_lr_fn="match_rms_adamw"
            )
            self._optimizers.append(found)

    def step(self, lr: float) -> None:
        """Move the parameters by their gradients, and forget these."""
        for parameter, matrix in self._matrices.items():
            gradient = parameter.grad
            matrix.grad = None if gradient is None else _matrix(gradient, parameter)
        for optimizer in self._optimizers:
            for group in optimizer.param_groups:
                group["lr"] = lr
            optimizer.step()
        for parameter in self.parameters:
            parameter.grad = None

    def moments(self, parameter: Tensor) -> dict[str, Tensor]:
        """What is kept of a parameter's gradients, by name; nothing before its first step."""
        matrix = self._matrices.get(parameter, parameter)
        for optimizer in self._optimizers:
            if matrix in optimizer.state:
                return dict(optimizer.state[matrix])
        return {}

    def begin(self, parameter: Tensor) -> dict[str, Tensor]:
        """The moments of a parameter that has made a step, to be filled with those of a state."""
        matrix = self._matrices.get(parameter)
        if matrix is not None:
            state = {"momentum_buffer": torch.empty_like(matrix.detach())}
            self._optimizers[-1].state[matrix] = state
            return state
        # The fused optimiser walks memory: its moments need the parameter's layout.
        state = {
            "step": torch.zeros((), device=parameter.device),
            "exp_avg": torch.empty_like(parameter),
            "exp_avg_sq": torch.empty_like(parameter),
        }
        self._optimizers[0].state[parameter] = state
        return state


def _is_matrix(parameter: Tensor) -> bool:
    return parameter.ndim == 4 and min(parameter.shape[:2]) > 1


def _matrix(tensor: Tensor, like: Tensor) -> Tensor:
    """(O, I, h, w) as (O, I*h*w), a view where it lies in memory as the kernel `like` does.

    The columns' order follows the memory; orthogonality does not know it.
    """
    if like.is_contiguous(memory_format=torch.channels_last):
        tensor = tensor.permute(0, 2, 3, 1)
    return tensor.flatten(1)
