"""The signals by which a run is asked to end."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Callable, Iterator
from typing import Any

_NAMES = ("SIGINT", "SIGTERM", "SIGHUP")  # the last where there are terminals that can close


@contextlib.contextmanager
def heeded(
    first: Callable[[int], None], second: Callable[[int], None] | None = None
) -> Iterator[None]:
    """Within the block the first of the signals calls `first` with its number.

    After it SIGINT and SIGTERM call `second`, or do what they did before, and SIGHUP does nothing:
    both the system and the shell send it when a terminal closes. What was ignored before, as by
    nohup and a shell's &, stays so. For the main thread only.
    """
    numbers = [getattr(signal, name) for name in _NAMES if hasattr(signal, name)]
    before: dict[int, Any] = {number: signal.getsignal(number) for number in numbers}
    before = {n: handler for n, handler in before.items() if handler not in (signal.SIG_IGN, None)}

    def once_more(number: int, _frame: object) -> None:
        assert second is not None
        second(number)

    def once(number: int, _frame: object) -> None:
        for known, handler in before.items():
            if known == getattr(signal, "SIGHUP", None):
                signal.signal(known, signal.SIG_IGN)
            else:
                signal.signal(known, handler if second is None else once_more)
        first(number)

    for number in before:
        signal.signal(number, once)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
