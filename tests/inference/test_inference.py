from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import tunectl
from tunectl import checkpoint
from tunectl.errors import AlphaError, CheckpointError, IncompatibleError, UsageError
from tunectl.inference.engine import Engine
from tunectl.inference.interpolate import fold_file, mix_files
from tunectl.inference.model import find_model, load
from tunectl.networks import NETWORKS, build_network
from tunectl.tuners import Tunable, build_tuner

CPU = torch.device("cpu")
# Multiples of 16, like every real network: convolution libraries then sum in one order whatever
# the shape. With odd widths a rounding tie may fall the other way in a tile.
SMALL = {
    "adafm-net": {"width": 16, "blocks": 1},
    "unet": {"widths": [16, 32], "encoder": [1, 1], "decoder": [1]},
}


def in_8_bits(x: torch.Tensor) -> torch.Tensor:
    return (x * 255).round().clamp(0, 255)


@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("tuner", [None, "adafm", "dynamic-net"])
@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("size", [(300, 420), (130, 600), (601, 40)])
def test_tiles_do_not_show(name, tuner, size, precision):
    torch.manual_seed(0)
    network = build_network(name, SMALL[name])
    if tuner:
        fields = {"kernel": 5} if tuner == "adafm" else {}
        model = Tunable(network, build_tuner(tuner, network, fields)).requires_grad_(False)
        for parameter in model.tuner.parameters():
            parameter.add_(torch.randn_like(parameter), alpha=0.02)
        network = model.fold(0.5)
    picture = torch.rand(1, 3, *size)
    whole = Engine(network, CPU, precision, tile=4096)(picture)
    for tile in (1, 320):
        tiled = Engine(network, CPU, precision, tile=tile)(picture)
        assert torch.equal(in_8_bits(tiled), in_8_bits(whole))


def test_a_halo_one_stride_short_does_show():
    """That the test above can fail: the halo is needed to its last stride."""
    torch.manual_seed(0)
    network = build_network("adafm-net", SMALL["adafm-net"])
    for parameter in network.parameters():
        parameter.data.abs_()
    picture = torch.rand(1, 3, 128, 500)
    whole = Engine(network, CPU, torch.float32, tile=4096)(picture)
    short = Engine(network, CPU, torch.float32, tile=256)
    short._halo = short.halo - 4
    assert not torch.equal(short(picture), whole)


def test_gray_is_answered_in_gray(tunable_file: Path):
    model = load(tunable_file, device="cpu", precision="fp32")
    gray = torch.rand(2, 1, 30, 31)
    assert model(gray, alpha=0.5).shape == gray.shape
    colour = model.fold(0.5)(gray.expand(-1, 3, -1, -1)).mean(1, keepdim=True)
    torch.testing.assert_close(model(gray, alpha=0.5), colour.clamp(0, 1))


def test_every_kind_of_picture_comes_back_as_its_kind(tunable_file: Path):
    model = tunectl.load(tunable_file, device="cpu", precision="fp32")
    tensor = torch.rand(3, 20, 24)
    assert model(tensor, alpha=0.5).shape == tensor.shape
    array = (tensor.permute(1, 2, 0).numpy() * 255).round().astype(np.uint8)
    restored = model(array, level=20)
    assert restored.dtype == np.uint8
    assert restored.shape == array.shape
    floats = model((array / 255).astype(np.float64), level=20)
    assert floats.dtype == np.float64
    assert np.abs(floats * 255 - restored).max() <= 0.5 + 1e-3
    deep = model(array.astype(np.uint16) * 257, level=20)
    assert deep.dtype == np.uint16
    assert np.abs(deep / 257 - restored).max() <= 0.5 + 1e-3
    assert model(array[..., 0], level=20).shape == (20, 24)
    image = Image.fromarray(array)
    assert np.array_equal(np.asarray(model(image, level=20)), restored)
    image.putalpha(77)
    result = model(image, level=20)
    assert result.mode == "RGBA"
    assert np.asarray(result)[..., 3].min() == 77
    for wrong in (array.astype(np.int32), np.zeros((2, 2, 5)), image.convert("CMYK"), "a.png"):
        with pytest.raises(UsageError):
            model(wrong, alpha=0.5)


def test_level_goes_through_the_calibration(tunable_file: Path):
    model = load(tunable_file, device="cpu", precision="fp32")
    x = torch.rand(1, 3, 16, 16)
    assert torch.equal(model(x, level=20), model(x, alpha=model.alpha(20)))
    assert model.level(model.alpha(20)) == pytest.approx(20, abs=1)


def test_alpha_is_asked_for_and_checked(tunable_file: Path, plain_file: Path):
    model, plain = load(tunable_file, device="cpu"), load(plain_file, device="cpu")
    x = torch.rand(1, 3, 16, 16)
    with pytest.raises(AlphaError, match="has a knob"):
        model(x)
    with pytest.raises(AlphaError, match="outside"):
        model(x, alpha=1.2)
    with pytest.raises(AlphaError, match="outside this model's"):
        model(x, level=80)
    with pytest.raises(AlphaError, match="both"):
        model(x, alpha=0.1, level=10)
    with pytest.raises(AlphaError, match="plain"):
        plain(x, alpha=0.5)
    assert model(x, alpha=1.2, extrapolate=True).shape == x.shape


def test_fold_is_a_plain_module(tunable_file: Path):
    model = load(tunable_file, device="cpu", precision="fp32")
    x = torch.rand(1, 3, 16, 16)
    network = model.fold(0.3)
    assert isinstance(network, torch.nn.Module)
    torch.testing.assert_close(network(x).clamp(0, 1), model(x, alpha=0.3))


def test_names_resolve_to_the_users_folder_first(
    tunable_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("TUNECTL_HOME", str(tmp_path))
    (tmp_path / "denoise.safetensors").write_bytes(tunable_file.read_bytes())
    assert find_model("denoise") == tmp_path / "denoise.safetensors"
    with pytest.raises(CheckpointError) as missing:
        find_model("nothing")
    assert "denoise" in missing.value.hint
    with pytest.raises(CheckpointError, match="no such file"):
        find_model(tmp_path / "no.safetensors")


def test_bundled_models_load():
    model = tunectl.load("denoise", device="cpu")
    assert model.level(0.0) == 0
    assert model.level(1.0) == 75


def test_mixing_is_a_weighted_mean(plain_file: Path, tunable_file: Path, tmp_path: Path):
    fold_file(tunable_file, 0.2, tmp_path / "a.safetensors")
    fold_file(tunable_file, 0.9, tmp_path / "b.safetensors")
    fold_file(tunable_file, 0.2 * 0.7 + 0.9 * 0.3, tmp_path / "c.safetensors")
    mix_files(
        [tmp_path / "a.safetensors", tmp_path / "b.safetensors"],
        [0.7, 0.3],
        tmp_path / "m.safetensors",
    )
    _, mixed = checkpoint.read(tmp_path / "m.safetensors")
    _, folded = checkpoint.read(tmp_path / "c.safetensors")
    for name, tensor in folded.items():
        torch.testing.assert_close(mixed[name], tensor, atol=1e-6, rtol=1e-5)


def test_mixing_names_the_first_mismatch(plain_file: Path, tunable_file: Path, tmp_path: Path):
    out = tmp_path / "m.safetensors"
    with pytest.raises(IncompatibleError, match="has a knob"):
        mix_files([plain_file, tunable_file], [0.5, 0.5], out)
    with pytest.raises(UsageError, match=r"add up to 0\.9"):
        mix_files([plain_file, plain_file], [0.5, 0.4], out)
    with pytest.raises(UsageError, match="2 models and 1 weights"):
        mix_files([plain_file, plain_file], [1.0], out)
    header, tensors = checkpoint.read(plain_file)
    other = tmp_path / "other.safetensors"
    tensors["network.head.weight"] = tensors["network.head.weight"][:, :4]
    checkpoint.write(other, header, tensors)
    with pytest.raises(IncompatibleError, match=r"network\.head\.weight"):
        mix_files([plain_file, other], [0.5, 0.5], out)
    assert not out.exists()
