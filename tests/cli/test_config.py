from __future__ import annotations

import tomllib
from pathlib import Path

import pytest
from PIL import Image

from tunectl.header import read_header

NET = 'network = "adafm-net"\nnetwork-field = ["width=4", "blocks=1"]\n'


@pytest.fixture
def config(tmp_path: Path, photos: Path) -> Path:
    path = tmp_path / "run.toml"
    text = f'data = "{photos}"\nlevel = 15\nsteps = 2\nbatch = 2\ndraws = 1\npatch = 16\n'
    path.write_text(text + NET + f'output = "{tmp_path / "m.safetensors"}"\ncard = "a \\"b\\" ü"\n')
    return path


def test_a_run_from_a_file_and_flags_that_win(cli, config: Path, tmp_path: Path):
    first = cli("train", "--config", config, "--seed", 3, "--device", "cpu", "--stop-after", 1)
    assert "without --stop-after goes on" in first[2]
    code, out, err = cli("train", "--config", config, "--seed", 3, "--device", "cpu", "--fresh")
    assert code == 0, err
    header = read_header(Path(out.strip()))
    assert header.level == (15, 15)
    assert header.card == 'a "b" ü'
    assert header.provenance["seed"] == 3
    kept = tomllib.loads((tmp_path / "m.safetensors.run" / "config.toml").read_text())
    assert kept["seed"] == 3
    assert kept["lr"] == 1e-3
    assert not {"fresh", "stop-after"} & kept.keys()
    assert kept["network-field"] == ["width=4", "blocks=1"]
    again = cli("train", "--config", tmp_path / "m.safetensors.run" / "config.toml")
    assert again[0] == 0
    assert "finished already" in again[2]


def test_print_config_is_a_config(cli, config: Path, tmp_path: Path):
    code, out, err = cli("train", "--config", config, "--lr", "3e-4", "--print-config")
    assert (code, err) == (0, "")
    found = tomllib.loads(out)
    assert found["lr"] == 3e-4
    assert found["steps"] == 2
    assert "minutes" not in found
    assert not (tmp_path / "m.safetensors").exists()
    config.write_text(out)
    assert cli("train", "--config", config, "--print-config")[1] == out


def test_a_flag_takes_the_place_of_the_files_other_word_for_it(cli, config: Path, tmp_path: Path):
    _, out, _ = cli("train", "--config", config, "--minutes", 2, "--print-config")
    assert "minutes = 2.0\n" in out
    assert "steps" not in out
    both = tmp_path / "apply.toml"
    both.write_text("level = 9\n")
    _, out, _ = cli("apply", "a.png", "--config", both, "--alpha", 0.3, "--print-config")
    assert 'alpha = "0.3"' in out
    assert "level" not in out
    both.write_text('alpha = "0.3"\nlevel = 9\n')  # what the file says twice stays wrong
    code, _, told = cli("apply", "a.png", "-m", "photo", "--config", both)
    assert (code, "--alpha and --level are both given" in told) == (2, True)
    both.write_text("level = 25\n")  # which is not another word for evaluate's alpha
    _, out, _ = cli("evaluate", ".", "--config", both, "--alpha", "auto", "--print-config")
    assert 'level = "25"' in out


def test_apply_takes_a_config_too(cli, tmp_path: Path, tunable_file: Path):
    Image.new("RGB", (40, 30), "red").save(tmp_path / "in.png")
    config = tmp_path / "apply.toml"
    config.write_text(f'model = "{tunable_file}"\nalpha = 0.5\nsuffix = "_x"\nquiet = true\n')
    code, out, err = cli("apply", tmp_path / "in.png", "--config", config)
    assert (code, err) == (0, "")
    assert out.strip() == str(tmp_path / "in_x.png")
    code, out, _ = cli("apply", tmp_path / "in.png", "--config", config, "--suffix", "_y")
    assert out.strip() == str(tmp_path / "in_y.png")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("stepz = 3", ["has no option 'stepz'", "did you mean steps?"]),
        ("steps = ", ["is not TOML"]),
        ("exclude = 'a'", ["exclude takes several values"]),
        ("tensorboard = 1", ["tensorboard is on or off"]),
        ("card = true", ["card takes one value"]),
        ("steps = [1]", ["steps takes one value"]),
        ("steps = 'many'", ["steps"]),
        ("config = 'other.toml'", ["has no option 'config'"]),
        ('output = "a\\u0000b.safetensors"', ["output holds a zero byte"]),
    ],
)
def test_what_a_config_cannot_say(cli, tmp_path: Path, text: str, words: list[str]):
    path = tmp_path / "wrong.toml"
    path.write_text(text)
    code, out, err = cli("train", "--config", path, "-o", "m.safetensors", "--data", tmp_path)
    assert (code, out) == (2, "")
    for word in words:
        assert word in err
    assert "Traceback" not in err


def test_a_config_as_powershell_writes_it(cli, config: Path):
    words = ["--data", config.parent, "--print-config", "--config", config]
    plain = cli("train", *words)
    config.write_text(config.read_text(), encoding="utf-16")
    assert plain[0] == 0
    assert cli("train", *words) == plain


def test_a_config_that_is_not_there(cli, tmp_path: Path):
    code, _, err = cli("apply", "x.png", "--config", tmp_path / "none.toml")
    assert code == 2
    assert "No such file" in err
