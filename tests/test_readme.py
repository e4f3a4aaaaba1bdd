"""What the README prints, run as printed on small data, with the installed command."""

from __future__ import annotations

import dataclasses
import math
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from strangers import AuthorsAdaFM, drunet, esrgan, saved

from tunectl.networks import NETWORKS
from tunectl.tasks import TASKS
from tunectl.tuners import TUNERS

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
BLOCKS = re.findall(r"```(\w+)\n(.*?)```", README, re.DOTALL)
COMMANDS = [
    line
    for kind, block in BLOCKS
    if kind == "sh"
    for line in block.splitlines()
    if line.startswith("tunectl ") and " pull " not in line  # which needs a network
]
SMALL = (
    " --batch 2 --patch 24 --device cpu --network-field widths=8,12 --network-field encoder=1,1"
    " --network-field decoder=1"
)


@pytest.fixture(scope="module")
def room(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with what the commands name: `photos` and the example."""
    room = tmp_path_factory.mktemp("readme")
    shutil.copytree(photos, room / "photos")
    for path in [*ROOT.glob("weights/example/*"), *ROOT.glob("weights/styles/*")]:
        place = room / path.relative_to(ROOT)
        place.parent.mkdir(parents=True, exist_ok=True)
        Image.open(path).crop((0, 0, 160, 120)).save(place)  # corners, for time
    for name in ("clean", "noisy"):
        shutil.copytree(photos, room / name)
    torch.save(AuthorsAdaFM(kernel=1).state_dict(), room / "noise15to75.pth")
    for name, network in (
        ("drunet_color", drunet()),
        ("esrgan_psnr", esrgan(0)),
        ("esrgan_gan", esrgan(1)),
    ):
        saved(network, room / f"{name}.safetensors")
    (room / "adapter.py").write_text("def load(path):\n    return lambda noisy, level: noisy\n")
    return room


def shortened(command: str) -> str:
    """The same command for seconds: fewer steps, a smaller network."""
    command = re.sub(r"--(steps \d+|minutes \d+)", "--steps 3", command)
    if " restyle " in command:
        command += " --batch 2 --patch 32"
    elif " train " in command and ("adafm-net" in command or "--task style" in command):
        command += " --batch 2 --patch 24 --network-field width=8 --network-field blocks=1"
    elif " train " in command:
        command += SMALL
    elif " finetune " in command:
        command += " --batch 2 --patch 24"
    return command


def test_every_command_of_the_readme_runs(room: Path, cli, monkeypatch: pytest.MonkeyPatch):
    assert len(COMMANDS) >= 40
    monkeypatch.chdir(room)
    environment = {"PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin"}
    for i, command in enumerate(COMMANDS):
        line = shortened(command)
        if i == 0 or re.search(r"[<>]|--engine ray", line):  # what a shell, or a cluster, starts
            done = subprocess.run(line, shell=True, env=environment, capture_output=True, text=True)
            code, told = done.returncode, done.stderr
        else:
            code, _, told = cli(*shlex.split(line)[1:])
        assert code == 0, f"{line}\n{told}"
    assert (room / "clean.png").exists()
    assert len(list((room / "strengths").iterdir())) == 3
    assert (room / "piped.png").read_bytes() == (room / "automatic.png").read_bytes()


def test_the_main_job_makes_the_example_better(cli, tmp_path: Path):
    out = tmp_path / "better.png"
    assert cli("apply", "--alpha", 0.3, ROOT / "weights/example/noisy.png", "-o", out)[0] == 0
    clean = np.asarray(Image.open(ROOT / "weights/example/clean.png"), dtype=float)

    def psnr(path: Path) -> float:
        error = np.square(np.asarray(Image.open(path), dtype=float) - clean).mean()
        return 10 * math.log10(255**2 / error)

    assert psnr(out) > psnr(ROOT / "weights/example/noisy.png") + 4


def test_the_python_lines_of_the_readme_run(tmp_path: Path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (code,) = [block for kind, block in BLOCKS if kind == "python"]
    picture = Image.open(ROOT / "weights/example/noisy.png").crop((0, 0, 64, 48))
    picture.save("photo.jpg")
    Path("weights").symlink_to(ROOT / "weights")
    space: dict[str, Any] = {}
    exec(code, space)
    assert space["better"].size == picture.size
    assert not hasattr(space["network"], "tuner")


PAGES = ["README.md", "CHANGELOG.md", "weights/README.md", "weights/papers/README.md"]


@pytest.mark.parametrize("page", PAGES)
def test_every_file_and_heading_that_a_page_names_is_there(page):
    text = (ROOT / page).read_text()
    links = re.findall(r"\]\(([^)]+)\)", text)
    for link in links:
        if ":" not in link:
            name, _, heading = link.partition("#")
            file = (ROOT / page).parent / name if name else ROOT / page
            assert file.exists(), link
            if heading:
                titles = re.findall(r"^#+ (.+)$", file.read_text(), re.MULTILINE)
                assert heading in {title.lower().replace(" ", "-") for title in titles}, link
    assert links or page == "CHANGELOG.md"


def test_fields_and_their_defaults_are_told():
    rows = re.findall(r"^\| ((?:`[a-z-]+`(?:, )?)+) \| (.*=.*) \|$", README, re.MULTILINE)
    told = {name: text for names, text in rows for name in re.findall(r"`([a-z-]+)`", names)}
    of_pictures = {"first", "second", "lower"}  # which --style and its like say
    for name, kind in (NETWORKS | TUNERS | TASKS).items():
        for field in dataclasses.fields(kind.Fields):
            if field.name in of_pictures:
                continue
            default = field.default
            if isinstance(default, tuple):
                default = ",".join(map(str, default))
            word = str(default).lower() if isinstance(default, bool) else f"{default}"
            word = f"{default:g}" if isinstance(default, float) else word
            assert f"`{field.name}={word}`" in told[name], (name, field.name, word)
