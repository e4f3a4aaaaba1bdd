"""A network ready to run: on its device, in its precision, in the fastest layout, once or for
each orientation of a picture."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable

import torch
from torch import Tensor, nn

from tunectl.inference.execution import Execution

KEPT_FOLDS = 4


class Engine:
    """Runs a plain network, or a mapped one with alpha per pixel.

    With an `ensemble` above 1 the result is the mean over so many orientations of the picture, each
    turned back: the geometric self-ensemble of Timofte, Rothe and Van Gool (CVPR 2016, section
    3.7).
    """

    def __init__(
        self, network: nn.Module, device: torch.device, precision: torch.dtype, ensemble: int = 1
    ) -> None:
        self.network = network.to(device, memory_format=torch.channels_last).eval()  # type: ignore[call-overload]
        self.device, self.precision, self.ensemble = device, precision, ensemble

    def __call__(self, x: Tensor, alpha: Tensor | None = None) -> Tensor:
        """(N, C, H, W) in [0, 1] to float32 of the same shape, not clamped, on the same device.

        C is 3, or 1: gray goes through as three equal planes and comes back as their mean. `alpha`
        is a mapped network's (1, 1, H, W) in [0, 1].
        """
        gray = x.shape[1] == 1
        inputs = [x.expand(-1, 3, -1, -1).to(self.device)]
        if alpha is not None:
            inputs.append(alpha.to(self.device))
        y = self._run(inputs, 0)
        for orientation in range(1, self.ensemble):
            y = y + self._run(inputs, orientation)
        if self.ensemble > 1:
            y = y / self.ensemble
        return (y.mean(1, keepdim=True) if gray else y).to(x.device)

    def _run(self, inputs: list[Tensor], orientation: int) -> Tensor:
        turned = [_turned(plane, orientation) for plane in inputs]
        turned = [plane.contiguous(memory_format=torch.channels_last) for plane in turned]
        half = self.precision == torch.bfloat16
        with torch.inference_mode(), torch.autocast(self.device.type, torch.bfloat16, half):
            return _turned_back(self.network(*turned).float(), orientation)


class Engines:
    """The engines of one model: networks that were folded last, ready for the next picture, by
    what tells them apart, such as alpha. Not for two threads at once."""

    def __init__(self, execution: Execution) -> None:
        self._execution = execution
        self._kept: OrderedDict[Hashable, Engine] = OrderedDict()

    def get(self, key: Hashable, make: Callable[[], nn.Module]) -> Engine:
        """The engine of that key, or one of the network that `make` returns."""
        if key not in self._kept:
            how = self._execution
            self._kept[key] = Engine(make(), how.device, how.precision, how.ensemble)
            if len(self._kept) > KEPT_FOLDS:
                self._kept.popitem(last=False)
        self._kept.move_to_end(key)
        return self._kept[key]

    def clear(self) -> None:
        """Keep none."""
        self._kept.clear()


def _turned(plane: Tensor, orientation: int) -> Tensor:
    """(N, C, H, W) in one of its eight orientations; 0 is as it is."""
    turns, mirrored = divmod(orientation, 2)
    plane = plane.flip(3) if mirrored else plane
    return torch.rot90(plane, turns, (2, 3)) if turns else plane


def _turned_back(plane: Tensor, orientation: int) -> Tensor:
    turns, mirrored = divmod(orientation, 2)
    plane = torch.rot90(plane, -turns, (2, 3)) if turns else plane
    return plane.flip(3) if mirrored else plane
