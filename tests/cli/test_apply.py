from __future__ import annotations

import contextlib
import errno
import inspect
import io
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from conftest import draw
from PIL import Image, ImageCms, ImageOps

from tunectl import atomic
from tunectl.cli import console
from tunectl.cli.apply import apply
from tunectl.images.turn import as_stored
from tunectl.inference import batch

Words = list[object]


class Pipe(io.TextIOWrapper):
    """A standard stream of bytes: `Pipe(data)` to read, `Pipe()` to write."""

    def __init__(self, data: bytes = b"", encoding: str = "utf-8", terminal: bool = False) -> None:
        super().__init__(io.BytesIO(data), encoding=encoding)
        self._terminal = terminal

    def isatty(self) -> bool:
        return self._terminal

    @property
    def data(self) -> bytes:
        self.flush()
        return self.buffer.getvalue()  # type: ignore[attr-defined, no-any-return]


@pytest.fixture
def common(tunable_file: Path, photos: Path, tmp_path: Path, monkeypatch) -> Words:
    """Options for the tiny model, in a folder with in/a.png, in/more/b.jpg (gray) and p.png."""
    monkeypatch.chdir(tmp_path)
    Path("in/more").mkdir(parents=True)
    photo = Image.open(photos / "photo0.png")
    photo.save("in/a.png")
    photo.save("p.png")
    photo.convert("L").save("in/more/b.jpg")
    return ["-m", tunable_file, "--device", "cpu"]


def files(folder: str) -> set[str]:
    """All files below a folder, hidden ones too."""
    return {str(p.relative_to(folder)) for p in Path(folder).rglob("*") if p.is_file()}


def states(*names: str) -> list[tuple[int, int]]:
    """What changes when a file is written anew."""
    return [(os.stat(name).st_ino, os.stat(name).st_mtime_ns) for name in names]


def run_apart(words: Words, **options: object) -> subprocess.Popen[str]:
    """tunectl in a process of its own."""
    command = [sys.executable, "-m", "tunectl", *map(str, words)]
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    return subprocess.Popen(command, text=True, **streams, **options)  # type: ignore[call-overload, no-any-return]


def modules_after(words: Words) -> set[str]:
    """The top-level modules that are loaded when the command has been run, without a failure."""
    code = (
        f"import sys; sys.argv = ['tunectl', *{list(map(str, words))!r}]\n"
        "from tunectl.cli.app import main\n"
        "try: main()\nexcept SystemExit as stop: assert not stop.code\n"
        "print('loaded:', *{name.partition('.')[0] for name in sys.modules})"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(done.stdout.partition("loaded:")[2].split())


# One picture and its strength


def test_one_picture(cli, common: Words):
    code, printed, told = cli("apply", "p.png", "-a", 0.3, "-o", "out.png", *common)
    assert (code, printed) == (0, "out.png\n")
    assert told.startswith("p.png: alpha 0.3 (level ")
    assert told.endswith(") -> out.png\n")
    before, after = Image.open("p.png"), Image.open("out.png")
    assert after.size == before.size
    assert not np.array_equal(np.asarray(before), np.asarray(after))


def test_without_a_word_the_strength_comes_from_the_picture_and_is_told(cli, common: Words):
    code, printed, told = cli("apply", "p.png", *common)
    assert (code, printed) == (0, "p_out.png\n")
    assert ", estimated) -> p_out.png" in told
    _, text, _ = cli("apply", "p.png", "-a", "auto", "-o", "auto.png", "--json", *common)
    line = json.loads(text)
    assert line["alpha_asked"] == "auto"
    assert line["estimated"] is True
    assert f"alpha {line['alpha']:.3g} (level {line['level']:.3g}, estimated)" in told
    assert Path("auto.png").read_bytes() == Path("p_out.png").read_bytes()


@pytest.mark.skipif(os.name != "posix", reason="forks")
def test_what_a_killed_run_left_is_removed_from_the_folders_of_results(cli, common: Words):
    Path("out").mkdir()
    dead = os.fork()
    if not dead:
        os._exit(0)
    os.waitpid(dead, 0)
    (Path("out") / f".{atomic._HERE}-{dead}-01234567.tunectl-tmp").touch()
    assert cli("apply", "p.png", "-o", "out/", *common)[0] == 0
    assert os.listdir("out") == ["p.png"]


def test_a_plain_model_has_no_strength(cli, plain_file: Path, common: Words):
    code, _, told = cli("apply", "p.png", "-m", plain_file, "--device", "cpu")
    assert (code, told) == (0, "p.png -> p_out.png\n")


def test_several_strengths_give_several_results(cli, common: Words):
    code, printed, _ = cli("apply", "p.png", "-a", "0,0.5,1,auto,0.5", "-o", "out", *common)
    assert code == 0
    names = [f"p_{mark}.png" for mark in ("alpha0", "alpha0.5", "alpha1", "auto")]
    assert printed.split() == [f"out/{name}" for name in names]
    assert files("out") == set(names)
    code, printed, _ = cli("apply", "p.png", "--level", "10,20", *common)
    assert printed.split() == ["p_level10.png", "p_level20.png"]


def test_chroma_alpha_map_and_blend_change_the_picture(cli, common: Words, plain_file: Path):
    width, height = Image.open("p.png").size
    Image.linear_gradient("L").resize((width, height)).save("map.png")
    Image.new("RGB", (width, height), "red").save("colour.png")
    Image.new("L", (5, 5)).save("small.png")
    variants = {
        "scalar": ["-a", 0.5],
        "chroma": ["-a", 0.5, "--chroma-alpha", 1],
        "map": ["--alpha-map", "map.png"],
        "mapped": ["-a", 0.5, "--alpha-map", "map.png"],
        "blend": ["-a", 0.5, "--blend", 0.5],
        "colours": ["-a", 0.5, "--keep-colours"],
        "plain": ["-m", plain_file, "--blend", 0.5],
    }
    for name, words in variants.items():
        assert cli("apply", "p.png", *common, *words, "-o", f"out-{name}.png")[0] == 0
    outputs = {Image.open(f"out-{name}.png").tobytes() for name in variants}
    assert len(outputs) == len(variants)
    for words, message in (
        (["--alpha-map", "colour.png"], "is not gray"),
        (["--alpha-map", "small.png"], "5 x 5"),
        (["--chroma-alpha", 2], "outside 0 to 1"),
        (["-m", plain_file, "--chroma-alpha", 0.5], "plain"),
    ):
        code, _, err = cli("apply", "p.png", *common, *words, "-o", "bad.png")
        assert code in (2, 3)
        assert message in err
    assert not Path("bad.png").exists()


def test_a_manifest_notices_another_map(cli, common: Words):
    words = ["apply", "p.png", *common, "--alpha-map", "m.png", "-o", "o", "--manifest", "j.jsonl"]
    size = Image.open("p.png").size
    Image.new("L", size, 99).save("m.png")
    assert cli(*words)[0] == 0
    before = states("o/p.png")
    assert cli(*words)[0] == 0
    assert states("o/p.png") == before
    Image.new("L", size, 199).save("m.png")
    assert cli(*words)[0] == 0
    assert states("o/p.png") != before


def test_tiled_and_untiled_give_the_same_file(cli, photos: Path, common: Words):
    Image.open(photos / "more" / "photo5.png").resize((500, 300)).save("in.png")
    for name, tile in (("a.png", 256), ("b.png", 4096)):
        words = ["-m", "denoise", "-a", 0.5, "-o", name, "--tile", tile]
        assert cli("apply", "in.png", *words)[0] == 0
    assert Path("a.png").read_bytes() == Path("b.png").read_bytes()


@pytest.mark.parametrize(
    ("words", "code", "cause"),
    [
        (["p.png", "-a", "1.5"], 2, "outside 0 to 1"),
        (["p.png", "-a", "much"], 2, "not a list of numbers"),
        (["p.png", "-a", ""], 2, "-a is empty"),
        (["p.png", "-a", "nan"], 2, "not a list of numbers"),
        (["p.png", "-m", "PLAIN", "--chroma-alpha", "0.5"], 2, "plain"),
        (["p.png", "--chroma-alpha", "-0.5"], 2, "outside 0 to 1"),
        (["p.png", "--level", "500"], 2, "outside this model's"),
        (["p.png", "-a", "1", "--level", "3"], 2, "both given"),
        (["p.png", "-m", "PLAIN", "-a", "1"], 2, "plain model"),
        (["p.png", "--device", "tpu"], 2, "device"),
        (["p.png", "--precision", "fp8"], 2, "precision"),
        (["p.png", "--if-exists", "ask"], 2, "--if-exists 'ask'"),
        (["p.png", "--quality", "best"], 2, "--quality 'best'"),
        (["p.png", "--quality", "0"], 2, "--quality '0'"),
        (["p.png", "--format", "xyz"], 2, "--format 'xyz'"),
        (["p.png", "-o", "p.xyz"], 2, "no format"),
        (["*.gif", "-o", "out"], 2, "no file's name is like this"),
        (["p.png", "--in-place", "-a", "0,1"], 2, "--in-place takes one"),
        (["p.png", "--in-place", "--frame", "0"], 2, "would lose frames"),
        (["p.png", "-o", "-", "--json"], 2, "both want standard output"),
        (["-", "-o", "o.png", "--manifest", "m"], 2, "--manifest"),
        (["text.png", "-o", "o.png"], 3, "not a picture"),
        (["p.png", "--max-pixels", "9"], 3, "pixels"),
        (["p.png", "--frame", "3"], 3, "frame"),
        (["p.png", "-m", "nothing"], 3, "no model is called"),
        (["p.png", "-m", "text.safetensors"], 3, "safetensors"),
        (["p.png", "-o", "text.png/x/"], 4, "cannot be written"),
    ],
)
def test_bad_input_gets_two_lines_and_a_code(
    cli, common: Words, plain_file: Path, words, code, cause
):
    Path("text.png").write_text("words")
    Path("text.safetensors").write_text("words of more than eight bytes")
    words = [str(plain_file) if word == "PLAIN" else word for word in words]
    got, out, err = cli("apply", *common, *words)
    assert got == code
    assert cause in err
    assert len(err.strip().splitlines()) == 2
    assert not out
    assert "Traceback" not in err


# Names and folders


def test_a_folder_keeps_its_tree_and_goes_on_after_a_bad_file(cli, common: Words):
    Path("in/broken.png").write_bytes(Path("in/a.png").read_bytes()[:200])
    Path("in/notes.txt").write_text("words")
    code, printed, told = cli("apply", "in", "-a", 0.5, "-o", "out", *common)
    assert (code, printed) == (1, "out/a.png\nout/more/b.jpg\n")
    assert "in/broken.png: is damaged" in told
    assert told.endswith("tunectl: 2 done, 0 skipped, 1 failed\n")
    assert "Traceback" not in told
    assert Image.open("out/a.png").mode == "RGB"
    assert Image.open("out/more/b.jpg").mode == "L"
    assert files("out") == {"a.png", "more/b.jpg"}


def test_suffix_and_format_decide_names_and_kinds(cli, common: Words):
    code, _, _ = cli("apply", "in", "-a", 0.5, "--suffix", "_c", "--format", "tif", *common)
    assert code == 0
    assert files("in") == {"a.png", "a_c.tif", "more/b.jpg", "more/b_c.tif"}
    assert Image.open("in/more/b_c.tif").format == "TIFF"


def test_quality_and_tags(cli, common: Words):
    exif = Image.Exif()
    exif[0x010F] = "a maker"
    Image.open("p.png").save("tagged.jpg", exif=exif, quality=90)
    sizes = []
    for quality, more in ((20, []), (90, ["--strip-metadata"])):
        words = ["-a", 0.5, "--quality", quality, "-o", f"{quality}.jpg", *more]
        assert cli("apply", "tagged.jpg", *words, *common)[0] == 0
        sizes.append(os.path.getsize(f"{quality}.jpg"))
    assert sizes[0] < sizes[1]
    assert Image.open("20.jpg").getexif()[0x010F] == "a maker"
    assert 0x010F not in Image.open("90.jpg").getexif()


def test_in_place_writes_over_the_input_and_keeps_its_kind(cli, common: Words):
    Path("p.png").rename("p.jpg")  # a PNG by another name
    before = np.asarray(Image.open("p.jpg"))
    os.chmod("p.jpg", 0o604)
    Path("link.jpg").symlink_to("p.jpg")
    code, printed, _ = cli("apply", "link.jpg", "--in-place", "-a", 0.5, *common)
    assert (code, printed) == (0, "link.jpg\n")
    assert Path("link.jpg").is_symlink()
    after = Image.open("p.jpg")
    assert after.format == "PNG"
    assert not np.array_equal(np.asarray(after), before)
    assert os.stat("p.jpg").st_mode & 0o777 == 0o604


def test_what_is_no_number_is_no_picture(cli, tmp_path: Path, tunable_file: Path):
    path = tmp_path / "a.png"
    Image.fromarray(draw(40, 50, 1)).save(path)
    before = path.read_bytes()
    words = ["apply", path, "-m", tunable_file, "--in-place", "--extrapolate", "--device", "cpu"]
    code, _, err = cli(*words, "--alpha", "1e30")
    assert (code, len(err.splitlines())) == (3, 2)
    assert f"{path}: the model makes of it what is no number" in err
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    ("policy", "expected"), [("skip", 0), ("overwrite", 0), ("rename", 0), ("error", 2)]
)
def test_if_exists(cli, common: Words, policy, expected):
    Path("out.png").write_bytes(b"mine")
    words = ["-a", 0.5, "-o", "out.png", "--if-exists", policy]
    code, printed, told = cli("apply", "p.png", *words, *common)
    assert code == expected
    assert (Path("out.png").read_bytes() == b"mine") == (policy != "overwrite")
    assert Path("out_2.png").exists() == (policy == "rename")
    assert bool(printed) == (policy in ("overwrite", "rename"))
    assert ("p.png -> out.png: exists, skipped" in told) == (policy == "skip")


def test_names_that_no_terminal_likes_are_printed_on_one_line(cli, common: Words):
    name = os.fsdecode(b"a\n\x1b[2J\xff.png")
    Path("odd").mkdir()
    Path("odd", name).write_bytes(Path("p.png").read_bytes())
    Path("odd", f"cut{name}").write_bytes(Path("p.png").read_bytes()[:99])
    code, printed, told = cli("apply", "odd", "-a", 0.5, "-o", "out", *common)
    assert code == 1
    assert printed == "out/a\\n\\x1b[2J\\udcff.png\n"
    assert told.splitlines()[0].startswith("odd/a\\n\\x1b[2J\\udcff.png: alpha 0.5")
    assert files("out") == {name}
    code, printed, _ = cli("apply", Path("odd", name), "-o", "x.png", "--json", *common)
    assert json.loads(printed)["input"] == os.path.abspath(Path("odd", name))


def test_a_part_of_auto_and_pictures_left_out(cli, common: Words):
    code, printed, _ = cli("apply", "p.png", "-a", "auto,auto*0.5", "-o", "out", "--json", *common)
    one, other = map(json.loads, printed.splitlines())
    assert code == 0
    assert other["alpha"] == pytest.approx(0.5 * one["alpha"])
    assert (one["alpha_asked"], other["alpha_asked"]) == ("auto", "auto0.5")
    assert files("out") == {"p_auto.png", "p_auto0.5.png"}
    for word in ("auto*", "auto*x", "auto*-1", "automatic"):
        code, _, told = cli("apply", "p.png", "-a", word, *common)
        assert (code, "auto*0.8" in told) == (2, True)
    Image.open("p.png").convert("L").save("map.png")
    words = ["apply", "p.png", "--alpha-map", "map.png", "--json", *common]
    scaled = json.loads(cli(*words, "-a", "auto", "-o", "scaled.png")[1])
    assert (scaled["alpha"], scaled["estimated"]) == (one["alpha"], True)
    assert json.loads(cli(*words, "-o", "whole.png")[1])["alpha"] == 1
    code, printed, _ = cli("apply", "in", "-o", "else", "-n", "--exclude", "*.jpg", *common)
    assert (code, printed) == (0, "in/a.png -> else/a.png\n")
    code, _, told = cli("apply", "in", "-o", "else", "--exclude", ".", *common)
    assert (code, "is no pattern" in told) == (2, True)


def test_what_needs_nothing_comes_back_byte_for_byte(cli, tmp_path: Path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    flat = Image.fromarray(np.full((60, 80, 3), (90, 120, 150), np.uint8))
    exif = Image.Exif()
    exif[0x010E] = "a sky"
    flat.save("sky.jpg", quality=80, exif=exif)
    flat.save("sky.png")
    before = Path("sky.jpg").read_bytes(), Path("sky.png").read_bytes()
    words = ["-m", "denoise", "--device", "cpu"]
    code, _, told = cli("apply", "sky.jpg", "sky.png", "-o", "out", *words)
    assert (code, told.count("so that it stays as it is")) == (0, 2)
    assert (Path("out/sky.jpg").read_bytes(), Path("out/sky.png").read_bytes()) == before
    with open("sky.jpg", "rb") as file:
        code, _, _ = cli("apply", "sky.jpg", "--in-place", "--manifest", "m.jsonl", *words)
        assert (code, Path("sky.jpg").read_bytes()) == (0, file.read())
    for name, more in (
        ("q.jpg", ["--quality", 70]),
        ("s.jpg", ["--strip-metadata"]),
        ("f.png", []),
    ):
        assert cli("apply", "sky.jpg", "-o", name, *more, *words)[0] == 0
        assert Path(name).read_bytes() != before[0]
        with Image.open(name) as result:
            assert np.abs(np.asarray(result).astype(int) - (90, 120, 150)).max() <= 2


# Plans and machines


def test_whatever_decides_a_result_is_in_the_manifest(cli, common: Words):
    code, out, _ = cli("apply", "in", "-o", "out", "--dry-run", "--json")
    assert code == 0
    settings, options = set(json.loads(out.splitlines()[0])["settings"]), inspect.signature(apply)
    assert settings < {*options.parameters, "styles"}
    assert {*options.parameters} - settings == {
        *(
            "inputs",
            "model",
            "alpha",
            "level",
            "extrapolate",
            "style",
            "output",
            "suffix",
            "ending",
        ),
        *(
            "max_pixels",
            "in_place",
            "if_exists",
            "manifest",
            "exclude",
            "shard",
            "engine",
            "workers",
        ),
        *("dry_run", "as_json", "quiet", "device", "tile"),
    }


def test_a_dry_run_touches_nothing_and_loads_neither_torch_nor_weights(cli, common: Words):
    words = ["apply", "in", "-m", common[1], "-a", "0,1", "-o", "out", "-n"]
    code, printed, told = cli(*words)
    assert (code, told) == (0, "")
    assert printed.splitlines() == [
        "in/a.png -> out/a_alpha0.png",
        "in/a.png -> out/a_alpha1.png",
        "in/more/b.jpg -> out/more/b_alpha0.jpg",
        "in/more/b.jpg -> out/more/b_alpha1.jpg",
    ]
    code, printed, _ = cli(*words, "--json")
    lines = [json.loads(line) for line in printed.splitlines()]
    assert [line["status"] for line in lines] == ["planned"] * 4
    assert lines[1]["output"] == os.path.abspath("out/a_alpha1.png")
    assert lines[1]["alpha_asked"] == 1
    assert not Path("out").exists()
    assert not modules_after([*words, "--json"]) & {"torch", "safetensors"}


def test_apply_loads_no_torchvision(common: Words):
    loaded = modules_after(["apply", "p.png", "-a", 0.3, "-o", "out.png", *common])
    assert "torch" in loaded
    assert "torchvision" not in loaded
    assert Path("out.png").exists()


def test_json_has_an_object_for_each_result_failures_too(cli, common: Words):
    Path("in/broken.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    words = ["-a", 0.5, "-o", "out", "--json", "--if-exists", "skip", *common]
    code, printed, _ = cli("apply", "in", *words)
    assert code == 1
    lines = [json.loads(line) for line in printed.splitlines()]
    assert [(line["schema"], line["status"]) for line in lines] == [
        (1, "done"),
        (1, "failed"),
        (1, "done"),
    ]
    assert "is damaged" in lines[1]["error"]["message"]
    assert len(lines[0]["model_sha256"]) == 64
    assert lines[0]["output_bytes"] == os.path.getsize("out/a.png")
    code, printed, _ = cli("apply", "in/a.png", *words)
    assert json.loads(printed)["reason"] == "exists"


@pytest.mark.parametrize(
    ("words", "code"), [(["none.png"], 2), (["p.png", "-m", "none"], 3), (["cut.png"], 3)]
)
def test_json_tells_what_stops_the_command_in_one_object(cli, common: Words, words, code):
    Path("cut.png").write_bytes(Path("p.png").read_bytes()[:99])
    got, printed, told = cli("apply", *common, *words, "--json")
    assert got == code
    line = json.loads(printed)
    assert (line["schema"], line["status"]) == (1, "failed")
    assert line["error"]["exit_code"] == code
    assert line["error"]["message"] in told


def test_quiet_leaves_results_and_failures(cli, common: Words):
    assert cli("apply", "in", "-a", 0, "-o", "out", "-q", *common)[1:] == (
        "out/a.png\nout/more/b.jpg\n",
        "",
    )
    Path("in/c.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    told = cli("apply", "in", "-a", 0, "-o", "again", "-q", *common)[2].splitlines()
    assert len(told) == 3
    assert "in/c.png: is damaged" in told[0]
    assert told[2] == "tunectl: 2 done, 0 skipped, 1 failed"


# Manifests


def test_a_second_run_does_only_what_is_missing_or_changed(cli, common: Words):
    words = ["apply", "in", "-a", 0.5, "-o", "out", "--manifest", "out/done.jsonl", *common]
    assert cli(*words)[0] == 0
    before = states("out/a.png", "out/more/b.jpg")
    code, printed, told = cli(*words)
    assert (code, printed) == (0, "")
    assert "out/done.jsonl: comparing with 2 results" in told
    assert "in/a.png -> out/a.png: up to date, skipped" in told
    assert states("out/a.png", "out/more/b.jpg") == before
    assert len(Path("out/done.jsonl").read_text().splitlines()) == 2
    Image.open("in/a.png").rotate(180).save("in/a.png")
    assert "in/a.png -> out/a.png, replaced\n" in cli(*words, "-n")[1]
    kept = cli(*words, "-n", "--if-exists", "skip")[1]
    assert "in/a.png -> out/a.png: exists, skipped\n" in kept
    assert cli(*words)[1] == "out/a.png\n"
    assert states("out/more/b.jpg") == before[1:]
    Path("out/more/b.jpg").unlink()
    assert cli(*words)[1] == "out/more/b.jpg\n"
    # another strength: all is made anew, though --if-exists is "error"
    words[3] = 0.6
    assert cli(*words)[1] == "out/a.png\nout/more/b.jpg\n"
    Path("out/a.png").write_bytes(b"edited by hand")
    code, _, told = cli(*words)
    assert code == 2
    assert "out/a.png: exists already" in told


def test_a_manifest_tells_of_failures_and_keeps_in_place_from_going_twice(cli, common: Words):
    Path("in/cut.png").write_bytes(Path("p.png").read_bytes()[:99])
    words = ["apply", "in", "--in-place", "-a", 0.5, "--manifest", "done.jsonl", *common]
    assert cli(*words)[0] == 1
    lines = [json.loads(line) for line in Path("done.jsonl").read_text().splitlines()]
    assert [line["status"] for line in lines] == ["done", "failed", "done"]
    before = states("in/a.png", "in/more/b.jpg")
    assert cli(*words)[1] == ""
    assert states("in/a.png", "in/more/b.jpg") == before


def test_a_map_is_laid_over_what_a_viewer_shows(cli, common: Words):
    """Of one photo, stored in eight ways, with a map that was painted upright."""
    photo = np.asarray(Image.open("p.png"))
    mask = np.zeros(photo.shape[:2], np.uint8)
    mask[:30, :40] = 255
    tags = Image.Exif()
    for how in range(1, 9):
        tags[0x112] = how
        Image.fromarray(np.ascontiguousarray(as_stored(photo, how))).save(f"{how}.png", exif=tags)
    for name, how in (("upright", 1), ("turned", 6)):  # nor does it matter how the map is stored
        tags[0x112] = how
        Image.fromarray(np.ascontiguousarray(as_stored(mask, how))).save(f"{name}.png", exif=tags)
    words = ["apply", *(f"{how}.png" for how in range(1, 9)), "--precision", "fp32", *common]
    for name in ("upright", "turned"):
        assert cli(*words, "-o", name, "--alpha-map", f"{name}.png")[0] == 0
    assert cli(*words, "-o", "ends", "-a", "0,1")[0] == 0

    def shown(name: str) -> np.ndarray:
        return np.asarray(ImageOps.exif_transpose(Image.open(name))).astype(int)

    for how in range(1, 9):
        mapped = shown(f"upright/{how}.png")
        weak, strong = (shown(f"ends/{how}_alpha{alpha}.png") for alpha in (0, 1))
        assert (weak[:4, :8] != strong[:4, :8]).any()
        assert (weak[-20:, -40:] != strong[-20:, -40:]).any()
        assert np.array_equal(mapped[:4, :8], strong[:4, :8])
        assert np.array_equal(mapped[-20:, -40:], weak[-20:, -40:])
        assert Path(f"turned/{how}.png").read_bytes() == Path(f"upright/{how}.png").read_bytes()


@pytest.mark.parametrize(
    ("words", "cause"),
    [
        (["--alpha-map", "map.png", "--extrapolate", "-a", 1.5], "does not go beyond the knob"),
        (["--alpha-map", "map.png", "--chroma-alpha", 0.2], "luma and colour alike"),
        (["--keep-colours", "--chroma-alpha", 0.2, "-a", 0.5], "colours are kept"),
        (["-o", ""], "-o is empty"),
    ],
)
def test_options_that_would_do_nothing_are_refused(cli, common: Words, words: Words, cause: str):
    Image.open("p.png").convert("L").save("map.png")
    code, _, told = cli("apply", "p.png", *words, *common)
    assert (code, told.count("\n")) == (2, 2)
    assert cause in told


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no disk that is always full")
def test_a_full_disk_behind_a_stream_stops_with_two_lines(common: Words):
    command = [sys.executable, "-m", "tunectl", "apply", "p.png", *common, "-a", 0.5, "-o"]
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [*map(str, command), "-"], stdout=full, stderr=subprocess.PIPE, text=True
        )
        assert done.returncode == 4
        assert done.stderr.endswith(
            "standard output: the disk is full\n  free some space and run the command again\n"
        )
        silent = subprocess.run([*map(str, command), "o.png"], stderr=full, stdout=full)
        assert silent.returncode == 4


# Pipes


def test_pictures_go_through_pipes(cli, common: Words, monkeypatch):
    Image.open("p.png").save("p.jpg")
    assert cli("apply", "p.jpg", "-a", 0.5, "-o", "file.jpg", *common)[0] == 0
    monkeypatch.setattr(sys, "stdin", Pipe(Path("p.jpg").read_bytes()))
    monkeypatch.setattr(sys, "stdout", Pipe())
    code, _, told = cli("apply", "-", "-a", 0.5, "-o", "-", *common)
    assert code == 0
    assert told.startswith("standard input: alpha 0.5")
    assert sys.stdout.data == Path("file.jpg").read_bytes()
    monkeypatch.setattr(sys, "stdout", Pipe())
    assert cli("apply", "p.jpg", "-a", 0.5, "-o", "-", "--format", "png", *common)[0] == 0
    assert Image.open(io.BytesIO(sys.stdout.data)).format == "PNG"
    monkeypatch.setattr(sys, "stdin", Pipe(b"words"))
    code, _, told = cli("apply", "-", "-a", 0.5, "-o", "x.png", *common)
    assert code == 3
    assert "standard input: is not a picture" in told


@pytest.mark.parametrize(
    ("stream", "words"), [("stdin", ["-", "-o", "x.png"]), ("stdout", ["p.png", "-o", "-"])]
)
def test_a_terminal_neither_gives_nor_takes_a_picture(cli, common, monkeypatch, stream, words):
    monkeypatch.setattr(sys, stream, Pipe(terminal=True))
    code, _, told = cli("apply", *words, *common)
    assert code == 2
    assert "is a terminal" in told


def test_a_reader_that_leaves_ends_the_command_without_a_word(tmp_path: Path):
    for i in range(2500):
        (tmp_path / f"a_rather_long_name_for_a_picture_{i}.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    process = run_apart(["apply", tmp_path, "-n", "-o", tmp_path / "out"])
    assert process.stdout
    assert process.stdout.readline()
    process.stdout.close()
    assert process.stderr
    assert process.stderr.read() == ""
    assert process.wait() == 141


@pytest.mark.parametrize("stream", ["stdout", "stderr"])
def test_a_broken_pipe_is_no_fault_of_either_stream(monkeypatch, stream):
    reading, writing = os.pipe()
    os.close(reading)
    tell = {"stdout": console.emit, "stderr": console.say}[stream]
    with open(writing, "w", buffering=1) as broken:
        monkeypatch.setattr(sys, stream, broken)
        with pytest.raises(SystemExit) as stop:
            tell("words")
    assert stop.value.code == 141


def test_words_are_written_as_the_streams_encoding_has_them(monkeypatch):
    monkeypatch.setattr(sys, "stdout", Pipe(encoding="ascii"))
    console.emit("d\u00e9j\u00e0\n\udcff")
    assert sys.stdout.data == b"d\\xe9j\\xe0\\n\\udcff\n"


# Interrupts and a full disk


@pytest.mark.parametrize(("number", "expected"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_the_run_with_its_code(cli, common, monkeypatch, number, expected):
    Path("in/c.png").write_bytes(Path("p.png").read_bytes())
    restore = batch.restore
    before = signal.getsignal(number)

    def interrupted(*words):
        if Path("out/a.png").exists():
            os.kill(os.getpid(), number)
        time.sleep(0.2)  # for the writer to be done with the first
        return restore(*words)

    monkeypatch.setattr(batch, "restore", interrupted)
    code, _, told = cli("apply", "in", "-a", 0.5, "-o", "out", *common)
    assert code == expected
    assert "stopping" in told
    assert files("out") < {"a.png", "c.png", "more/b.jpg"}
    assert signal.getsignal(number) is before


def test_a_second_signal_ends_it_at_once(monkeypatch):
    ends: list[int] = []
    monkeypatch.setattr(os, "_exit", ends.append)

    def stop_twice() -> None:
        with console.stoppable():
            try:
                signal.raise_signal(signal.SIGINT)
            finally:
                signal.raise_signal(signal.SIGTERM)

    with pytest.raises(SystemExit) as stop:
        stop_twice()
    assert stop.value.code == 130
    assert ends == [143]


def test_an_interrupted_process_leaves_whole_pictures_and_the_next_run_goes_on(cli, common: Words):
    for i in range(40):
        Path(f"in/{i}.png").hardlink_to("p.png")
    words = ["apply", "in", "-a", 0.5, "-o", "out", "--manifest", "m", *common]
    process = run_apart(words)
    assert process.stdout
    assert process.stdout.readline()
    process.send_signal(signal.SIGINT)
    process.communicate()
    assert process.returncode == 130
    there = files("out")
    assert 0 < len(there) < 42
    for name in there:
        Image.open(Path("out", name)).load()
    code, printed, told = cli(*words)
    assert code == 0, told
    assert len(printed.splitlines()) == 42 - len(there)


def test_a_full_disk_stops_the_run_and_is_told_once(cli, common: Words, monkeypatch):
    Path("in/c.png").write_bytes(Path("p.png").read_bytes())

    def full(descriptor: int) -> None:
        if Path("out/a.png").exists():
            raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    code, printed, told = cli("apply", "in", "-a", 0.5, "-o", "out", *common)
    assert (code, printed) == (4, "out/a.png\n")
    assert told.count("the disk is full") == 1
    assert files("out") == {"a.png"}


# Progress


def test_on_a_terminal_there_is_a_bar_with_rate_and_time_left(cli, common: Words, monkeypatch):
    monkeypatch.setattr(sys, "stderr", Pipe(terminal=True))
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "100")
    code, printed, _ = cli("apply", "in", "-a", 0.5, "-o", "out", *common)
    shown = sys.stderr.data.decode()
    assert (code, printed) == (0, "out/a.png\nout/more/b.jpg\n")
    assert "2/2" in shown
    assert "Mpx/s" in shown
    assert "0:00:" in shown
    assert "in/more/b.jpg: alpha 0.5" in shown


@pytest.mark.parametrize(
    ("more", "on_stdout", "on_stderr"),
    [([], False, True), (["-q"], True, False), (["--json"], True, False)],
)
def test_where_a_terminal_shows_both_streams_nothing_is_said_twice(
    cli, common: Words, monkeypatch, more, on_stdout, on_stderr
):
    for stream in ("stdout", "stderr"):
        monkeypatch.setattr(sys, stream, Pipe(terminal=True))
    with contextlib.suppress(SystemExit):
        cli("apply", "p.png", "-a", 0.5, "-o", "out.png", *more, *common)
    assert (b"out.png" in sys.stdout.data) == on_stdout
    assert (b"out.png" in sys.stderr.data) == on_stderr


def test_a_style_is_chosen_when_it_is_applied(cli, photos: Path, tmp_path: Path):
    model, style = tmp_path / "any.safetensors", sorted(photos.glob("*.png"))[0]
    run = ["--data", photos, "--steps", 2, "--batch", 2, "--patch", 32, "--device", "cpu"]
    assert cli("train", "--task", "restyle", "--style", photos, *run, "-o", model)[0] == 0
    words = ["apply", style, "-m", model, "--device", "cpu", "--alpha", 0.6]
    assert cli(*words, "--style", style, "-o", tmp_path / "a.png")[0] == 0
    both = ["--style", style, "--style", photos / "more" / "photo1.png", "--style-shares", "2,1"]
    assert cli(*words, *both, "-o", tmp_path / "b.png")[0] == 0
    assert (tmp_path / "a.png").read_bytes() != (tmp_path / "b.png").read_bytes()
    for wrong, message in (
        (["--style-shares", "1"], "no --style to share out"),
        (["--style", style, "--style-shares", "1,2"], "do not fit"),
        (["--style", tmp_path / "none.png"], "there is no such file"),
        (["-m", "denoise", "--style", style], "no style to choose"),
    ):
        code, _, err = cli(*words, *wrong, "-o", tmp_path / "c.png")
        assert code in (2, 3)
        assert message in err
    assert not (tmp_path / "c.png").exists()


def test_alphas_a_site_and_a_knob_with_two_ends(cli, photos: Path, tmp_path: Path):
    base, model, style = tmp_path / "b.safetensors", tmp_path / "m.safetensors", "photo0.png"
    run = ["--data", photos, "--steps", 2, "--batch", 2, "--patch", 32, "--device", "cpu"]
    tiny = ["--network-field", "width=4", "--network-field", "blocks=1"]
    assert cli("train", "--task", "style", *tiny, *run, "-o", base)[0] == 0
    ends = ["--style", photos / style, "--lower-style", photos / "more" / "photo1.png"]
    assert cli("finetune", base, "--tuner", "dynamic-net", *ends, *run, "-o", model)[0] == 0
    out = tmp_path / "out"
    words = ["apply", photos / style, "-m", model, "--device", "cpu", "-o", out]
    code, stdout, _ = cli(*words, "--alpha", "0.3/0.5/0,-0.5", "--json")
    assert code == 0
    lines = [json.loads(line) for line in stdout.splitlines()]
    done = [line for line in lines if line.get("status") == "done"]
    assert [(line["alpha"], line["level"]) for line in done] == [
        ([0.3, 0.5, 0.0], None),
        (-0.5, -0.5),
    ]
    assert sorted(path.name for path in out.iterdir()) == [
        "photo0_alpha-0.5.png",
        "photo0_alpha0.3_0.5_0.png",
    ]
    for alpha, message in (
        ("0.3/0.5", "2 alphas"),
        ("0.3/x", "not a list"),
        ("-1.5", "outside -1"),
    ):
        code, _, err = cli(*words, "--alpha", alpha)
        assert code == 2
        assert message in err


def test_pictures_that_are_not_read_are_counted(cli, common):
    Path("in/old").mkdir()
    for name in ("in/x.CR2", "in/old/y.cr2", "in/z.jp2", "in/.w.psd", "in/notes.txt"):
        Path(name).write_bytes(b"x")
    code, _, told = cli("apply", "in", "-a", 0.5, "-o", "out", *common)
    assert code == 0
    assert "left alone: 2 .cr2, 1 .jp2\n" in told
    assert "left alone" not in cli("apply", "in", "-a", 0.4, "-q", "-o", "quiet", *common)[2]


# What has been found by using it


def test_a_run_with_nothing_to_do_loads_no_torch(cli, common: Words):
    words = ["apply", "in", "-a", 0.3, "-o", "out", "--manifest", "done.jsonl", *common]
    assert cli(*words)[0] == 0
    assert not modules_after(words) & {"torch"}
    code, printed, told = cli(*words)
    assert (code, printed) == (0, "")
    assert told.splitlines()[-1] == "tunectl: 0 done, 2 skipped, 0 failed"
    code, printed, _ = cli(*words, "--json")
    assert [json.loads(line)["reason"] for line in printed.splitlines()] == 2 * ["up to date"]


def test_a_missing_model_map_or_style_is_told_in_a_dry_run_too(cli, common: Words):
    for words in (["-m", "nosuch"], ["--alpha-map", "no.png"], ["--style", "no.png"]):
        code, printed, told = cli("apply", "p.png", *common, *words, "-n")
        assert code in (2, 3)
        assert printed == ""
        assert words[1] in told.splitlines()[0]


def test_alphas_that_files_do_not_tell_apart_are_one(cli, common: Words):
    words = ["-a", "0.3,0.30000000000000004", "-o", "out", "-n"]
    assert cli("apply", "p.png", *words, *common)[1] == "p.png -> out/p.png\n"


def test_a_format_may_have_its_dot(cli, common: Words):
    assert cli("apply", "p.png", "--format", ".webp", "-n", *common)[1] == "p.png -> p_out.webp\n"


def test_a_shard_without_pictures_says_so(cli, common: Words):
    told = [cli("apply", "p.png", "--shard", f"{i}/2", "-n", *common) for i in (1, 2)]
    assert sorted(code for code, _, _ in told) == [0, 0]
    assert sum("has no picture" in words for _, _, words in told) == 1


def test_a_transparent_map_is_refused(cli, common: Words):
    mask = Image.new("LA", Image.open("p.png").size, (255, 255))
    mask.save("whole.png")
    assert cli("apply", "p.png", "--alpha-map", "whole.png", "-o", "a.png", *common)[0] == 0
    mask.putpixel((3, 3), (255, 0))
    mask.save("mask.png")
    code, _, told = cli("apply", "p.png", "--alpha-map", "mask.png", "-o", "b.png", *common)
    assert (code, "mask.png: is transparent in parts" in told) == (3, True)


def test_a_profile_that_fits_no_more_is_told(cli, common: Words):
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    Image.open("p.png").convert("L").save("g.jpg", icc_profile=profile)
    _, _, told = cli("apply", "g.jpg", "-a", 0.3, "-o", "h.jpg", *common)
    assert told.endswith("; a profile that does not fit it was left out\n")
    Image.open("p.png").convert("L").save(
        "i.png", icc_profile=profile[:16] + b"GRAY" + profile[20:]
    )
    words = ["-m", "starry-night", "--device", "cpu", "-a", 0.1, "-o", "j.png"]
    assert cli("apply", "i.png", *words)[2].endswith("; its profile was left out\n")


def test_few_bits_a_sample_become_eight_and_that_is_told(cli, common: Words):
    photo = Image.open("p.png")
    photo.quantize(16).save("palette.png")
    photo.convert("1").save("bits.png")
    photo.convert("1").save("bits.tif")
    words = ["apply", "palette.png", "bits.png", "bits.tif", "-a", 0.3, "-o", "out"]
    _, _, told = cli(*words, *common)
    ends = [line.rpartition("; ")[2] for line in told.splitlines()[:3]]
    assert ends == ["its palette became 8 bits a sample", *2 * ["its 1 bit a sample became 8"]]


def test_webp_keeps_its_quality_as_it_is_lossless(cli, common: Words):
    Image.open("p.png").save("a.webp", lossless=True)
    words = ["-a", 0.3, "--blend", 0, "--quality", "keep", "-o", "b.webp"]
    assert cli("apply", "a.webp", *words, *common)[0] == 0
    assert np.array_equal(np.asarray(Image.open("a.webp")), np.asarray(Image.open("b.webp")))
