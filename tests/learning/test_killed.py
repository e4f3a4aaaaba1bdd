from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import draw
from PIL import Image


@pytest.mark.skipif(os.name != "posix", reason="forks")
@pytest.mark.slow
def test_a_run_that_is_killed_fifty_times_ends_where_it_would_have(tmp_path: Path):
    (tmp_path / "photos").mkdir()
    for i in range(2):
        Image.fromarray(draw(40, 48, i)).save(tmp_path / "photos" / f"{i}.png")
    script = Path(__file__).with_name("killed.py")
    words = [sys.executable, script, tmp_path / "photos", tmp_path, "50"]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    killed, moved, finished = map(int, done.stdout.split()[-3:])
    assert killed == 50
    assert moved >= 10
    assert finished >= 1
