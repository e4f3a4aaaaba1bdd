from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import strangers
import torch
from conftest import draw
from PIL import Image
from safetensors.torch import save_file
from spandrel.architectures.DnCNN import DnCNN
from spandrel.architectures.FBCNN import FBCNN
from spandrel.architectures.RealCUGAN import UpCunet2x, UpCunet3x
from strangers import saved

from tunectl.errors import AlphaError, ForeignError, IncompatibleError, UsageError
from tunectl.inference.load import load


@pytest.fixture
def drunet(tmp_path: Path) -> tuple[Path, torch.nn.Module]:
    network = strangers.drunet()
    return saved(network, tmp_path / "drunet.safetensors"), network


@pytest.fixture
def fdncnn(tmp_path: Path) -> tuple[Path, DnCNN]:
    torch.manual_seed(0)
    network = DnCNN(in_nc=4, out_nc=3, nc=8, nb=9, act_mode="R", mode="FDnCNN")
    with torch.no_grad():  # at birth it hardly looks at its input
        for parameter in network.parameters():
            parameter.mul_(1.8)
        network.model[-1].bias.fill_(0.5)
    return saved(network, tmp_path / "fdncnn.safetensors"), network.eval()


def with_sigma(network: torch.nn.Module, x: torch.Tensor, sigma: float) -> torch.Tensor:
    plane = torch.full_like(x[:, :1], sigma / 255)
    with torch.no_grad():
        output: torch.Tensor = network(torch.cat([x, plane], 1))
    return output.clamp(0, 1)


def test_drunets_noise_level_is_the_knob(drunet):
    path, network = drunet
    model = load(path, device="cpu", precision="fp32")
    x = torch.rand(1, 3, 24, 32)
    for level in (0, 20, 50):
        torch.testing.assert_close(model(x, level=level), with_sigma(network, x, level))
    assert model.alpha(25) == 0.5
    odd = model(x[..., :21, :27], alpha=0.4)
    assert odd.shape == (1, 3, 21, 27)
    with pytest.raises(AlphaError):
        model(x, level=60)
    with pytest.raises(AlphaError, match="one alpha"):
        model(x, alpha=(0.1, 0.2, 0.3))


def test_fdncnn_takes_a_level_a_pixel_too(fdncnn):
    path, network = fdncnn
    model = load(path, device="cpu", precision="fp32")
    picture = draw(24, 32, 1)
    x = torch.from_numpy(picture).permute(2, 0, 1)[None].float() / 255
    torch.testing.assert_close(model(x, level=75), with_sigma(network, x, 75))
    evenly = np.full((24, 32), 0.5)
    mapped = model(picture, alpha_map=evenly)
    assert np.array_equal(mapped, model(picture, alpha=0.5))
    halves = np.repeat([[0.0] * 16 + [1.0] * 16], 24, axis=0)
    assert not np.array_equal(model(picture, alpha_map=halves), mapped)


@pytest.fixture
def others(tmp_path: Path) -> list[Path]:
    """A DnCNN, whose output falls where its features grow, and a FBCNN, which pads by itself."""
    torch.manual_seed(0)
    plain = DnCNN(in_nc=3, out_nc=3, nc=8, nb=9, act_mode="R")
    jpeg = FBCNN(in_nc=3, out_nc=3, nc=[8, 8, 16, 512], nb=2, act_mode="R")
    with torch.no_grad():
        for parameter in plain.parameters():
            parameter.mul_(1.8)
    return [saved(plain, tmp_path / "d.safetensors"), saved(jpeg, tmp_path / "f.safetensors")]


def test_windows_do_not_show_in_networks_without_a_clamp_or_a_stride(others):
    picture = draw(257, 1000, 2)
    for path in others:
        models = [
            load(path, device="cpu", precision="fp32", tile=tile) for tile in (4096, 640, 500)
        ]
        alpha = 0.5 if models[0].tunable else None
        whole, *tiled = (model(picture, alpha=alpha) for model in models)
        assert all(np.array_equal(whole, one) for one in tiled)


def test_windows_do_not_show(fdncnn, drunet):
    picture = draw(300, 700, 2)
    for path, _ in (fdncnn, drunet):
        whole = load(path, device="cpu", precision="fp32", tile=4096)(picture, alpha=0.5)
        tiled = load(path, device="cpu", precision="fp32", tile=256)(picture, alpha=0.5)
        assert np.array_equal(whole, tiled)


def test_fbcnns_quality_is_the_knob(tmp_path: Path):
    torch.manual_seed(0)
    network = FBCNN(in_nc=3, out_nc=3, nc=[8, 8, 16, 512], nb=2, act_mode="R")
    model = load(saved(network, tmp_path / "f.safetensors"), device="cpu", precision="fp32")
    x = torch.rand(1, 3, 24, 32)
    for quality in (95, 40, 5):
        with torch.no_grad():
            expected = network.eval()(x, torch.tensor([[1 - quality / 100]]))[0].clamp(0, 1)
        torch.testing.assert_close(model(x, level=quality), expected)
    assert model.alpha(95) == 0
    with pytest.raises(UsageError, match="one level for a picture"):
        model(x, alpha_map=np.ones((24, 32)))


def test_a_network_without_a_knob_and_one_of_gray(tmp_path: Path):
    torch.manual_seed(0)
    network = DnCNN(in_nc=1, out_nc=1, nc=8, nb=9, act_mode="R")
    model = load(saved(network, tmp_path / "d.safetensors"), device="cpu", precision="fp32")
    assert not model.tunable
    x = torch.rand(1, 3, 16, 20)
    with torch.no_grad():
        expected = torch.cat([network.eval()(x[:, i : i + 1]) for i in range(3)], 1).clamp(0, 1)
    torch.testing.assert_close(model(x), expected)
    torch.testing.assert_close(model(x, blend=0.25), torch.lerp(x, expected, 0.25))


def test_enlarging_networks(tmp_path: Path):
    network = strangers.esrgan()
    with torch.no_grad():
        network.model[-1].bias.fill_(0.5)
    path = saved(network, tmp_path / "e.safetensors")
    model = load(path, device="cpu", precision="fp32")
    assert model.scale == 2
    picture = draw(300, 700, 4)
    x = torch.from_numpy(picture).permute(2, 0, 1)[None].float() / 255
    with torch.no_grad():
        expected = network(x).clamp(0, 1)
    torch.testing.assert_close(model(x), expected, atol=1e-5, rtol=0)
    bicubic = torch.nn.functional.interpolate(x, scale_factor=2, mode="bicubic").clamp(0, 1)
    torch.testing.assert_close(model(x, blend=0), bicubic)
    tiled = load(path, device="cpu", precision="fp32", tile=256)(picture)
    assert np.array_equal(tiled, model(picture))
    opaque = np.dstack([picture, np.full(picture.shape[:2], 90, np.uint8)])
    enlarged = np.asarray(model(Image.fromarray(opaque)))
    assert np.array_equal(enlarged[..., :3], tiled)
    assert (enlarged.shape[:2], set(enlarged[..., 3].flat)) == ((600, 1400), {90})


@pytest.mark.parametrize(("network", "scale"), [(UpCunet2x, 2), (UpCunet3x, 3)])
def test_real_cugans_strength_is_the_knob(network, scale, cli, tmp_path: Path):
    torch.manual_seed(0)
    made = network().eval()
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.mul_(1.5)
    path = saved(made, tmp_path / "c.safetensors")
    model = load(path, device="cpu", precision="fp32")
    x = torch.rand(1, 3, 40, 48)
    results = []
    for level in (0.7, 1.3):
        with torch.no_grad():
            expected = made(x, level).clamp(0, 1)
        results.append(model(x, level=level))
        torch.testing.assert_close(results[-1], expected, atol=1e-3, rtol=0)
    assert (results[0] - results[1]).abs().max() > 0.01
    assert (model.alpha(1.3), model.alpha(0.7)) == (0, 1)  # as its authors say, 1.3 does less
    hidden = np.dstack([draw(20, 21, 5), np.full((20, 21), 200, np.uint8)])
    hidden[:8, :, 3] = 0
    Image.fromarray(hidden).save(tmp_path / "small.png")
    words = ["apply", tmp_path / "small.png", "-m", path, "-o", tmp_path / "out.png"]
    code, _, told = cli(*words, "--device", "cpu")
    assert (code, "cannot be told from a picture" in told) == (2, True)
    code, _, told = cli(*words, "--device", "cpu", "--alpha", 0.5, "--blend", 0.5)
    assert code == 0, told
    out = Image.open(tmp_path / "out.png")
    assert (out.mode, out.size) == ("RGBA", (21 * scale, 20 * scale))


def test_the_command_applies_them(cli, drunet, tmp_path: Path):
    photo, out = tmp_path / "p.png", tmp_path / "out.png"
    Image.fromarray(draw(40, 50, 3)).save(photo)
    common = ["apply", photo, "-m", drunet[0], "--device", "cpu", "-o", out]
    code, printed, told = cli(*common, "--level", 20, "--blend", 0.5)
    assert (code, printed.strip()) == (0, str(out))
    assert "alpha 0.4 (level 20)" in told
    code, _, told = cli(*common, "--alpha", "auto", "--if-exists", "overwrite")
    assert code == 0, told
    code, _, told = cli(*common, "--style", photo, "--if-exists", "overwrite")
    assert (code, "has no style to choose" in told) == (2, True)


def test_what_is_refused(tmp_path: Path, drunet, monkeypatch):
    two_channels = DnCNN(in_nc=2, out_nc=2, nc=8, nb=9, act_mode="R")
    with pytest.raises(IncompatibleError, match="2 channels"):
        load(saved(two_channels, tmp_path / "e.safetensors"), device="cpu")
    save_file({"w": torch.rand(2)}, tmp_path / "w.safetensors")
    with pytest.raises(ForeignError, match="no network that"):
        load(tmp_path / "w.safetensors", device="cpu")
    monkeypatch.setitem(sys.modules, "spandrel", None)
    with pytest.raises(ForeignError, match="not installed"):
        load(drunet[0], device="cpu")
