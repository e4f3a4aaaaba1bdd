"""The engines of one model: networks that were folded last, ready for the next picture."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable

from torch import nn

from tunectl.inference.engine import Engine
from tunectl.inference.execution import Execution

KEPT_FOLDS = 4


class Engines:
    """By what tells them apart, such as alpha. Not for two threads at once."""

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
