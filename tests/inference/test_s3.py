"""Folders in an object store, as s3fs sees one: moto plays S3 on this machine."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import draw
from PIL import Image

from tunectl.inference import places

pytest.importorskip("upath")
s3fs = pytest.importorskip("s3fs")
moto = pytest.importorskip("moto.server")
# Of moto and botocore, which are still on old ways.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")

NAMES = ["0.png", "1.png", "2.png", "far/a b.png", "far/ü.png"]


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    running = moto.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    running.start()
    yield "http://{}:{}".format(*running.get_host_and_port())
    running.stop()


@pytest.fixture
def store(server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A new bucket `photos`, with pictures in `in` that are in the folder `in` here, too."""
    for name, value in {
        "AWS_ENDPOINT_URL": server,
        "AWS_ACCESS_KEY_ID": "id",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true",
    }.items():
        monkeypatch.setenv(name, value)
    s3fs.S3FileSystem.clear_instance_cache()
    store = s3fs.S3FileSystem()
    if store.exists("photos"):
        store.rm("photos", recursive=True)
    store.mkdir("photos")
    for seed, name in enumerate(NAMES):
        path = tmp_path / "in" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(draw(40, 50, seed)).save(path)
        store.pipe(f"photos/in/{name}", path.read_bytes())
    return store


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How often what was asked of the store."""
    counts: Counter[str] = Counter()
    call = s3fs.S3FileSystem._call_s3

    async def counted(self: object, method: str, *words: object, **named: object) -> object:
        counts[method] += 1
        return await call(self, method, *words, **named)

    monkeypatch.setattr(s3fs.S3FileSystem, "_call_s3", counted)
    return counts


@pytest.mark.parametrize("many", [1, 50])
def test_a_folder_in_a_bucket_is_done_once(
    cli,
    store,
    asked,
    tmp_path: Path,
    tunable_file: Path,
    monkeypatch: pytest.MonkeyPatch,
    many: int,
):
    monkeypatch.setattr(places, "MANY", many)
    options = ["-m", tunable_file, "--alpha", "0.5", "--device", "cpu"]
    assert cli("apply", tmp_path / "in", "-o", tmp_path / "out", *options)[0] == 0
    far = ["apply", "s3://photos/in", "-o", "s3://photos/out", *options]
    far += ["--manifest", tmp_path / "done.jsonl"]
    code, out, err = cli(*far)
    assert (code, out.splitlines()) == (0, [f"s3://photos/out/{name}" for name in NAMES]), err
    for name in NAMES:
        assert store.cat(f"photos/out/{name}") == (tmp_path / "out" / name).read_bytes()

    def again() -> str:
        s3fs.S3FileSystem.clear_instance_cache()  # as in another process
        asked.clear()
        code, _, err = cli(*far)
        assert code == 0, err
        return err.splitlines()[-1]

    assert again() == "tunectl: 0 done, 5 skipped, 0 failed"
    assert not asked["get_object"]
    assert not asked["put_object"]
    assert (asked["head_object"] == 0) == (many == 1)
    store.pipe("photos/in/0.png", store.cat("photos/in/1.png"))
    store.rm("photos/out/far/ü.png")
    assert again() == "tunectl: 2 done, 3 skipped, 0 failed"
    assert store.cat("photos/out/0.png") == store.cat("photos/out/1.png")
    store.pipe("photos/out/2.png", b"somebody's")
    s3fs.S3FileSystem.clear_instance_cache()
    code, _, err = cli(*far)
    assert code == 2
    assert "s3://photos/out/2.png: exists already\n" in err
    assert store.cat("photos/out/2.png") == b"somebody's"


def test_a_store_that_cannot_be_reached_is_told_in_two_lines(
    cli, store, tmp_path: Path, tunable_file: Path, monkeypatch: pytest.MonkeyPatch
):
    here, there = tmp_path / "in" / "0.png", "s3://photos/in/0.png"
    options = ["-m", tunable_file, "--alpha", "0.5", "--device", "cpu"]

    def refused(*words: object) -> str:
        s3fs.S3FileSystem.clear_instance_cache()
        code, out, err = cli("apply", *words, *options)
        assert code in (2, 3, 4)
        assert out == ""
        assert len(err.splitlines()) == 2, err
        return err

    assert "s3://nobody/in: there is no such file" in refused("s3://nobody/in", "-o", tmp_path)
    assert "s3://nobody/a.png: cannot be written" in refused(here, "-o", "s3://nobody/a.png")
    with monkeypatch.context() as patch:
        patch.delenv("AWS_ACCESS_KEY_ID")
        patch.delenv("AWS_SECRET_ACCESS_KEY")
        patch.setenv("HOME", str(tmp_path))
        for words in ([there, "-o", tmp_path], [here, "-o", "s3://photos/a.png"]):
            assert "cannot be reached (Unable to locate credentials)" in refused(*words)
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    assert "cannot be reached (Could not connect" in refused("s3://photos/in", "-o", tmp_path)
