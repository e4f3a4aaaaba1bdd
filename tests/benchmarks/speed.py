"""Speed as ratios, all taken in one run, interleaved.

    python tests/benchmarks/speed.py [--rivals FOLDER] [--side 768] [--rounds 7]

FOLDER holds the rivals' `models.py` and weights (not part of tunectl). With `--photos FOLDER` the
throughput over a folder of photos is set against the bare network's.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch
from rival_models import load_rival
from torch import nn

from tunectl.inference.engine import Engine
from tunectl.inference.load import load
from tunectl.networks import build_network, macs_per_pixel
from tunectl.tuners import Tunable, build_tuner

Timed = dict[str, Callable[[], object]]


def medians(calls: Timed, rounds: int) -> dict[str, float]:
    """Median seconds of each call, taken in turns so that a busy moment hits all alike."""
    times: dict[str, list[float]] = {name: [] for name in calls}
    with torch.inference_mode():
        for call in calls.values():
            call()
        for _ in range(rounds):
            for name, call in calls.items():
                start = time.perf_counter()
                call()
                times[name].append(time.perf_counter() - start)
    return {name: statistics.median(values) for name, values in times.items()}


def folding(side: int, rounds: int) -> None:
    """Each tuner folded at 0.5 against the plain network."""
    print("\nfolded / plain network, adafm-net, fp32")
    x = torch.rand(1, 3, side, side)
    calls: Timed = {}
    for name, fields in (
        ("plain", {}),
        ("dni", {}),
        ("ftn", {}),
        ("adafm", {"kernel": 1}),
        ("adafm 5x5", {"kernel": 5}),
        ("dynamic-net", {}),
    ):
        network = build_network("adafm-net")
        if name != "plain":
            tuner = build_tuner(name.split()[0], network, fields)
            for parameter in tuner.parameters():
                nn.init.normal_(parameter, std=0.01)
            network = Tunable(network, tuner).fold(0.5)
        engine = Engine(network, torch.device("cpu"), torch.float32)
        calls[name] = lambda engine=engine: engine(x)  # type: ignore[misc]
    found = medians(calls, rounds)
    for name, seconds in found.items():
        print(f"  {name:12} {seconds / found['plain']:.3f}")


def flagship(side: int, rounds: int, rivals: Path | None) -> None:
    """The bundled model in both precisions, against FFDNet and the machine's own ceiling."""
    cpu, x = torch.device("cpu"), torch.rand(1, 3, side, side)
    model = load("denoise", device="cpu", precision="bf16")
    plain = model.fold(0.5)
    fast = Engine(model.fold(0.5), cpu, torch.bfloat16)
    conv = nn.Conv2d(64, 64, 3, padding=1).to(torch.bfloat16, memory_format=torch.channels_last)
    features = torch.rand(1, 64, side // 2, side // 2).to(
        torch.bfloat16, memory_format=torch.channels_last
    )
    alphas = iter(i / 1000 for i in range(1000))
    calls: Timed = {
        "bf16, as apply runs it": lambda: fast(x),
        "fp32, torch's default layout": lambda: plain(x),
        "a bf16 3x3 convolution": lambda: conv(features),
        "a new alpha": lambda: Engine(model.fold(next(alphas)), cpu, torch.bfloat16),
    }
    if rivals is not None:
        ffdnet = load_rival(rivals, "ffdnet_color")
        calls["FFDNet, fp32, default layout"] = lambda: ffdnet(x, 25 / 255)
    found = medians(calls, rounds)
    ours = found["bf16, as apply runs it"]
    pixels = side * side / 1e6
    work = {
        "bf16, as apply runs it": macs_per_pixel(plain) * side**2,
        "a bf16 3x3 convolution": 64 * 64 * 9 * (side // 2) ** 2,
    }
    print(f"\nthe bundled denoise, {side} x {side}")
    for name, seconds in found.items():
        line = f"  {name:30} {seconds * 1000:8.1f} ms  {seconds / ours:5.2f} of ours"
        if name in work:
            line += f"  {2 * work[name] / seconds / 1e9:5.0f} GF/s"
        elif name != "a new alpha":
            line += f"  {pixels / seconds:5.2f} Mpx/s"
        print(line)
    rates = [work[name] / found[name] for name in work]
    print(f"  share of the convolution's arithmetic rate: {rates[0] / rates[1]:.2f}")


def process(rounds: int) -> None:
    """Whole processes: one 512 x 512 photo, and --help, against importing torch."""
    from PIL import Image

    with tempfile.TemporaryDirectory() as folder:
        source, out = Path(folder) / "in.png", Path(folder) / "out.png"
        clean = Path(__file__).parents[2] / "weights" / "example" / "noisy.png"
        Image.open(clean).resize((512, 512)).save(source)
        tunectl = [sys.executable, "-m", "tunectl"]
        apply = [*tunectl, "apply", str(source), "-a", "0.3", "-o", str(out), "--quiet"]
        commands = {
            "import torch": [sys.executable, "-c", "import torch"],
            "apply, one photo": [*apply, "--if-exists", "overwrite"],
            "--help": [*tunectl, "--help"],
        }
        calls: Timed = {
            name: lambda words=words: subprocess.run(words, check=True, capture_output=True)  # type: ignore[misc]
            for name, words in commands.items()
        }
        found = medians(calls, rounds)
    print("\nwhole processes / import torch")
    for name, seconds in found.items():
        print(f"  {name:20} {seconds:6.2f} s  {seconds / found['import torch']:.2f}")


def folder(photos: Path) -> None:
    """apply over a folder against the bare network on the same pixels."""
    from tunectl.images import find_pictures, read_picture

    paths = find_pictures(photos)
    model = load("denoise", device="cpu")
    arrays = [read_picture(path).pixels for path in paths[:8]]
    megapixels = sum(array.shape[0] * array.shape[1] for array in arrays) / 1e6
    model(arrays[0], alpha=0.3)
    start = time.perf_counter()
    for array in arrays:
        model(array, alpha=0.3)
    bare = megapixels / (time.perf_counter() - start)
    with tempfile.TemporaryDirectory() as out:
        words = [sys.executable, "-m", "tunectl", "apply", str(photos), "-a", "0.3", "-o", out]
        start = time.perf_counter()
        subprocess.run([*words, "--quiet"], check=True, capture_output=True)
        seconds = time.perf_counter() - start
    total = sum(a * b for a, b in (read_picture(path).pixels.shape[:2] for path in paths)) / 1e6
    print(f"\na folder of {len(paths)} photos, {total:.1f} megapixels")
    print(f"  bare network {bare:.2f} Mpx/s, apply {total / seconds:.2f} Mpx/s")
    print(f"  apply / bare, start included: {total / seconds / bare:.2f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rivals", type=Path)
    parser.add_argument("--photos", type=Path)
    parser.add_argument("--side", type=int, default=768)
    parser.add_argument("--rounds", type=int, default=7)
    given = parser.parse_args()
    folding(given.side // 2, given.rounds)
    flagship(given.side, given.rounds, given.rivals)
    process(given.rounds)
    if given.photos is not None:
        folder(given.photos)


if __name__ == "__main__":
    main()
