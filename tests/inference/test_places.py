"""Pictures at URLs: fsspec's file system in memory stands for those far away."""

from __future__ import annotations

import base64
import hashlib
import json
import sys
from pathlib import Path

import pytest
from conftest import draw
from PIL import Image

from tunectl.errors import UsageError
from tunectl.inference import places
from tunectl.inference.places import place

upath = pytest.importorskip("upath")

MD5 = hashlib.md5(b"hello").hexdigest()


@pytest.fixture
def bucket(tmp_path: Path):
    """Three pictures, here and at memory://bucket/in."""
    root = upath.UPath("memory://bucket")
    (tmp_path / "in" / "more").mkdir(parents=True)
    for name in ("a.png", "more/b.jpg", "more/c.png"):
        path = tmp_path / "in" / name
        Image.fromarray(draw(40, 50, len(name))).save(path)
        there = root / "in" / name
        there.parent.mkdir(parents=True, exist_ok=True)
        there.write_bytes(path.read_bytes())
    (root / "in" / "note.txt").write_bytes(b"no picture")
    yield root
    root.fs.rm("/bucket", recursive=True)


def test_a_folder_far_away_is_done_as_one_here(cli, bucket, tmp_path: Path, tunable_file: Path):
    options = ["-m", tunable_file, "--alpha", "0.5", "--device", "cpu"]
    assert cli("apply", tmp_path / "in", "-o", tmp_path / "out", *options)[0] == 0
    manifest = tmp_path / "done.jsonl"
    far = ["apply", "memory://bucket/in", "-o", "memory://bucket/out", *options]
    code, out, err = cli(*far, "--manifest", manifest)
    assert code == 0, err
    names = ["a.png", "more/b.jpg", "more/c.png"]
    assert out.split() == [f"memory://bucket/out/{name}" for name in names]
    for name in names:
        assert (bucket / "out" / name).read_bytes() == (tmp_path / "out" / name).read_bytes()
    code, out, err = cli(*far)
    assert code == 2
    assert "exists already" in err
    (bucket / "out" / "a.png").unlink()
    code, out, err = cli(*far, "--manifest", manifest)
    assert (code, out.split()) == (0, ["memory://bucket/out/a.png"])
    assert "1 done, 2 skipped, 0 failed" in err
    lines = [json.loads(line) for line in manifest.read_text().splitlines()]
    assert lines[0]["input"] == "memory://bucket/in/a.png"
    assert cli(*far, "--if-exists", "rename")[0] == 0
    assert (bucket / "out" / "a_2.png").exists()


@pytest.mark.parametrize("many", [1, 50])
def test_a_folder_with_many_results_is_listed(
    cli, bucket, tunable_file: Path, monkeypatch: pytest.MonkeyPatch, many: int
):
    monkeypatch.setattr(places, "MANY", many)
    (bucket / "out" / "more").mkdir(parents=True)
    (bucket / "out" / "more" / "c.png").write_bytes(b"somebody's")
    far = ["apply", "memory://bucket/in", "-o", "memory://bucket/out", "-m", tunable_file]
    code, out, err = cli(*far, "--alpha", "0", "--device", "cpu")
    assert (code, out) == (2, "")
    assert "memory://bucket/out/more/c.png: exists already\n" in err
    code, out, err = cli(*far, "--alpha", "0", "--device", "cpu", "--if-exists", "skip")
    assert "2 done, 1 skipped, 0 failed" in err
    assert (bucket / "out" / "more" / "c.png").read_bytes() == b"somebody's"


def test_the_hash_that_a_store_knows_is_the_stamp(bucket, monkeypatch: pytest.MonkeyPatch):
    file, given = bucket / "in" / "a.png", []
    google = {"etag": "CJ==", "md5Hash": base64.b64encode(bytes.fromhex(MD5)).decode()}
    for info, tag in (
        ({}, None),
        ({"ETag": ""}, None),
        ({"ETag": f'"{MD5}"'}, MD5),
        ({"etag": "W/other", "mtime": 1}, "W/other"),
        (google, MD5),
    ):
        monkeypatch.setattr(bucket.fs, "info", lambda _, info=info: {"size": 5, **info})
        assert places.stamp(file) == (tag and f"5-{tag}")
    monkeypatch.setattr(bucket.fs, "pipe_file", lambda path, data: None)
    places.write(file, b"hello", given.append)
    assert given == [f"5-{MD5}"]


def test_one_file_each_way(cli, bucket, tmp_path: Path, tunable_file: Path):
    options = ["-m", tunable_file, "--alpha", "0.5", "--device", "cpu"]
    code, out, err = cli("apply", "memory://bucket/in/a.png", "-o", tmp_path / "x.png", *options)
    assert (code, out.strip()) == (0, str(tmp_path / "x.png")), err
    far = "memory://bucket/x.png"
    code, out, err = cli("apply", tmp_path / "in" / "a.png", "-o", far, *options)
    assert (code, out.strip()) == (0, far), err
    assert (bucket / "x.png").read_bytes() == (tmp_path / "x.png").read_bytes()
    assert place(f"file://{tmp_path}/x.png") == tmp_path / "x.png"


def test_what_cannot_be_reached_says_so(
    cli, bucket, tmp_path: Path, tunable_file: Path, monkeypatch: pytest.MonkeyPatch
):
    code, _, err = cli("apply", "memory://bucket/none.png", "-m", tunable_file)
    assert code == 2
    assert "there is no such file" in err
    code, _, err = cli("apply", "nowhere://bucket/a.png", "-m", tunable_file)
    assert code == 2
    assert "nowhere://bucket/a.png: cannot be opened" in err

    def refused(*_: object, **__: object) -> None:
        raise PermissionError("no key")

    options = ["-m", tunable_file, "--device", "cpu", "--alpha", "0"]
    with monkeypatch.context() as patch:
        patch.setattr(type(bucket.fs), "pipe_file", refused)
        code, _, err = cli("apply", tmp_path / "in/a.png", "-o", "memory://bucket/y.png", *options)
    assert code == 4
    assert "memory://bucket/y.png: cannot be written (no key)" in err
    with monkeypatch.context() as patch:
        patch.setattr(type(bucket.fs), "cat_file", refused)
        patch.setattr(type(bucket.fs), "_open", refused)
        code, _, err = cli("apply", "memory://bucket/in", "-o", tmp_path / "z", *options)
    assert code == 1
    assert "a.png: cannot be read (no key)" in err
    assert "Traceback" not in err
    for words in (
        ["sweep", "memory://bucket/in/a.png", "-o", "a.html"],
        ["apply", "memory://bucket/in", "-o", "memory://bucket/z", "--manifest", "s3://bucket/m"],
    ):
        code, _, err = cli(*words)
        assert code == 2
        assert f"{words[1] if words[0] == 'sweep' else words[-1]}: is a URL, which only" in err
    monkeypatch.setitem(sys.modules, "upath", None)
    with pytest.raises(UsageError, match="is a URL"):
        place("s3://bucket/a.png")
