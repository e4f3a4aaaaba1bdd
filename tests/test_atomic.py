from __future__ import annotations

import errno
import itertools
import os
import random
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from tunectl import atomic
from tunectl.atomic import atomic_write, remove_stale
from tunectl.errors import DiskFullError, ResourceError
from tunectl.images import Picture, write_picture

NAMES = ("a.png", "b.jpg", "c.bmp", "d.tif")
KILLS = 200


def write(path: Path, data: bytes = b"new") -> None:
    with atomic_write(path) as file:
        file.write(data)


def test_a_block_that_raises_leaves_the_old_file_and_no_other(tmp_path: Path):
    path = tmp_path / "a"
    write(path, b"old")

    def interrupted() -> None:
        with atomic_write(path) as file:
            file.write(b"half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["a"]


@pytest.mark.parametrize("links", [True, False])
def test_a_file_that_came_meanwhile_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, links: bool
):
    def refused(*_: object) -> None:
        raise OSError(errno.EPERM, "no links here")

    if not links:
        monkeypatch.setattr(os, "link", refused)
    path = tmp_path / "a"
    with atomic_write(path, new=True) as file:
        file.write(b"first")
    with pytest.raises(ResourceError, match="has come there meanwhile"), atomic_write(path, True):
        pass
    assert path.read_bytes() == b"first"
    assert os.listdir(tmp_path) == ["a"]


@pytest.mark.skipif(not hasattr(os, "getuid") or os.getuid() != 0, reason="gives files away")
def test_a_replaced_file_keeps_its_owner(tmp_path: Path):
    path = tmp_path / "a"
    path.write_bytes(b"before")
    os.chown(path, 1234, 4321)
    path.chmod(0o640)
    with atomic_write(path) as file:
        file.write(b"after")
    found = path.stat()
    assert (found.st_uid, found.st_gid, stat.S_IMODE(found.st_mode)) == (1234, 4321, 0o640)


def test_a_missing_folder_is_made_and_long_names_fit(tmp_path: Path):
    path = tmp_path / "x" / "y" / ("n" * 255)
    write(path)
    assert path.read_bytes() == b"new"


def test_a_link_is_written_through(tmp_path: Path):
    (tmp_path / "far").mkdir()
    for name, target in (("link", "far/file"), ("first", "link"), ("loose", "far/none")):
        (tmp_path / name).symlink_to(target)
    write(tmp_path / "far" / "file", b"old")
    write(tmp_path / "first")
    write(tmp_path / "loose")
    assert all((tmp_path / name).is_symlink() for name in ("link", "first", "loose"))
    assert (tmp_path / "far" / "file").read_bytes() == b"new"
    assert (tmp_path / "far" / "none").read_bytes() == b"new"
    (tmp_path / "round").symlink_to("round")
    with pytest.raises(ResourceError, match=r"round: cannot be written \(Too many levels"):
        write(tmp_path / "round")


def test_permissions_are_kept_and_a_new_file_has_those_of_the_umask(tmp_path: Path):
    before = os.umask(0o027)
    try:
        write(tmp_path / "new")
        write(tmp_path / "kept")
        (tmp_path / "kept").chmod(0o604)
        write(tmp_path / "kept")
    finally:
        os.umask(before)
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()}
    assert modes == {"new": 0o640, "kept": 0o604}


def test_what_must_not_be_replaced_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "file").write_bytes(b"old")
    for name in ("folder", "pipe"):
        with pytest.raises(ResourceError, match="is not a file"):
            write(tmp_path / name)
    with pytest.raises(ResourceError, match="Not a directory"):
        write(tmp_path / "file" / "below")
    monkeypatch.setattr(os, "access", lambda path, mode: False)  # root may write anything
    with pytest.raises(ResourceError, match="write-protected"):
        write(tmp_path / "file")
    assert (tmp_path / "file").read_bytes() == b"old"
    assert sorted(os.listdir(tmp_path)) == ["file", "folder", "pipe"]


@pytest.mark.parametrize(
    ("number", "kind", "cause"),
    [
        (errno.ENOSPC, DiskFullError, "the disk is full"),
        (errno.EDQUOT, DiskFullError, "the disk is full"),
        (errno.EROFS, ResourceError, "Read-only file system"),
    ],
)
def test_a_disk_that_refuses(number, kind, cause, tmp_path: Path, monkeypatch):
    def refuse(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    write(tmp_path / "a", b"old")
    monkeypatch.setattr(os, "fsync", refuse)
    with pytest.raises(ResourceError, match=cause) as caught:
        write(tmp_path / "a")
    assert type(caught.value) is kind
    assert caught.value.exit_code == 4
    assert (tmp_path / "a").read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["a"]


def test_a_limit_that_the_system_sets_in_the_middle_of_a_file(tmp_path: Path):
    """A true refusal by the kernel, in a process of its own because limits cannot be taken back."""
    code = (
        "import resource, signal, sys\nfrom pathlib import Path\n"
        "from tunectl.atomic import atomic_write\nfrom tunectl.errors import ResourceError\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))\n"
        "try:\n  with atomic_write(Path(sys.argv[1])) as file: file.write(bytes(5000))\n"
        "except ResourceError as error: print(error)"
    )
    words = [sys.executable, "-c", code, str(tmp_path / "a")]
    told = subprocess.run(words, capture_output=True, text=True, check=True).stdout
    assert "File too large" in told
    assert os.listdir(tmp_path) == []


def test_only_what_dead_writers_on_this_machine_left_is_removed(tmp_path: Path):
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    here = atomic._HERE
    names = {
        f".{here}-{dead.pid}-01234567.tunectl-tmp": False,
        f".{here}-{os.getpid()}-01234567.tunectl-tmp": True,
        f".ffffffff-{dead.pid}-01234567.tunectl-tmp": True,
        f".{here}-{dead.pid}-mine.tunectl-tmp": True,
        "photo.png": True,
    }
    for name in names:
        (tmp_path / name).touch()
    remove_stale(tmp_path)
    remove_stale(tmp_path / "none")
    assert {name: (tmp_path / name).exists() for name in names} == names


def test_whatever_moment_a_writer_is_killed_every_picture_is_whole(tmp_path: Path):
    """In a process of its own without torch, which forks the writers: quick, and safe to fork."""
    code = "import sys, test_atomic; test_atomic.kill_writers(sys.argv[1])"
    words = [sys.executable, "-c", code, str(tmp_path)]
    done = subprocess.run(words, cwd=Path(__file__).parent, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    whole, left_over = map(int, done.stdout.split())
    assert whole > KILLS // 2
    assert left_over > 0  # or no kill fell into a write, and nothing was tried
    remove_stale(tmp_path)
    assert not [name for name in os.listdir(tmp_path) if name.startswith(".")]


def kill_writers(words: str) -> None:
    """Kill a process that writes pictures at random moments; print whole files, and those left."""
    folder = Path(words)
    rng = np.random.default_rng(0)
    pictures = [Picture(rng.integers(0, 256, (64, 64 + i, 3), dtype=np.uint8)) for i in range(3)]
    turns = list(itertools.product(enumerate(pictures), NAMES))
    began = time.monotonic()
    # Only children encode: an encoder's threads would not outlive the next fork.
    if not (child := os.fork()):
        for (number, picture), name in turns:
            write_picture(folder / "known" / str(number) / name, picture)
        os._exit(0)
    os.waitpid(child, 0)
    round_of_all = time.monotonic() - began  # however busy the machine is
    known = {path.read_bytes() for path in (folder / "known").rglob("*.*")}
    assert len(known) == len(turns)
    whole = 0
    for _ in range(KILLS):
        if not (child := os.fork()):
            for (_, picture), name in itertools.cycle(turns):
                write_picture(folder / name, picture)
        time.sleep(random.uniform(0.002, round_of_all))
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        there = [folder / name for name in NAMES if (folder / name).exists()]
        assert all(path.read_bytes() in known for path in there)
        whole += len(there)
        if there and random.random() < 0.1:
            random.choice(there).unlink()
    print(whole, sum(name.startswith(".") for name in os.listdir(folder)))


def test_labels_of_a_file_stay_with_its_name(tmp_path: Path):
    write(tmp_path / "a", b"old")
    try:
        os.setxattr(tmp_path / "a", "user.xdg.tags", b"family")
    except (OSError, AttributeError):
        pytest.skip("no extended attributes here")
    write(tmp_path / "a", b"new")
    assert os.getxattr(tmp_path / "a", "user.xdg.tags") == b"family"


def test_a_file_system_without_labels_is_no_hindrance(tmp_path: Path, monkeypatch):
    def refuse(*_: object) -> None:
        raise OSError(errno.ENOTSUP, "not supported")

    write(tmp_path / "a", b"old")
    monkeypatch.setattr(os, "listxattr", refuse, raising=False)
    write(tmp_path / "a", b"new")
    assert (tmp_path / "a").read_bytes() == b"new"
