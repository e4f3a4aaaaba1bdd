"""What a step of training costs, as ratios: the two of a row take turns in one run.

    python tests/benchmarks/training.py PHOTOS [--task denoise] [--network unet] [--batch 8]
        [--draws 2] [--patch 96] [--device auto] [--rounds 5] [--compile]

Channels last, and bfloat16 where `train` would take it, against plain layout and float32; the
making of patches, and of what spoils them, against a whole step; each tuner, learned jointly and
on a finished network (`finetune`, as the papers do), against the network alone; with --compile, the
network and DNI as they are against the same through `torch.compile`. Medians over the rounds; the
defaults are those of `tunectl train`.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import torch
from torch import nn

from tunectl.device import pick_device, pick_precision
from tunectl.learning.curriculum import Curriculum
from tunectl.learning.loop import steps_of
from tunectl.learning.options import Options
from tunectl.learning.photos import Photos, list_photos
from tunectl.learning.table import decode
from tunectl.networks import build_network
from tunectl.seeds import seeded
from tunectl.tasks import build_task
from tunectl.tuners import Tunable, build_tuner

LEVELS = {"denoise": (0.0, 50.0), "deblock": (95.0, 5.0), "photo": (0.0, 30.0)}
STEPS = 5  # of each of the two, at each of its turns
TUNERS: dict[str, dict[str, Any]] = {
    "dni": {},
    "ftn": {"groups": 16},
    "adafm": {},
    "dynamic-net": {},
}


class Bench:
    """Steps as `tunectl train` takes them, of models on the same photos."""

    def __init__(self, photos: Photos, options: Options, network: str, task: str) -> None:
        self.photos, self.options, self.network = photos, options, network
        self.device, self.task, self.levels = photos.device, build_task(task), LEVELS[task]
        self.half = pick_precision(self.device, "auto") == torch.bfloat16

    def model(self, tuner: str = "", last: bool = True, finished: bool = False) -> nn.Module:
        torch.manual_seed(0)
        net: nn.Module = build_network(self.network, {}).requires_grad_(not finished)
        if tuner:
            net = Tunable(net, build_tuner(tuner, net, TUNERS[tuner], (0.0, 1.0)))
        layout = torch.channels_last if last else torch.contiguous_format
        return net.to(self.device, memory_format=layout)

    def patches(self, step: int, draw: int, level: float) -> tuple[torch.Tensor, torch.Tensor]:
        generator = seeded(self.device, 0, step, draw)
        count = self.options.batch // self.options.draws
        clean, gray = self.photos.patches(count, 0.15, generator)
        clean = self.task.vary(clean, generator)
        return clean, self.task.degrade(clean, level, generator, gray)

    def steps(
        self, model: nn.Module, naive: bool = False, compiled: bool = False
    ) -> Callable[[], None]:
        """STEPS of them."""
        half, last = self.half and not naive, not naive
        learned = [p for p in model.parameters() if p.requires_grad]
        optimizer = torch.optim.AdamW(learned, lr=1e-5, weight_decay=0, fused=True)
        tunable, draws = isinstance(model, Tunable), self.options.draws
        joint = any(p.requires_grad for p in (model.network if tunable else model).parameters())
        levels = Curriculum(("joint" if joint else "endpoint") if tunable else None, self.levels)
        way = steps_of(model, compiled)

        def work() -> None:
            for step in range(STEPS):
                with way.once():
                    for draw in range(draws):
                        alpha, level = levels(step * draws + draw)
                        clean, noisy = self.patches(step, draw, level)
                        if not last:
                            noisy = noisy.contiguous()
                        with torch.autocast(self.device.type, torch.bfloat16, half):
                            output = way.model(*((noisy,) if alpha is None else (noisy, alpha)))
                            loss = self.task.loss("charbonnier", output.float(), clean, level)
                        (loss / draws).backward()
                nn.utils.clip_grad_norm_(learned, 0.5, foreach=True)
                optimizer.step()
                optimizer.zero_grad()
                loss.item()

        return work

    def only_patches(self) -> None:
        levels = Curriculum(None, self.levels)
        for step in range(STEPS):
            for draw in range(self.options.draws):
                _, level = levels(step * self.options.draws + draw)
                self.patches(step, draw, level)[1].sum().item()


def compare(name: str, ours: Callable[[], None], other: Callable[[], None], rounds: int) -> None:
    """Print how many times as long the other one takes."""
    times: tuple[list[float], list[float]] = ([], [])
    for turn in range(rounds + 1):
        for work, found in zip((ours, other), times, strict=True):
            started = time.perf_counter()
            work()
            if turn:  # the first warms up
                found.append((time.perf_counter() - started) / STEPS * 1000)
    one, two = map(median, times)
    print(f"| {name} | {one:.1f} | {two:.1f} | {two / one:.2f} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("photos", type=Path)
    parser.add_argument("--task", default="denoise", choices=list(LEVELS))
    parser.add_argument("--network", default="unet")
    parser.add_argument("--batch", type=int, default=Options.batch)
    parser.add_argument("--draws", type=int, default=Options.draws)
    parser.add_argument("--patch", type=int, default=Options.patch)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--compile", action="store_true")
    given = parser.parse_args()
    device = pick_device(given.device)
    photos = Photos(decode(list_photos(given.photos)[:40]), given.patch, device)
    options = Options(steps=1, batch=given.batch, draws=given.draws, patch=given.patch)
    bench = Bench(photos, options, given.network, given.task)
    print(
        f"{given.task}, {given.network}, {given.batch} patches of {given.patch} pixels, "
        f"{given.draws} draws, {device}, {torch.get_num_threads()} threads\n"
    )
    print("| the first against the second | ms a step | ms a step | ratio |\n|---|---|---|---|")
    plain = bench.steps(bench.model())
    naive = bench.steps(bench.model(last=False), naive=True)
    own = "bf16" if bench.half else "fp32"
    compare(f"{own}, channels last; fp32, plain", plain, naive, given.rounds)
    compare("a step; its patches alone", plain, bench.only_patches, given.rounds)
    for tuner in TUNERS:
        tuned = bench.steps(bench.model(tuner))
        compare(f"the network alone; with {tuner}, joint", plain, tuned, given.rounds)
        tuned = bench.steps(bench.model(tuner, finished=True))
        compare(f"the network alone; {tuner} on a finished one", plain, tuned, given.rounds)
    if given.compile:
        for tuner in ("", "dni"):
            as_is, compiled = (bench.steps(bench.model(tuner), compiled=c) for c in (False, True))
            name = f"{tuner or 'the network alone'}, as it is; compiled"
            compare(name, as_is, compiled, given.rounds)


if __name__ == "__main__":
    main()
