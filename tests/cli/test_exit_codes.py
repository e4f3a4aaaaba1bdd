"""Every exit code that the README promises, by a command that ends with it."""

from __future__ import annotations

import errno
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from conftest import draw
from PIL import Image

from tunectl.cli import console

README = Path(__file__).parents[2] / "README.md"


def ends_well(cli, folder: Path, model: Path) -> int:
    return cli("apply", folder / "good.png", "-m", model, "-o", folder / "out.png", "-a", 0.5)[0]


def one_of_two_fails(cli, folder: Path, model: Path) -> int:
    (folder / "bad.png").write_bytes(b"\x89PNG\r\n\x1a\n nothing more")
    code: int = cli("apply", folder, "-m", model, "-o", folder / "out", "-a", 0.5)[0]
    assert (folder / "out" / "good.png").exists()
    return code


def wrong_usage(cli, folder: Path, model: Path) -> int:
    assert cli("apply", "--no-such-option")[0] == 2
    return cli("apply", folder / "good.png", "-m", model, "-a", 1.5)[0]


def refused(cli, folder: Path, model: Path) -> int:
    assert cli("apply", folder / "good.png", "-m", "no-such-model")[0] == 3
    torn = folder / "torn.safetensors"
    torn.write_bytes(model.read_bytes()[:-9])
    assert cli("apply", folder / "good.png", "-m", torn)[0] == 3
    (folder / "bad.png").write_bytes(b"\x89PNG\r\n\x1a\n nothing more")
    return cli("apply", folder / "bad.png", "-m", model, "-o", folder / "o.png", "-a", 0)[0]


def no_such_device(cli, folder: Path, model: Path) -> int:
    device = f"cuda:{torch.cuda.device_count()}"
    return cli("apply", folder / "good.png", "-m", model, "-a", 0.5, "--device", device)[0]


def diverges(cli, folder: Path, _model: Path) -> int:
    fields = ["--network-field", "width=8", "--network-field", "blocks=1"]
    words = ["train", "--data", folder, "--level", 25, "--network", "adafm-net", *fields]
    words += ["--steps", 40, "--batch", 2, "--draws", 1, "--patch", 16, "--lr", 1e30, "--warmup", 0]
    return cli(*words, "--device", "cpu", "-o", folder / "m.safetensors")[0]


def _stopped(folder: Path, model: Path, number: int) -> int:
    (folder / "many").mkdir()
    for i in range(40):
        (folder / "many" / f"{i}.png").hardlink_to(folder / "good.png")
    words = ["apply", folder / "many", "-m", model, "-o", folder / "out", "-a", 0.5]
    process = subprocess.Popen(
        [sys.executable, "-m", "tunectl", *map(str, words)],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    assert process.stdout
    process.stdout.readline()  # the first picture is done
    process.send_signal(number)
    process.communicate()
    return process.returncode


def interrupted(_cli, folder: Path, model: Path) -> int:
    return _stopped(folder, model, signal.SIGINT)


def terminated(_cli, folder: Path, model: Path) -> int:
    return _stopped(folder, model, signal.SIGTERM)


def hung_up(_cli, folder: Path, model: Path) -> int:
    return _stopped(folder, model, signal.SIGHUP)


def nobody_reads(_cli, _folder: Path, _model: Path) -> int:
    assert _unread("models", "list", "--json") == 141
    assert _unread("--version") == 141
    return _unread("models", "list")


def _unread(*words: str) -> int:
    process = subprocess.Popen(
        [sys.executable, "-c", "import time; time.sleep(1); from tunectl.cli.app import main; "
         f"import sys; sys.argv = ['tunectl', *{words!r}]; main()"],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )  # fmt: skip
    assert process.stdout
    process.stdout.close()
    return process.wait()


CODES: dict[int, Callable[..., int]] = {
    0: ends_well,
    1: one_of_two_fails,
    2: wrong_usage,
    3: refused,
    4: no_such_device,
    5: diverges,
    129: hung_up,
    130: interrupted,
    141: nobody_reads,
    143: terminated,
}


@pytest.mark.parametrize("code", CODES)
def test_exit_code(code: int, cli, tmp_path: Path, tunable_file: Path):
    Image.fromarray(draw(48, 40, 0)).save(tmp_path / "good.png")
    model = tmp_path / "model" / "m.safetensors"
    model.parent.mkdir()
    shutil.copy(tunable_file, model)
    assert CODES[code](cli, tmp_path, model) == code


def test_what_the_system_refuses_is_told_in_two_lines(capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit) as ended, console.exit_codes():
        raise PermissionError(errno.EACCES, "Permission denied", "some/file")
    assert ended.value.code == 4
    assert capsys.readouterr().err == (
        "tunectl: some/file: Permission denied\n  check that you may use it\n"
    )


@pytest.mark.skipif(os.name != "posix", reason="shell")
def test_closed_streams_and_a_removed_folder_are_borne(tmp_path: Path):
    def by_shell(words: str) -> subprocess.CompletedProcess[str]:
        (tmp_path / "here").mkdir(exist_ok=True)
        command = ["sh", "-c", words, "sh", sys.executable, "-m", "tunectl", "models", "list"]
        return subprocess.run(command, capture_output=True, text=True, cwd=tmp_path / "here")

    usual = by_shell('exec "$@"')
    assert (by_shell('exec "$@" <&- >&-').returncode, usual.returncode) == (0, 0)
    silent = by_shell('exec "$@" 2>&-')  # what is said does not come out among the results
    assert (silent.stdout, silent.stderr) == (usual.stdout, "")
    gone = by_shell('rmdir ../here; exec "$@"')
    assert (gone.returncode, gone.stderr.count("\n")) == (2, 2)
    assert gone.stderr.startswith("tunectl: the current folder: ")


def test_these_are_the_readmes():
    sentence = README.read_text().partition("Exit codes:")[2].partition("`TUNECTL")[0]
    assert sorted(map(int, re.findall(r"\b\d+\b", sentence))) == sorted(CODES)
