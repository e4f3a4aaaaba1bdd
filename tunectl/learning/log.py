"""What is kept of a run while it goes: a line a report, and the same for TensorBoard."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from types import TracebackType
from typing import Any

import numpy as np
from torch import Tensor

from tunectl.errors import UsageError
from tunectl.images import read_rgb8
from tunectl.learning.state import RunFolder
from tunectl.learning.stepper import Report


class Log:
    """Writes reports to a run's folder, and where `board` says so to `tensorboard` in it."""

    def __init__(self, folder: RunFolder, board: bool) -> None:
        """Raises UsageError where TensorBoard is wanted and not installed."""
        self.folder = folder
        self._writer: Any = None
        self._new_writer = _summary_writer() if board else None

    def __enter__(self) -> Log:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._writer:
            self._writer.close()

    def __call__(self, report: Report) -> None:
        """One more report."""
        self.folder.log(dataclasses.asdict(report))
        if self._new_writer is None:
            return
        if self._writer is None:  # what an earlier process wrote of later steps is taken back
            self._writer = self._new_writer(str(self.folder.board), purge_step=report.step)
        step = report.step
        numbers = {"lr": report.lr, "megapixels a second": report.megapixels_per_second}
        if report.loss is not None:
            numbers["loss"] = report.loss
        numbers |= {f"validation/{name}": value for name, value in report.validation.items()}
        for name, value in numbers.items():
            self._writer.add_scalar(name, value, step)
        preview = self.folder.previews / f"{step:08}.png"
        if report.validation and preview.exists():
            self._writer.add_image("preview", read_rgb8(preview), step, dataformats="HWC")

    def sweep(self, step: int, frames: Sequence[tuple[str, Tensor]]) -> None:
        """The sweep of a photo at the end of the run."""
        if self._writer:
            row = np.concatenate([frame[0].clamp(0, 1).float().numpy() for _, frame in frames], 2)
            self._writer.add_image("sweep", row, step)


def _summary_writer() -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise UsageError(
            "TensorBoard is not installed", "pip install 'tunectl[tensorboard]'"
        ) from error
    return SummaryWriter
