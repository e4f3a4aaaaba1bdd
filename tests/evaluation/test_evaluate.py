from __future__ import annotations

import csv
import json
import sys
import xml.etree.ElementTree as ET
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import draw
from PIL import Image
from strangers import drunet, saved

from tunectl import checkpoint
from tunectl.errors import (
    AlphaError,
    CorruptError,
    DataError,
    ForeignError,
    PictureError,
    TunectlError,
    UsageError,
)
from tunectl.evaluation import cases as evaluation_cases
from tunectl.evaluation import run as evaluation_run
from tunectl.evaluation.cases import Degraded, Pairs
from tunectl.evaluation.chart import Curve, draw_chart, ticks
from tunectl.evaluation.metrics import psnr
from tunectl.evaluation.rivals import load_rival
from tunectl.evaluation.run import Pictures, evaluate
from tunectl.evaluation.subjects import highest, subject
from tunectl.evaluation.table import measure
from tunectl.hashing import file_sha256
from tunectl.header import Part
from tunectl.images import Picture, read_picture
from tunectl.inference.load import load
from tunectl.inference.restore import restore
from tunectl.inference.strength import Strength
from tunectl.tasks import build_task

CPU = torch.device("cpu")
ADAPTER = """
def load(path):
    gain = float(path.read_text())
    return lambda picture, level: (picture[:1] * gain).clamp(0, 1) if level else [][0]
"""


NEIGHBOUR = """
from __future__ import annotations
from dataclasses import dataclass
import beside

@dataclass
class Gain:
    by: float

    def __call__(self, picture, level):
        return picture * self.by * beside.SCALE

def load(path):
    return Gain(float(str(path)))
"""


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four pictures with noise of sigma 25 beside them, in one folder."""
    folder = tmp_path_factory.mktemp("pairs")
    for i in range(4):
        clean = draw(40 + i, 48, i)
        noise = np.random.default_rng(i).normal(0, 25, clean.shape)
        noisy = (clean + noise).round().clip(0, 255).astype(np.uint8)
        Image.fromarray(clean).save(folder / f"{i}_mean.png")
        Image.fromarray(noisy).save(folder / f"{i}_real.png")
    return folder


def test_noise_is_the_same_each_time_and_differs_by_picture_and_level(photos: Path):
    cases = Degraded(photos, build_task("denoise"), [25, 50], limit=2)
    once, again, strong = (list(cases.at(level)) for level in (25, 25, 50))
    assert [case.name for case in once] == ["more/photo1.png", "more/photo3.png"]
    for a, b, c in zip(once, again, strong, strict=True):
        assert torch.equal(a.noisy, b.noisy)
        assert a.seed == b.seed != c.seed
        error = (a.noisy - a.clean) * 255
        assert float(error.std()) == pytest.approx(25, rel=0.05)
        assert not torch.allclose(error * 2, (c.noisy - c.clean) * 255)
    assert once[0].seed != once[1].seed


def test_no_one_does_better_than_the_oracle(tunable_file: Path, photos: Path):
    model = load(tunable_file, device="cpu", precision="fp32")
    cases = Degraded(photos, build_task("denoise"), [25], limit=3)
    rows = {
        setting: measure(subject("m", model, setting), cases)
        for setting in ("calibrated", "auto", "oracle", "oracle-each", "0", "1")
    }
    means = {setting: row.psnr("25") for setting, row in rows.items()}
    assert means["oracle-each"] >= means["oracle"] - 1e-3
    assert means["oracle"] >= max(means[s] for s in ("calibrated", "0", "1")) - 1e-3
    alphas = {setting: [result.alpha for result in row.results] for setting, row in rows.items()}
    assert alphas["calibrated"] == [model.alpha(25)] * 3
    assert len(set(alphas["oracle"])) == 1
    cases.over_luma = True  # then it is the luma that the oracle makes the best of
    by_luma = {s: measure(subject("m", model, s), cases).psnr("25") for s in ("oracle", "0", "1")}
    assert by_luma["oracle"] >= max(by_luma["0"], by_luma["1"]) - 1e-3
    assert by_luma["oracle"] > means["oracle"]
    noisy = next(cases.at(25)).noisy[0].permute(1, 2, 0).numpy()
    assert alphas["auto"][0] == model.alpha(model.estimate(noisy))


def test_the_best_for_a_pair_does_not_depend_on_what_is_told_of_it(tunable_file: Path, pairs: Path):
    model = load(tunable_file, device="cpu", precision="fp32")
    cases = Pairs(pairs, pairs, ("_mean", "_real"), [0, 50])
    for setting in ("oracle", "oracle-each"):
        row = measure(subject("m", model, setting), cases)
        assert row.psnr("0") == row.psnr("50")


def test_the_maximum_is_found():
    assert highest(lambda x: -((x - 0.37) ** 2), 0, 1) == pytest.approx(0.37, abs=0.01)
    assert highest(lambda x: x, 0, 1) == 1
    assert highest(lambda x: -x, 0.2, 1) == 0.2


def test_pairs_are_found_by_name(pairs: Path, tmp_path: Path):
    cases = Pairs(pairs, pairs, ("_mean", "_real"))
    found = list(cases.at(None))
    assert [case.name for case in found] == [f"{i}_mean.png" for i in range(4)]
    assert all(case.level is None for case in found)
    assert psnr(found[0].noisy, found[0].clean) == pytest.approx(20.5, abs=0.7)
    clean, noisy = tmp_path / "clean", tmp_path / "noisy"
    for folder, kind in ((clean, "mean"), (noisy, "real")):
        (folder / "deep").mkdir(parents=True)
        Image.open(pairs / f"1_{kind}.png").save(folder / "deep" / "a.png")
    assert torch.equal(next(Pairs(clean, noisy).at(None)).noisy, found[1].noisy)
    Image.new("RGB", (9, 9)).save(noisy / "deep" / "a.png")
    with pytest.raises(PictureError, match=r"differ in size: 48 x 41 and 9 x 9"):
        Pairs(clean, noisy)
    (noisy / "deep" / "a.png").rename(noisy / "b.png")
    with pytest.raises(DataError, match="has no other half"):
        Pairs(clean, noisy)
    with pytest.raises(DataError, match="no name ends with '_x'"):
        Pairs(pairs, pairs, ("_x", "_real"))


def test_auto_reads_the_tables_of_a_pair_that_is_a_jpeg(tmp_path: Path):
    Image.fromarray(draw(40, 48, 0)).save(tmp_path / "a_clean.png")
    Image.new("RGB", (48, 40), "gray").save(tmp_path / "a_file.jpg", quality=30)
    model = load("deblock", device="cpu")
    row = measure(subject("m", model, "auto"), Pairs(tmp_path, tmp_path, ("_clean", "_file")))
    with Image.open(tmp_path / "a_file.jpg") as file:
        assert model.estimate(np.asarray(file)) == 95  # of one colour, they do not tell
    assert [result.alpha for result in row.results] == [model.alpha(30)]


def test_auto_holds_a_jpeg_to_its_file_as_apply_does(tmp_path: Path):
    clean = (40 + 0.65 * draw(64, 80, 1)).astype(np.uint8)
    Image.fromarray(clean).save(tmp_path / "a_clean.png")
    file, turned = tmp_path / "a_file.jpg", tmp_path / "a_turned.jpg"
    Image.fromarray(clean).save(file, quality=90, subsampling=0)
    model = load("deblock", device="cpu", precision="fp32")
    pairs = Pairs(tmp_path, tmp_path, ("_clean", "_file"))
    output, _ = subject("m", model, "auto")(next(pairs.at(None)))
    applied = restore(model, read_picture(file), Strength()).picture.pixels
    found = output[0].permute(1, 2, 0).numpy() * 255
    assert np.abs(found - applied).max() < 1.2  # rounded once, and twice
    alone = model(next(pairs.at(None)).noisy, model.alpha(90))
    truth = next(pairs.at(None)).clean
    assert psnr(output, truth) > 0.3 + psnr(alone, truth)
    exif = Image.Exif()
    exif[0x0112] = 6
    stored = np.rot90(clean)
    Image.fromarray(stored).save(turned, quality=90, subsampling=0, exif=exif)
    case = next(Pairs(tmp_path, tmp_path, ("_clean", "_turned")).at(None))
    assert len(case.components) == 0  # its blocks lie elsewhere, upright
    assert case.tables


def test_rivals_enter_through_an_adapter(tmp_path: Path):
    (tmp_path / "gain.txt").write_text("0.5")
    adapter = tmp_path / "adapter.py"
    adapter.write_text(ADAPTER)
    rival = load_rival(f"{adapter}:{tmp_path / 'gain.txt'}", CPU)
    assert (rival.name, rival.setting) == ("gain", "-")
    picture = torch.rand(1, 3, 8, 8)
    assert torch.equal(rival.restore(picture, 25), picture * 0.5)
    with pytest.raises(UsageError, match=r"adapter\.py: IndexError"):
        rival.restore(picture, None)
    for wrong in ("picture[..., :4]", "picture.numpy()", "None"):
        adapter.write_text(f"def load():\n    return lambda picture, level: {wrong}\n")
        with pytest.raises(UsageError, match=r"adapter\.py: gave .* for \(1, 3, 8, 8\)"):
            load_rival(str(adapter), CPU).restore(picture, 25)
    adapter.write_text(ADAPTER)
    with pytest.raises(UsageError, match="there is no such adapter"):
        load_rival(f"{tmp_path / 'none.py'}:x", CPU)
    with pytest.raises(UsageError, match=r"adapter\.py: ValueError"):
        load_rival(f"{adapter}:{adapter}", CPU)
    adapter.write_text("x = 1")
    with pytest.raises(UsageError, match=r"AttributeError.*load"):
        load_rival(str(adapter), CPU)


def test_rivals_that_spandrel_would_load(tmp_path: Path, monkeypatch):
    from safetensors.torch import save_file
    from spandrel.architectures.DnCNN import DnCNN

    network = DnCNN(in_nc=3, out_nc=3, nc=8, nb=9, act_mode="R")
    save_file(network.state_dict(), tmp_path / "dncnn.safetensors")
    with monkeypatch.context() as without:
        without.setitem(sys.modules, "spandrel", None)
        with pytest.raises(ForeignError, match="not installed"):
            load_rival(str(tmp_path / "dncnn.safetensors"), CPU)
    rival = load_rival(str(tmp_path / "dncnn.safetensors"), CPU)
    picture = torch.rand(1, 3, 16, 20)
    with torch.no_grad():
        expected = network.eval()(picture).clamp(0, 1)
    torch.testing.assert_close(rival.restore(picture, None), expected)
    (tmp_path / "no.safetensors").write_bytes(b"nothing")
    with pytest.raises(CorruptError, match="not a safetensors file"):
        load_rival(str(tmp_path / "no.safetensors"), CPU)
    with pytest.raises(ForeignError, match="is a pickle"):
        load_rival("old.pth", CPU)


def test_rivals_are_told_apart_and_measured_on_what_their_levels_are_of(
    tmp_path: Path, photos: Path
):
    words = []
    (tmp_path / "beside.py").write_text("SCALE = 1\n")
    for name in ("one", "other"):
        (tmp_path / f"{name}.py").write_text(NEIGHBOUR)
        words.append(f"{tmp_path / name}.py:1")
    place = Pictures([photos], [25], limit=1)
    _, [table] = evaluate(place, [], [], words, device="cpu")
    assert [row.model for row in table.rows] == words
    rival = str(saved(drunet(), tmp_path / "drunet.safetensors"))
    with pytest.raises(UsageError, match=r"differ in their task: deblock: deblock, .*denoise"):
        evaluate(place, ["deblock"], ["auto"], [rival], device="cpu")
    task, [table] = evaluate(place, [], [], [rival], device="cpu")
    assert (type(task).__name__, len(table.rows)) == ("Denoise", 1)
    with pytest.raises(AlphaError, match="75"):
        evaluate(Pictures([photos], [25, 75], limit=1), [], [], [rival], device="cpu")


def test_adapters_have_the_files_beside_them_each_its_own(tmp_path: Path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name, scale in (("one", 0.5), ("other", 0.25)):
        Path(name).mkdir()
        Path(name, "adapter.py").write_text(NEIGHBOUR)
        Path(name, "beside.py").write_text(f"SCALE = {scale}\n")
    picture = torch.ones(1, 3, 8, 8)
    for name, scale in (("one", 0.5), ("other", 0.25)):
        rival = load_rival(f"{name}/adapter.py:1", CPU)
        assert torch.equal(rival.restore(picture, None), picture * scale)


def test_what_is_wrong_with_a_later_folder_is_told_before_the_first_is_measured(
    tmp_path: Path, photos: Path, plain_file: Path, monkeypatch: pytest.MonkeyPatch
):
    Image.fromarray(np.zeros((9, 9), np.uint16)).save(tmp_path / "deep.png")

    def never(*_args: object) -> None:
        raise AssertionError("the second folder was not looked at")

    monkeypatch.setattr(evaluation_run, "measure", never)
    with pytest.raises(PictureError, match="16 bits"):
        evaluate(Pictures([photos, tmp_path], [15]), [str(plain_file)], ["auto"], device="cpu")


def test_pictures_beyond_memory_are_read_again(photos: Path, monkeypatch: pytest.MonkeyPatch):
    reads: list[Path] = []

    def counted(path: Path) -> Picture:
        reads.append(path)
        return read_picture(path)

    monkeypatch.setattr(evaluation_cases, "read_picture", counted)
    whole = Degraded(photos, build_task("denoise"), [25], limit=3)
    part = Degraded(photos, build_task("denoise"), [25], limit=3, kept=40_000)  # of one photo
    assert len(reads) == 6
    for one, other in zip(whole.at(25), part.at(25), strict=True):
        assert (one.name, one.seed) == (other.name, other.seed)
        assert torch.equal(one.noisy, other.noisy)
    assert len(reads) == 8


def test_a_picture_too_small_for_ssim_is_named(cli, tunable_file: Path, tmp_path: Path):
    for name, side in (("a", 32), ("small", 8)):
        Image.fromarray(draw(side, side, 0)).save(tmp_path / f"{name}.png")
    words = ["evaluate", tmp_path, "-m", tunable_file, "--level", "15", "--device", "cpu", "--ssim"]
    code, _, err = cli(*words)
    assert code == 3
    assert "small.png: SSIM needs 11 x 11 pixels" in err
    code, _, err = cli(*words, "--save", tmp_path / "a.png" / "r.csv")
    assert (code, "is no folder" in err) == (2, True)


def test_evaluate_prints_and_writes_tables(
    cli, photos: Path, pairs: Path, tunable_file: Path, plain_file: Path, tmp_path: Path
):
    models = ["-m", tunable_file, "-m", plain_file, "--device", "cpu", "--limit", 2]
    files = [tmp_path / name for name in ("all.csv", "all.json", "curve.svg")]
    saves = ["--save", files[0], "--save", files[1], "--plot", files[2]]
    how = ["--level", "15,50", "-a", "0,calibrated", "--ssim", "--precision", "fp32"]
    code, table, err = cli("evaluate", photos, *models, *how, *saves)
    assert (code, err.count("pictures of")) == (0, 3)
    header, _, *lines = table.splitlines()
    assert "2 pictures, PSNR in dB and SSIM over RGB; Gaussian noise" in header
    assert "not clipped" in header
    assert [line.split(" | ")[:2] for line in lines] == [
        ["| model", "alpha"],
        ["|---|---|---|---|"],
        ["| tunable", "0"],
        ["| tunable", "calibrated"],
        ["| plain", "-"],
    ]
    report = json.loads(files[1].read_text())
    row = report["tables"][0]["rows"][1]
    assert (report["schema"], row["setting"], len(row["pictures"])) == (3, "calibrated", 4)
    made = report["tables"][0]["made_with"]
    assert (made["device"], made["precision"], made["ensemble"]) == ("cpu", "float32", 1)
    assert made["models"] == {path.stem: file_sha256(path) for path in (tunable_file, plain_file)}
    assert (made["task"], made["task_fields"]) == ("denoise", {"clip": False})
    assert "; float32, outputs rounded" in report["tables"][0]["header"]
    means = [sum(p["psnr"] for p in row["pictures"] if p["level"] == n) / 2 for n in ("15", "50")]
    similar = [sum(p["ssim"] for p in row["pictures"] if p["level"] == n) / 2 for n in ("15", "50")]
    assert list(row["means"].values()) == pytest.approx(means)
    assert list(row["ssim"].values()) == pytest.approx(similar)
    cells = [f"{m:.2f} / {s:.4f}" for m, s in zip(means, similar, strict=True)]
    assert f"| tunable | calibrated | {' | '.join(cells)} |" in table
    with files[0].open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 3 * 2 * 2
    assert float(rows[0]["psnr"]) == report["tables"][0]["rows"][0]["pictures"][0]["psnr"]
    assert rows[0]["seed"] == report["tables"][0]["rows"][0]["pictures"][0]["seed"]
    curves = ET.parse(files[2]).getroot().findall("{*}polyline")
    assert sum(len(curve.get("points").split()) == 2 for curve in curves) > 3

    together = ["evaluate", photos, photos / "more", *models, "--level", "25", "--gray", "--json"]
    code, text, _ = cli(*together)
    report = json.loads(text)
    assert code == 0
    assert [table["samples"] for table in report["tables"]] == ["gray", "gray"]
    _, printed, _ = cli(*together, "--luma")
    assert [table["samples"] for table in json.loads(printed)["tables"]] == ["gray (Y)"] * 2
    words = ["evaluate", pairs, "--pairs", "_mean:_real", "--luma", "--level", "15,25", *models]
    code, table, _ = cli(*words, "-a", "calibrated,auto")
    assert code == 0
    assert "over Y; pairs as they are" in table
    assert "| model | alpha | 15 | 25 | best level | best each |" in table
    cells = table.splitlines()[4].split(" | ")
    assert float(cells[4]) == max(float(cells[2]), float(cells[3])) <= float(cells[5].rstrip(" |"))


@pytest.mark.parametrize(
    ("words", "cause"),
    [
        (["PHOTOS"], "have to be degraded"),
        (["PHOTOS", "--level", "25", "-a", "best"], "'best' is not known"),
        (["PHOTOS", "--level", "25", "-a", "oracle,1.5"], "outside 0 to 1"),
        (["PHOTOS", "--level", "nan"], "not a list"),
        (["PHOTOS", "--level", "25", "--plot", "x.svg"], "needs two levels"),
        (["PHOTOS", "--level", "25,50", "--plot", "x.gif"], "neither SVG nor PNG"),
        (["PHOTOS", "--level", "25", "--save", "x.txt"], "neither CSV nor JSON"),
        (["PHOTOS", "--level", "25", "--save", __file__], ".py: exists"),
        (["PHOTOS", "--level", "25,50", "--plot", __file__], ".py: exists"),
        (["PHOTOS", "--noisy", "PHOTOS"], "has no other half"),
        (["PHOTOS", "PHOTOS", "--noisy", "PHOTOS"], "other half of one folder"),
        (["PAIRS", "--pairs", "_mean"], "how names end"),
        (["PAIRS", "--pairs", "_mean:_real"], "needs a level"),
        (["PHOTOS", "--level", "25", "-m", "starry-night"], "PSNR says nothing"),
    ],
)
def test_evaluate_refuses(cli, photos: Path, pairs: Path, tunable_file: Path, words, cause):
    places = {"PHOTOS": photos, "PAIRS": pairs}
    words = [places.get(word, word) for word in words]
    if "-m" not in words:
        words += ["-m", tunable_file]
    code, out, err = cli("evaluate", *words)
    assert code in (2, 3)
    assert cause in err
    assert (len(err.strip().splitlines()[-2:]), out) == (2, "")
    assert "Traceback" not in err


def test_models_of_two_tasks_share_no_table(tunable_file: Path, photos: Path, tmp_path: Path):
    header, tensors = checkpoint.read(tunable_file)
    other = tmp_path / "other.safetensors"
    checkpoint.write(other, replace(header, task=Part("deblock", {})), tensors)
    with pytest.raises(TunectlError, match=r"differ in their task: .*deblock"):
        evaluate(Pictures([photos], [25]), [str(tunable_file), str(other)], ["0"])
    with pytest.raises(TunectlError, match=r"differ in their task: .*--task: deblock"):
        evaluate(Pictures([photos], [25]), [str(tunable_file)], ["0"], task="deblock")


def test_rivals_alone_are_measured_on_a_task(cli, photos: Path, tmp_path: Path):
    (tmp_path / "gain.txt").write_text("1")
    (tmp_path / "adapter.py").write_text(ADAPTER)
    rival = f"{tmp_path / 'adapter.py'}:{tmp_path / 'gain.txt'}"
    words = ["--rival", rival, "--task", "deblock", "--task-field", "aligned=1"]
    code, table, _ = cli("evaluate", photos, "--level", "10,90", "--limit", 2, *words)
    assert code == 0
    assert "JPEG of quality as columns by Pillow" in table
    assert "blocks from the corner" in table
    poor, good = (float(cell) for cell in table.splitlines()[-1].strip("| ").split(" | ")[2:])
    assert 15 < poor < good - 3


@pytest.mark.parametrize(("low", "high"), [(0, 1), (15, 75), (29.4, 29.41), (5, 5), (-3, 1e6)])
def test_ticks_are_round_and_hold_the_range(low, high):
    found = ticks(low, high)
    assert found[0] <= low
    assert found[-1] >= high
    assert 2 <= len(found) <= 9


def test_a_chart_shows_each_curve_in_its_colour(tmp_path: Path):
    curves = [Curve(f"<{i}>", [(15, 30 + i), (50, 26 + i)]) for i in range(10)]
    for name in ("a.png", "a.svg"):
        draw_chart(tmp_path / name, "title", "sigma", "dB", curves)
    with Image.open(tmp_path / "a.png") as picture:
        assert picture.format == "PNG"
        colours = {colour for _, colour in picture.convert("RGB").getcolors(1 << 20)}
    assert {(0, 114, 178), (213, 94, 0), (153, 153, 153)} <= colours
    root = ET.parse(tmp_path / "a.svg").getroot()
    lines = [line for line in root.findall("{*}polyline") if line.get("stroke-width") == "2"]
    assert len(lines) == 20  # a curve and its legend
    assert sum(line.get("stroke-dasharray") is not None for line in lines) == 4
    assert "<9>" in [text.text for text in root.findall("{*}text")]
