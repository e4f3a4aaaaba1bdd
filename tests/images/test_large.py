"""Pictures above the bound live in temporary files, and read, change and write the same."""

from __future__ import annotations

import contextlib
import os
from dataclasses import replace
from pathlib import Path

import handmade
import numpy as np
import pytest

from tunectl.errors import PictureError, ResourceError
from tunectl.images import (
    arrays,
    deep,
    empty_like,
    read_picture,
    release,
    tiff,
    write,
    write_picture,
)

RNG = np.random.default_rng(0)
DEEP = RNG.integers(0, 65536, (300, 200, 4)).astype(np.uint16)


@pytest.fixture
def small_bounds(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Bounds that a small picture is above; returns the folder for temporary files."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(arrays, "LARGE", 1000)
    monkeypatch.setattr(deep, "_BLOCK", 20000)
    monkeypatch.setattr(tiff, "_STRIP", 20000)
    monkeypatch.setattr("tempfile.tempdir", str(folder))
    return folder


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
@pytest.mark.parametrize("source", ["png", "tif"])
@pytest.mark.parametrize("target", ["png", "tif"])
def test_a_large_picture_passes_through_a_file(source, target, channels, small_bounds, tmp_path):
    samples = DEEP[..., :channels]
    make = handmade.png if source == "png" else handmade.tiff
    (tmp_path / f"a.{source}").write_bytes(make(samples))
    picture = read_picture(tmp_path / f"a.{source}")
    assert isinstance(picture.pixels, np.memmap)
    changed = empty_like(picture.pixels)
    assert isinstance(changed, np.memmap)
    for top in range(0, 300, 70):
        changed[top : top + 70] = 65535 - picture.pixels[top : top + 70]
        release(changed)
        release(picture.pixels)
    write_picture(tmp_path / f"b.{target}", replace(picture, pixels=changed))
    again = read_picture(tmp_path / f"b.{target}")
    colours = 3 if channels > 2 else 1
    assert np.array_equal(again.pixels, 65535 - samples[..., :colours])
    assert again.alpha is None or np.array_equal(again.alpha, samples[..., -1])
    assert not any(small_bounds.iterdir())  # nothing is left behind, not even while they live


def test_a_large_file_that_is_damaged_leaves_nothing(small_bounds, tmp_path):
    data = handmade.png(DEEP)
    (tmp_path / "cut.png").write_bytes(data[: len(data) // 2] + data[-12:])
    with pytest.raises(PictureError):
        read_picture(tmp_path / "cut.png")
    assert not any(small_bounds.iterdir())


def test_a_disk_without_room_is_told_before_pixels_are_written(small_bounds, monkeypatch):
    def full(*args: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(ResourceError, match="no room for a large picture"):
        read_picture(handmade.png(DEEP))


def test_small_pictures_stay_in_memory():
    picture = read_picture(handmade.png(DEEP))
    assert not isinstance(picture.pixels, np.memmap)
    assert not isinstance(empty_like(picture.pixels), np.memmap)
    release(picture.pixels)
    assert np.array_equal(picture.pixels, DEEP[..., :3])


def test_a_tiff_beyond_4_gib_has_wide_offsets(monkeypatch, tmp_path):
    monkeypatch.setattr(tiff, "_CLASSIC", 1000)
    picture = read_picture(handmade.png(DEEP))
    picture.xmp = b"<x/>"
    write_picture(tmp_path / "b.tif", picture)
    assert (tmp_path / "b.tif").read_bytes()[:4] == b"II+\0"
    again = read_picture(tmp_path / "b.tif")
    assert np.array_equal(again.pixels, picture.pixels)
    assert np.array_equal(again.alpha, picture.alpha)
    assert again.xmp == b"<x/>"


@pytest.mark.parametrize("ending", ["png", "tif", "jpg"])
def test_a_full_disk_leaves_the_old_file_whole(ending, monkeypatch, tmp_path):
    target = tmp_path / f"b.{ending}"
    target.write_bytes(b"the old one")
    picture = read_picture(handmade.png(DEEP[..., :3].astype(np.uint8)))

    class Full:
        def __init__(self, file):
            self.file = file

        def write(self, data):
            raise OSError(28, "No space left on device")

        def __getattr__(self, name):
            return getattr(self.file, name)

    usual = write.atomic_write

    @contextlib.contextmanager
    def on_a_full_disk(path):
        with usual(path) as file:
            yield Full(file)

    monkeypatch.setattr(write, "atomic_write", on_a_full_disk)
    with pytest.raises(ResourceError, match="disk is full"):
        write_picture(target, picture)
    assert target.read_bytes() == b"the old one"
    assert [path.name for path in tmp_path.iterdir()] == [target.name]
