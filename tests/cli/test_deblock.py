from __future__ import annotations

from pathlib import Path

import numpy as np
from conftest import TINY_UNET, draw
from PIL import Image

from tunectl.learning import jobs
from tunectl.learning.options import Options


def test_a_deblock_model_reads_files_and_pixels_and_tells_what_was_no_jpeg(
    cli, photos: Path, tmp_path: Path, options: Options, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    place = jobs.RunConfig(photos, tmp_path / "deblock.safetensors", device="cpu", precision="fp32")
    model = jobs.train(place, options, "deblock", "unet", [95, 5], TINY_UNET, tuner="dni")
    words = ("-m", model, "--device", "cpu")
    noise = np.random.default_rng(0).normal(0, 6, (160, 160, 1))
    picture = Image.fromarray((draw(160, 160, 4) + noise).clip(0, 255).astype(np.uint8))
    picture.save("never.png")
    picture.save("p.jpg", quality=30)
    Image.open("p.jpg").save("saved.png")
    for name in ("p.jpg", "saved.png"):
        code, _, told = cli("apply", name, *words)
        assert code == 0
        assert "nothing to remove" not in told
        assert "(level 30, estimated)" in told
    code, _, told = cli("apply", "never.png", *words)
    assert code == 0
    assert "(level 95, estimated)" in told
    assert told.count("next to nothing to remove was found in it") == 1
    for name, count in (("p.jpg", 0), ("saved.png", 0), ("never.png", 1)):
        code, _, told = cli("apply", name, "--level", 40, "-o", f"at-{name}", *words)
        assert code == 0
        assert told.count("no trace of JPEG compression was found in it") == count
    code, _, told = cli("apply", "p.jpg", "--level", 3, "-o", "o.jpg", *words)
    assert code == 2
    assert "5 to 95" in told
