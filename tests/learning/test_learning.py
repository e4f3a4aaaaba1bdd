from __future__ import annotations

import dataclasses
import itertools
import math
import os
import shutil
import signal
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import draw
from PIL import Image

from tunectl import checkpoint
from tunectl.errors import (
    CorruptError,
    DataError,
    DivergedError,
    IncompatibleError,
    PictureError,
    ResourceError,
    UsageError,
)
from tunectl.evaluation.cases import Pairs, pair_up
from tunectl.hashing import file_sha256, size_and_time
from tunectl.header import read_header
from tunectl.inference.load import load
from tunectl.knob import Knob
from tunectl.learning import jobs, loop, run, table
from tunectl.learning.calibration import calibrate
from tunectl.learning.curriculum import Curriculum
from tunectl.learning.options import Options
from tunectl.learning.photos import Photos, list_photos
from tunectl.learning.processes import Processes
from tunectl.learning.state import RunFolder
from tunectl.learning.stepper import Report
from tunectl.learning.table import decode
from tunectl.networks import build_network
from tunectl.seeds import seeded
from tunectl.tasks import build_task
from tunectl.tasks.denoise import Denoise

CPU = torch.device("cpu")
TINY = {"width": 4, "blocks": 1}


def place(photos: Path, output: Path, **others: object) -> jobs.RunConfig:
    return jobs.RunConfig(photos, output, device="cpu", precision="fp32", **others)


def train(where: jobs.RunConfig, options: Options, **others: object) -> dict[str, torch.Tensor]:
    jobs.train(where, options, "denoise", "adafm-net", [15], TINY, **others)
    return checkpoint.read(where.output)[1]


def test_training_lowers_the_loss(photos: Path, tmp_path: Path):
    reports: list[Report] = []
    where = place(photos, tmp_path / "m.safetensors", report=reports.append)
    train(where, Options(steps=60, batch=4, draws=1, patch=32, lr=5e-3, warmup=5))
    measured = [report.validation["15"] for report in reports if report.validation]
    assert len(measured) >= loop.VALIDATIONS
    assert measured[-1] > measured[0] + 1.5


def test_the_same_seed_gives_the_same_weights(photos: Path, tmp_path: Path, options: Options):
    a, b, c = (
        train(place(photos, tmp_path / f"{i}.safetensors"), dataclasses.replace(options, seed=seed))
        for i, seed in enumerate([7, 7, 8])
    )
    assert all(torch.equal(a[name], b[name]) for name in a)
    assert not all(torch.equal(a[name], c[name]) for name in a)


@pytest.mark.skipif(os.name != "posix", reason="signals")
@pytest.mark.parametrize("number", ["SIGINT", "SIGTERM", "SIGHUP"])
def test_an_interrupted_run_resumes_to_the_same_weights(
    photos: Path, tmp_path: Path, options: Options, number: str
):
    undisturbed = train(place(photos, tmp_path / "a.safetensors"), options)
    output = tmp_path / "b.safetensors"

    def interrupt(report: Report) -> None:
        if report.step >= 9:
            os.kill(os.getpid(), getattr(signal, number))

    with pytest.raises(KeyboardInterrupt):
        train(place(photos, output, report=interrupt), options)
    assert not output.exists()
    with pytest.raises(UsageError, match=r"was begun with lr 0\.002, not 0\.0001"):
        train(place(photos, output), dataclasses.replace(options, lr=1e-4))
    resumed = train(place(photos, output), options)
    assert all(torch.equal(undisturbed[name], resumed[name]) for name in undisturbed)


@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
def test_a_run_in_parts_is_the_run_in_one(
    photos: Path, tmp_path: Path, options: Options, optimizer: str
):
    options = dataclasses.replace(options, optimizer=optimizer)
    whole, parts = place(photos, tmp_path / "a.safetensors"), tmp_path / "b.safetensors"
    undisturbed = train(whole, options)
    for stop in (3, 3, 7, 19):  # the second is reached already
        said: list[str] = []
        jobs.train(
            place(photos, parts, stop_after=stop, say=said.append),
            *(options, "denoise", "adafm-net", [15], TINY),
        )
        assert said[-1].startswith(f"stopped after step {stop}; the same command without")
        assert not parts.exists()
    again = train(place(photos, parts), options)
    assert all(torch.equal(undisturbed[name], again[name]) for name in undisturbed)
    logs = [RunFolder(path).records() for path in (whole.output, parts)]
    for one, other in zip(*logs, strict=True):
        for name in ("step", "share", "loss", "lr", "validation"):
            assert one[name] == other[name]
    previews = [
        sorted(p.name for p in RunFolder(o).previews.iterdir()) for o in (whole.output, parts)
    ]
    assert previews[0] == previews[1]


def test_what_others_leave_in_a_runs_folder_stays(photos: Path, tmp_path: Path, options: Options):
    output, options = tmp_path / "m.safetensors", dataclasses.replace(options, steps=4)
    train_until = place(photos, output, stop_after=2)
    jobs.train(train_until, options, "denoise", "adafm-net", [15], TINY)
    folder = RunFolder(output)
    theirs = [folder.previews / name for name in ("best.png", "._00000000.png")]
    for path in theirs:
        path.write_bytes(b"not ours")
    with folder.log_path.open("ab") as log:
        log.write(b'\xff\xfe\n{"a": 1}\n[1]\n')
    train(dataclasses.replace(train_until, stop_after=None), options)
    assert all(path.exists() for path in theirs)
    assert (folder.path / "report.html").exists()


def test_a_finished_run_is_left_as_it_is(photos: Path, tmp_path: Path, options: Options):
    output, said = tmp_path / "m.safetensors", []
    where = place(photos, output, say=said.append)
    train(where, options)
    before = output.stat()
    train(where, options)
    assert "finished already; --fresh" in said[-1]
    train(dataclasses.replace(where, card="another"), options)
    assert "finished already, and keeps its card; --fresh" in said[-1]
    assert output.stat() == before
    with pytest.raises(UsageError, match="was trained with seed 0, not 1"):
        train(where, dataclasses.replace(options, seed=1))
    with pytest.raises(UsageError, match="was trained with network"):
        jobs.train(where, options, "denoise", "unet", [15])
    fresh = dataclasses.replace(where, fresh=True)
    cut = dataclasses.replace(options, seed=1)
    stopped = jobs.train(
        dataclasses.replace(fresh, stop_after=3), cut, "denoise", "adafm-net", [15], TINY
    )
    assert stopped is None
    assert read_header(output).provenance["seed"] == 0
    with pytest.raises(DataError):  # before anything of the stopped run is gone
        train(fresh, dataclasses.replace(options, seed=2, patch=4096))
    assert RunFolder(output).states()
    train(fresh, cut)
    assert read_header(output).provenance["seed"] == 1
    shutil.rmtree(tmp_path / "m.safetensors.run")
    with pytest.raises(UsageError, match="is there already"):
        train(where, options)
    assert read_header(output).provenance["seed"] == 1


def test_a_torn_state_and_log_are_passed_over(photos: Path, tmp_path: Path, options: Options):
    undisturbed = train(place(photos, tmp_path / "a.safetensors"), options)
    output = tmp_path / "b.safetensors"
    for stop in (6, 12):
        jobs.train(
            place(photos, output, stop_after=stop),
            *(options, "denoise", "adafm-net", [15], TINY),
        )
    folder = RunFolder(output)
    assert [path.name for path in folder.states()] == [
        "state-00000006.safetensors",
        "state-00000012.safetensors",
    ]
    newest = folder.states()[-1]
    newest.write_bytes(newest.read_bytes()[:-100])
    with open(folder.log_path, "a") as log:
        log.write('{"step": 13, "lo')
    again = train(place(photos, output), options)
    assert all(torch.equal(undisturbed[name], again[name]) for name in undisturbed)
    assert [r["step"] for r in folder.records()] == sorted({r["step"] for r in folder.records()})


def test_states_of_which_none_can_be_read_are_not_begun_over(
    photos: Path, tmp_path: Path, options: Options
):
    where = place(photos, tmp_path / "m.safetensors", stop_after=6)
    jobs.train(where, options, "denoise", "adafm-net", [15], TINY)
    folder = RunFolder(where.output)
    (state,) = folder.states()
    whole, log = state.read_bytes(), folder.log_path.read_bytes()
    state.write_bytes(whole[:-100])
    with pytest.raises(CorruptError, match="cannot be read"):
        jobs.train(where, options, "denoise", "adafm-net", [15], TINY)
    assert folder.log_path.read_bytes() == log
    state.write_bytes(whole)
    later = folder.path / "state-00000012.safetensors"
    later.write_bytes(whole[:-100])
    again = dataclasses.replace(where, stop_after=9)
    jobs.train(again, options, "denoise", "adafm-net", [15], TINY)
    assert [folder.step_of(path) for path in folder.states()] == [6, 9]  # not the torn one


@pytest.mark.parametrize("micro", [1, 2])
def test_micro_batches_change_only_the_order_of_sums(
    photos: Path, tmp_path: Path, options: Options, micro: int
):
    options = dataclasses.replace(options, batch=6, draws=2, steps=4)
    whole = train(place(photos, tmp_path / "a.safetensors"), options)
    parts = train(
        place(photos, tmp_path / "b.safetensors"), dataclasses.replace(options, micro=micro)
    )
    for name, tensor in whole.items():
        torch.testing.assert_close(parts[name], tensor, atol=1e-5, rtol=1e-4)


@pytest.mark.skipif(not shutil.which("c++"), reason="no C++ compiler")
@pytest.mark.parametrize("tuner", [None, "ftn"])
def test_compiled_steps_change_only_roundings(
    photos: Path, tmp_path: Path, options: Options, tuner: str | None
):
    options = dataclasses.replace(options, steps=4)
    levels, found = [0, 50] if tuner else [15], []
    for compiled in (False, True):
        where = place(photos, tmp_path / f"{compiled}.safetensors", compile=compiled)
        jobs.train(where, options, "denoise", "adafm-net", levels, TINY, tuner=tuner)
        found.append(checkpoint.read(where.output)[1])
    assert found[0].keys() == found[1].keys()
    for name, tensor in found[0].items():
        torch.testing.assert_close(found[1][name], tensor, atol=1e-5, rtol=1e-4)


def test_what_cannot_be_compiled_is_said(
    photos: Path, tmp_path: Path, options: Options, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("torch._inductor.config.cpp.cxx", (None, "/nowhere/c++"))
    monkeypatch.setenv("PATH", "")
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))
    torch.compiler.reset()
    where = place(photos, tmp_path / "m.safetensors", compile=True)
    with pytest.raises(ResourceError, match=r"compiled here: .*No working C") as told:
        train(where, options)
    assert "leave out --compile" in told.value.hint
    assert not where.output.exists()


def test_pieces_cover_a_step_whoever_takes_them():
    for batch, draws, micro, count in [
        (8, 2, None, 1),
        (8, 2, 3, 1),
        (6, 2, None, 5),
        (7, 1, 2, 3),
    ]:
        options = Options(steps=1, batch=batch, draws=draws, micro=micro)
        pieces = options.pieces(count)
        seen = [(draw, i) for draw, chosen in pieces for i in range(chosen.start, chosen.stop)]
        assert seen == [(d, i) for d in range(draws) for i in range(batch // draws)]
        assert max(chosen.stop - chosen.start for _, chosen in pieces) <= (micro or batch)
        shares = [Processes(rank, count, CPU).part(pieces) for rank in range(count)]
        assert all(shares)
        assert [piece for share in shares for piece in share] == pieces
    with pytest.raises(UsageError, match="cannot be shared among 3"):
        Options(steps=1, batch=2).pieces(3)


@pytest.mark.parametrize(
    ("kind", "steps"), [("charbonnier", "121"), ("mse", "12[3-9]")]
)  # a squared error has to grow a hundredfold
def test_a_loss_that_explodes_stops_the_run(
    photos: Path, tmp_path: Path, options: Options, monkeypatch: pytest.MonkeyPatch, kind, steps
):
    honest, seen = Denoise.loss, itertools.count()
    monkeypatch.setattr(
        Denoise, "loss", lambda *given: honest(*given) * (1 if next(seen) < 120 else 1000)
    )
    output = tmp_path / "m.safetensors"
    options = dataclasses.replace(options, steps=500, batch=1, draws=1, patch=16, loss=kind)
    with pytest.raises(DivergedError, match=f"step {steps}: the error is 10 times what it was"):
        train(place(photos, output), options)
    assert not output.exists()


def test_photos_can_be_listed_and_kept_decoded(
    photos: Path, tmp_path: Path, options: Options, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    found = list_photos(photos)
    listing = photos / "list.txt"
    lines = [str(found[0]), "", *(p.relative_to(photos).as_posix() for p in found[1:])]
    listing.write_text("\n".join(lines))
    try:
        assert [path.resolve() for path in list_photos(listing)] == found
        plain = train(place(photos, tmp_path / "a.safetensors"), options)
        for name in "bc":  # filled, then only mapped
            kept = train(place(listing, tmp_path / f"{name}.safetensors", cache=True), options)
            assert all(torch.equal(plain[key], kept[key]) for key in plain)
        assert len(list((tmp_path / "cache").rglob("*.u8"))) == 1
        next((tmp_path / "cache").rglob("*.u8")).unlink()  # by somebody who cleans up
        again = train(place(listing, tmp_path / "d.safetensors", cache=True), options)
        assert all(torch.equal(plain[key], again[key]) for key in plain)
        listing.write_text("nowhere.png")
        with pytest.raises(DataError, match=r"nowhere\.png, which is not there"):
            list_photos(listing)
    finally:
        listing.unlink()


def test_pairs_teach_a_knob_their_difference(photos: Path, tmp_path: Path, options: Options):
    clean, dark, output = tmp_path / "clean", tmp_path / "dark", tmp_path / "m.safetensors"
    clean.mkdir()
    dark.mkdir()
    for path in list_photos(photos):
        Image.open(path).save(clean / path.name)
        Image.open(path).point(lambda value: value // 2).save(dark / f"{path.stem}_dark.png")
    where = place(clean, output, noisy=dark, pairs=("", "_dark"))
    with pytest.raises(UsageError, match="denoise makes its own inputs"):
        train(where, options)
    with pytest.raises(UsageError, match="pairs needs the photos' other halves"):
        jobs.train(place(clean, output), options, "pairs", "adafm-net", None, TINY)
    wrong = dataclasses.replace(where, pairs=("", ""))
    with pytest.raises(DataError, match="no other half"):
        jobs.train(wrong, options, "pairs", "adafm-net", None, TINY)
    other = tmp_path / "others"
    shutil.copytree(clean, other)
    for path in list_photos(other):  # other photos that are called alike
        Image.open(path).rotate(180).save(path)
    with pytest.raises(DataError, match="would be the other half of"):
        jobs.train(
            dataclasses.replace(where, validation=other),
            *(options, "pairs", "adafm-net", None, TINY),
        )
    longer = dataclasses.replace(options, steps=150, lr=5e-3)
    jobs.train(where, longer, "pairs", "adafm-net", None, TINY, tuner="dni")
    model = load(output, device="cpu", precision="fp32")
    gray = torch.full((1, 3, 32, 32), 0.25)
    means = [model(gray, alpha=alpha).mean().item() for alpha in (0.0, 0.5, 1.0)]
    assert means[0] == pytest.approx(0.25, abs=0.1)
    assert means[0] + 0.02 < means[1] < means[2] - 0.02


def test_a_run_in_minutes_ends_on_time(photos: Path, tmp_path: Path):
    reports = []
    where = place(photos, tmp_path / "m.safetensors", report=reports.append)
    train(where, Options(minutes=0.05, batch=2, draws=1, patch=24))
    assert 3 <= reports[-1].seconds < 30
    assert reports[-1].share == 1


def test_a_gradient_that_is_not_a_number_stops_before_the_weights(
    photos: Path, tmp_path: Path, options: Options, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(Denoise, "loss", lambda _task, _kind, output, *_: output.sum() * math.nan)
    output = tmp_path / "m.safetensors"
    with pytest.raises(DivergedError, match="step 1"):
        train(place(photos, output), options)
    assert not output.exists()


def test_joint_training_moves_base_and_tuner_and_calibrates(tunable_file: Path):
    header, tensors = checkpoint.read(tunable_file)
    assert header.knob is not None
    assert header.knob.way == "joint"
    alphas, levels = zip(*header.knob.calibration, strict=True)
    assert list(alphas) == sorted(alphas)
    assert list(levels) == sorted(levels)
    assert len(set(alphas)) > 1
    assert any(t.abs().sum() > 0 for name, t in tensors.items() if name.startswith("tuner."))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        born = build_network(header.network.name, header.network.fields).state_dict()
    assert all(not torch.equal(tensors[f"network.{name}"], born[name]) for name in born)
    facts = header.provenance
    assert facts["options"]["steps"] == 20
    assert facts["precision"] == "float32"
    assert facts["steps"] == 20
    assert facts["data"]["photos"] == 5
    assert facts["parent"] is None


def test_finetuning_names_its_parent(photos: Path, tmp_path: Path, plain_file: Path, options):
    output = tmp_path / "t.safetensors"
    jobs.finetune(place(photos, output), options, plain_file, "adafm", "endpoint", 40)
    header = read_header(output)
    assert header.provenance["parent"] == file_sha256(plain_file)
    assert header.knob is not None
    assert header.knob.levels == (15.0, 40.0)
    base, tensors = checkpoint.read(plain_file)
    owned = tmp_path / "owned.safetensors"
    checkpoint.write(owned, dataclasses.replace(base, licence="CC-BY-4.0"), tensors)
    jobs.finetune(place(photos, tmp_path / "u.safetensors"), options, owned, "dni", "endpoint", 40)
    assert read_header(tmp_path / "u.safetensors").licence == "CC-BY-4.0"


def test_finetuning_refuses_what_it_cannot_start_from(
    photos: Path, tmp_path: Path, plain_file: Path, tunable_file: Path, options: Options
):
    where = place(photos, tmp_path / "t.safetensors")
    with pytest.raises(IncompatibleError, match="not a plain model"):
        jobs.finetune(where, options, tunable_file, "ftn", "path", 50)
    with pytest.raises(UsageError, match="a knob needs two levels, and sigma 15 is one"):
        jobs.finetune(where, options, plain_file, "ftn", "path", 15)
    with pytest.raises(UsageError, match="sigma 15 is stronger than 5, and alpha 0 is the gentle"):
        jobs.finetune(where, options, plain_file, "ftn", "path", 5)
    with pytest.raises(UsageError, match="way"):
        jobs.finetune(where, options, plain_file, "ftn", "joint", 50)
    with pytest.raises(UsageError, match="never sees a knot between"):
        jobs.finetune(where, options, plain_file, "ftn", "endpoint", 50, knots=(0.0, 0.5, 1.0))
    with pytest.raises(UsageError, match="need one"):
        train(where, options, tuner_fields={"groups": "4"})


def test_deblock_trains_too(photos: Path, tmp_path: Path, options: Options):
    where = place(photos, tmp_path / "m.safetensors")
    jobs.train(where, options, "deblock", "adafm-net", [95, 10], TINY, tuner="ftn")
    model = load(where.output, device="cpu")
    assert model.level(0.0) > model.level(1.0)
    assert model(torch.rand(1, 1, 20, 20), level=40).shape == (1, 1, 20, 20)


def test_the_curriculum_covers_the_range_evenly():
    draws = [Curriculum("joint", (0.0, 75.0), power=2.0)(i) for i in range(200)]
    for alpha, level in draws:
        assert 0 < alpha <= 1
        assert level == pytest.approx(75 * alpha**2)
    for low in range(0, 75, 5):  # every fifteenth part has its share of 200 draws
        assert 11 <= sum(low < level <= low + 5 for _, level in draws) <= 16
    assert Curriculum("endpoint", (15.0, 50.0))(3) == (1.0, 50.0)
    steep = [Curriculum("path", (0.0, 50.0), power=0.01)(i)[0] for i in range(2000)]
    assert min(steep) > 0  # at 0 a frozen base has nothing to learn
    assert Curriculum(None, (15.0, 15.0))(3) == (None, 15.0)
    for seed in (2**32, 2**53 + 1, 2**63 - 1):
        large = Curriculum("joint", (0.0, 75.0), seed=seed)
        assert len({large(i)[1] for i in range(200)}) == 200


def test_patches_are_what_the_photos_hold(photos: Path):
    source = Photos(decode(list_photos(photos)), 32, CPU)
    clean, gray = source.patches(64, 0.5, seeded(CPU, "patches"))
    assert clean.shape == (64, 3, 32, 32)
    assert 0 <= clean.min() <= clean.max() <= 1
    assert 16 < gray.sum() < 48
    spread = clean.amax(1) - clean.amin(1)
    assert (spread[gray] < 1e-6).all()
    assert (spread[~gray].amax((1, 2)) > 0.01).all()
    again, _ = source.patches(64, 0.5, seeded(CPU, "patches"))
    assert torch.equal(clean, again)


def test_patches_keep_their_pixels_together(tmp_path: Path):
    """A ramp's neighbours differ by one step along one axis, however it is flipped or turned."""
    ramp = torch.arange(64, dtype=torch.uint8).expand(48, 64)
    Image.fromarray(ramp.numpy()).save(tmp_path / "ramp.png")
    clean, _ = Photos(decode([tmp_path / "ramp.png"]), 16, CPU).patches(32, 0.0, seeded(CPU, 0))
    values = clean[:, 0] * 255
    across, down = values.diff(dim=2).abs().round(), values.diff(dim=1).abs().round()
    sideways = (across == 1).all((1, 2)) & (down == 0).all((1, 2))
    turned = (down == 1).all((1, 2)) & (across == 0).all((1, 2))
    assert (sideways | turned).all()
    assert sideways.any()
    assert turned.any()


def test_small_and_broken_photos_are_left_out_by_name(tmp_path: Path):
    Image.new("RGB", (64, 64)).save(tmp_path / "good.png")
    Image.new("RGB", (20, 64)).save(tmp_path / "small.png")
    (tmp_path / "broken.png").write_bytes((tmp_path / "good.png").read_bytes()[:60])
    (tmp_path / "gone.png").symlink_to(tmp_path / "nowhere")
    assert size_and_time(tmp_path / "gone.png") == (0, 0)
    table = decode(list_photos(tmp_path))
    photos = Photos(table, 32, CPU)
    assert photos.count == 1
    assert [Path(line.split(": ")[0]).name for line in photos.left_out] == [
        "broken.png",
        "gone.png",
        "small.png",
    ]
    with pytest.raises(DataError, match="at least 128x128"):
        Photos(table, 128, CPU)
    assert [p.name for p in list_photos(tmp_path, ["s*", "broken*", "gone*"])] == ["good.png"]
    with pytest.raises(DataError, match="no photos"):
        list_photos(tmp_path, ["*"])


def test_what_could_not_be_read_once_is_tried_again(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    found, honest = list_photos(photos), table.read_source

    def refuses(source: Path):
        if source == found[2]:
            raise PictureError(f"{source}: Permission denied")
        return honest(source)

    monkeypatch.setattr(table, "read_source", refuses)
    assert len(decode(found, cached=True).names) == len(found) - 1
    assert len(decode(found, cached=True).skipped) == 1
    monkeypatch.setattr(table, "read_source", honest)
    assert len(decode(found, cached=True).names) == len(found)


def test_a_run_does_not_go_on_with_fewer_photos(
    photos: Path, tmp_path: Path, options: Options, monkeypatch: pytest.MonkeyPatch
):
    where, honest = place(photos, tmp_path / "m.safetensors", stop_after=3), table.read_source

    def refuses(source: Path):
        if source.name == "photo2.png":
            raise PictureError(f"{source}: Permission denied")
        return honest(source)

    jobs.train(where, options, "denoise", "adafm-net", [15], TINY)
    monkeypatch.setattr(table, "read_source", refuses)
    with pytest.raises(UsageError, match="begun with 5 photos, of which now 4 can be read"):
        jobs.train(where, options, "denoise", "adafm-net", [15], TINY)
    monkeypatch.setattr(table, "read_source", honest)
    train(dataclasses.replace(where, stop_after=None), options)


def test_photos_to_validate_on_are_not_learned_from_whatever_they_are_called(
    photos: Path, tmp_path: Path, options: Options, monkeypatch: pytest.MonkeyPatch
):
    said: list[str] = []
    monkeypatch.chdir(photos)
    train(
        place(photos, tmp_path / "m.safetensors", validation=Path("more"), say=said.append), options
    )
    assert said[0].startswith("3 photos")


@pytest.mark.parametrize(("way", "best"), [("joint", 1), ("joint", 0.6), ("endpoint", 1)])
def test_calibration_finds_the_best_alpha_and_is_monotone(way, best):
    """Restoring with the oracle's shrinkage: best where alpha says the true noise level, or at a
    share of that, which lies far from the schedule."""
    knob = Knob((0.0, 50.0), way=way)
    pictures = [torch.full((3, 64, 64), 128, dtype=torch.uint8)]
    generator = torch.Generator().manual_seed(0)
    signal = torch.randn(1, 3, 64, 64, generator=generator) * 20
    pictures = [(128 + signal[0]).round().clamp(0, 255).to(torch.uint8)]

    def shrink(noisy: torch.Tensor, alpha: float) -> torch.Tensor:
        mean = 128 / 255
        return mean + (noisy - mean) * 20**2 / (20**2 + (50 * alpha / best) ** 2)

    pairs = calibrate(shrink, knob, pictures, build_task("denoise"))
    for alpha, level in pairs[1:]:
        assert alpha == pytest.approx(best * level / 50, abs=0.04)
    calibrated = dataclasses.replace(knob, calibration=pairs)
    for level in (0.0, 10.0, 33.0, 50.0):
        assert calibrated.level(calibrated.alpha(level)) == pytest.approx(level, abs=0.6)


@pytest.mark.parametrize(
    "wrong",
    [
        {"steps": None},
        {"minutes": 5},
        {"steps": 0},
        {"batch": 3, "draws": 2},
        {"optimizer": "sgd"},
        {"loss": "l3"},
        {"lr": 0},
        {"ema": 1.0},
    ],
)
def test_options_that_cannot_be_meant(wrong):
    with pytest.raises(UsageError):
        Options(**({"steps": 10} | wrong))


def test_flat_patches_are_of_one_colour_and_not_degraded():
    clean, noisy = torch.rand(200, 3, 8, 8), torch.rand(200, 3, 8, 8)
    kept = clean.clone(), noisy.clone()
    gray = torch.arange(200) < 100
    loop._flatten(clean, noisy, gray, 0.3, torch.Generator().manual_seed(0))
    flat = (clean == clean[:, :, :1, :1]).flatten(1).all(1)
    assert 40 < flat.sum() < 80
    assert torch.equal(clean[flat], noisy[flat])
    assert 0.2 < (clean[flat] == 1).flatten(1).all(1).float().mean() < 0.5
    assert torch.equal(clean[gray & flat][:, :1].expand(-1, 3, -1, -1), clean[gray & flat])
    assert (clean[~gray & flat].std(1) > 0).any()
    assert torch.equal(clean[~flat], kept[0][~flat])
    assert torch.equal(noisy[~flat], kept[1][~flat])


def test_previews_show_input_and_every_level(photos: Path, tmp_path: Path, options: Options):
    where = place(photos, tmp_path / "m.safetensors", toml='lr = "shown"')
    jobs.train(where, options, "denoise", "adafm-net", [0, 40], TINY, tuner="dni")
    folder = tmp_path / "m.safetensors.run"
    shown = sorted((folder / "previews").iterdir())
    assert len(shown) == 1 + loop.VALIDATIONS  # the first before the first step
    log = RunFolder(where.output).records()
    page = (folder / "report.html").read_text()
    assert page.count("<svg") == 3
    assert page.count("data:image/webp") == 12 + 3  # a sweep with its input, and three sheets
    assert "lr = &quot;shown&quot;" in page
    assert log[0]["step"] == 0
    assert log[0]["loss"] is None
    assert log[0]["validation"].keys() == log[-1]["validation"].keys()
    with Image.open(shown[-1]) as picture:
        assert picture.width > 6 * 100
        assert picture.height > 1 * 60


def test_pairs_are_laid_as_a_viewer_turns_them(tmp_path: Path):
    shown = draw(40, 60, 0)
    Image.fromarray(shown).save(tmp_path / "a.png")
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(np.rot90(shown)).save(tmp_path / "b.png", exif=exif)
    both = table.read_source((tmp_path / "a.png", tmp_path / "b.png"))
    assert np.array_equal(both, np.concatenate([shown, shown], 2))
    (case,) = Pairs(tmp_path, tmp_path, ("a", "b")).at(None)
    assert torch.equal(case.clean, case.noisy)


def test_both_halves_of_pairs_may_lie_in_one_folder(tmp_path: Path):
    for name in ("0.png", "0_noisy.png", "1.png", "1_noisy.png"):
        Image.fromarray(draw(40, 60, 0)).save(tmp_path / name)
    found = pair_up(list_photos(tmp_path), tmp_path, tmp_path, ("", "_noisy"))
    assert [(one.name, other.name) for one, other in found] == [
        ("0.png", "0_noisy.png"),
        ("1.png", "1_noisy.png"),
    ]


def test_one_process_at_a_time_trains_a_model(photos: Path, tmp_path: Path, options: Options):
    output = tmp_path / "m.safetensors"
    other = RunFolder(output)
    other.begin({"a": 1})
    with pytest.raises(UsageError, match="another process is training there"):
        train(place(photos, output, fresh=True), options)
    other.release()
    train(place(photos, output, fresh=True), options)
    assert output.exists()


def test_a_copy_of_a_state_is_the_users(tmp_path: Path):
    folder = RunFolder(tmp_path / "m.safetensors")
    folder.begin({"a": 1})
    folder.release()
    (folder.path / "state-best.safetensors").write_bytes(b"mine")
    for step in range(4):
        folder.save(step, {"step": step}, {"x": torch.zeros(1)})
    assert [folder.step_of(state) for state in folder.states()] == [2, 3]
    assert (folder.path / "state-best.safetensors").exists()


def test_what_cannot_teach_or_judge_is_refused(photos: Path, tmp_path: Path, options: Options):
    output = tmp_path / "m.safetensors"
    with pytest.raises(UsageError, match="holds every photo of --data"):
        train(place(photos, output, validation=photos), options)
    with pytest.raises(UsageError, match="quality 10 is stronger than 90"):
        jobs.train(place(photos, output), options, "deblock", "unet", [10, 90], tuner="dni")
    deep = tmp_path / "deep"
    deep.mkdir()
    Image.fromarray(np.zeros((40, 40), np.uint16)).save(deep / "a.png")
    with pytest.raises(DataError, match="has 16 bits a sample"):
        train(place(deep, output), options)
    with pytest.raises(UsageError, match="no pattern"):
        train(place(photos, output, exclude=("",)), options)


def test_a_model_of_gray_is_judged_in_gray(photos: Path, tmp_path: Path, options: Options):
    said: list[str] = []
    seen: list[torch.Tensor] = []

    class Looking(run.Validation):
        def __init__(self, *words: object) -> None:
            seen.extend(words[4])
            super().__init__(*words)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(run, "Validation", Looking)
        gray = dataclasses.replace(options, gray=1.0)
        train(place(photos, tmp_path / "m.safetensors", say=said.append), gray)
    assert seen
    assert all(len(crop) == 1 for crop in seen)  # three planes would get coloured noise
