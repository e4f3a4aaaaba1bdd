from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tunectl import checkpoint
from tunectl.cli.app import app

COMMANDS = ["train", "finetune", "interpolate", "apply", "evaluate"]


def modules_of(code: str) -> set[str]:
    """The top-level modules that a fresh interpreter holds after running `code`."""
    ending = "\nimport sys; print('\\n'.join({name.partition('.')[0] for name in sys.modules}))"
    words = [sys.executable, "-c", code + ending]
    return set(subprocess.run(words, capture_output=True, text=True, check=True).stdout.split())


@pytest.mark.parametrize("words", [["--help"], ["apply", "--help"], ["--version"]])
def test_help_loads_no_torch(words):
    code = (
        f"import sys; sys.argv = ['tunectl', *{words!r}]\n"
        "from tunectl.cli.app import main\n"
        "try: main()\nexcept SystemExit: pass"
    )
    loaded = modules_of(code)
    assert "typer" in loaded
    assert not loaded & {"torch", "torchvision", "numpy", "PIL", "safetensors"}


def test_importing_tunectl_loads_nothing_heavy():
    assert not modules_of("import tunectl") & {"torch", "torchvision", "numpy", "PIL", "typer"}


def test_apply_loads_no_torchvision(tunable_file: Path, photos: Path, tmp_path: Path):
    words = ["tunectl", "apply", str(photos / "photo0.png"), "-m", str(tunable_file), "-a", "0.3"]
    words += ["-o", str(tmp_path / "out.png"), "--device", "cpu"]
    loaded = modules_of(
        f"import sys; sys.argv = {words!r}\nfrom tunectl.cli.app import main\n"
        "try: main()\nexcept SystemExit as stop: assert not stop.code"
    )
    assert "torch" in loaded
    assert "torchvision" not in loaded
    assert (tmp_path / "out.png").exists()


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help_with_an_example(cli, command):
    code, out, _ = cli(command, "--help")
    assert code == 0
    assert f"tunectl {command} " in out


def test_the_commands_are_those_of_the_readme(cli):
    code, out, _ = cli("--help")
    assert code == 0
    assert [c.callback.__name__ for c in app.registered_commands] == COMMANDS
    assert all(command in out for command in COMMANDS)


def test_apply_one_picture(cli, tunable_file: Path, photos: Path, tmp_path: Path):
    out = tmp_path / "out.png"
    code, printed, _ = cli("apply", photos / "photo0.png", "-m", tunable_file, "-a", 0.3, "-o", out)
    assert code == 0
    assert printed.strip() == str(out)
    before, after = Image.open(photos / "photo0.png"), Image.open(out)
    assert after.size == before.size
    assert not np.array_equal(np.asarray(before), np.asarray(after))


def test_apply_several_alphas_and_levels(cli, tunable_file: Path, photos: Path, tmp_path: Path):
    picture = photos / "photo0.png"
    code, _, _ = cli("apply", picture, "-m", tunable_file, "-a", "0,0.5,1", "-o", tmp_path)
    assert code == 0
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {f"photo0_alpha{a}.png" for a in ("0", "0.5", "1")}
    code, _, _ = cli("apply", picture, "-m", tunable_file, "--level", 20, "-o", tmp_path / "l")
    assert code == 0
    assert (tmp_path / "l").exists()


def test_apply_a_folder_keeps_its_tree_and_goes_on_after_a_bad_file(
    cli, tunable_file: Path, photos: Path, tmp_path: Path
):
    source = tmp_path / "in"
    (source / "more").mkdir(parents=True)
    for name in ("a.png", "more/b.jpg"):
        Image.open(photos / "photo0.png").convert("L" if "b" in name else "RGB").save(source / name)
    (source / "broken.png").write_bytes((source / "a.png").read_bytes()[:200])
    code, _, err = cli("apply", source, "-m", tunable_file, "-a", 0.5, "-o", tmp_path / "out")
    assert code == 1
    assert "broken.png: is damaged" in err
    assert "Traceback" not in err
    assert Image.open(tmp_path / "out" / "a.png").mode == "RGB"
    assert Image.open(tmp_path / "out" / "more" / "b.jpg").mode == "L"
    assert not (tmp_path / "out" / "broken.png").exists()


def test_tiled_and_untiled_give_the_same_file(cli, photos: Path, tmp_path: Path):
    photo = Image.open(photos / "more" / "photo5.png").resize((500, 300))
    photo.save(tmp_path / "in.png")
    for name, tile in (("a.png", 256), ("b.png", 4096)):
        words = ["-m", "denoise", "-a", 0.5, "-o", tmp_path / name, "--tile", tile]
        assert cli("apply", tmp_path / "in.png", *words)[0] == 0
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()


@pytest.mark.parametrize(
    ("policy", "expected"), [("skip", 0), ("overwrite", 0), ("rename", 0), ("error", 2)]
)
def test_if_exists(cli, tunable_file: Path, photos: Path, tmp_path: Path, policy, expected):
    out = tmp_path / "out.png"
    out.write_bytes(b"mine")
    words = ["-m", tunable_file, "-a", 0.5, "-o", out, "--if-exists", policy]
    assert cli("apply", photos / "photo0.png", *words)[0] == expected
    assert (out.read_bytes() == b"mine") == (policy != "overwrite")
    assert (tmp_path / "out_2.png").exists() == (policy == "rename")


def test_inputs_are_never_written_over_and_clashes_are_found_first(
    cli, tunable_file: Path, photos: Path, tmp_path: Path
):
    for name in ("x/a.png", "y/a.png"):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).write_bytes((photos / "photo0.png").read_bytes())
    x, y = tmp_path / "x" / "a.png", tmp_path / "y" / "a.png"
    before = x.read_bytes()
    common = ["-m", tunable_file, "-a", 0.5]
    for words in (
        [x, "-o", x, "--if-exists", "overwrite"],
        [x, "-o", tmp_path / "x", "--if-exists", "overwrite"],
        [x, y, "-o", tmp_path / "out"],
        [x, y, "-o", tmp_path / "one.png"],
        [tmp_path / "x"],
        [tmp_path / "none.png"],
    ):
        code, _, err = cli("apply", *words, *common)
        assert code == 2
        assert len(err.strip().splitlines()) == 2
    assert x.read_bytes() == before
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("words", "code", "cause"),
    [
        (["apply", "p.png", "-a", "1.5"], 2, "outside 0 to 1"),
        (["apply", "p.png", "-a", "much"], 2, "not a list of numbers"),
        (["apply", "p.png"], 2, "needs a strength"),
        (["apply", "p.png", "--level", "500"], 2, "outside this model's"),
        (["apply", "p.png", "-a", "1", "--level", "3"], 2, "both given"),
        (["apply", "p.png", "-a", "1", "--device", "tpu"], 2, "device"),
        (["apply", "p.png", "-a", "1", "--precision", "fp8"], 2, "precision"),
        (["apply", "p.png", "-a", "1", "-o", "p.xyz"], 2, "no format"),
        (["apply", "text.png", "-a", "1", "-o", "o.png"], 3, "not a picture"),
        (["apply", "p.png", "-a", "1", "-m", "nothing"], 3, "no model is called"),
        (["apply", "p.png", "-a", "1", "-m", "text.safetensors"], 3, "safetensors"),
        (["interpolate", "MODEL", "-o", "x.safetensors"], 2, "not clear"),
        (["train", "--data", ".", "--level", "15", "-o", "x.safetensors"], 2, "length"),
        (["train", "--data", "none", "--level", "5", "--steps", "1", "-o", "x"], 3, "not a folder"),
        (["train", "--data", ".", "--level", "a-b", "--steps", "1", "-o", "x"], 2, "not a level"),
        (["evaluate", ".", "--level", "x"], 2, "not a list"),
    ],
)
def test_bad_input_gets_two_lines_and_a_code(
    cli, tunable_file: Path, photos: Path, tmp_path: Path, monkeypatch, words, code, cause
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "p.png").write_bytes((photos / "photo0.png").read_bytes())
    (tmp_path / "text.png").write_text("words")
    (tmp_path / "text.safetensors").write_text("words of more than eight bytes")
    words = [str(tunable_file) if word == "MODEL" else word for word in words]
    if words[0] in ("apply", "evaluate") and "-m" not in words:
        words += ["-m", str(tunable_file)]
    got, _, err = cli(*words)
    assert got == code
    assert cause in err
    assert len(err.strip().splitlines()) == 2
    assert "Traceback" not in err


def test_train_finetune_interpolate_and_evaluate(cli, photos: Path, tmp_path: Path):
    base, tuned, plain = (tmp_path / f"{n}.safetensors" for n in ("base", "tuned", "plain"))
    run = ["--data", photos, "--steps", 4, "--batch", 2, "--patch", 24, "--seed", 1]
    run += ["--device", "cpu"]
    fields = ["--network-field", "width=8", "--network-field", "blocks=1"]
    train = ["--task", "denoise", "--network", "adafm-net", "--level", 15, *fields]
    code, out, err = cli("train", *train, *run, "-o", base)
    assert code == 0
    assert out.strip() == str(base)
    assert "dB at level" in err
    tuner = ["--tuner", "ftn", "--tuner-field", "groups=4", "--way", "path", "--level", 50]
    code, _, _ = cli("finetune", base, *tuner, *run, "-o", tuned, "--store", "fp16")
    assert code == 0
    header = checkpoint.read_header(tuned)
    assert header.dtype == "fp16"
    assert header.tuner == checkpoint.Part("ftn", {"groups": 4})
    assert "--tuner ftn" in header.provenance["command"]
    assert str(tmp_path) not in header.provenance["command"]
    code, _, _ = cli("interpolate", tuned, "--alpha", 0.3, "-o", plain)
    assert code == 0
    assert checkpoint.read_header(plain).plain
    mixed = tmp_path / "mixed.safetensors"
    code, _, _ = cli("interpolate", base, plain, plain, "--mix", "0.5,0.3,0.2", "-o", mixed)
    assert code == 0
    words = ["-m", tuned, "-m", plain, "--level", "15,50", "--limit", 2, "--device", "cpu"]
    code, table, _ = cli("evaluate", photos, *words, "-a", "0,calibrated")
    assert code == 0
    rows = [line for line in table.splitlines() if line.startswith("| ")]
    assert [row.split("|")[1:3] for row in rows] == [
        [" model ", " alpha "],
        [" tuned ", " 0 "],
        [" tuned ", " calibrated "],
        [" plain ", " - "],
    ]
    code, text, _ = cli("evaluate", photos, *words, "--json", "--gray")
    assert code == 0
    report = json.loads(text)
    assert report["schema"] == 1
    assert len(report["rows"][0]["pictures"]["15"]) == 2
