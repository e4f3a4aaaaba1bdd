"""The signals by which a run is asked to end."""

from __future__ import annotations

import signal
from typing import Any

_NAMES = ("SIGINT", "SIGTERM", "SIGHUP")  # the last: the terminal has gone, where there are such


def heeded() -> dict[signal.Signals, Any]:
    """Those that nobody has set to be ignored (nohup and the shell's & do), and their handlers."""
    numbers = [getattr(signal, name) for name in _NAMES if hasattr(signal, name)]
    handlers = {number: signal.getsignal(number) for number in numbers}
    return {number: handler for number, handler in handlers.items() if handler != signal.SIG_IGN}
