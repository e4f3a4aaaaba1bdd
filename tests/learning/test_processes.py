"""Two processes on loopback, as torchrun starts them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from tunectl import checkpoint
from tunectl.errors import UsageError
from tunectl.header import read_header
from tunectl.learning import jobs, processes
from tunectl.learning.options import Options
from tunectl.learning.state import RunFolder

TWO = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
TUNECTL = ["-m", "--", "tunectl"]  # without the dashes torchrun takes --start for its own
NET = ["--network", "unet", "--network-field", "widths=8,12"]
NET += ["--network-field", "encoder=1,1", "--network-field", "decoder=1"]


def words(photos: Path, output: Path, *others: object) -> list[str]:
    run = ["train", "--data", photos, "-o", output, "--level", "0-50"]
    run += ["--knots", "0,0.5,1", "--tuner", "dni", "--batch", 6, "--patch", 24, "--warmup", 2]
    return [str(word) for word in [*run, *NET, "--lr", "1e-3", "--device", "cpu", *others]]


def run(command: list[str]) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    return subprocess.run(
        command, capture_output=True, text=True, check=False, env=environment, timeout=300
    )


@pytest.mark.parametrize("draws", [1, 2, 3])
def test_two_processes_take_the_steps_of_one(
    photos: Path, tunable_file: Path, tmp_path: Path, draws: int, cli
):
    """Knots in the middle: at each step some weights are used by one process only, or by none."""
    outputs = [tmp_path / name for name in ("one.safetensors", "two.safetensors")]
    options = ["--steps", 8, "--draws", draws, "--precision", "fp32", "--start", tunable_file]
    code, _, told = cli(*words(photos, outputs[0], *options))
    assert code == 0, told
    both = run([*TWO, *TUNECTL, *words(photos, outputs[1], *options)])
    assert both.returncode == 0, both.stderr
    assert both.stdout.split() == [str(outputs[1])]  # only one of them speaks
    assert both.stderr.count("5 photos") == 1
    losses = [[r["loss"] for r in RunFolder(path).records()][1:] for path in outputs]
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)
    one, two = (checkpoint.read(path)[1] for path in outputs)
    for name, tensor in one.items():
        torch.testing.assert_close(two[name], tensor, atol=2e-4, rtol=1e-3)
    assert read_header(outputs[1]).provenance["processes"] == 2


def test_half_of_a_start_is_refused(
    photos: Path, tmp_path: Path, options: Options, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("WORLD_SIZE", "4")  # as some job systems do, and no more
    monkeypatch.delenv("RANK", raising=False)
    where = jobs.RunConfig(photos, tmp_path / "m.safetensors", device="cpu")
    with pytest.raises(UsageError, match="RANK is not set"):
        jobs.train(where, options, "denoise", "adafm-net", [15], {"width": 4, "blocks": 1})


def test_one_gpu_for_several_processes_is_refused(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(processes, "pick_device", torch.device)  # there may be no GPU here
    monkeypatch.setenv("WORLD_SIZE", "4")
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "2")
    with pytest.raises(UsageError, match="want one each"), processes.joined("cuda:0"):
        pass


def test_a_batch_too_small_for_the_processes_says_so(photos: Path, tmp_path: Path):
    command = words(photos, tmp_path / "m.safetensors", "--steps", 2, "--draws", 1)
    command[command.index("--batch") + 1] = "1"
    done = run([*TWO, *TUNECTL, *command])
    assert done.returncode != 0
    assert "tunectl: --batch 1 cannot be shared among 2 processes" in done.stderr


@pytest.mark.skipif(os.name != "posix", reason="signals")
@pytest.mark.slow
def test_an_elastic_restart_goes_on(photos: Path, tmp_path: Path):
    output = tmp_path / "m.safetensors"
    folder = RunFolder(output)
    command = words(photos, output, "--steps", 300, "--draws", 2, "--save-every", 0.1)
    command.append("--fresh")  # which is meant for the first start only
    launch = [*TWO, "--max-restarts=2", *TUNECTL, *command]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    with subprocess.Popen(launch, stderr=subprocess.PIPE, text=True, env=environment) as agent:
        until = time.monotonic() + 120
        while not folder.states() and time.monotonic() < until:
            time.sleep(0.05)
        assert folder.states()
        os.kill(workers_of(agent.pid)[-1], signal.SIGKILL)
        _, said = agent.communicate(timeout=240)
    assert agent.returncode == 0, said
    assert "goes on after step" in said
    steps = [record["step"] for record in folder.records()]
    assert steps == sorted(set(steps))
    assert steps[-1] == 300
    assert json.loads((folder.path / "run.json").read_text())["model"]


def workers_of(agent: int) -> list[int]:
    """The processes that torchrun started, oldest first."""
    found = subprocess.run(
        ["ps", "-o", "pid=", "--ppid", str(agent)], capture_output=True, text=True, check=True
    )
    return sorted(int(word) for word in found.stdout.split())
