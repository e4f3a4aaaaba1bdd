"""How a run is doing: measured, and shown, on crops of photos that it does not learn from."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from tunectl.evaluation.cases import degraded
from tunectl.evaluation.metrics import mean, psnr
from tunectl.images import Picture, write_picture
from tunectl.inference.engine import Engine
from tunectl.knob import Knob
from tunectl.networks import Network
from tunectl.tasks import Task
from tunectl.tuners import Tunable

STYLE_CROPS = 4  # of them, where each is sent through a perceptual network
PREVIEWED = 3
SWEPT = 10  # steps from alpha 0 to 1
GAP = 4  # white pixels between the pictures of a preview


class Folds:
    """Restores at any alpha through the folded network, folding again only when alpha moves."""

    def __init__(self, model: Tunable, device: torch.device, precision: torch.dtype) -> None:
        self.model, self.device, self.precision = model, device, precision
        self.alpha: float | None = None

    def __call__(self, noisy: Tensor, alpha: float) -> Tensor:
        """(N, 3, H, W) in [0, 1] to the same shape, not clamped."""
        if alpha != self.alpha:
            self.alpha = alpha
            self.engine = Engine(self.model.fold(alpha), self.device, self.precision)
        return self.engine(noisy)


class Validation:
    """PSNR by level, or the task's own scores, each time it is called.

    A picture is added to the folder `previews` as well, called like the step: a row a photo, what
    went in at the strongest level first, and then what comes out at each level.
    """

    def __init__(
        self,
        model: Network | Tunable,
        task: Task,
        levels: tuple[float, float],
        knob: Knob | None,
        crops: Sequence[Tensor],
        device: torch.device,
        precision: torch.dtype,
        previews: Path,
    ) -> None:
        self.model, self.task, self.knob = model, task, knob
        self.device, self.precision, self.previews = device, precision, previews
        steps = 4 if task.restores else 2
        start, end = levels
        lowest = -steps if knob and knob.lowest < 0 else 0
        self.levels = sorted({start + (end - start) * i / steps for i in range(lowest, steps + 1)})
        self.strongest = end
        self.crops = crops if task.restores else crops[:STYLE_CROPS]

    def __call__(self, step: int) -> dict[str, float]:
        """The measures after `step` by level; names of scores come after the level."""
        learning = self.model.training  # which what runs it ends
        results: dict[str, float] = {}
        columns = [[self._input(i, self.strongest)[1] for i in range(len(self.crops))]]
        for level in self.levels:
            engine = self._engine(level)
            pairs = [self._input(i, level) for i in range(len(self.crops))]
            outputs = [engine(noisy) for _, noisy in pairs]
            columns.append(outputs)
            found = [
                self._scores(output, clean, level)
                for output, (clean, _) in zip(outputs, pairs, strict=True)
            ]
            for name in found[0]:
                results[f"{level:g}{name}"] = mean([scores[name] for scores in found])
        self._preview(step, columns)
        self.model.train(learning)
        return results

    def sweep(self) -> list[tuple[str, Tensor]]:
        """The first photo at the middle of the range, as it went in and at alphas along the knob.

        Each is (1, C, H, W) under a name; of a plain model, one.
        """
        knob = self.knob
        middle = knob.scheduled_level(0.5) if knob else self.strongest
        _, noisy = self._input(0, middle)
        if not isinstance(self.model, Tunable) or knob is None:
            return [("in", noisy), ("out", self._engine(middle)(noisy).cpu())]
        folds = Folds(self.model, self.device, self.precision)
        lowest = round(SWEPT * knob.lowest)
        alphas = [i / SWEPT for i in range(lowest, SWEPT + 1)]
        return [("in", noisy), *((f"alpha {a:g}", folds(noisy, a).cpu()) for a in alphas)]

    def _engine(self, level: float) -> Engine:
        if isinstance(self.model, Tunable):
            assert self.knob is not None
            network = self.model.fold(self.knob.scheduled_alpha(level))
        else:
            network = self.model
        return Engine(network, self.device, self.precision)

    def _input(self, index: int, level: float) -> tuple[Tensor, Tensor]:
        return degraded(self.crops[index], self.task, level, index)

    def _scores(self, output: Tensor, clean: Tensor, level: float) -> dict[str, float]:
        if self.task.restores:
            return {"": psnr(output, clean)}
        scores = self.task.scores(output.to(self.device), clean.to(self.device), level)
        return {f" {name}": value for name, value in scores.items()}

    def _preview(self, step: int, columns: list[list[Tensor]]) -> None:
        height = max(crop.shape[1] for crop in self.crops[:PREVIEWED]) + GAP
        width = max(crop.shape[2] for crop in self.crops[:PREVIEWED]) + GAP
        rows = len(columns[0][:PREVIEWED])
        sheet = torch.ones(3, rows * height - GAP, len(columns) * width - GAP)
        for x, column in enumerate(columns):
            for y, picture in enumerate(column[:PREVIEWED]):
                place = sheet[:, y * height :, x * width :]
                place[:, : picture.shape[2], : picture.shape[3]] = picture[0]
        pixels = sheet.clamp(0, 1).mul(255).round().to(torch.uint8).permute(1, 2, 0)
        write_picture(self.previews / f"{step:08}.png", Picture(pixels.contiguous().numpy()))
