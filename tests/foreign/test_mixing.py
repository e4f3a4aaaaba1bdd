from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from strangers import esrgan

from tunectl import checkpoint
from tunectl.errors import ForeignError, IncompatibleError, PictureError
from tunectl.evaluation import barrier as loss
from tunectl.evaluation.barrier import barrier, verdict
from tunectl.inference.interpolate import mix_files

THREE = [{"w": torch.full((2, 2), float(i)), "n": torch.tensor(i)} for i in range(3)]


def save(folder: Path, *tables: dict[str, torch.Tensor]) -> list[Path]:
    paths = [folder / f"{i}.safetensors" for i in range(len(tables))]
    for path, table in zip(paths, tables, strict=True):
        save_file(table, path, {"format": "pt"})
    return paths


def test_strangers_are_mixed_and_counters_are_left(tmp_path: Path):
    mixed = tmp_path / "mixed.safetensors"
    mix_files(save(tmp_path, *THREE), [0.5, 0.25, 0.25], mixed)
    found = load_file(mixed)
    assert torch.equal(found["w"], torch.full((2, 2), 0.75))
    assert found["n"] == 0
    with safe_open(mixed, "pt") as file:
        assert file.metadata()["format"] == "pt"
        assert '"mix": [0.5, 0.25, 0.25]' in file.metadata()["mixed"]


def test_half_precision_stays_so(tmp_path: Path):
    tables = [{"w": torch.full((3,), float(i)).half()} for i in (1, 2)]
    mix_files(save(tmp_path, *tables), [0.5, 0.5], tmp_path / "m.safetensors")
    assert torch.equal(load_file(tmp_path / "m.safetensors")["w"], torch.full((3,), 1.5).half())


def test_what_cannot_be_mixed(tmp_path: Path, plain_file: Path):
    narrow, wide = save(tmp_path, {"w": torch.rand(2)}, {"w": torch.rand(3)})
    out = tmp_path / "m.safetensors"
    with pytest.raises(IncompatibleError, match="differ in tensor 'w'"):
        mix_files([narrow, wide], [0.5, 0.5], out)
    with pytest.raises(IncompatibleError, match="model of tunectl's"):
        mix_files([narrow, plain_file], [0.5, 0.5], out)
    pickle = tmp_path / "old.pth"
    torch.save({"w": torch.rand(2)}, pickle)
    with pytest.raises(ForeignError, match="is a pickle"):
        mix_files([narrow, pickle], [0.5, 0.5], out)
    assert not out.exists()


def test_the_barrier_of_enlarging_strangers(tmp_path: Path, photos: Path):
    first = esrgan(0).state_dict()
    child = {name: tensor * 1.001 for name, tensor in first.items()}
    one, other, third = save(tmp_path, first, child, esrgan(1).state_dict())
    near = barrier([one, other], [0.5, 0.5], photos / "photo0.png")
    assert [point.weights[0] for point in near] == pytest.approx([1 - i / 10 for i in range(11)])
    assert [near[0].barrier, near[-1].barrier] == pytest.approx([0, 0], abs=1e-9)
    assert max(point.barrier for point in near) < 0.1
    assert "these models mix" in verdict(near)
    three = barrier([one, other, third], [0.5, 0.3, 0.2], photos / "photo0.png")
    assert [point.weights for point in three][1] == (0.5, 0.3, 0.2)


def test_twins_with_their_channels_exchanged_do_not_mix(
    tmp_path: Path, plain_file: Path, photos: Path
):
    header, tensors = checkpoint.read(plain_file)
    for name in [name for name in tensors if name.endswith("conv_a.weight")]:
        block = name.removesuffix("conv_a.weight")
        for hidden in (f"{block}conv_a.weight", f"{block}conv_a.bias"):
            tensors[hidden] = tensors[hidden].flip(0)
        tensors[f"{block}conv_b.weight"] = tensors[f"{block}conv_b.weight"].flip(1)
    checkpoint.write(tmp_path / "twin.safetensors", header, tensors)
    points = barrier([plain_file, tmp_path / "twin.safetensors"], [0.5, 0.5], photos / "photo0.png")
    assert points[0].psnr == pytest.approx(points[-1].psnr, abs=0.01)  # one function
    assert max(point.barrier for point in points) > 0.1
    assert "a loss barrier of" in verdict(points)


def test_the_barrier_of_our_own_models(tmp_path: Path, plain_file: Path, photos: Path):
    photo = photos / "photo0.png"
    points = barrier([plain_file, plain_file], [0.5, 0.5], photo)
    assert all(abs(point.barrier) < 1e-3 for point in points)
    assert 20 < points[0].psnr < 35
    pair = barrier([plain_file, plain_file], [0.5, 0.5], photo, clean=photo)
    assert pair[0].psnr > points[0].psnr  # what is given is clean already
    header, tensors = checkpoint.read(plain_file)
    found = []
    for name, level in (("blind", (10.0, 45.0)), ("one", (27.5, 27.5))):
        path = tmp_path / f"{name}.safetensors"
        checkpoint.write(path, replace(header, level=level), tensors)
        found.append(barrier([path, path], [0.5, 0.5], photo)[0].psnr)
    assert found[0] == found[1]  # a blind one is measured in the middle of what it knows
    shown = barrier([plain_file, plain_file], [1.3, -0.3], photo)
    assert shown[0].weights == (1.3, -0.3)  # what was asked for is measured as well
    assert abs(shown[0].barrier) < 1e-3
    strong = tmp_path / "strong.safetensors"
    checkpoint.write(strong, replace(header, level=(60.0, 60.0)), tensors)
    apart = barrier([plain_file, strong], [0.5, 0.5], photo)
    assert all(abs(point.barrier) < 1e-3 for point in apart)  # one network under two names
    assert apart[0].psnr > apart[5].psnr + 2 > apart[-1].psnr + 4  # each at its own level
    with pytest.raises(PictureError, match="differ in size: 120 x 80 and 120 x 88"):
        barrier([plain_file] * 2, [0.5, 0.5], photo, clean=photos / "more" / "photo1.png")


@pytest.mark.parametrize("side", [100, 101])
def test_a_pair_is_measured_where_both_show_the_same(
    tmp_path: Path, side: int, monkeypatch: pytest.MonkeyPatch
):
    """Of a network that repeats each pixel, and a pair that is made so, the error is nothing."""
    small = np.random.default_rng(0).integers(0, 256, (side, side + 7, 3), np.uint8)
    Image.fromarray(small).save(tmp_path / "small.png")
    Image.fromarray(small.repeat(4, 0).repeat(4, 1)).save(tmp_path / "large.png")
    Image.fromarray(small.repeat(4, 0).repeat(4, 1)[4:]).save(tmp_path / "cut.png")
    paths = save(tmp_path, THREE[0], THREE[1])
    monkeypatch.setattr(loss, "describe_foreign", lambda _path, _table: Repeating())
    pair = tmp_path / "small.png", tmp_path / "large.png"
    assert barrier(paths, [0.5, 0.5], pair[0], clean=pair[1])[0].psnr > 90
    with pytest.raises(PictureError, match="give pairs the second 4 times as large"):
        barrier(paths, [0.5, 0.5], pair[0], clean=tmp_path / "cut.png")


class Repeating:
    scale = 4

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        return x.repeat_interleave(4, 2).repeat_interleave(4, 3)


def test_the_command_tells_of_the_barrier(cli, tmp_path: Path, plain_file: Path, photos: Path):
    words = ["interpolate", plain_file, plain_file, "--mix", "0.5,0.5"]
    check = ["--check", photos / "photo0.png", "-o", tmp_path / "m.safetensors"]
    code, printed, told = cli(*words, *check)
    assert (code, printed.strip()) == (0, str(tmp_path / "m.safetensors"))
    assert "no loss barrier" in told
    assert told.count("barrier +0.00 dB") == 11
    code, _, told = cli(*words, *check)
    assert (code, "m.safetensors: exists" in told) == (2, True)
    code, _, told = cli("interpolate", plain_file, "--alpha", 0.3, *check)
    assert (code, "--check measures a mix" in told) == (2, True)
