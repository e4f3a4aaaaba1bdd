from __future__ import annotations

from pathlib import Path

import pytest
import torch
from conftest import draw
from PIL import Image

import tunectl
from tunectl.errors import UsageError
from tunectl.inference.load import load
from tunectl.learning import jobs
from tunectl.learning.options import Options
from tunectl.networks import build_network, statistics
from tunectl.tasks import build_task
from tunectl.tasks.features import SMALL, Features
from tunectl.tasks.style import read_style
from tunectl.tuners import Tunable, build_tuner

SHORT = Options(steps=30, batch=2, draws=1, patch=32, warmup=2, lr=2e-3)


@pytest.fixture(scope="module")
def paintings(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("paintings")
    for i in range(2):
        Image.fromarray(draw(80, 100, 20 + i)).save(folder / f"{i}.png")
    return folder


@pytest.fixture(scope="module")
def restyler(
    paintings: Path, photos: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, list[dict[str, float]]]:
    """A model, and what its training measured."""
    reports = []
    place = jobs.RunConfig(
        photos,
        tmp_path_factory.mktemp("restyle") / "m.safetensors",
        style=paintings,
        device="cpu",
        precision="fp32",
        report=reports.append,
    )
    jobs.train(place, SHORT, "restyle")
    return place.output, [report.validation for report in reports if report.validation]


def test_adain_net_is_the_papers_at_full_width():
    network = build_network("adain-net", {"width": 64, "levels": 1})
    assert sum(p.numel() for p in network.encoder.parameters()) == 3_505_728 + 12
    assert sum(p.numel() for p in network.decoder.parameters()) == 3_505_219


def test_the_encoder_computes_the_bundled_features():
    network, features = build_network("adain-net"), Features(SMALL)
    network.encoder.load_state_dict(features.convs.state_dict())
    x = torch.rand(1, 3, 40, 48)
    found = features(x, ["relu4_1"])["relu4_1"]
    torch.testing.assert_close(network.encode(x)["latent_0"], found, atol=1e-4, rtol=1e-4)


def test_alpha_1_gives_the_latent_the_styles_statistics():
    network = build_network("adain-net", {"levels": 1})
    tuner = build_tuner("adain", network)
    model = Tunable(network, tuner)
    mean, deviation = torch.rand(128), torch.rand(128) + 0.1
    tuner.set_style({"latent_0": (mean, deviation)})
    z = torch.rand(2, 128, 8, 9) * 3
    with torch.no_grad():
        styled, half, own = (model.fold(alpha).latent_0(z) for alpha in (1.0, 0.5, 0.0))
    for found, wanted in zip(statistics(styled), (mean, deviation), strict=True):
        torch.testing.assert_close(found, wanted.expand(2, -1), atol=1e-3, rtol=1e-3)
    assert torch.equal(own, z)
    torch.testing.assert_close(half, (styled + z) / 2)


def test_decoder_learns_and_encoder_stays(restyler):
    path, measured = restyler
    network = load(path, device="cpu", precision="fp32").network.network
    pretrained = Features(SMALL).convs.state_dict()
    own = network.encoder.state_dict()
    assert all(torch.equal(own[name], pretrained[name]) for name in pretrained)
    for name in ("0 pixels", "1 style"):
        assert measured[-1][name] < measured[0][name]


def test_styles_are_drawn_between_those_seen(paintings: Path):
    task = build_task("restyle")
    network = build_network("adain-net")
    model = Tunable(network, build_tuner("adain", network))
    task.prepare(model, {"paintings": paintings}, torch.device("cpu"))
    task.stage(model, 256, slice(256), torch.Generator().manual_seed(0))
    drawn = model.tuner.drawn["latent_0"][0]
    whole, _ = statistics(network.encode(read_style(min(paintings.iterdir()), 512))["latent_0"])
    assert drawn.shape == (256, 128)
    assert bool((drawn - whole).abs().amax(1).lt(1e-3).any())  # the whole first one is there
    assert len(torch.unique(drawn.round(decimals=3), dim=0)) > 100  # and more than the parts
    task.stage(model, 256, slice(50, 60), torch.Generator().manual_seed(0))
    assert torch.equal(model.tuner.drawn["latent_0"][0], drawn[50:60])  # whoever takes them


def test_any_pictures_style_is_taken_and_several_are_mixed(restyler, paintings: Path):
    first, second = sorted(paintings.iterdir())
    photo = torch.rand(3, 40, 48)

    def styled(pictures, shares=()):
        model = load(restyler[0], device="cpu", precision="fp32")
        model(photo, alpha=1.0)  # what was folded before must not stay
        tunectl.set_styles(model, pictures, shares)
        return model, model(photo, alpha=1.0)

    (_, one), (_, other) = styled([first]), styled([second])
    assert (one - other).abs().max() > 1e-3
    torch.testing.assert_close(styled([first, second], [3, 0])[1], one)
    model, _ = styled([first, second])
    mixed, alone = model.network.tuner.styles[0]["latent_1"], []
    for picture in (first, second):
        alone.append(styled([picture])[0].network.tuner.styles[0]["latent_1"]["scale"])
    torch.testing.assert_close(mixed["scale"], (alone[0] + alone[1]) / 2)
    assert mixed["amount"] == 1


def test_styles_that_cannot_be_taken(restyler, paintings: Path, tunable_file: Path):
    picture = sorted(paintings.iterdir())[0]
    with pytest.raises(UsageError, match="no style to choose"):
        tunectl.set_styles(load(tunable_file, device="cpu"), [str(picture)])
    model = load(restyler[0], device="cpu")
    for shares in ([1, 2], [-1], [0]):
        with pytest.raises(UsageError, match="do not fit"):
            tunectl.set_styles(model, [picture], shares)


def test_restyle_refuses_what_it_cannot_learn(paintings: Path, photos: Path, tmp_path: Path):
    place = jobs.RunConfig(photos, tmp_path / "m.safetensors", style=paintings, device="cpu")
    for fields in ({"tuner": "dni"}, {"network": "unet"}, {"network_fields": {"width": 8}}):
        with pytest.raises(UsageError):
            jobs.train(place, SHORT, "restyle", **fields)
    with pytest.raises(UsageError, match="learns from pictures"):
        jobs.train(jobs.RunConfig(photos, tmp_path / "m.safetensors"), SHORT, "restyle")
