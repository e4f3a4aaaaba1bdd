"""What a run does when nobody looks: signals, memory, disk, TensorBoard."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tunectl.errors import DiskFullError, ResourceError
from tunectl.learning import jobs, run
from tunectl.learning.options import Options
from tunectl.learning.state import RunFolder

TINY = {"width": 4, "blocks": 1}


@pytest.mark.skipif(os.name != "posix", reason="signals")
def test_a_signal_saves_and_exits_with_130(photos: Path, tmp_path: Path):
    output = tmp_path / "m.safetensors"
    words = ["train", "--data", photos, "-o", output, "--level", 15, "--network", "adafm-net"]
    words += ["--network-field", "width=4", "--network-field", "blocks=1", "--device", "cpu"]
    words += ["--steps", 20_000, "--batch", 2, "--draws", 1, "--patch", 16, "--save-every", 1000]
    command = [sys.executable, "-m", "tunectl", *map(str, words)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        folder, until = RunFolder(output), time.monotonic() + 120
        while len(folder.records()) < 2 and time.monotonic() < until:  # it listens since the first
            time.sleep(0.05)
        assert not folder.states()
        process.send_signal(signal.SIGTERM)
        _, said = process.communicate(timeout=60)
    assert process.returncode == 130
    assert said.strip().endswith("tunectl: interrupted; the same command goes on")
    assert folder.step_of(folder.states()[-1]) > 0
    assert not output.exists()


def test_tensorboard_has_curves_previews_and_the_sweep(
    photos: Path, tmp_path: Path, options: Options
):
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    output = tmp_path / "m.safetensors"
    for stop in (8, None):
        place = jobs.RunConfig(photos, output, device="cpu", tensorboard=True, stop_after=stop)
        jobs.train(place, options, "denoise", "adafm-net", [0, 40], TINY, tuner="dni")
    found = accumulator.EventAccumulator(str(RunFolder(output).path / "tensorboard"))
    found.Reload()
    losses = found.Scalars("loss")
    assert [event.step for event in losses] == list(range(1, 21))
    assert found.Scalars("validation/40")[-1].step == 20
    assert [event.step for event in found.Images("sweep")] == [20]
    assert found.Images("preview")[-1].height > 60


def test_memory_that_does_not_suffice_says_what_to_lower(
    photos: Path, tmp_path: Path, options: Options, monkeypatch: pytest.MonkeyPatch
):
    def exhausted(*_: object) -> None:
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried 1 PB")

    monkeypatch.setattr(run, "fit", exhausted)
    place = jobs.RunConfig(photos, tmp_path / "m.safetensors", device="cpu")
    with pytest.raises(ResourceError, match="ran out of memory") as error:
        jobs.train(place, options, "denoise", "adafm-net", [15], TINY)
    assert "--micro 1" in error.value.hint
    assert error.value.exit_code == 4


def test_a_state_that_cannot_be_saved_stops_the_run(
    photos: Path, tmp_path: Path, options: Options, monkeypatch: pytest.MonkeyPatch
):
    place = jobs.RunConfig(photos, tmp_path / "m.safetensors", device="cpu", stop_after=5)
    jobs.train(place, options, "denoise", "adafm-net", [15], TINY)
    folder = RunFolder(place.output)
    before = {path: path.read_bytes() for path in folder.states()}
    honest = RunFolder.save

    def full(self: RunFolder, *given: object) -> None:
        def no_room(_descriptor: int) -> None:
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(os, "fsync", no_room)
        honest(self, *given)  # type: ignore[arg-type]

    monkeypatch.setattr(RunFolder, "save", full)
    place = jobs.RunConfig(photos, place.output, device="cpu", save_every=0)
    with pytest.raises(DiskFullError, match="disk is full"):
        jobs.train(place, options, "denoise", "adafm-net", [15], TINY)
    assert {path: path.read_bytes() for path in folder.states()} == before
    monkeypatch.undo()
    place = jobs.RunConfig(photos, place.output, device="cpu")
    assert jobs.train(place, options, "denoise", "adafm-net", [15], TINY).exists()
