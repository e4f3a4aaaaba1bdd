from __future__ import annotations

import itertools
from pathlib import Path

import pytest
import torch

from tunectl import checkpoint
from tunectl.inference.interpolate import fold_file, join_files


def test_a_knob_that_interpolate_made_is_calibrated(
    cli, photos: Path, tunable_file: Path, tmp_path: Path
):
    ends = [tmp_path / "weak.safetensors", tmp_path / "strong.safetensors"]
    for alpha, end in zip((0.1, 0.9), ends, strict=True):
        fold_file(tunable_file, alpha, end)
    for dtype in ("fp32", "int8"):
        knob, made = tmp_path / f"{dtype}.safetensors", tmp_path / f"made_{dtype}.safetensors"
        join_files(ends, knob, dtype, card="Both.")
        code, printed, told = cli(
            *("calibrate", knob, "--data", photos, "--limit", 3, "-o", made, "--device", "cpu")
        )
        assert (code, printed.strip()) == (0, str(made)), told
        assert "on 3 photos" in told
        before, weights = checkpoint.read(knob)
        header, found = checkpoint.read(made)
        alphas, levels = zip(*header.knob.calibration, strict=True)
        assert not before.knob.calibration
        assert (levels[0], levels[-1]) == pytest.approx(before.knob.levels)
        assert all(0 <= one <= other <= 1 for one, other in itertools.pairwise(alphas))
        assert (header.dtype, header.card) == (dtype, "Both.")
        assert header.provenance["parents"] == before.provenance["parents"]
        assert header.provenance["calibration"]["photos"] == 3
        for name, tensor in weights.items():
            torch.testing.assert_close(found[name], tensor, rtol=1e-6, atol=0)
        assert told.count("  level ") == len(levels) == 9


def test_what_cannot_be_calibrated(
    cli, photos: Path, tunable_file: Path, plain_file: Path, tmp_path: Path
):
    made, common = tmp_path / "m.safetensors", ["--data", photos, "--device", "cpu", "-o"]
    for model, cause, expected in (
        (plain_file, "this model is plain", 2),
        ("starry-night", "no clean photo says which alpha is best", 2),
        ("nothing", "nothing", 3),
    ):
        code, _, told = cli("calibrate", model, *common, made)
        assert (code, cause in told) == (expected, True), told
    made.write_bytes(b"mine")
    code, _, told = cli("calibrate", tunable_file, *common, made)
    assert (code, "exists" in told, made.read_bytes()) == (2, True, b"mine")
    code, _, told = cli("calibrate", tunable_file, "--data", tmp_path / "no", "-o", "x.safetensors")
    assert code == 3, told
