from __future__ import annotations

import itertools
import pickle
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import draw
from PIL import Image, ImageCms

import tunectl
from tunectl import checkpoint
from tunectl.errors import (
    AlphaError,
    CheckpointError,
    IncompatibleError,
    PictureError,
    ResourceError,
    UsageError,
)
from tunectl.evaluation.barrier import barrier
from tunectl.evaluation.metrics import psnr
from tunectl.header import Header, Part, read_header
from tunectl.images import Picture
from tunectl.inference import memory
from tunectl.inference.engine import Engine
from tunectl.inference.execution import Execution
from tunectl.inference.find import find_model
from tunectl.inference.interpolate import fold_file, join_files, mix_files
from tunectl.inference.load import load
from tunectl.inference.model import Model
from tunectl.inference.restore import restore
from tunectl.inference.strength import Strength
from tunectl.inference.tiles import Grid, run_tiled, shrink
from tunectl.knob import Knob
from tunectl.networks import (
    NETWORKS,
    build_network,
    fixed_statistics,
    norms_of,
    receptive_radius,
)
from tunectl.tuners import Tunable, build_tuner

CPU = torch.device("cpu")
CLEAN = Path(__file__).parents[2] / "weights" / "example" / "clean.png"
# Multiples of 16, like every real network: convolution libraries then sum in one order whatever
# the shape. With odd widths a rounding tie may fall the other way in a tile.
SMALL = {
    "adain-net": {"width": 16},
    "adafm-net": {"width": 16, "blocks": 1},
    "transform-net": {"width": 16, "blocks": 1},
    "unet": {"widths": [16, 32], "encoder": [1, 1], "decoder": [1]},
}


def in_8_bits(x: torch.Tensor) -> torch.Tensor:
    return (x * 255).round().clamp(0, 255)


def tiled(network, precision, tile, picture, short=0):
    halo = -(-receptive_radius(network) // network.stride) * network.stride - short
    sink = torch.empty_like(picture[0])
    engine = Engine(network, CPU, precision)
    with fixed_statistics(norms_of([network]), lambda: engine(picture)):
        run_tiled(engine, picture[0], sink, Grid(network.stride, halo, tile), CPU)
    return sink


@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("tuner", [None, "adafm", "dynamic-net"])
@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("size", [(300, 340), (130, 600), (601, 130)])
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
    whole = tiled(network, precision, 4096, picture)
    for tile in (1, 320) if size == (300, 340) else (1,):  # narrow ones have one grid for both
        assert torch.equal(in_8_bits(tiled(network, precision, tile, picture)), in_8_bits(whole))


def test_a_halo_one_stride_short_does_show():
    """That the test above can fail: the halo is needed to its last stride."""
    torch.manual_seed(0)
    network = build_network("adafm-net", SMALL["adafm-net"])
    for parameter in network.parameters():
        parameter.data.abs_()
    picture = torch.rand(1, 3, 256, 600)
    whole = tiled(network, torch.float32, 4096, picture)
    assert not torch.equal(tiled(network, torch.float32, 256, picture, short=4), whole)


def test_instance_norms_see_the_whole_picture(monkeypatch: pytest.MonkeyPatch):
    torch.manual_seed(0)
    network = build_network("transform-net", SMALL["transform-net"])
    header = Header(network=Part("transform-net", SMALL["transform-net"]), plain=True)
    y, x = torch.meshgrid(torch.linspace(0, 9, 400), torch.linspace(0, 5, 700), indexing="ij")
    picture = torch.stack([(x + i).sin() * (y * (i + 1) / 2).cos() / 2 + 0.5 for i in range(3)])
    whole = network.eval()(picture[None])[0].detach().clamp(0, 1)

    def restored(tile: int) -> torch.Tensor:
        return Model(header, network, Execution(CPU, torch.float32, tile))(picture)

    torch.testing.assert_close(restored(2048), whole, atol=1e-5, rtol=0)
    torch.testing.assert_close(restored(256), whole, atol=1e-5, rtol=0)
    own = norms_of([network])
    assert all(norm.statistics is None and not norm.recording for norm in own)
    monkeypatch.setattr("tunectl.inference.windows.WHOLE_AREA", 70_000)
    assert psnr(restored(256)[None], whole[None]) > 35
    assert torch.equal(in_8_bits(restored(256)), in_8_bits(restored(2048)))
    inks = np.zeros((400, 700, 4), np.uint8)
    with pytest.raises(UsageError, match="CMYK"):
        Model(header, network, Execution(CPU, torch.float32, 256)).run(
            inks, inks.copy(), Strength()
        )


def test_a_picture_is_shrunk_by_averaging_its_pixels():
    planes = torch.randint(0, 256, (3, 301, 500), dtype=torch.uint8)
    small = shrink(planes, 20_000)
    assert small.shape == (1, 3, 101, 167)
    mean = planes[:, 3:6, 6:9].float().mean((1, 2)) / 255
    torch.testing.assert_close(small[0, :, 1, 2], mean)
    torch.testing.assert_close(shrink(planes, 1e9)[0], planes / 255)


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
    for wrong in (array.astype(np.int32), np.zeros((2, 2, 5)), image.convert("CMYK"), b"PNG"):
        with pytest.raises(UsageError):
            model(wrong, alpha=0.5)


def test_a_file_comes_back_as_an_upright_picture(tunable_file: Path, tmp_path: Path):
    model = load(tunable_file, device="cpu", precision="fp32")
    array = draw(20, 30, 0)
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by a quarter
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    Image.fromarray(array).save(tmp_path / "a.png", exif=exif, icc_profile=profile)
    restored = model(tmp_path / "a.png", alpha=0.5)
    turned = model(np.ascontiguousarray(np.rot90(array, -1)), alpha=0.5)
    assert (restored.size, restored.mode) == ((20, 30), "RGB")
    assert np.array_equal(np.asarray(restored), turned)
    assert restored.info["icc_profile"] == profile
    assert restored.getexif().get(0x0112, 1) == 1
    Image.fromarray(array[..., 0].astype(np.uint16) << 8).save(tmp_path / "deep.png")
    with pytest.raises(UsageError, match="more than 8 bits"):
        model(str(tmp_path / "deep.png"), alpha=0.5)
    with pytest.raises(PictureError):
        model(tmp_path / "none.png", alpha=0.5)


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
    with pytest.raises(AlphaError, match="outside"):  # though it is folded already
        model(x, alpha=1.2)
    with pytest.raises(AlphaError, match="not a number"):
        model(x, alpha=float("nan"), extrapolate=True)
    with pytest.raises(UsageError, match="uint8"):
        model((x * 255).byte(), alpha=0.5)


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
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TUNECTL_HOME", "elsewhere")
    (tmp_path / "tuned.safetensors").write_bytes(tunable_file.read_bytes())
    for name in ("tuned", "./tuned"):
        with pytest.raises(CheckpointError) as there:
            find_model(name)
        assert f"{name}.safetensors" in there.value.hint


def test_bundled_models_load():
    model = tunectl.load("denoise", device="cpu")
    assert model.level(0.0) == 0
    assert model.level(1.0) == 75


def test_the_bundled_style_begins_at_the_photo_and_leads_away_from_it():
    model = tunectl.load("starry-night", device="cpu")
    picture = torch.from_numpy(np.array(Image.open(CLEAN).convert("RGB"))).permute(2, 0, 1) / 255
    apart = [float((model(picture, alpha) - picture).abs().mean()) for alpha in (0.25, 0.5, 1.0)]
    assert psnr(model(picture, 0.0), picture) > 40
    assert 0.02 < apart[0] < apart[1] < apart[2]


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


def test_models_with_one_knob_are_mixed(tunable_file: Path, tmp_path: Path):
    header, tensors = checkpoint.read(tunable_file)
    moved = {name: tensor + 0.01 * torch.randn_like(tensor) for name, tensor in tensors.items()}
    other, mixed = tmp_path / "other.safetensors", tmp_path / "mixed.safetensors"
    checkpoint.write(other, header, moved)
    mix_files([tunable_file, other], [0.25, 0.75], mixed)
    found, weights = checkpoint.read(mixed)
    for name, tensor in tensors.items():
        expected = 0.25 * tensor.float() + 0.75 * moved[name].float()
        torch.testing.assert_close(weights[name], expected, atol=1e-3, rtol=0)
    assert header.knob.calibration
    assert found.knob == replace(header.knob, calibration=())
    assert load(mixed, device="cpu")(torch.rand(1, 3, 16, 16), level=20).shape == (1, 3, 16, 16)
    checkpoint.write(other, replace(header, knob=replace(header.knob, power=3.0)), tensors)
    with pytest.raises(IncompatibleError, match="differ in their knob"):
        mix_files([tunable_file, other], [0.5, 0.5], mixed)
    with pytest.raises(IncompatibleError, match="one alpha"):
        barrier([tunable_file, tunable_file], [0.5, 0.5], CLEAN)


def test_styles_of_one_base_are_mixed(tmp_path: Path):
    bundled = Path(__file__).parents[2] / "weights" / "starry-night.safetensors"
    header, tensors = checkpoint.read(bundled)
    other = tmp_path / "other.safetensors"
    task = replace(header.task, fields={**header.task.fields, "second": "other"})
    moved = {name: t * 0.5 if name.startswith("tuner.") else t for name, t in tensors.items()}
    checkpoint.write(other, replace(header, task=task), moved)
    plain = [tmp_path / "a.safetensors", tmp_path / "b.safetensors"]
    for source, target in zip((bundled, other), plain, strict=True):
        fold_file(source, 1.0, target)
    mix_files(plain, [0.5, 0.5], tmp_path / "m.safetensors")
    assert read_header(tmp_path / "m.safetensors").task == replace(header.task, fields={})
    picture = torch.rand(3, 48, 48)
    model = tunectl.load(tmp_path / "m.safetensors", device="cpu", precision="fp32")
    expected = tunectl.load(bundled, device="cpu", precision="fp32")(picture, 0.75)
    torch.testing.assert_close(model(picture), expected, atol=2e-3, rtol=0)


def test_a_knob_between_two_plain_models(plain_file: Path, tunable_file: Path, tmp_path: Path):
    one, other = tmp_path / "a.safetensors", tmp_path / "b.safetensors"
    fold_file(tunable_file, 0.2, one)
    fold_file(tunable_file, 0.9, other)
    header = join_files([one, other], tmp_path / "knob.safetensors", card="Both.")
    assert (header.tuner.name, header.card, header.knob.way) == ("dni", "Both.", "endpoint")
    model, source = (
        load(p, device="cpu", precision="fp32")
        for p in (tmp_path / "knob.safetensors", tunable_file)
    )
    picture = torch.rand(3, 24, 32)
    for alpha in (0.0, 0.5, 1.0):
        torch.testing.assert_close(model(picture, alpha), source(picture, 0.2 + 0.7 * alpha))
    assert torch.equal(model(picture, 0.0), load(one, device="cpu", precision="fp32")(picture))
    assert model.level(0) == pytest.approx(source.level(0.2))
    with pytest.raises(UsageError, match="a knob needs two levels"):
        join_files([one, one], tmp_path / "x.safetensors")
    with pytest.raises(UsageError, match=r"is stronger than .*"):
        join_files([other, one], tmp_path / "x.safetensors")
    with pytest.raises(IncompatibleError, match="has a knob"):
        join_files([one, tunable_file], tmp_path / "x.safetensors")
    parent, tensors = checkpoint.read(other)
    blind = tmp_path / "blind.safetensors"
    checkpoint.write(blind, replace(parent, level=(10.0, 45.0)), tensors)
    with pytest.raises(IncompatibleError, match="was trained for levels 10 to 45"):
        join_files([one, blind], tmp_path / "x.safetensors")
    mix_files([one, other], [0.25, 0.75], tmp_path / "mix.safetensors")
    level = read_header(tmp_path / "mix.safetensors").level
    assert level == pytest.approx((model.level(0) / 4 + model.level(1) * 3 / 4,) * 2)
    mix_files([one, other], [1.2, -0.2], tmp_path / "beyond.safetensors")
    assert read_header(tmp_path / "beyond.safetensors").level == (model.level(0),) * 2
    for path, licence in ((one, "MIT"), (other, "CC-BY-NC-4.0")):
        parent, tensors = checkpoint.read(path)
        checkpoint.write(path, replace(parent, licence=licence), tensors)
    mix_files([one, other, one], [0.25, 0.25, 0.5], tmp_path / "owned.safetensors")
    assert read_header(tmp_path / "owned.safetensors").licence == "MIT AND CC-BY-NC-4.0"
    joined = join_files([one, other], tmp_path / "owned_knob.safetensors")
    assert joined.licence == "MIT AND CC-BY-NC-4.0"


def test_a_knob_through_models_between(cli, tunable_file: Path, plain_file: Path, tmp_path: Path):
    """Each model is met at its own level."""
    paths = [tmp_path / f"{i}.safetensors" for i in range(3)]
    header, tensors = checkpoint.read(plain_file)
    for i, (path, level) in enumerate(zip(paths, (15.0, 22.0, 50.0), strict=True)):
        moved = {name: tensor + 0.01 * i * torch.randn(()) for name, tensor in tensors.items()}
        checkpoint.write(path, replace(header, level=(level, level)), moved)
    made = tmp_path / "knob.safetensors"
    code, _, told = cli("interpolate", *paths, "--knob", "-o", made)
    assert code == 0, told
    model = load(made, device="cpu", precision="fp32")
    assert (model.knob.levels, model.knob.knots) == ((15.0, 50.0), (0.0, 0.2, 1.0))
    picture = torch.rand(3, 24, 32)
    for path, alpha in zip(paths, (0.0, 0.2, 1.0), strict=True):
        expected = load(path, device="cpu", precision="fp32")(picture)
        torch.testing.assert_close(model(picture, alpha), expected)
    assert model.alpha(22.0) == pytest.approx(0.2)
    with pytest.raises(UsageError, match="from the weakest to the strongest"):
        join_files([paths[0], paths[2], paths[1], paths[2]], tmp_path / "x.safetensors")
    clipped = replace(header, level=(22.0, 22.0), task=Part("denoise", {"clip": True}))
    checkpoint.write(paths[1], clipped, tensors)
    with pytest.raises(IncompatibleError, match="differ in their task's fields"):
        join_files(paths, tmp_path / "x.safetensors")


def test_a_knob_between_two_styles(tmp_path: Path):
    plain = []
    for name in ("starry-night", "wheat-field"):
        plain.append(tmp_path / f"{name}.safetensors")
        fold_file(name, 1.0, plain[-1])
    header = join_files(plain, tmp_path / "knob.safetensors", "fp16")
    fields = header.task.fields
    assert (fields["first"], fields["second"]) == ("starry_night", "wheat_field_cypresses")
    assert header.knob.levels == (0.0, 1.0)
    with pytest.raises(UsageError, match="both models end at starry_night"):
        join_files([plain[0], plain[0]], tmp_path / "x.safetensors")


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


@pytest.mark.parametrize("samples", [np.uint8, np.uint16, np.float32])
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_windows_of_arrays_do_not_show(tunable_file: Path, samples, channels):
    rng = np.random.default_rng(0)
    array = rng.random((301, 420, channels))
    array = (array * np.iinfo(samples).max if samples != np.float32 else array).astype(samples)
    models = [load(tunable_file, device="cpu", precision="fp32", tile=t) for t in (256, 4096)]
    one, other = (model(array, alpha=0.5).astype(np.float64) for model in models)
    # Windows of other shapes may be summed in another order, which 16 bits resolve.
    limit = {np.uint8: 0, np.uint16: 1, np.float32: 1e-5}[samples]
    assert np.abs(one - other).max() <= limit


def test_arrays_that_run_backwards_or_are_read_only(tunable_file: Path):
    model = load(tunable_file, device="cpu", precision="fp32")
    array = np.arange(30 * 20 * 3, dtype=np.uint8).reshape(30, 20, 3)
    expected = model(array[:, ::-1].copy(), alpha=0.5)
    assert np.array_equal(model(array[:, ::-1], alpha=0.5), expected)
    swapped = (array.astype(np.uint16) * 257).astype(">u2")
    swapped.setflags(write=False)
    assert np.array_equal(model(swapped, alpha=0.5), model(swapped.astype(np.uint16), alpha=0.5))


def test_cmyk_is_three_inks_and_black(tunable_file: Path):
    model = load(tunable_file, device="cpu", precision="fp32")
    inks = np.random.default_rng(0).random((20, 24, 4)).astype(np.float32)
    restored = np.empty_like(inks)
    model.run(inks, restored, Strength(0.5))
    np.testing.assert_allclose(
        restored[..., :3], 1 - model(1 - inks[..., :3], alpha=0.5), atol=1e-5
    )
    np.testing.assert_allclose(
        restored[..., 3:], 1 - model(1 - inks[..., 3:], alpha=0.5), atol=1e-5
    )


def test_an_alpha_map_says_alpha_per_pixel(tunable_file: Path):
    model = load(tunable_file, device="cpu", precision="fp32")
    picture = np.random.default_rng(0).random((70, 90, 3)).astype(np.float32)
    constant = np.full((70, 90), 0.3, np.float32)
    np.testing.assert_allclose(
        model(picture, alpha_map=constant), model(picture, alpha=0.3), atol=1e-5
    )
    ones = np.full((70, 90), 255, np.uint8)
    np.testing.assert_allclose(
        model(picture, alpha=0.3, alpha_map=ones), model(picture, alpha=0.3), atol=1e-5
    )
    with pytest.raises(UsageError, match="90 x 70"):
        model(picture, alpha_map=constant[:5])


def test_chroma_has_a_strength_of_its_own(tunable_file: Path):
    model = load(tunable_file, device="cpu", precision="fp32")
    picture = torch.rand(1, 3, 40, 40) * 0.5 + 0.25
    luma = torch.tensor([0.299, 0.587, 0.114])[:, None, None]
    weak, strong = model(picture, alpha=0.1), model(picture, alpha=0.9)
    both = model(picture, alpha=0.1, chroma_alpha=0.9)
    assert not torch.allclose((weak * luma).sum(1), (strong * luma).sum(1), atol=1e-3)
    torch.testing.assert_close((both * luma).sum(1), (weak * luma).sum(1), atol=1e-5, rtol=0)
    torch.testing.assert_close(both[:, 0] - both[:, 1], strong[:, 0] - strong[:, 1])
    gray = picture[:, :1]
    assert torch.equal(model(gray, alpha=0.1, chroma_alpha=0.9), model(gray, alpha=0.1))
    with pytest.raises(UsageError, match="luma and colour alike"):
        model(picture, alpha_map=np.zeros((40, 40)), chroma_alpha=0.9)


def test_keeping_colours_takes_the_luma_alone(plain_file: Path):
    model = load(plain_file, device="cpu", precision="fp32")
    picture = torch.rand(3, 20, 20) * 0.5 + 0.25
    kept, whole = model(picture, keep_colours=True), model(picture)
    luma = torch.tensor([0.299, 0.587, 0.114])[:, None, None]
    torch.testing.assert_close((luma * kept).sum(0), (luma * whole).sum(0))
    torch.testing.assert_close(kept[0] - kept[2], picture[0] - picture[2])
    assert torch.equal(model(picture[:1], keep_colours=True), model(picture[:1]))


def test_blend_mixes_with_the_input(plain_file: Path):
    model = load(plain_file, device="cpu", precision="fp32")
    picture = torch.rand(3, 20, 20) * 0.5 + 0.25
    assert torch.equal(model(picture, blend=0.0), picture)
    expected = torch.lerp(picture, model(picture), 0.3)
    torch.testing.assert_close(model(picture, blend=0.3), expected)
    with pytest.raises(UsageError, match="outside 0 to 1"):
        model(picture, blend=1.5)


def test_out_of_memory_halves_the_windows(tunable_file: Path, monkeypatch: pytest.MonkeyPatch):
    model = load(tunable_file, device="cpu", precision="fp32", tile=1024)
    array = (np.random.default_rng(0).random((600, 620, 3)) * 255).astype(np.uint8)
    expected = model(array, alpha=0.5)
    run, areas = Engine.__call__, []

    def starved(self, x, alpha=None):
        areas.append(x.shape[2] * x.shape[3])
        if areas[-1] > 300**2:
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate")
        return run(self, x, alpha)

    monkeypatch.setattr(Engine, "__call__", starved)
    assert np.array_equal(model(array, alpha=0.5), expected)
    assert areas[0] > 300**2
    assert model.windows.tile < 512
    monkeypatch.setattr(Engine, "__call__", lambda *_: (_ for _ in ()).throw(MemoryError()))
    with pytest.raises(ResourceError, match="out of memory"):
        model(array, alpha=0.5)
    whole = load(tunable_file, device="cpu", precision="fp32", tile=512)
    monkeypatch.setattr(type(model.fold(0.5)), "radius", lambda _: None)  # it sees all of a picture
    with pytest.raises(ResourceError, match="out of memory"):
        whole(array, alpha=0.5)


def test_results_in_floats_lie_in_the_range(plain_file: Path):
    model = load(plain_file, device="cpu", precision="fp32")
    picture = np.random.default_rng(0).choice([0, 1], (40, 40, 3)).astype(np.float32)
    sink = np.empty_like(picture)
    model.run(picture, sink, Strength())
    assert (sink.min(), sink.max()) == (0, 1)


def test_a_failure_that_is_not_of_memory_is_not_tried_again(
    tunable_file: Path, monkeypatch: pytest.MonkeyPatch
):
    model = load(tunable_file, device="cpu", precision="fp32")
    monkeypatch.setattr(Engine, "__call__", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        model(torch.rand(3, 9, 9), alpha=0.5)


@pytest.mark.parametrize("size", [(1, 1), (7, 5000), (300, 300), (1000, 777)])
@pytest.mark.parametrize("tile", [1, 256, 500, 2048])
def test_windows_cover_every_pixel_once_and_are_alike(size, tile):
    grid = Grid(stride=8, halo=96, tile=tile)
    for spans, length in zip(grid.cover(*size), size, strict=True):
        assert spans[0].core_start == 0
        assert length <= spans[-1].core_end < length + 16
        assert len({span.end - span.start for span in spans}) == 1
        for one, two in itertools.pairwise(spans):
            assert one.core_end == two.core_start
        for span in spans:
            assert span.core_start - span.start >= 96 or span.start == 0
            assert span.end - span.core_end >= 96 or span is spans[-1]


def test_memory_bounds_the_windows(monkeypatch: pytest.MonkeyPatch):
    network = build_network("unet", SMALL["unet"])
    full = memory.bytes_per_pixel(network, torch.float32)
    assert memory.bytes_per_pixel(network, torch.bfloat16) == full / 2
    # At least the picture, and three maps of 16 channels at half the size.
    assert full >= 3 * 4 + 3 * 16 * 4 / 4
    monkeypatch.setattr(memory, "free_bytes", lambda _: 100 << 20)
    small = memory.choose_tile(full, CPU)
    assert small**2 * full <= 100 << 20
    monkeypatch.setattr(memory, "free_bytes", lambda _: 100 << 30)
    assert small < memory.choose_tile(full, CPU) <= memory.LARGEST_SIDE
    assert memory.free_bytes(CPU) > 0


def test_files_that_were_read_leave_memory_free(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setattr(memory, "GROUP", tmp_path)
    for name, text in {
        "memory.max": "1000000",
        "memory.current": "990000",
        "memory.stat": "anon 200000\ninactive_file 700000\nactive_file 90000",
    }.items():
        (tmp_path / name).write_text(text)
    assert memory.free_bytes(CPU) == 710_000


@pytest.mark.parametrize("side", [495, 497, 500, 512])
def test_a_picture_that_just_fits_is_one_window(tunable_file: Path, side: int):
    """Whatever its sides are on the stride: two windows without a halo would show."""
    picture = torch.rand(3, 160, side)  # high enough to be cut at this width
    expected = load(tunable_file, device="cpu", precision="fp32")(picture, alpha=0.7)
    for tile in (side, side + 1, side - 1):
        model = load(tunable_file, device="cpu", precision="fp32", tile=tile)
        found = model(picture, alpha=0.7)
        assert torch.equal(in_8_bits(found), in_8_bits(expected))


@pytest.mark.parametrize("name", ["adafm-net", "adain-net", "transform-net"])
def test_half_precision_leaves_more_than_eight_bits(name):
    torch.manual_seed(0)
    network = build_network(name, SMALL[name])
    restored = Engine(network, CPU, torch.bfloat16)(torch.rand(1, 3, 48, 48))
    assert (restored == restored.bfloat16()).float().mean() < 0.05


def test_threads_share_a_model():
    network = build_network("transform-net", SMALL["transform-net"])
    header = Header(network=Part("transform-net", SMALL["transform-net"]), plain=True)
    model = Model(header, network, Execution(CPU, torch.float32, 256))
    pictures = [torch.rand(3, 300, 300 + 8 * i) * (0.2 + 0.2 * i) for i in range(4)]
    alone = [model(picture) for picture in pictures]
    with ThreadPoolExecutor(4) as pool:
        for found, expected in zip(pool.map(model, pictures), alone, strict=True):
            assert torch.equal(found, expected)
    again = pickle.loads(pickle.dumps(model))
    assert torch.equal(again(pictures[0]), alone[0])


def test_arrays_with_an_opacity_keep_it_and_numbers_of_any_kind_are_alphas(tunable_file: Path):
    model = load(tunable_file, device="cpu", precision="fp32")
    array = draw(40, 48, 0)
    opacity = np.random.default_rng(0).integers(1, 256, (40, 48, 1)).astype(np.uint8)
    both = np.concatenate([array, opacity], 2)
    expected = model(array, alpha=0.25)
    for alpha in (np.float32(0.25), np.array(0.25), torch.tensor(0.25)):
        assert np.array_equal(model(array, alpha=alpha), expected)
    assert np.array_equal(model(both, alpha=0.25), np.concatenate([expected, opacity], 2))
    assert model(array, level=np.float32(20)).shape == array.shape
    assert model.estimate(array[..., 0]) == model.estimate(array[..., :1])
    both[..., 3] = 255
    assert model.estimate(both) == model.estimate(array)
    for wrong in (np.zeros((0, 4, 3), np.uint8), torch.zeros(0, 3, 8, 8)):
        with pytest.raises(UsageError):
            model(wrong, alpha=0.5)
    with pytest.raises(UsageError, match="alpha map"):
        model(array, alpha_map=np.zeros(40, np.uint8))
    two = both[..., 2:]
    assert model.estimate(two) == model.estimate(two[..., 0])
    assert np.array_equal(model(two, alpha=0.25)[..., 0], model(two[..., 0], alpha=0.25))


def test_calls_keep_hidden_colours_as_apply_does(tunable_file: Path, tmp_path: Path):
    model = load(tunable_file, device="cpu", precision="fp32")
    array = draw(40, 48, 0)
    array[:, 20:] = 0
    opacity = np.full((40, 48), 255, np.uint8)
    opacity[:, 20:] = 0
    expected = restore(model, Picture(array, opacity), Strength(0.8)).picture.pixels
    both = np.dstack([array, opacity])
    assert np.array_equal(model(both, 0.8), np.dstack([expected, opacity]))
    assert np.array_equal(np.asarray(model(Image.fromarray(both), 0.8))[..., :3], expected)
    Image.fromarray(both).save(tmp_path / "a.png")
    assert np.array_equal(np.asarray(model(tmp_path / "a.png", 0.8))[..., :3], expected)
    keyed = Image.fromarray(array[..., 0])
    keyed.info["transparency"] = 0
    found = model(keyed, 0.8)
    assert (found.mode, "transparency" in found.info) == ("LA", False)
    assert np.array_equal(np.asarray(found)[..., 1] == 0, array[..., 0] == 0)


@pytest.mark.parametrize("wrong", [255.0, np.nan, np.inf, -200.0])
def test_floats_that_are_no_samples_are_refused(tunable_file: Path, wrong: float):
    model = load(tunable_file, device="cpu", precision="fp32")
    array = np.full((24, 32, 3), 0.5, np.float32)
    array[3, 4, 1] = wrong
    for given in (array, torch.from_numpy(array).permute(2, 0, 1)):
        with pytest.raises(UsageError, match=r"are not in \[0, 1\]"):
            model(given, 0.5)
    with pytest.raises(UsageError, match=r"are not in \[0, 1\]"):
        model.estimate(array)


def test_a_sink_has_to_take_the_result(tunable_file: Path):
    model = load(tunable_file, device="cpu", precision="fp32")
    pixels = draw(24, 32, 0)
    still = np.zeros_like(pixels)
    still.flags.writeable = False
    for sink in (np.zeros((5, 5, 3), np.uint8), np.zeros((24, 32, 3), np.int32), still):
        with pytest.raises(UsageError, match="does not take the result"):
            model.run(pixels, sink, Strength(0.4))
    with pytest.raises(UsageError, match="no picture's shape"):
        model.run(pixels[..., 0], np.zeros((24, 32), np.uint8), Strength(0.4))


def test_a_flat_calibration_still_has_its_levels():
    for alpha in (0.0, 1.0):
        knob = Knob((0, 50), calibration=tuple((alpha, level) for level in (0.0, 25.0, 50.0)))
        assert knob.within(25.0) == 25.0
        assert knob.alpha(25.0) == alpha
    below = Knob((0, 50), knots=(-1.0, 0.0, 1.0), calibration=((-0.9, -40.0), (-0.1, -2.0)))
    assert below.within(25.0) == -2.0


def test_a_knob_that_was_not_calibrated_follows_its_schedule():
    knob = Knob((95.0, 5.0), power=0.5)
    assert knob.level(0.01) == knob.scheduled_level(0.01) == pytest.approx(86.0)
    assert knob.alpha(86.0) == pytest.approx(0.01)
    assert (knob.within(99.0), knob.alpha(5.0), knob.alpha(95.0)) == (95.0, 1.0, 0.0)
    below = Knob((0, 50), 2.0, knots=(-1.0, 0.0, 1.0))
    assert below.alpha(-12.5) == pytest.approx(-0.5)
    assert (below.within(-10.0), below.level(-2.0)) == (0.0, -50.0)
    with pytest.raises(AlphaError, match="-50 to 50"):
        below.alpha(51.0)


def test_a_fold_at_an_alpha_a_site(cli, tmp_path: Path):
    network = build_network("adafm-net", {"width": 4, "blocks": 1})
    tuner = build_tuner("dynamic-net", network)
    with torch.no_grad():
        for parameter in tuner.parameters():
            parameter.copy_(torch.randn_like(parameter) * 0.1)
    parts = Part("adafm-net", {"width": 4, "blocks": 1}), Part("denoise")
    header = Header(*parts, tuner=Part("dynamic-net"), knob=Knob((15.0, 50.0)), plain=False)
    source, plain = tmp_path / "m.safetensors", tmp_path / "p.safetensors"
    tensors = checkpoint.named(network.own_state(), tuner.state_dict())
    checkpoint.write(source, header, tensors)
    code, _, told = cli("interpolate", source, "--alpha", "1/0.5/0", "-o", plain)
    assert code == 0, told
    picture = torch.rand(3, 24, 32)
    model, folded = (load(p, device="cpu", precision="fp32") for p in (source, plain))
    torch.testing.assert_close(folded(picture), model(picture, (1.0, 0.5, 0.0)))
    assert (folded.header.level, folded.header.card) == (None, "Folded at alpha 1/0.5/0.")


def test_models_are_not_written_over(plain_file: Path, tunable_file: Path, tmp_path: Path):
    mine = tmp_path / "mine.safetensors"
    mine.write_bytes(b"mine")
    for write in (
        lambda: fold_file(tunable_file, 0.3, mine),
        lambda: mix_files([plain_file, plain_file], [0.5, 0.5], mine),
    ):
        with pytest.raises(UsageError, match="exists"):
            write()
    assert mine.read_bytes() == b"mine"


def test_what_goes_wrong_is_known_before_torch_is():
    code = """
import sys, tunectl
try: tunectl.errors.TunectlError
except AttributeError: sys.exit("no errors")
assert issubclass(tunectl.errors.AlphaError, tunectl.TunectlError)
assert "torch" not in sys.modules
error = tunectl.errors.UsageError("cause", "hint")
assert "hint" in error.__notes__
"""
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_limits_of_all_groups_around_a_process_count(tmp_path: Path, monkeypatch):
    """As of a batch system, whose jobs lie far below the root."""
    job = tmp_path / "system" / "job_1"
    job.mkdir(parents=True)
    (tmp_path / "groups").write_text("0::/system/job_1\n")
    monkeypatch.setattr(memory, "GROUP", tmp_path)
    monkeypatch.setattr(memory, "GROUPS_OF_PROCESS", tmp_path / "groups")
    for folder, limit in ((tmp_path, "max"), (tmp_path / "system", "900000000"), (job, "max")):
        (folder / "memory.max").write_text(limit)
        (folder / "memory.current").write_text("400000000")
        (folder / "memory.stat").write_text("inactive_file 1000\n")
    assert memory.free_bytes(torch.device("cpu")) == 500_001_000
    (job / "memory.max").write_text("500000000")
    assert memory.free_bytes(torch.device("cpu")) == 100_001_000
