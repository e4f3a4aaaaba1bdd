from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from conftest import draw
from PIL import Image, ImageCms

from tunectl.errors import UsageError
from tunectl.images import Picture, read_picture
from tunectl.images.screen import for_screen
from tunectl.inference.load import load
from tunectl.sweep import page as sweep_page
from tunectl.sweep import run as sweep_run
from tunectl.sweep.frames import Frame, Strip, sweep
from tunectl.sweep.page import LIMIT, page
from tunectl.sweep.stills import contact_sheet, in_256_colours
from tunectl.sweep.views import PART, WHOLE, View, part, parts, whole

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
# What a person does to the page, then what it shows, as JSON in an element.
ACT = """
<script>
data.photo.forEach(image);
setTimeout(() => {
  const key = (name, more) => dispatchEvent(new KeyboardEvent("keydown", { key: name, ...more }));
  const at = (x, y) => [...pen.getImageData(x, y, 1, 1).data].slice(0, 3);
  const middle = [Math.round(canvas.width * 0.75), Math.round(canvas.height / 2)];
  const found = { views: data.views.length, start: state.alpha };
  const look = name => { paint(); found[name] = at(...middle); };
  look("half");
  key("Home"); look("none");
  key("End"); look("full");
  key("ArrowLeft"); found.stepped = state.alpha;
  key("ArrowLeft", { shiftKey: true }); found.leapt = state.alpha;
  state.wipe = 1; look("before");
  state.wipe = 0;
  key("1"); found.zoom = state.scale;
  const red = alpha => { setAlpha(alpha); paint(); return at(...middle)[0]; };
  found.smooth = [0.50, 0.52, 0.55, 0.58, 0.60].map(red);
  canvas.dispatchEvent(new WheelEvent("wheel", { deltaY: -500, bubbles: true, cancelable: true }));
  found.wheeled = state.scale / found.zoom;
  const box = stage.getBoundingClientRect(), wipe = $("wipe");
  const pointer = (kind, target, x, id = 1) => target.dispatchEvent(new PointerEvent(kind,
    { pointerId: id, clientX: box.left + x, clientY: box.top + 50, bubbles: true }));
  stage.setPointerCapture = () => {};
  pointer("pointerdown", wipe, 0); pointer("pointermove", stage, stage.clientWidth / 4);
  pointer("pointerup", stage, 0); found.wipe = state.wipe;
  pointer("pointerdown", stage, 100, 1); pointer("pointerdown", stage, 200, 2);
  const was = state.scale;
  pointer("pointermove", stage, 300, 2); found.pinched = state.scale / was;
  pointer("pointerup", stage, 0, 1); pointer("pointerup", stage, 0, 2);
  setView(data.views.length - 1); paint(); found.part = view().size;
  found.told = $("told").textContent;
  found.command = $("command").textContent;
  const out = document.createElement("pre");
  out.id = "found";
  out.textContent = JSON.stringify(found);
  document.body.append(out);
}, 2000);
</script>
"""


@pytest.fixture(scope="module")
def noisy(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A noisy photo and the clean one."""
    folder = tmp_path_factory.mktemp("sweep")
    clean = draw(96, 128, 5)
    noise = np.random.default_rng(0).normal(0, 25, clean.shape)
    Image.fromarray((clean + noise).round().clip(0, 255).astype(np.uint8)).save(folder / "it's.png")
    Image.fromarray(clean).save(folder / "clean.png")
    return folder / "it's.png", folder / "clean.png"


def test_frames_are_what_the_model_makes(tunable_file: Path, noisy: tuple[Path, Path]):
    model = load(tunable_file, device="cpu", precision="fp32")
    picture = read_picture(noisy[0])
    shown = for_screen(picture)
    views = [whole(shown), part(shown, (10, 20, 60, 70))]
    strip = sweep("tunable", model, picture, [0, 0.5, 1], views, for_screen(read_picture(noisy[1])))
    assert [frame.alpha for frame in strip.frames] == [0, 0.5, 1]
    assert [frame.level for frame in strip.frames] == [model.level(a) for a in (0, 0.5, 1)]
    for frame in strip.frames:
        expected = model(picture.pixels, frame.alpha)
        assert np.array_equal(np.asarray(frame.pictures[0]), expected)
        assert np.array_equal(np.asarray(frame.pictures[1]), expected[20:70, 10:60])
        error = np.square(expected.astype(float) - draw(96, 128, 5)).mean()
        assert frame.psnr == pytest.approx(10 * np.log10(255**2 / error), abs=1e-6)
    assert re.fullmatch(r"alpha 0\.5, sigma [\d.]+, [\d.]+ dB", strip.label(strip.frames[1]))


def test_views_of_a_large_photo():
    photo = Image.fromarray(draw(1500, 2600, 1))
    small = whole(photo)
    assert WHOLE * 0.99 < small.size[0] * small.size[1] <= WHOLE * 1.01
    assert small.cut(photo).size == small.size
    found = parts(photo)
    assert len({view.box for view in found}) == 6
    for view in found:
        assert view.size == (PART, PART)
        assert np.array_equal(
            np.asarray(view.cut(photo)),
            np.asarray(photo)[view.box[1] : view.box[3], view.box[0] : view.box[2]],
        )
    assert parts(Image.new("RGB", (900, 900))) == []
    for size in ((WHOLE, 2), (2, WHOLE), (400, 6000), (6000, 520)):
        assert len(parts(Image.new("RGB", size))) == 6
    with pytest.raises(UsageError, match="is not inside 2600 x 1500"):
        part(photo, (0, 0, 10, 1501))
    with pytest.raises(UsageError, match="is longer than 16383 pixels"):
        part(Image.new("RGB", (20_000, 4)), (0, 0, 17_000, 4))
    wide = photo.resize((16_000, 2))
    frames = [Frame(i / 5, i, [wide, wide]) for i in range(5)]
    with pytest.raises(UsageError, match="is no JPEG"):
        contact_sheet(Path("x.jpg"), [wide, wide], [Strip("m", "sigma", frames)] * 2, 1)


@pytest.mark.parametrize("size", [(4, 17_000), (17_000, 4)])
def test_a_strip_of_a_photo_is_shown(cli, tunable_file: Path, tmp_path: Path, size):
    Image.new("RGB", size, "teal").save(tmp_path / "strip.png")
    names = [tmp_path / f"k{ending}" for ending in (".html", ".webp", ".jpg")]
    outputs = [word for name in names for word in ("-o", name)]
    words = ["sweep", tmp_path / "strip.png", *outputs, "-m", tunable_file]
    assert cli(*words, "--alpha", "0,1", "--device", "cpu")[0] == 0
    assert all(name.stat().st_size > 0 for name in names)
    assert max(Image.open(names[2]).size) < 10_000


def test_the_liveliest_part_is_chosen():
    pixels = np.full((1500, 2600, 3), 128, np.uint8)
    pixels[900:1300, 1800:2200] = draw(400, 400, 1) // 64 * 64
    pixels[900:1300:8, 1800:2200] = 0
    boxes = [view.box for view in parts(Image.fromarray(pixels))]
    left, top, right, bottom = boxes[5]
    assert left <= 1830 < 2170 <= right
    assert top <= 930 < 1270 <= bottom


def test_pictures_of_every_kind_are_shown_as_a_viewer_does():
    red = np.zeros((4, 6, 3), np.uint16)
    red[:, :3, 0] = 65535
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by a quarter
    shown = for_screen(Picture(red, exif=exif.tobytes()))
    assert shown.size == (4, 6)
    assert [shown.getpixel((0, y)) for y in (0, 5)] == [(255, 0, 0), (0, 0, 0)]
    clear = Picture(np.zeros((2, 2, 1), np.float32), alpha=np.float32([[0, 1], [0.5, 1]]))
    assert np.asarray(for_screen(clear))[..., 0].tolist() == [[255, 0], [127, 0]]
    inks = Picture(np.uint8([[[0, 255, 255, 0], [0, 0, 0, 255]]]))
    assert np.asarray(for_screen(inks)).tolist() == [[[255, 0, 0], [0, 0, 0]]]
    lab = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    same = draw(5, 5, 0)
    assert np.abs(np.asarray(for_screen(Picture(same, icc=lab))).astype(int) - same).max() <= 1
    assert np.array_equal(np.asarray(for_screen(Picture(same, icc=b"no profile"))), same)


def test_sweep_writes_a_sheet_an_animation_and_a_page(
    cli, tunable_file: Path, noisy: tuple[Path, Path], tmp_path: Path
):
    names = ["sheet.png", "sheet.jpg", "moving.webp", "moving.gif", "moving.apng", "page.html"]
    outputs = [word for name in names for word in ("-o", tmp_path / name)]
    words = ["-m", tunable_file, "-m", tunable_file, "--clean", noisy[1], "--device", "cpu"]
    words += ["--keep-colours"]
    code, out, err = cli("sweep", noisy[0], *outputs, *words, "-a", "1,0,0.5")
    assert (code, out.split()) == (0, [str(tmp_path / name) for name in names])
    assert "3 of 3" in err
    with Image.open(tmp_path / "sheet.png") as sheet:
        assert sheet.width > 4 * 128
        assert sheet.height > 2 * 96
    for name in names[2:5]:
        with Image.open(tmp_path / name) as moving:
            assert moving.n_frames == 4
            assert moving.width == 2 * 128
    text = (tmp_path / "page.html").read_text()
    assert "http" not in text.replace("http-equiv", "")
    found = json.loads(re.search(r'json">(.*?)</script>', text, re.DOTALL)[1])
    assert len(found["strips"]) == 2
    assert found["strips"][0]["frames"][1]["alpha"] == 0.5
    assert found["strips"][0]["command"].startswith("tunectl apply ")
    assert found["strips"][0]["command"].endswith(f" -m {tunable_file} --keep-colours --alpha")
    code, _, err = cli("sweep", noisy[0], *outputs, *words)
    assert (code, "sheet.png: exists" in err) == (2, True)
    crop = ["--crop", "8,8,72,40", "-o", tmp_path / "crop.png", "-m", tunable_file, "-a", "0,1"]
    assert cli("sweep", noisy[0], *crop, "--device", "cpu")[0] == 0
    with Image.open(tmp_path / "crop.png") as sheet:
        assert sheet.height == 32 + 26 + 2 * 8
        assert sheet.width > 3 * (64 + 8) + 8  # the labels are wider than what they stand above


@pytest.mark.parametrize(
    ("words", "cause"),
    [
        (["-o", "x.txt"], "not written so"),
        (["-o", "x.png", "-o", "x.png"], "names one file twice"),
        (["-o", "x.png", "-o", "FILE/y.html"], "is no folder"),
        (["-o", "x.png", "-a", "0.5"], "needs two alphas"),
        (["-o", "x.png", "-a", "0,2"], "alpha 2"),
        (["-o", "x.png", "--crop", "1,2,3"], "not four numbers"),
        (["-o", "x.png", "--crop", "0,0,9999,10"], "is not inside"),
        (["-o", "x.png", "--style", "STYLE"], "no style to choose"),
        (["-o", "x.png", "-m", "PLAIN"], "is a plain model without a knob"),
        (["-o", "x.png", "--clean", "SMALL"], "differ in size: 9 x 9 and 128 x 96"),
    ],
)
def test_sweep_refuses(
    cli, tunable_file: Path, plain_file: Path, noisy, tmp_path: Path, monkeypatch, words, cause
):
    def never(*_args: object) -> None:
        raise AssertionError("it is known before anything is restored")

    monkeypatch.setattr(sweep_run, "sweep", never)
    monkeypatch.chdir(tmp_path)
    small = noisy[0].parent / "small.png"
    Image.new("RGB", (9, 9)).save(small)
    places = {"PLAIN": plain_file, "SMALL": small}
    words = [places.get(word, word) for word in words]
    words = [noisy[1] if word == "STYLE" else word for word in words]
    words = [str(word).replace("FILE", str(noisy[1])) for word in words]
    code, _, err = cli("sweep", noisy[0], *words, "-m", tunable_file, "--device", "cpu")
    assert code in (2, 3)
    assert cause in err
    assert "Traceback" not in err
    assert not list(tmp_path.iterdir())


def test_a_page_stays_small_enough_to_mail(
    tunable_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """Not even a photo of 12 megapixels that is nothing but noise, at all of eleven alphas."""
    noise = np.random.default_rng(0).integers(0, 256, (1060, 1414, 3), dtype=np.uint8)
    views = [View("whole", (0, 0, 4000, 3000), (1414, 1060))]
    views += [View(f"{i}", (0, 0, PART, PART), (PART, PART)) for i in range(6)]
    pictures = [Image.fromarray(noise)] + [Image.fromarray(noise[:PART, :PART])] * 6
    model = load(tunable_file, device="cpu", precision="fp32")
    small = Picture(draw(32, 32, 0))
    strip = sweep("m", model, small, [i / 10 for i in range(11)], [whole(for_screen(small))])
    for frame in strip.frames:
        frame.pictures[:] = pictures
    encode, known = sweep_page._url, dict[tuple[int, int, float], str]()

    def once(picture: Image.Image, quality: int, scale: float) -> str:  # two, at many places
        key = id(picture), quality, scale
        return known.get(key) or known.setdefault(key, encode(picture, quality, scale))

    monkeypatch.setattr(sweep_page, "_url", once)
    size = page(tmp_path / "p.html", "p", views, pictures, [strip], 0.5)
    assert size == (tmp_path / "p.html").stat().st_size < LIMIT * 1.03


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium")
def test_the_page_in_a_browser(cli, tunable_file: Path, noisy: tuple[Path, Path], tmp_path: Path):
    path = tmp_path / "page.html"
    words = ["-m", tunable_file, "--clean", noisy[1], "--crop", "8,8,72,40", "--device", "cpu"]
    assert cli("sweep", noisy[0], "-o", path, *words)[0] == 0
    path.write_text(path.read_text().replace("</body>", ACT + "</body>"))
    done = subprocess.run(
        [
            CHROMIUM,
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            f"--user-data-dir={tmp_path / 'profile'}",
            "--window-size=900,700",
            "--virtual-time-budget=8000",
            "--dump-dom",
            path.as_uri(),
        ],
        capture_output=True,
        text=True,
        timeout=120,
    )
    found = json.loads(re.search(r'<pre id="found">(.*?)</pre>', done.stdout, re.DOTALL)[1])
    assert (found["views"], found["start"]) == (2, 0.5)
    model = load(tunable_file, device="cpu")
    pixels = read_picture(noisy[0]).pixels
    assert found["none"] != found["full"]
    assert found["before"] != found["full"]
    near = pixels[40:56, 88:104].astype(float).mean(axis=(0, 1))  # about where it was looked
    strong = model(pixels, 1.0)[40:56, 88:104].astype(float)
    low, high = strong.min(axis=(0, 1)) - 12, strong.max(axis=(0, 1)) + 12
    assert (low <= found["full"]).all(), near
    assert (found["full"] <= high).all(), near
    assert found["stepped"] == pytest.approx(0.99)
    assert found["leapt"] == pytest.approx(0.89)
    assert found["zoom"] == 1
    assert found["wheeled"] == pytest.approx(np.e, rel=0.01)
    assert found["wipe"] == pytest.approx(0.25, abs=0.01)
    assert found["pinched"] == pytest.approx(2, rel=0.01)
    changes = np.diff(found["smooth"])
    assert (changes >= 0).all() or (changes <= 0).all()  # between two frames it only fades
    assert found["part"] == [64, 32]
    assert "dB at" in found["told"]
    assert "sigma" in found["told"]
    name = str(noisy[0]).replace("'", "'\"'\"'")
    assert found["command"] == f"tunectl apply '{name}' -m {tunable_file} --alpha 0.6"


def test_a_gifs_few_colours_are_scattered_not_banded():
    down, across = np.mgrid[0:200, 0:304]
    smooth = np.stack([across * 0.8, down * 1.2, (across + down) * 0.4 + 20], 2).astype(np.uint8)

    def blocks(picture: Image.Image) -> np.ndarray:
        pixels = np.asarray(picture.convert("RGB"), float)
        return pixels.reshape(25, 8, 38, 8, 3).mean((1, 3))

    picture = Image.fromarray(smooth)
    off = np.abs(blocks(in_256_colours(picture)) - blocks(picture)).mean()
    assert off < 0.5 * np.abs(blocks(picture.quantize()) - blocks(picture)).mean()
