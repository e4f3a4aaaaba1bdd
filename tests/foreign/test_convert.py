from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from strangers import AuthorsAdaFM

from tunectl import checkpoint
from tunectl.errors import (
    CheckpointError,
    ForeignError,
    IncompatibleError,
    StrangerError,
    UsageError,
)
from tunectl.foreign.convert import convert_file
from tunectl.foreign.unpickle import weights_in
from tunectl.inference.load import load


@pytest.mark.parametrize("kernel", [1, 5])
def test_adafms_files_become_models_with_the_same_output_at_any_alpha(kernel, tmp_path: Path):
    torch.manual_seed(0)
    theirs = AuthorsAdaFM(kernel)
    torch.save(theirs.state_dict(), tmp_path / "noise15to75.pth")
    made = tmp_path / "made.safetensors"
    what = convert_file(tmp_path / "noise15to75.pth", made, levels=(15, 75))
    assert what == "an AdaFM network with its knob"
    model = load(made, device="cpu", precision="fp32")
    assert (model.level(0), model.level(1)) == (15, 75)
    x = torch.rand(1, 3, 12, 16)
    for alpha in (0.0, 0.3, 1.0):
        with torch.no_grad():
            expected = theirs(x, alpha)
            torch.testing.assert_close(model.network(x, alpha), expected, atol=1e-6, rtol=1e-5)
            torch.testing.assert_close(model.fold(alpha)(x), expected, atol=1e-5, rtol=1e-4)


def test_adafms_basic_file_becomes_a_plain_model(tmp_path: Path):
    theirs = AuthorsAdaFM(None)
    torch.save(theirs.state_dict(), tmp_path / "noise15.pth")
    convert_file(tmp_path / "noise15.pth", tmp_path / "made.safetensors", levels=(15,))
    model = load(tmp_path / "made.safetensors", device="cpu", precision="fp32")
    x = torch.rand(1, 3, 12, 16)
    with torch.no_grad():
        torch.testing.assert_close(model.fold()(x), theirs(x), atol=1e-6, rtol=1e-5)
    assert model.header.level == (15, 15)


def test_adafm_files_that_cannot_be_converted(tmp_path: Path):
    path, made = tmp_path / "a.pth", tmp_path / "made.safetensors"
    torch.save(AuthorsAdaFM(1).state_dict(), path)
    with pytest.raises(UsageError, match="does not say which"):
        convert_file(path, made)
    with pytest.raises(UsageError, match="75 is stronger than 15"):
        convert_file(path, made, levels=(75, 15))
    torch.save(AuthorsAdaFM(1, channels=1).state_dict(), path)
    with pytest.raises(IncompatibleError, match="1 channel"):
        convert_file(path, made, levels=(15, 75))
    lacking = AuthorsAdaFM(1).state_dict()
    del lacking["model.1.sub.1.res.4.transformer.weight"]
    del lacking["model.1.sub.1.res.4.transformer.bias"]
    torch.save(lacking, path)
    with pytest.raises(IncompatibleError, match=r"model\.1\.sub\.1\.res\.4"):
        convert_file(path, made, levels=(15, 75))
    whole = AuthorsAdaFM(1).state_dict()
    for name, tensor in (("model.0.weight", torch.ones(3)), ("model.2.weight", torch.ones(4, 3))):
        torch.save({**whole, name: tensor}, path)
        with pytest.raises(IncompatibleError, match="other shapes"):
            convert_file(path, made, levels=(15, 75))
    torch.save({**whole, "__metadata__": torch.ones(3)}, path)
    with pytest.raises(CheckpointError):
        convert_file(path, made, levels=(15, 75))
    assert not made.exists()


def test_other_files_keep_their_names(tmp_path: Path):
    weights = {"a.weight": torch.rand(2, 3), "steps": torch.tensor(7)}
    wrapped = {f"module.{name}": tensor for name, tensor in weights.items()}
    torch.save({"params_ema": wrapped, "params": {}, "iter": 5}, tmp_path / "a.pth")
    made = tmp_path / "a.safetensors"
    assert "does not know" in convert_file(tmp_path / "a.pth", made)
    found = load_file(made)
    assert found.keys() == weights.keys()
    assert all(torch.equal(found[name], weights[name]) for name in weights)
    with pytest.raises(UsageError, match="exists"):
        convert_file(tmp_path / "a.pth", made)
    with pytest.raises(UsageError, match="is not named as safetensors"):
        convert_file(tmp_path / "a.pth", tmp_path / "b.pth")
    with pytest.raises(CheckpointError, match="no such file"):
        convert_file(tmp_path / "no.pth", tmp_path / "b.safetensors")
    with pytest.raises(CheckpointError, match=r"no\.safetensors"):
        convert_file(tmp_path / "no.safetensors", tmp_path / "b.safetensors")
    (tmp_path / "a.pth").rename(tmp_path / "model_best.pth.tar")
    convert_file(tmp_path / "model_best.pth.tar", tmp_path / "b.safetensors")
    assert load_file(tmp_path / "b.safetensors").keys() == weights.keys()


class Harmful:
    def __reduce__(self):
        return (Path.touch, (Path("harmed"),))


def test_code_in_a_pickle_is_not_run(tmp_path: Path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torch.save({"a": torch.rand(2), "b": Harmful()}, "bad.pth")
    with pytest.raises(ForeignError, match="more than weights"):
        convert_file(Path("bad.pth"), Path("made.safetensors"))
    assert not Path("harmed").exists()
    Path("torn.pth").write_bytes(Path("bad.pth").read_bytes()[:100])
    with pytest.raises(ForeignError, match="cannot be read"):
        convert_file(Path("torn.pth"), Path("made.safetensors"))
    assert not Path("made.safetensors").exists()


def test_the_table_of_weights_is_found_or_named():
    one, other = {"w": torch.zeros(1)}, {"w": torch.ones(1)}
    assert weights_in(one)["w"] == 0
    assert weights_in({"params": one, "params_ema": other})["w"] == 1
    assert weights_in({"params": one, "params_ema": other}, "params")["w"] == 0
    assert weights_in({"odd": other, "epoch": 3})["w"] == 1
    assert weights_in({"state_dict": other, "best_psnr": torch.tensor(31.2)})["w"] == 1
    for content, key in (({"x": one, "y": other}, ""), ({"x": 1}, ""), (one, "z"), (5, "")):
        with pytest.raises(ValueError, match="no single table"):
            weights_in(content, key)


def test_a_converted_stranger_is_no_model_of_ours(tmp_path: Path):
    save_file({"a": torch.rand(2)}, tmp_path / "a.safetensors")
    convert_file(tmp_path / "a.safetensors", tmp_path / "b.safetensors")
    with pytest.raises(StrangerError, match="no tunectl header"):
        checkpoint.read(tmp_path / "b.safetensors")


def test_a_model_of_ours_stays_what_it_is(tunable_file: Path, tmp_path: Path):
    with pytest.raises(UsageError, match="is a model of tunectl's already"):
        convert_file(tunable_file, tmp_path / "b.safetensors")
