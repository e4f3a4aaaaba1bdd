from __future__ import annotations

import errno
import io
import os
import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageCms

from tunectl.errors import DataError, PictureError, UsageError
from tunectl.images import (
    encode_picture,
    find_pictures,
    read_picture,
    read_rgb8,
    write_picture,
)

RNG = np.random.default_rng(0)
RGB = RNG.integers(0, 256, (10, 12, 3)).astype(np.uint8)
SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


@pytest.mark.parametrize("ending", ["png", "tif", "webp", "bmp"])
@pytest.mark.parametrize("mode", ["L", "RGB", "LA", "RGBA"])
def test_lossless_formats_come_back_bit_equal(mode, ending, tmp_path: Path):
    if (ending, mode) in {("bmp", "LA"), ("bmp", "RGBA"), ("webp", "L"), ("webp", "LA")}:
        pytest.skip("the format has no such mode")
    channels = {"L": 1, "LA": 2, "RGB": 3, "RGBA": 4}[mode]
    array = RNG.integers(0, 256, (9, 11, channels)).astype(np.uint8)
    image = Image.fromarray(array[..., 0] if channels == 1 else array)
    source, copy = tmp_path / f"a.{ending}", tmp_path / f"b.{ending}"
    image.save(source, **({"lossless": True, "exact": True} if ending == "webp" else {}))
    write_picture(copy, read_picture(source))
    again = Image.open(copy)
    assert again.mode == mode
    assert np.array_equal(np.asarray(again), np.asarray(image))


@pytest.mark.parametrize("ending", ["png", "jpg", "webp", "tif", "avif"])
def test_profile_tags_and_orientation_are_kept(ending, tmp_path: Path):
    exif = Image.Exif()
    exif[0x0112] = 6
    exif[0x010F] = "a maker"
    source, copy = tmp_path / f"a.{ending}", tmp_path / f"b.{ending}"
    Image.fromarray(RGB).save(source, exif=exif.tobytes(), icc_profile=SRGB)
    write_picture(copy, read_picture(source))
    before, after = Image.open(source), Image.open(copy)
    before.load()
    after.load()
    assert after.size == before.size
    assert after.info["icc_profile"] == SRGB
    assert after.getexif()[0x010F] == "a maker"
    # Whatever a viewer does with the tag, it does the same to input and output.
    assert after.getexif().get(0x0112, 1) == before.getexif().get(0x0112, 1)


def test_dpi_and_xmp_are_kept(tmp_path: Path):
    xmp = b"<x:xmpmeta xmlns:x='adobe:ns:meta/'>words</x:xmpmeta>"
    source = tmp_path / "a.jpg"
    Image.fromarray(RGB).save(source, dpi=(300, 300), xmp=xmp)
    picture = read_picture(source)
    for ending in ("jpg", "png", "tif"):
        write_picture(tmp_path / f"b.{ending}", picture)
        again = read_picture(tmp_path / f"b.{ending}")
        assert again.xmp == xmp
        assert again.dpi == pytest.approx((300, 300), abs=0.01)


def test_16_bit_gray_is_exact(tmp_path: Path):
    array = RNG.integers(0, 65536, (9, 11)).astype(np.uint16)
    for ending in ("png", "tif"):
        Image.fromarray(array).save(tmp_path / f"a.{ending}")
        picture = read_picture(tmp_path / f"a.{ending}")
        assert picture.peak == 65535
        assert np.array_equal(picture.pixels[..., 0], array)
        write_picture(tmp_path / f"b.{ending}", picture)
        assert np.array_equal(read_picture(tmp_path / f"b.{ending}").pixels[..., 0], array)
    with pytest.raises(PictureError, match="no 16-bit"):
        write_picture(tmp_path / "b.jpg", picture)


def test_palette_and_1_bit_pictures_become_what_they_show(tmp_path: Path):
    image = Image.fromarray(RGB)
    image.quantize(16).save(tmp_path / "p.png")
    assert read_picture(tmp_path / "p.png").pixels.shape == (10, 12, 3)
    image.quantize(16).save(tmp_path / "t.png", transparency=3)
    assert read_picture(tmp_path / "t.png").alpha is not None
    image.convert("1").save(tmp_path / "1.png")
    assert set(np.unique(read_picture(tmp_path / "1.png").pixels)) <= {0, 255}


def test_a_profile_of_the_wrong_kind_is_dropped(tmp_path: Path):
    Image.fromarray(RGB[..., 0]).save(tmp_path / "a.png", icc_profile=SRGB)
    assert read_picture(tmp_path / "a.png").icc is None


def test_bad_files_are_named_with_a_cause_and_a_remedy(tmp_path: Path):
    good = tmp_path / "good.png"
    Image.fromarray(RGB).save(good)
    (tmp_path / "cut.png").write_bytes(good.read_bytes()[:-40])
    (tmp_path / "text.png").write_text("hello")
    Image.fromarray(RGB).save(
        tmp_path / "moving.gif", save_all=True, append_images=[Image.new("RGB", (12, 10))]
    )
    for name, cause in {
        "cut.png": "damaged",
        "text.png": "not a picture",
        "moving.gif": "several frames",
        "none.png": "No such file",
    }.items():
        with pytest.raises(PictureError, match=rf"{name}.*{cause}") as error:
            read_picture(tmp_path / name)
        assert error.value.hint


def test_transparency_does_not_go_into_a_jpeg(tmp_path: Path):
    picture = replace(read_rgba(tmp_path), format="JPEG")
    with pytest.raises(PictureError, match="no transparency"):
        write_picture(tmp_path / "b.jpg", picture)
    assert not (tmp_path / "b.jpg").exists()
    with pytest.raises(UsageError, match="no format"):
        write_picture(tmp_path / "b.xyz", picture)


def read_rgba(folder: Path):
    Image.fromarray(np.dstack([RGB, RGB[..., 0]])).save(folder / "a.png")
    return read_picture(folder / "a.png")


def test_pictures_are_found_by_content(tmp_path: Path):
    (tmp_path / "deep").mkdir()
    Image.fromarray(RGB).save(tmp_path / "deep" / "photo.png")
    (tmp_path / "deep" / "photo.png").rename(tmp_path / "deep" / "no_ending")
    Image.fromarray(RGB).save(tmp_path / ".hidden.png")
    (tmp_path / "notes.txt").write_text("not a picture")
    assert [path.name for path in find_pictures(tmp_path)] == ["no_ending"]
    (tmp_path / "lost.JPG").write_bytes(bytes(100))  # to be complained of
    assert [path.name for path in find_pictures(tmp_path)] == ["no_ending", "lost.JPG"]
    assert read_rgb8(tmp_path / "deep" / "no_ending").shape == (10, 12, 3)
    with pytest.raises(DataError, match="not a folder"):
        find_pictures(tmp_path / "none")


def test_what_cannot_be_looked_into_is_complained_of(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    for name in ("closed", "open", ".hidden"):
        (tmp_path / name).mkdir()
        Image.fromarray(RGB).save(tmp_path / name / "a.png")
    (tmp_path / "open" / "gone.jpg").symlink_to(tmp_path / "nowhere")
    (tmp_path / "lost+found").mkdir()
    closed, scandir = [tmp_path / "closed", tmp_path / "lost+found"], os.scandir

    def refuses(folder):
        if Path(folder) in closed:
            raise PermissionError(errno.EACCES, "Permission denied", str(folder))
        return scandir(folder)

    monkeypatch.setattr(os, "scandir", refuses)
    inside = [tmp_path / "closed", tmp_path / "open" / "a.png", tmp_path / "open" / "gone.jpg"]
    assert find_pictures(tmp_path) == inside
    for path in (inside[0], inside[2]):
        with pytest.raises(PictureError, match=str(path)):
            read_picture(path)
    closed.append(tmp_path)
    with pytest.raises(DataError, match="Permission denied"):
        find_pictures(tmp_path)


def test_reading_and_writing_at_once_do_not_take_each_others_errors():
    stream = io.BytesIO()
    Image.fromarray(RGB).save(stream, "PNG")
    data = stream.getvalue()
    picture = read_picture(data)
    stop = threading.Event()

    def write() -> None:
        while not stop.is_set():
            encode_picture(picture, "PNG")

    writer = threading.Thread(target=write)
    writer.start()
    try:
        for _ in range(300):
            read_picture(data)
    finally:
        stop.set()
        writer.join()
