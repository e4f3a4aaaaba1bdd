from __future__ import annotations

import json
import os
import re
import shutil
import signal
import struct
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import draw
from PIL import Image

from tunectl.cli.app import app
from tunectl.cli.choices import command_line
from tunectl.header import Part, read_header

WHERE = ["--data", ".", "-o", "x.safetensors"]
RUN = ["train", "--steps", "1", *WHERE]
COMMANDS = ["train", "finetune", "interpolate", "apply", "evaluate", "sweep", "inspect"]
COMMANDS += ["calibrate", "convert", "export", "models"]


def modules_of(code: str) -> set[str]:
    """The top-level modules that a fresh interpreter holds after running `code`."""
    ending = "\nimport sys; print('modules:', *{name.partition('.')[0] for name in sys.modules})"
    words = [sys.executable, "-c", code + ending]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    return set(done.stdout.rpartition("modules:")[2].split())


@pytest.mark.parametrize(
    "words",
    [
        ["--help"],
        ["apply", "--help"],
        ["--version"],
        ["models", "list"],
    ],
)
def test_help_loads_no_torch(words):
    code = (
        f"import sys; sys.argv = ['tunectl', *{words!r}]\n"
        "from tunectl.cli.app import main\n"
        "try: main()\nexcept SystemExit as end: assert not end.code"
    )
    loaded = modules_of(code)
    assert "typer" in loaded
    assert not loaded & {"torch", "torchvision", "numpy", "PIL", "safetensors"}


def test_importing_tunectl_loads_nothing_heavy():
    assert not modules_of("import tunectl") & {"torch", "torchvision", "numpy", "PIL", "typer"}


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help_with_an_example(cli, command):
    code, out, _ = cli(command, "--help")
    assert code == 0
    assert f"tunectl {command} " in out


def test_the_commands_are_those_of_the_readme_in_its_order(cli):
    readme = (Path(__file__).parents[2] / "README.md").read_text()
    told = re.findall(r"\*\*(\w+)\*\*", readme.partition("## The methods")[0])
    commands = [c.callback.__name__ for c in app.registered_commands]
    assert commands + [group.name for group in app.registered_groups] == told
    assert sorted(told) == sorted(COMMANDS)
    code, out, _ = cli("--help")
    assert code == 0
    listed = out.partition("Commands:")[2].strip().splitlines()
    assert [line.split()[0] for line in listed] == told
    assert not any(line.endswith("...") for line in listed)  # cut off


@pytest.mark.parametrize(
    ("words", "code", "cause"),
    [
        (["interpolate", "MODEL", "-o", "x.safetensors"], 2, "not clear"),
        (["train", "--data", ".", "--level", "15", "-o", "x.safetensors"], 2, "length"),
        (
            ["train", "--data", "none", "--level", "5", "--steps", "1", "-o", "x.safetensors"],
            3,
            "not a folder",
        ),
        (
            ["train", "--data", ".", "--level", "a-b", "--steps", "1", "-o", "x.safetensors"],
            2,
            "not a level",
        ),
        ([*RUN, "--tuner", "dni", "--level", "0-50", "--power", "0"], 2, "positive power"),
        ([*RUN, "--tuner", "dni", "--level", "0-50", "--knots", "0,nan,1"], 2, "not a list"),
        ([*RUN, "--task", "style", "--style", "a.png", "--loss", "psnr"], 2, "losses of its own"),
        ([*RUN, "--task", "restyle", "--style", "a", "--from-style", "b"], 2, "between no two"),
        (
            [*RUN, "--level", "5", "--network", "adain-net", "--network-field", "levels=5"],
            2,
            "5 levels are more than 4",
        ),
        (["evaluate", ".", "--level", "x"], 2, "not a list"),
        (["interpolate", "MODEL", "-a", "1", "-o", "x"], 2, "not named as a model"),
        (["train", "--data", ".", "--level", "5", "--steps", "1", "-o", "x.pth"], 2, "not named"),
        (["interpolate", "MODEL", "-a", "1", "--card", "c", "-o", "x.safetensors"], 2, "--knob"),
        (
            ["interpolate", "MODEL", "MODEL", "--mix", "1", "--check", "a", "-o", "x.safetensors"],
            2,
            "2 models and 1 weights",
        ),
        ([*RUN, "--level", "0-50", "--tuner-field", "groups=4"], 2, "need one"),
        ([*RUN, "--task", "style", "--style", "a.png", "--patch", "3"], 2, "give --patch 16 or"),
        ([*RUN, "--level", "5", "--pairs", "_a:_b"], 2, "give --noisy"),
        ([*RUN, "--level", "5", "--lr", "nan"], 2, "must be positive"),
        (["train", "--level", "5", "--minutes", "nan", *WHERE], 2, "length must be positive"),
    ],
)
def test_bad_input_gets_two_lines_and_a_code(
    cli, tunable_file: Path, tmp_path: Path, monkeypatch, words, code, cause
):
    monkeypatch.chdir(tmp_path)
    words = [str(tunable_file) if word == "MODEL" else word for word in words]
    if words[0] == "evaluate":
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
    header = read_header(tuned)
    assert header.dtype == "fp16"
    assert header.tuner == Part("ftn", {"groups": 4})
    assert "--tuner ftn" in header.provenance["command"]
    assert str(tmp_path) not in header.provenance["command"]
    code, _, _ = cli("interpolate", tuned, "--alpha", 0.3, "-o", plain)
    assert code == 0
    assert read_header(plain).plain
    mixed = tmp_path / "mixed.safetensors"
    code, _, _ = cli("interpolate", base, plain, plain, "--mix", "0.5,0.3,0.2", "-o", mixed)
    assert code == 0
    joined = tmp_path / "joined.safetensors"
    assert cli("interpolate", base, plain, "--knob", "--store", "fp16", "-o", joined)[0] == 0
    assert read_header(joined).dtype == "fp16"
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
    assert report["schema"] == 3
    assert len(report["tables"][0]["rows"][0]["pictures"]) == 4


@pytest.mark.skipif(sys.platform != "linux", reason="such names are Linux's")
def test_names_of_no_encoding_are_borne_everywhere(
    cli, photos: Path, tunable_file: Path, tmp_path: Path, monkeypatch
):
    """As old archives have them: Latin-1."""
    odd = Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9"))
    shutil.copytree(photos, odd)
    (odd / "photo0.png").rename(odd / os.fsdecode(b"\xfc.png"))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    small = ["--network", "adafm-net", "--network-field", "width=4", "--network-field", "blocks=1"]
    small += ["--batch", 2, "--patch", 24, "--device", "cpu", "--level", 15, "--cache"]
    assert cli(*RUN[:3], "--data", odd, "-o", "m.safetensors", *small)[0] == 0
    assert cli("train", "--data", odd, *small, "--print-config", "-o", "m.safetensors")[0] == 0
    measure = ["--level", "15,30", "--save", "m.csv", "--plot", "m.svg", "--device", "cpu"]
    assert cli("evaluate", odd, "-m", tunable_file, *measure)[0] == 0
    photo = odd / os.fsdecode(b"\xfc.png")
    assert cli("sweep", photo, "-m", tunable_file, "-a", "0,1", "-o", "m.html")[0] == 0
    assert all(Path(f"m.{kind}").stat().st_size for kind in ("safetensors", "csv", "svg", "html"))


def test_models_are_listed_and_shown(cli, tunable_file: Path, tmp_path: Path, monkeypatch):
    monkeypatch.setenv("TUNECTL_HOME", str(tmp_path))
    shutil.copy(tunable_file, tmp_path / "mine.safetensors")
    shutil.copy(tunable_file, tmp_path / "wheat-field.safetensors")
    (tmp_path / "broken.safetensors").write_bytes(b"nothing")
    (tmp_path / "gone.safetensors").symlink_to(tmp_path / "nowhere")
    (tmp_path / "list.safetensors").write_bytes(struct.pack("<Q", 2) + b"[]")
    code, out, err = cli("models", "list")
    assert code == 0
    assert str(tmp_path) in err
    lines = {line.split()[0]: line for line in out.splitlines()}
    assert {"name", "broken", "denoise", "mine", "starry-night", "wheat-field"} <= set(lines)
    assert "sigma 0 to 75" in lines["denoise"]
    assert "Gaussian noise" in lines["denoise"]
    assert ("sigma 0 to 50" in lines["mine"], "yours" in lines["wheat-field"]) == (True, True)
    assert "bytes long" in lines["broken"]
    assert "No such file" in lines["gone"]
    assert "not a safetensors file" in lines["list"]
    code, out, _ = cli("models", "list", "--json")
    found = {model["name"]: model for model in json.loads(out)["models"]}
    assert found["mine"]["header"]["knob"]["levels"] == [0, 50]
    assert (found["broken"]["header"], found["broken"]["own"]) == (None, True)
    for name in ("mine", tunable_file):
        code, out, _ = cli("models", "show", name)
        assert code == 0
        assert "joint way, knots at alpha 0, 1" in out
        assert "calibrated" in out
    assert json.loads(cli("models", "show", "denoise", "--json")[1])["header"]["dtype"] == "fp16"
    code, _, err = cli("models", "show", "nothing")
    assert (code, "no model is called 'nothing'" in err) == (3, True)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "weights.pth").write_bytes(b"\x80\x04.")
    for name in ("weights.pth", "./weights.pth"):
        code, _, err = cli("models", "show", name)
        assert (code, "weights.pth: is only 3 bytes long" in err) == (3, True)
    code, _, err = cli("models", "show", "./nothing")
    assert (code, "./nothing: there is no such file" in err) == (3, True)


def test_no_folder_travels_with_a_model(monkeypatch):
    words = ["train", "--data=/a/photos", "-o/b/m.safetensors", "--card", "a/b", "/c/d.png"]
    monkeypatch.setattr(sys, "argv", ["tunectl", *words])
    assert command_line() == "tunectl train --data=photos -om.safetensors --card a/b d.png"


@pytest.mark.parametrize(
    ("words", "found"),
    [
        ("tunectl apply photo.png -m star", ["starry-night", "starry-to-wheat"]),
        ("tunectl inspect de", ["deblock", "denoise"]),
        ("tunectl models show nothing", []),
        ("tunectl models p", ["pull", "push"]),
    ],
)
def test_the_shell_is_told_names_of_models(words: str, found: list[str]):
    shell = {"_TUNECTL_COMPLETE": "complete_bash", "COMP_WORDS": words, "PATH": os.environ["PATH"]}
    shell["COMP_CWORD"] = str(len(words.split()) - 1)
    done = subprocess.run(
        [sys.executable, "-c", "from tunectl.cli.app import main; main()"],
        env=shell,
        capture_output=True,
        text=True,
    )
    assert sorted(done.stdout.split()) == found, done.stderr


@pytest.mark.skipif(os.name != "posix", reason="terminals")
def test_a_terminal_that_closes_ends_a_run(tmp_path: Path, tunable_file: Path):
    """Nothing can be said any more, and its shell sends the signal a second time."""
    import pty

    for i in range(40):
        Image.fromarray(draw(60, 60, i)).save(tmp_path / f"{i:02}.png")
    words = ["apply", tmp_path, "-m", tunable_file, "-a", 0.5, "-o", tmp_path / "out"]
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "tunectl", *map(str, words)], stdout=theirs, stderr=theirs
    )
    os.close(theirs)
    while b"->" not in os.read(ours, 1000):  # the first picture is told of
        pass
    os.close(ours)
    process.send_signal(signal.SIGHUP)
    process.send_signal(signal.SIGHUP)
    assert process.wait(100) == 129
    found = [Image.open(path) for path in (tmp_path / "out").iterdir()]
    assert 0 < len(found) < 40
    for picture in found:
        picture.load()
