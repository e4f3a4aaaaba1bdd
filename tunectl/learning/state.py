"""The state of a run on disk, from which it goes on after an interruption."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from tunectl.atomic import atomic_write
from tunectl.errors import TunectlError, UsageError

KEEP = 2
KEY = "tunectl.state"


class RunFolder:
    """`FILE.run/` beside a model that is being trained: states and a log, a line a report.

    A state is one safetensors file with its JSON inside, so that it cannot be torn in two; it is
    written atomically and the newest `KEEP` are kept.
    """

    def __init__(self, output: Path) -> None:
        self.path = output.with_name(output.name + ".run")

    def states(self) -> list[Path]:
        """State files, oldest first."""
        return sorted(self.path.glob("state-*.safetensors"))

    def save(self, step: int, facts: dict[str, Any], tensors: dict[str, Tensor]) -> None:
        """Write the state after `step` steps. Raises ResourceError if the disk refuses."""
        self.path.mkdir(parents=True, exist_ok=True)
        plain = {
            name: tensor.detach().cpu().clone(memory_format=torch.contiguous_format)
            for name, tensor in tensors.items()
        }
        data = safetensors.torch.save(plain, {KEY: json.dumps(facts, sort_keys=True)})
        with atomic_write(self.path / f"state-{step:08d}.safetensors") as file:
            file.write(data)
        for old in self.states()[:-KEEP]:
            old.unlink()

    def load(self) -> tuple[dict[str, Any], dict[str, Tensor]]:
        """The newest state that can be read. Raises TunectlError if there is none."""
        for path in reversed(self.states()):
            with contextlib.suppress(SafetensorError, OSError, ValueError):
                with safe_open(path, "pt") as file:
                    facts = json.loads((file.metadata() or {})[KEY])
                return facts, safetensors.torch.load_file(path)
        raise TunectlError(f"{self.path}: holds no state to resume", "start without --resume")

    def begin(self) -> None:
        """Make room for a new run. Raises UsageError if an interrupted one left its state."""
        if self.states():
            raise UsageError(
                f"{self.path}: holds the state of an interrupted run",
                "add --resume to go on with it, or remove the folder to start anew",
            )
        (self.path / "log.jsonl").unlink(missing_ok=True)

    def clear(self) -> None:
        """Remove the states of a run that is finished; its log stays."""
        for path in self.states():
            path.unlink()

    def log(self, record: dict[str, Any]) -> None:
        """Append one line to log.jsonl."""
        self.path.mkdir(parents=True, exist_ok=True)
        with open(self.path / "log.jsonl", "a", encoding="utf-8") as file:
            file.write(json.dumps(record) + "\n")
