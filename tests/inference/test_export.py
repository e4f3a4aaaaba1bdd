from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch

from tunectl.errors import UsageError
from tunectl.header import Header, Part
from tunectl.inference.execution import Execution
from tunectl.inference.export import export_file
from tunectl.inference.load import load
from tunectl.inference.model import Model
from tunectl.knob import Knob
from tunectl.networks import build_network
from tunectl.tuners import Tunable, build_tuner

CASES = [
    ("unet", {"widths": [8, 12], "encoder": [1, 1], "decoder": [1]}, "ftn", {}, (0.0, 0.5, 1.0)),
    ("adafm-net", {"width": 8, "blocks": 2}, "adafm", {"kernel": 5}, (0.0, 1.0)),
    ("adafm-net", {"width": 8, "blocks": 2}, "dynamic-net", {}, (-1.0, 0.0, 1.0)),
    ("transform-net", {"width": 8, "blocks": 2}, "dni", {}, (0.0, 1.0)),
    ("adain-net", {"width": 8}, "adain", {}, (0.0, 1.0)),
]


def make(case) -> Model:
    network_name, fields, tuner_name, tuner_fields, knots = case
    torch.manual_seed(0)
    network = build_network(network_name, fields)
    tuner = build_tuner(tuner_name, network, tuner_fields, knots)
    with torch.no_grad():  # at birth alpha changes nothing
        for parameter in (*network.parameters(), *tuner.parameters()):
            parameter.add_(0.03 * torch.randn(parameter.shape))
    parts = {"network": Part(network_name, fields), "tuner": Part(tuner_name, tuner_fields)}
    header = Header(**parts, knob=Knob((0.0, 50.0), knots=knots), plain=False)
    return Model(header, Tunable(network, tuner), Execution.pick("cpu", "fp32"))


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case[0]}-{case[2]}")
def test_the_graph_takes_any_alpha_and_size(case, tmp_path: Path):
    model = make(case)
    difference = export_file(model, tmp_path / "m.onnx")
    assert difference.largest < 1e-4
    session = onnxruntime.InferenceSession(tmp_path / "m.onnx")
    picture = torch.rand(2, 3, 37, 52)
    results = []
    for alpha in (0.2, 0.9):
        given = {"picture": picture.numpy(), "alpha": np.array([alpha], np.float32)}
        (found,) = session.run(None, given)
        expected = torch.cat([model(one[None], alpha) for one in picture])
        torch.testing.assert_close(torch.from_numpy(found), expected, atol=1e-4, rtol=0)
        results.append(found)
    assert np.abs(results[0] - results[1]).max() > 5e-4
    header = session.get_modelmeta().custom_metadata_map["tunectl"]
    assert json.loads(header)["knob"]["levels"] == [0.0, 50.0]


def test_a_fixed_alpha_leaves_one_input(cli, tmp_path: Path, tunable_file: Path):
    out = tmp_path / "m.onnx"
    code, printed, told = cli("export", tunable_file, "--level", 25, "-o", out)
    assert (code, printed.strip()) == (0, str(out)), told
    assert "differs from torch by" in told
    session = onnxruntime.InferenceSession(out)
    assert [one.name for one in session.get_inputs()] == ["picture"]
    picture = torch.rand(1, 3, 20, 30)
    model = load(tunable_file, device="cpu", precision="fp32")
    found = torch.from_numpy(session.run(None, {"picture": picture.numpy()})[0])
    torch.testing.assert_close(found, model(picture, level=25), atol=1e-5, rtol=0)


def test_a_plain_model_is_exported(tmp_path: Path, plain_file: Path):
    model = load(plain_file, device="cpu", precision="fp32")
    assert export_file(model, tmp_path / "m.onnx").largest < 1e-5


def test_what_cannot_be_exported(cli, tmp_path: Path, tunable_file: Path, monkeypatch):
    there = tmp_path / "m.onnx"
    there.write_bytes(b"mine")
    code, _, told = cli("export", tunable_file, "-o", there)
    assert (code, there.read_bytes()) == (2, b"mine")
    assert "exists" in told
    code, _, told = cli("export", tunable_file, "-o", tmp_path / "m.pb")
    assert (code, "end it .onnx" in told) == (2, True)
    code, _, told = cli("export", tunable_file, "-a", 0.1, "--level", 2, "-o", tmp_path / "n.onnx")
    assert code == 2
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(UsageError, match="not installed"):
        export_file(load(tunable_file, device="cpu"), tmp_path / "n.onnx")
