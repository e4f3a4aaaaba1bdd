"""A Ray cluster of this machine's, with two workers."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from conftest import draw
from PIL import Image

pytest.importorskip("ray")
pytestmark = [pytest.mark.slow, pytest.mark.skipif(os.name != "posix", reason="signals")]
RAY = ["--engine", "ray", "--workers", "2"]


def command(*words: object) -> list[str]:
    return [sys.executable, "-m", "tunectl", "apply", *map(str, words), "--device", "cpu"]


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    folder = tmp_path / "in"
    folder.mkdir()
    for i in range(24):
        Image.fromarray(draw(300, 400, i)).save(folder / f"{i:02}.png")
    (folder / "broken.png").write_bytes((folder / "00.png").read_bytes()[:2000])
    return folder


def run(words: list[str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(words, capture_output=True, text=True, check=False, timeout=400)


def lines(manifest: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in manifest.read_text().splitlines()]


def test_a_cluster_makes_the_bytes_of_one_process_though_a_worker_is_killed(
    pictures: Path, tmp_path: Path, tunable_file: Path
):
    words = [pictures, "-m", tunable_file, "--alpha", "0.4,0.9"]
    alone = run(command(*words, "-o", tmp_path / "alone"))
    assert alone.returncode == 1, alone.stderr
    manifest, output = tmp_path / "done.jsonl", tmp_path / "out"
    together = [*words, "-o", output, "--manifest", manifest, *RAY]
    with subprocess.Popen(
        command(*together), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        until = time.monotonic() + 200
        while not (manifest.exists() and len(lines(manifest)) > 4) and time.monotonic() < until:
            time.sleep(0.02)
        os.kill(workers_below(process.pid)[0], signal.SIGKILL)
        printed, said = process.communicate(timeout=400)
    assert process.returncode == 1, said  # for the broken one, and nothing else
    assert "48 done, 0 skipped, 2 failed" in said
    assert len(set(printed.split())) == 48
    for path in sorted((tmp_path / "alone").iterdir()):
        assert (output / path.name).read_bytes() == path.read_bytes()
    assert not [path for path in output.iterdir() if path.name.startswith(".")]
    done = [line["output"] for line in lines(manifest) if line["status"] == "done"]
    assert len(set(done)) == 48
    assert len(done) <= 50  # what was under way when the worker died, and no more
    (output / "03_alpha0.4.png").unlink()
    again = run(command(*together))
    assert again.returncode == 1
    assert "1 done, 47 skipped, 2 failed" in again.stderr
    assert (output / "03_alpha0.4.png").exists()


def test_what_ray_cannot_do(pictures: Path, tmp_path: Path):
    for words, message in (
        (["--workers", "2"], "--workers goes with --engine ray"),
        (["--engine", "spark"], "--engine 'spark' is not known"),
        ([*RAY[:2], "--workers", "9999"], r"the cluster has room for \d+ workers"),
    ):
        done = run(command(pictures, "-o", tmp_path / "out", *words))
        assert done.returncode == 2
        assert re.search(message, done.stderr)
        assert "Traceback" not in done.stderr


def workers_below(process: int) -> list[int]:
    """The processes of workers that restore, which Ray names after their class."""
    table = subprocess.run(["ps", "-eo", "pid=,ppid=,args="], capture_output=True, text=True)
    rows = [line.split(None, 2) for line in table.stdout.splitlines()]
    family = {process}
    for _ in range(4):
        family |= {int(pid) for pid, parent, _ in rows if int(parent) in family}
    return [
        int(pid) for pid, _, name in rows if int(pid) in family and name.startswith("ray::_Worker")
    ]
