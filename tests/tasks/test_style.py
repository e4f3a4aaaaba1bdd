from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import draw
from PIL import Image
from torch.nn.functional import conv2d

from tunectl import checkpoint
from tunectl.errors import AlphaError, UsageError
from tunectl.images import Picture, read_rgb8
from tunectl.inference.load import load
from tunectl.inference.restore import restore
from tunectl.inference.strength import Strength
from tunectl.learning import jobs
from tunectl.learning.options import Options
from tunectl.tasks import build_task
from tunectl.tasks.features import _CAFFE_UNIT, Features
from tunectl.tasks.style import _gram, read_style

EXAMPLE = Path(__file__).parents[2] / "weights" / "example" / "clean.png"
CPU = torch.device("cpu")
# Of the example, by another implementation: mean, standard deviation, maximum.
KNOWN = {
    "relu1_1": (25.8691, 45.0631, 736.05),
    "relu1_2": (126.3088, 225.6694, 3024.28),
    "relu2_1": (171.4356, 237.3286, 5317.24),
    "relu2_2": (171.6040, 381.6113, 9308.04),
    "relu3_1": (224.5668, 428.8004, 12493.43),
    "relu3_2": (242.0060, 450.6143, 13248.86),
    "relu3_3": (152.0048, 431.9399, 11198.53),
}
TINY = {"width": 4, "blocks": 1, "residual": True}
SHORT = Options(steps=12, batch=2, draws=1, patch=32, warmup=2, lr=3e-3)


@pytest.fixture(scope="module")
def styles(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("styles")
    stripes = np.zeros((90, 120, 3), np.uint8)
    stripes[:, ::6] = (250, 40, 10)
    Image.fromarray(stripes).save(folder / "stripes.png")
    Image.fromarray(draw(100, 90, 5)[::-1]).save(folder / "blobs.png")
    return {path.stem: path for path in folder.iterdir()}


def ready(styles: dict[str, Path], **fields: object):
    task = build_task("style", fields)
    task.prepare(torch.nn.Identity(), styles, CPU)
    return task


def test_features_are_the_known_ones():
    """A wrong scaling or channel order would show in no other way."""
    picture = torch.from_numpy(read_rgb8(EXAMPLE).copy()).permute(2, 0, 1)[None] / 255
    network = Features()
    assert network.taps == list(KNOWN)
    with torch.inference_mode():
        found = network(picture, network.taps)
    for tap, (mean, deviation, most) in KNOWN.items():
        features = found[tap] * _CAFFE_UNIT
        assert features.mean().item() == pytest.approx(mean, rel=1e-4)
        assert features.std().item() == pytest.approx(deviation, rel=1e-4)
        assert features.max().item() == pytest.approx(most, rel=1e-4)


def test_gram_matrix_is_johnsons():
    features = torch.rand(2, 3, 4, 5)
    expected = torch.einsum("nchw,ndhw->ncd", features, features) / (3 * 4 * 5)
    torch.testing.assert_close(_gram(features), expected)
    # The same by convolution with the features themselves, as a check of the check.
    one = conv2d(features[:1], features[:1].transpose(0, 1).reshape(3, 1, 4, 5), groups=3)
    torch.testing.assert_close(one.flatten(), _gram(features)[0].diagonal() * 60)


def test_the_style_itself_has_no_style_loss_and_the_photo_no_other(styles):
    task = ready(styles, first="photo", second="stripes", variation=0)
    stripes = torch.from_numpy(read_rgb8(styles["stripes"]).copy()).permute(2, 0, 1)[None] / 255
    photo = torch.rand(1, 3, 90, 120)
    parts = task.scores(stripes, stripes, 1.0)
    assert parts["style stripes"] == pytest.approx(0, abs=1e-3)
    assert parts["content"] == 0
    assert task.scores(photo, photo, 1.0)["style stripes"] > 1
    assert task.loss("l1", photo, photo, 0.0) == 0
    assert task.loss("l1", stripes, photo, 0.0) > 1


def test_the_level_mixes_the_two_losses(styles):
    task = ready(styles, first="blobs", second="stripes")
    output, clean = torch.rand(1, 3, 48, 48), torch.rand(1, 3, 48, 48)
    first, middle, second = (task.loss("l1", output, clean, level) for level in (0.0, 0.25, 1.0))
    torch.testing.assert_close(middle, 0.75 * first + 0.25 * second)
    assert abs(first - second) > 1


def test_a_style_is_trained_and_tuned_towards_another(styles, photos: Path, tmp_path: Path):
    reports = []
    place = jobs.RunConfig(
        photos,
        tmp_path / "stripes.safetensors",
        style=styles["stripes"],
        device="cpu",
        precision="fp32",
        report=reports.append,
    )
    base = jobs.train(place, SHORT, "style", "transform-net", None, TINY)
    header, tensors = checkpoint.read(base)
    assert header.level == (1.0, 1.0)
    assert header.task.fields["second"] == "stripes"
    measured = [report.validation for report in reports if report.validation]
    assert measured[-1]["1 style stripes"] < measured[0]["1 style stripes"]
    tuned = jobs.RunConfig(
        photos,
        tmp_path / "tuned.safetensors",
        style=styles["blobs"],
        from_style=styles["stripes"],
        device="cpu",
        precision="fp32",
    )
    jobs.finetune(tuned, SHORT, base, "ftn", "path")
    header, after = checkpoint.read(tuned.output)
    assert (header.task.fields["first"], header.task.fields["second"]) == ("stripes", "blobs")
    assert header.knob.levels == (0.0, 1.0)
    assert all(torch.equal(tensor, after[name]) for name, tensor in tensors.items())


def test_from_the_photo_to_a_style_by_one_knob(styles, photos: Path, tmp_path: Path):
    where = {"style": styles["stripes"], "device": "cpu", "precision": "fp32"}
    place = jobs.RunConfig(photos, tmp_path / "knob.safetensors", **where)
    jobs.train(place, SHORT, "style", "transform-net", None, TINY, tuner="dni")
    header, _ = checkpoint.read(place.output)
    assert header.knob.levels == (0.0, 1.0)
    assert header.knob.way == "joint"
    assert not header.knob.calibration
    plain = jobs.RunConfig(photos, tmp_path / "photo.safetensors", device="cpu", precision="fp32")
    base = jobs.train(plain, SHORT, "style", "transform-net", None, TINY)
    assert checkpoint.read(base)[0].level == (0.0, 0.0)
    tuned = jobs.RunConfig(photos, tmp_path / "tuned.safetensors", **where)
    jobs.finetune(tuned, SHORT, base, "adafm", "endpoint")
    assert checkpoint.read(tuned.output)[0].task.fields["first"] == "photo"


def test_a_base_between_the_ends_of_a_knob_learned_the_end_on_its_side(styles):
    names = {"first": "blobs", "second": "waves"}
    task = build_task("style", {"first": "photo", "second": "stripes", "lower": "dots"})
    for level, first in ((0.7, "stripes"), (-1.0, "dots")):
        onward, _ = task.onward(level, None, {"second": "waves"})
        assert onward.fields.first == first
        assert task.onward(level, None, names)[0].fields.first == "blobs"  # its picture's name
        joined, _ = task.towards(level, build_task("style", {"second": "waves"}), 1.0)
        assert joined.fields.first == first
    with pytest.raises(UsageError, match="leaves photos as they are"):
        task.onward(0.0, None, names)


def test_two_ends_and_a_boost(styles, photos: Path, tmp_path: Path):
    task = ready(styles, first="blobs", second="stripes", lower="blobs", boost=3.0, variation=0)
    output, clean = torch.rand(1, 3, 48, 48), torch.rand(1, 3, 48, 48)
    parts = task.scores(output, clean, 1.0)
    expected = parts["content"] + 0.75 * parts["style blobs"] + 0.25 * 3 * parts["style stripes"]
    assert float(task.loss("l1", output, clean, 0.25)) == pytest.approx(expected, rel=1e-5)
    expected = parts["content"] + parts["style blobs"]
    assert float(task.loss("l1", output, clean, -0.25)) == pytest.approx(expected, rel=1e-5)

    where = {"device": "cpu", "precision": "fp32"}
    plain = jobs.RunConfig(photos, tmp_path / "photo.safetensors", **where)
    base = jobs.train(plain, SHORT, "style", "transform-net", None, TINY)
    dual = jobs.RunConfig(
        photos,
        tmp_path / "dual.safetensors",
        style=styles["stripes"],
        lower_style=styles["blobs"],
        **where,
    )
    jobs.finetune(dual, SHORT, base, "dynamic-net", "path", task_fields={"boost": 2.0})
    header, _ = checkpoint.read(dual.output)
    assert header.knob.knots == (-1.0, 0.0, 1.0)
    assert header.task.fields["lower"] == "blobs"
    assert header.task.fields["boost"] == 2.0
    model = load(dual.output, device="cpu")
    picture = torch.rand(3, 40, 40)
    outputs = [model(picture, alpha) for alpha in (-1, -0.5, 0, 1, (0.3, 0.5, 0))]
    assert all(not torch.equal(outputs[2], outputs[i]) for i in (0, 1, 3, 4))
    assert model.level(-0.5) == -0.5
    gray = Picture(draw(40, 40, 1)[..., :1], icc=b"of gray")
    unasked = restore(model, gray, Strength())
    assert (unasked.alpha, unasked.estimated) == (1.0, False)
    assert (unasked.picture.pixels.shape, unasked.picture.icc) == ((40, 40, 3), None)
    kept = restore(model, gray, Strength(1.0, keep_colours=True)).picture
    assert (kept.pixels.shape, kept.icc) == ((40, 40, 1), b"of gray")
    with pytest.raises(AlphaError, match=r"alpha -1.5 lies outside -1 to 1"):
        model(picture, -1.5)
    with pytest.raises(AlphaError, match="is not one alpha"):
        model(picture, (0.1, 0.2, 0.3), alpha_map=np.ones((40, 40)))
    with pytest.raises(UsageError, match="two ends need a knob"):
        jobs.train(dual, SHORT, "style", "transform-net", None, TINY)
    with pytest.raises(UsageError, match="nothing says what alpha -1 should be"):
        jobs.train(plain, SHORT, "denoise", "unet", [0, 50], tuner="dni", knots=(-1, 0, 1))


def test_colours_that_nobody_sees_are_no_style(tmp_path: Path):
    pixels = np.zeros((80, 80, 4), np.uint8)
    pixels[...] = 255, 0, 0, 0  # red, and transparent
    pixels[20:60, 20:60] = 0, 0, 255, 255
    Image.fromarray(pixels).save(tmp_path / "style.png")
    style = read_style(tmp_path / "style.png", 80)[0]
    assert style[2].min() == 1
    assert style[0].max() == 0


def test_styles_that_cannot_be(styles, photos: Path, tmp_path: Path):
    tiny = tmp_path / "tiny.png"
    Image.fromarray(draw(30, 90, 0)).save(tiny)
    with pytest.raises(UsageError, match=r"tiny.png: has 90 x 30 pixels, too few"):
        ready({"tiny": tiny}, second="tiny")
    with pytest.raises(UsageError, match="picture of style stripes is missing"):
        ready({}, second="stripes").loss("l1", *torch.rand(2, 1, 3, 32, 32), 1.0)
    with pytest.raises(UsageError, match="no perceptual network"):
        ready(styles, perceptual="vgg99")
    place = jobs.RunConfig(photos, tmp_path / "m.safetensors", style=styles["blobs"])
    with pytest.raises(UsageError, match="denoise knows no styles"):
        jobs.train(place, SHORT, "denoise", "unet", [15])
    named = jobs.RunConfig(photos, tmp_path / "m", style=tmp_path / "photo.jpg")
    with pytest.raises(UsageError, match="cannot be called photo"):
        jobs.train(named, SHORT, "style")
    twice = tmp_path / "twice" / "blobs.png"
    same = jobs.RunConfig(photos, tmp_path / "m", style=styles["blobs"], from_style=twice)
    with pytest.raises(UsageError, match="two styles have the same name"):
        jobs.train(same, SHORT, "style")
    plain = jobs.RunConfig(photos, tmp_path / "p.safetensors", device="cpu", precision="fp32")
    base = jobs.train(plain, SHORT, "style", "transform-net", None, TINY)
    with pytest.raises(UsageError, match="needs a picture of it"):
        jobs.finetune(plain, SHORT, base, "dni", "endpoint")
    styled = replace(plain, style=styles["blobs"], output=tmp_path / "t.safetensors")
    with pytest.raises(UsageError, match="a knob needs two levels"):
        jobs.finetune(styled, SHORT, base, "dni", "path", 0.0)
    with pytest.raises(UsageError, match="needs a level"):
        jobs.train(plain, SHORT, "denoise", "unet")
