from __future__ import annotations

import json
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest
import torch
from conftest import draw
from PIL import Image

from tunectl.evaluation.layers import ALPHAS, layers
from tunectl.evaluation.smoothness import Smoothness, smoothness
from tunectl.inference.load import load
from tunectl.networks import build_network
from tunectl.tuners import TUNERS, Tunable, build_tuner


def test_layers_move_as_dni_says(tunable_file: Path):
    model = load(tunable_file, device="cpu", precision="fp32")
    found = layers(model)
    base, end = model.fold(0.0).state_dict(), model.fold(1.0).state_dict()
    assert {f"{layer.name}.weight" for layer in found} <= set(base)
    assert sum(layer.parameters for layer in found) == sum(t.numel() for t in base.values())
    for layer in found:
        names = [name for name in base if name.rpartition(".")[0] == layer.name]
        apart = torch.cat([(end[n] - base[n]).flatten() for n in names]).norm()
        size = torch.cat([base[n].flatten() for n in names]).norm()
        assert layer.moved[-1] == pytest.approx(float(apart / size), rel=1e-4)
        assert layer.moved == pytest.approx([layer.moved[-1] * a for a in ALPHAS], rel=1e-3)
        assert not layer.inserted


@pytest.mark.parametrize("tuner", sorted(TUNERS))
def test_layers_of_every_tuner(tuner, tunable_file: Path):
    model = load(tunable_file, device="cpu", precision="fp32")
    torch.manual_seed(0)
    network = build_network("adafm-net", {"width": 8, "blocks": 1})
    model.network = Tunable(network, build_tuner(tuner, network))
    assert max(max(layer.moved) for layer in layers(model)) == 0
    with torch.no_grad():
        for parameter in model.network.tuner.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.1)
    found = {layer.name: layer.moved for layer in layers(model)}
    assert max(moved[-1] for moved in found.values()) > 0
    if tuner == "dynamic-net":  # only the last convolution of a tuning block follows alpha
        idle = [moved for name, moved in found.items() if name.endswith((".conv_a", ".conv_b"))]
        assert len(idle) > 4
        assert max(map(max, idle)) == 0


def test_smoothness_is_that_of_the_outputs(tunable_file: Path):
    model = load(tunable_file, device="cpu", precision="fp32")
    picture = torch.from_numpy(draw(32, 40, 2)).permute(2, 0, 1)[None] / 255
    found = smoothness(model, picture, 4)
    outputs = [model(picture, i / 4) for i in range(5)]
    for i, change in enumerate(found.changes):
        expected = float((outputs[i + 1] - outputs[i]).abs().mean()) * 255
        assert change == pytest.approx(expected, rel=1e-5)
    for output, distance in zip(outputs[1:], found.distances, strict=True):
        expected = float((output - outputs[0]).abs().mean()) * 255
        assert distance == pytest.approx(expected, rel=1e-5)
    known = Smoothness([1.0, 3.0, 2.0], [1.0, 0.5, 2.0])
    assert (known.most, known.where, known.unevenness, known.growing) == (3, 2 / 3, 1.5, 2)


def test_inspect_tells_what_a_model_is(cli, tunable_file: Path, plain_file: Path, tmp_path: Path):
    photo, curves = tmp_path / "photo.png", tmp_path / "layers.svg"
    Image.fromarray(draw(32, 40, 1)).save(photo)
    words = ["--layers", "--photo", photo, "--plot", curves, "--device", "cpu"]
    code, out, _ = cli("inspect", tunable_file, *words)
    assert code == 0
    for words in ("matches its sha256", "MMAC a pixel", "of 50 steps", "| alpha 0.25 |"):
        assert words in out
    assert len(ET.parse(curves).getroot().findall("{*}circle")) >= len(ALPHAS) * 3
    code, out, _ = cli("inspect", plain_file, "--json")
    found = json.loads(out)
    assert (code, found["schema"], found["layers"], found["smoothness"]) == (0, 1, [], None)
    assert found["parameters"]["tuner"] == 0
    for words, cause in (
        (["--plot", curves], "layers.svg: exists"),
        (["--plot", tmp_path / "none.svg"], "no layer moves"),
        (["--photo", photo], "without a knob"),
        (["--plot", "x.gif"], "neither SVG nor PNG"),
    ):
        code, _, err = cli("inspect", plain_file, *words)
        assert (code, cause in err) == (2, True)
    damaged = tmp_path / "damaged.safetensors"
    data = bytearray(plain_file.read_bytes())
    data[-3] ^= 1
    damaged.write_bytes(data)
    code, _, err = cli("inspect", damaged)
    assert (code, "does not match its sha256" in err) == (3, True)
