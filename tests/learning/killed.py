"""Train again and again in processes that are killed at random moments of the run.

    killed.py PHOTOS FOLDER TIMES

After each death every file of the run must load; what comes out in the end, however often it was
killed, must be the file that comes out undisturbed. The children are forked, as each would need
seconds to import torch. Prints how many were killed, how many of them had saved a new state, and
how many runs came to their end.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch
from PIL import Image
from safetensors.torch import load_file

from tunectl.learning import jobs
from tunectl.learning.options import Options
from tunectl.learning.state import RunFolder

OPTIONS = Options(steps=60, batch=2, draws=1, patch=16, warmup=2, lr=2e-3)


def train(photos: Path, output: Path) -> None:
    place = jobs.RunConfig(photos, output, device="cpu", precision="fp32", save_every=0.02)
    network = {"width": 4, "blocks": 1}
    jobs.train(place, OPTIONS, "denoise", "adafm-net", [0, 40], network, tuner="dni")


def child(work: Callable[[], None]) -> int:
    """A fork that does the work."""
    number = os.fork()
    if number:
        return number
    code = 1
    try:
        work()
        code = 0
    finally:
        os._exit(code)


def check(folder: RunFolder) -> None:
    """Raises what a file that does not load raises."""
    for state in folder.states():
        load_file(state)
    for path in folder.path.glob("*.json"):
        json.loads(path.read_text())
    for path in folder.previews.glob("*.png"):
        Image.open(path).load()
    if folder.output.exists():
        load_file(folder.output)


def tensors(path: Path) -> dict[str, list[float]]:
    return {name: tensor.flatten().tolist() for name, tensor in load_file(path).items()}


def main(photos: Path, place: Path, times: int) -> None:
    undisturbed, output = place / "undisturbed.safetensors", place / "killed.safetensors"
    started = time.monotonic()
    _, status = os.waitpid(child(lambda: train(photos, undisturbed)), 0)
    assert status == 0
    longest = time.monotonic() - started
    draw, folder = random.Random(0), RunFolder(output)
    killed = moved = finished = 0
    while killed < times or not output.exists():
        last = folder.states()[-1:]
        number = child(lambda: train(photos, output))
        if killed < times:
            time.sleep(draw.uniform(0, longest))
            os.kill(number, signal.SIGKILL)
        _, status = os.waitpid(number, 0)
        check(folder)
        if os.WIFSIGNALED(status):
            killed += 1
            moved += folder.states()[-1:] != last
            continue
        assert status == 0
        finished += 1
        assert tensors(output) == tensors(undisturbed)
        if killed < times:
            output.unlink()
            shutil.rmtree(folder.path)
    print(killed, moved, finished)


if __name__ == "__main__":
    torch.set_num_threads(1)
    main(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]))
