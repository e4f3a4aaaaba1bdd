from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from tunectl import checkpoint
from tunectl.errors import CorruptError, IncompatibleError
from tunectl.hashing import file_sha256
from tunectl.inference.load import load
from tunectl.learning import jobs
from tunectl.learning.options import Options

TINY_UNET = {"widths": [8, 12], "encoder": [1, 1], "decoder": [1]}


def test_a_run_starts_from_earlier_weights(
    photos: Path, tmp_path: Path, tunable_file: Path, monkeypatch: pytest.MonkeyPatch
):
    place = jobs.RunConfig(photos, tmp_path / "m.safetensors", device="cpu", precision="fp32")
    monkeypatch.setenv("TUNECTL_HOME", str(tunable_file.parent))
    place = replace(place, start=Path(tunable_file.stem))  # by name, as any model
    still = Options(steps=1, batch=2, draws=1, patch=24, lr=1e-12, ema=0.0)
    jobs.train(place, still, "denoise", "unet", [0, 50], TINY_UNET, tuner="dni")
    header, tensors = checkpoint.read(place.output)
    _, before = checkpoint.read(tunable_file)
    for name, tensor in tensors.items():
        torch.testing.assert_close(tensor, before[name], atol=1e-9, rtol=0)
    assert header.provenance["parent"] == file_sha256(tunable_file)
    with pytest.raises(IncompatibleError, match="another network or tuner"):
        jobs.train(place, still, "denoise", "unet", [0, 50], TINY_UNET, tuner="ftn")
    holed = tmp_path / "holed.safetensors"
    for part in ("network.", "tuner."):
        gone = next(name for name in before if name.startswith(part))
        checkpoint.write(holed, header, {n: t for n, t in before.items() if n != gone})
        place = replace(place, start=holed, output=tmp_path / f"{part}safetensors")
        with pytest.raises(CorruptError, match="its weights are not all there"):
            jobs.train(place, still, "denoise", "unet", [0, 50], TINY_UNET, tuner="dni")


def test_a_tuner_starts_from_an_earlier_one_and_the_base_stays(photos: Path, tmp_path: Path):
    where = {"device": "cpu", "precision": "fp32"}
    short = Options(steps=3, batch=2, draws=1, patch=24, warmup=1, lr=1e-2)
    plain = jobs.RunConfig(photos, tmp_path / "base.safetensors", **where)
    base = jobs.train(plain, short, "denoise", "unet", [15], TINY_UNET)
    first = jobs.RunConfig(photos, tmp_path / "first.safetensors", store="fp16", **where)
    jobs.finetune(first, short, base, "ftn", "path", 50)
    again = jobs.RunConfig(photos, tmp_path / "again.safetensors", start=first.output, **where)
    jobs.finetune(again, replace(short, lr=1e-12, ema=0.0), base, "ftn", "path", 50)
    _, tuned = checkpoint.read(first.output)
    _, after = checkpoint.read(again.output)
    assert not torch.equal(after["tuner.transitions.0.head.slope.weight"], torch.ones(1))
    for name, tensor in checkpoint.read(base)[1].items():
        assert torch.equal(after[name], tensor)
    for name, tensor in checkpoint.under("tuner.", tuned).items():
        torch.testing.assert_close(after[f"tuner.{name}"], tensor.float(), atol=1e-9, rtol=0)
    with pytest.raises(IncompatibleError, match="another network or tuner"):
        jobs.finetune(again, short, base, "dni", "path", 50)


def test_a_run_starts_from_weights_of_fewer_knots(photos: Path, tmp_path: Path, tunable_file: Path):
    place = jobs.RunConfig(photos, tmp_path / "m.safetensors", device="cpu", start=tunable_file)
    still = Options(steps=1, batch=2, draws=1, patch=24, lr=1e-12, ema=0.0)
    knots = (0.0, 0.25, 1.0)
    jobs.train(place, still, "denoise", "unet", [0, 50], TINY_UNET, tuner="dni", knots=knots)
    before, after = load(tunable_file, device="cpu"), load(place.output, device="cpu")
    assert after.header.knob.knots == knots
    noisy = torch.rand(1, 3, 20, 24, generator=torch.Generator().manual_seed(0))
    for alpha in (0.0, 0.1, 0.25, 0.7, 1.0):
        torch.testing.assert_close(after(noisy, alpha), before(noisy, alpha), atol=1e-5, rtol=0)
    place = replace(place, start=place.output, output=tmp_path / "other.safetensors")
    with pytest.raises(IncompatibleError, match="other knots") as caught:
        jobs.train(place, still, "denoise", "unet", [0, 50], TINY_UNET, tuner="dni")
    assert caught.value.hint == "give --knots 0,0.25,1"


def test_only_dni_goes_on_at_more_knots(photos: Path, tmp_path: Path):
    place = jobs.RunConfig(photos, tmp_path / "m.safetensors", device="cpu")
    still = Options(steps=1, batch=2, draws=1, patch=24)
    jobs.train(place, still, "denoise", "unet", [0, 50], TINY_UNET, tuner="ftn")
    place = replace(place, start=place.output, output=tmp_path / "other.safetensors")
    with pytest.raises(IncompatibleError, match="other knots"):
        jobs.train(
            place, still, "denoise", "unet", [0, 50], TINY_UNET, tuner="ftn", knots=(0, 0.5, 1)
        )
