"""Pictures made by code, tiny models, and a way to run the command line."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from tunectl.cli.app import main
from tunectl.learning import jobs
from tunectl.learning.options import Options

LONGEST = {"test_readme.py", "test_killed.py"}
MOST_WORKERS = 4  # each holds torch, and what it starts holds it again
CORES = os.cpu_count() or 1
if (workers := int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", 1))) > 1:  # which share the cores
    torch.set_num_threads(max(1, CORES // workers))
    os.environ.setdefault("OMP_NUM_THREADS", str(torch.get_num_threads()))
TINY_UNET = {"widths": [8, 12], "encoder": [1, 1], "decoder": [1]}
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # by a shell's &: children would inherit it
    signal.signal(signal.SIGINT, signal.default_int_handler)
if (
    getattr(signal, "SIGHUP", None) and signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
):  # by nohup
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
Cli = Callable[..., tuple[int, str, str]]


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """What -n auto means."""
    return min(CORES, MOST_WORKERS)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    # The longest first, or one worker would be left alone with them at the end.
    items.sort(key=lambda item: item.path.name not in LONGEST)
    for item in items:
        if "cuda" in item.keywords and not torch.cuda.is_available():
            item.add_marker(pytest.mark.skip(reason="no CUDA device"))


def draw(height: int, width: int, seed: int) -> np.ndarray:
    """A colour picture with flat, smooth, striped and edged parts, uint8 (H, W, 3)."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0:height, 0:width]
    picture = np.zeros((height, width, 3))
    for channel in range(3):
        fx, fy, phase = rng.uniform((0.01, 0.01, 0), (0.2, 0.2, 6))
        picture[..., channel] = 128 + 60 * np.sin(fx * x + fy * y + phase)
    for _ in range(6):
        top, left = rng.integers(0, height), rng.integers(0, width)
        picture[top : top + height // 3, left : left + width // 4] = rng.uniform(0, 255, 3)
    return picture.clip(0, 255).astype(np.uint8)


@pytest.fixture(scope="session")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of six clean photos in two levels of folders."""
    folder = tmp_path_factory.mktemp("photos")
    (folder / "more").mkdir()
    for i in range(6):
        place = folder / "more" if i % 2 else folder
        Image.fromarray(draw(80 + 8 * i, 120, i)).save(place / f"photo{i}.png")
    return folder


@pytest.fixture(scope="session")
def options() -> Options:
    """Twenty small steps."""
    return Options(steps=20, batch=4, draws=2, patch=32, warmup=2, lr=2e-3)


@pytest.fixture(scope="session")
def tunable_file(tmp_path_factory: pytest.TempPathFactory, photos: Path, options: Options) -> Path:
    """A joint DNI model on a tiny unet, sigma 0 to 50."""
    path = tmp_path_factory.mktemp("models") / "tunable.safetensors"
    place = jobs.RunConfig(photos, path, device="cpu", precision="fp32")
    return jobs.train(place, options, "denoise", "unet", [0, 50], TINY_UNET, tuner="dni")


@pytest.fixture(scope="session")
def plain_file(tmp_path_factory: pytest.TempPathFactory, photos: Path, options: Options) -> Path:
    """A plain model for sigma 15 on a tiny unet."""
    path = tmp_path_factory.mktemp("models") / "plain.safetensors"
    place = jobs.RunConfig(photos, path, device="cpu", precision="fp32")
    return jobs.train(place, options, "denoise", "unet", [15], TINY_UNET)


@pytest.fixture
def cli(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Cli:
    """Run tunectl in this process: cli("apply", ...) gives exit code, stdout, stderr."""

    def run(*words: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["tunectl", *map(str, words)])
        capsys.readouterr()
        try:
            main()
            code = 0
        except SystemExit as stop:
            code = int(stop.code or 0)
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return run
