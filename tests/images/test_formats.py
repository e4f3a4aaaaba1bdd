"""Which formats, modes and frames come in, and how each goes out."""

from __future__ import annotations

import io
import os
import struct
import sys
import zlib
from pathlib import Path

import handmade
import numpy as np
import pytest
from handmade import saved
from PIL import Image, ImageCms, JpegImagePlugin

from tunectl.errors import PictureError, UsageError
from tunectl.images import (
    Picture,
    arrays,
    boxes,
    encode_picture,
    find_pictures,
    metadata,
    plugins,
    read_picture,
    write_picture,
)
from tunectl.images.deep import libvips
from tunectl.images.files import sniff
from tunectl.images.write import left_out

RNG = np.random.default_rng(0)
RGB = RNG.integers(0, 256, (12, 17, 3)).astype(np.uint8)
RGBA = RNG.integers(0, 256, (12, 17, 4)).astype(np.uint8)
FRAMES = [Image.fromarray(np.roll(RGB // 64 * 64, i, axis=1)) for i in range(3)]


def tables(data: bytes) -> dict[int, list[int]]:
    return JpegImagePlugin.JpegImageFile(io.BytesIO(data)).quantization


def sampling(data: bytes) -> int:
    return JpegImagePlugin.get_sampling(Image.open(io.BytesIO(data)))


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG", "AVIF", "TIFF"])
def test_one_frame_is_asked_for(kind):
    options = {"lossless": True} if kind == "WEBP" else {}
    options |= {"quality": 100, "subsampling": "4:4:4"} if kind == "AVIF" else {}
    data = saved(FRAMES[0], kind, save_all=True, append_images=FRAMES[1:], **options)
    with pytest.raises(PictureError, match=r"several frames \(3\)") as error:
        read_picture(data)
    assert "--frame" in error.value.hint
    for i in range(3):
        difference = read_picture(data, frame=i).pixels.astype(int) - np.asarray(FRAMES[i])
        assert np.abs(difference).max() <= (8 if kind == "AVIF" else 0)
    for i in (3, -1):
        with pytest.raises(PictureError, match=f"no frame {i}, for it has 3"):
            read_picture(data, frame=i)


def test_a_later_frame_comes_with_what_lies_below_it():
    base, patch = Image.new("RGB", (17, 12), (10, 200, 30)), Image.new("RGB", (17, 12))
    patch.paste((10, 200, 30), (0, 0, 17, 12))
    patch.paste((250, 0, 0), (3, 3, 6, 6))
    for kind in ("GIF", "PNG"):
        data = saved(base, kind, save_all=True, append_images=[patch])
        assert np.array_equal(read_picture(data, frame=1).pixels, np.asarray(patch))


def test_a_heics_frames_are_numbered_in_the_files_order(tmp_path: Path):
    heif = pytest.importorskip("pillow_heif")
    file = heif.HeifFile()
    shades = (20, 120, 220)
    for shade in shades:
        file.add_from_pillow(Image.new("RGB", (64, 48), (shade, shade, shade)))
    file.save(tmp_path / "a.heic", primary_index=2)
    for i, shade in enumerate(shades):
        pixels = read_picture(tmp_path / "a.heic", frame=i).pixels.astype(int)
        assert np.abs(pixels - shade).max() < 5


def test_a_picture_before_an_animation_is_a_frame_too():
    still, first, second = (Image.new("RGB", (17, 12), (shade, 0, 0)) for shade in (50, 100, 150))
    for more in ([first], [first, second]):
        data = saved(still, "PNG", save_all=True, append_images=more, default_image=True)
        with pytest.raises(PictureError, match=rf"several frames \({len(more) + 1}\)"):
            read_picture(data)
        for i, frame in enumerate([still, *more]):
            assert np.array_equal(read_picture(data, frame=i).pixels, np.asarray(frame))


@pytest.mark.parametrize("count", [0, 1 << 31 | 1])
def test_an_animation_of_no_frames_is_a_still(count):
    chunk = handmade.chunk(b"acTL", count.to_bytes(4, "big") + bytes(4))
    assert np.array_equal(read_picture(handmade.png(RGB, before=chunk)).pixels, RGB)


def test_a_gray_palette_keeps_a_profile_of_colours():
    gray = Image.fromarray(RGB[..., 0]).convert("P")
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    for options in ({}, {"save_all": True, "append_images": [gray.rotate(180)]}):
        for icc in (None, profile):
            picture = read_picture(saved(gray, "PNG", icc_profile=icc, **options), frame=0)
            assert (picture.pixels.shape[2], picture.icc) == (3 if icc else 1, icc)


def test_a_single_frame_needs_no_number_and_takes_0():
    data = saved(FRAMES[0], "PNG")
    assert np.array_equal(read_picture(data, frame=0).pixels, read_picture(data).pixels)
    with pytest.raises(PictureError, match="no frame 1, for it has 1") as error:
        read_picture(data, frame=1)
    assert error.value.hint == "leave out --frame"


def test_an_mpo_is_its_first_picture():
    data = saved(FRAMES[0], "MPO", save_all=True, append_images=FRAMES[1:])
    picture = read_picture(data)
    assert picture.format == "JPEG"
    assert picture.notes == ["its further pictures (a gain map, or other views) were left out"]
    assert picture.pixels.shape == RGB.shape


def test_a_palette_of_grays_becomes_gray_and_others_colour():
    gray = Image.fromarray(RGB[..., 0] // 32 * 32)
    for kind in ("PNG", "GIF", "BMP", "TIFF"):
        picture = read_picture(saved(gray.convert("P"), kind))
        assert picture.alpha is None
        assert np.array_equal(picture.pixels[..., 0], np.asarray(gray))
        image = Image.fromarray(RGB).quantize(9)
        picture = read_picture(saved(image, kind))
        assert np.array_equal(picture.pixels, np.asarray(image.convert("RGB")))
    for kind in ("PNG", "GIF"):
        image = Image.fromarray(RGB).quantize(9)
        picture = read_picture(saved(image, kind, transparency=2))
        hidden = np.asarray(image) == 2
        assert hidden.any()
        assert np.array_equal(picture.alpha == 0, hidden)
        assert np.array_equal(picture.pixels[~hidden], np.asarray(image.convert("RGB"))[~hidden])


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "BMP"])
def test_1_bit_becomes_black_and_white(kind):
    image = Image.fromarray(RGB).convert("1")
    picture = read_picture(saved(image, kind))
    assert np.array_equal(picture.pixels[..., 0], np.asarray(image) * np.uint8(255))


@pytest.mark.parametrize("kind", ["JPEG", "TIFF"])
def test_cmyk_stays_cmyk(kind, tmp_path: Path):
    image = Image.fromarray(RGBA // 2).convert("RGB").convert("CMYK")
    profile = bytearray(200)
    profile[16:20] = b"CMYK"
    picture = read_picture(saved(image, kind, icc_profile=bytes(profile)))
    assert picture.icc == bytes(profile)
    if kind == "TIFF":
        assert np.array_equal(picture.pixels, np.asarray(image))
    for target in ("TIFF", "JPEG"):
        data = encode_picture(picture, target)
        again = Image.open(io.BytesIO(data))
        assert (again.mode, again.info["icc_profile"]) == ("CMYK", bytes(profile))
        difference = np.asarray(again).astype(int) - picture.pixels
        assert np.abs(difference).max() <= (40 if target == "JPEG" else 0)
    for target in ("PNG", "WEBP", "AVIF", "BMP", "HEIF", "JXL"):
        with pytest.raises(PictureError, match="no CMYK") as error:
            encode_picture(picture, target)
        assert "TIFF or JPEG" in error.value.hint


def test_opaque_pictures_stay_opaque():
    for kind in ("PNG", "TIFF", "WEBP", "AVIF", "GIF", "JPEG", "BMP"):
        assert read_picture(saved(Image.fromarray(RGB), kind)).alpha is None


@pytest.mark.parametrize("quality", [30, 95, 98])
def test_a_jpeg_keeps_its_tables_where_they_are_fine(quality):
    data = saved(Image.fromarray(RGB), "JPEG", quality=quality)
    picture = read_picture(data)
    usual = tables(saved(Image.fromarray(RGB), "JPEG", quality=95))
    auto = encode_picture(picture, "JPEG")
    assert tables(auto) == (tables(data) if quality >= 95 else usual)
    keep = encode_picture(picture, "JPEG", quality="keep")
    assert tables(keep) == tables(data)
    number = encode_picture(picture, "JPEG", quality=70)
    assert tables(number) == tables(saved(Image.fromarray(RGB), "JPEG", quality=70))
    assert [sampling(d) for d in (auto, keep, number)] == [0, 0, 0]  # 4:4:4


def test_gray_and_odd_tables_are_kept():
    gray = saved(Image.fromarray(RGB[..., 0]), "JPEG", quality=97)
    assert tables(encode_picture(read_picture(gray), "JPEG")) == tables(gray)
    own = [list(range(1, 65)), [1] * 64, [2] * 64]
    three = saved(Image.fromarray(RGB), "JPEG", qtables=own, subsampling=0)
    picture = read_picture(three)
    assert tables(encode_picture(picture, "JPEG", quality="keep")) == tables(three)


def test_what_cannot_be_kept_is_refused():
    picture = read_picture(saved(Image.fromarray(RGB), "PNG"))
    for kind in ("JPEG", "AVIF"):
        with pytest.raises(PictureError, match="keep its quality"):
            encode_picture(picture, kind, quality="keep")
    for wrong in (0, 101, "best"):
        with pytest.raises(UsageError, match="quality"):
            encode_picture(picture, "JPEG", quality=wrong)
    with pytest.raises(UsageError, match="no format"):
        encode_picture(picture, "GIF")


def test_webp_is_lossless_unless_a_number_is_given():
    picture = read_picture(saved(Image.fromarray(RGBA), "PNG"))
    exact, lossy = (encode_picture(picture, "WEBP", quality=q) for q in ("auto", 50))
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(exact))), RGBA)
    assert len(lossy) < len(exact)


def test_avif_is_written_in_full_colour():
    stripes = np.zeros((32, 32, 3), np.uint8)
    stripes[:, ::2] = (255, 0, 0)
    stripes[:, 1::2] = (0, 0, 255)
    data = encode_picture(Picture(stripes), "AVIF")
    seen = np.asarray(Image.open(io.BytesIO(data))).astype(int)
    assert np.abs(seen - stripes).max() < 40  # halved colour would turn it all purple
    gray = read_picture(encode_picture(Picture(RGB[..., :1]), "AVIF"))
    assert gray.pixels.shape == (12, 17, 1)


def test_more_than_8_bits_of_an_avif_are_told():
    deep = libvips().Image.black(16, 16, bands=3).copy(interpretation="rgb16").cast("ushort")
    data = deep.heifsave_buffer(compression="av1", bitdepth=10)
    picture = read_picture(data)
    assert picture.lost == ["2 of its 10 bits a sample"]
    assert picture.notes == ["2 of its 10 bits a sample were left out"]
    assert not read_picture(saved(Image.fromarray(RGB), "AVIF")).notes


def test_the_content_tells_the_format(tmp_path: Path):
    for kind in ("PNG", "JPEG", "WEBP", "TIFF", "AVIF", "BMP", "GIF"):
        path = tmp_path / "wrong.xyz"
        path.write_bytes(saved(Image.fromarray(RGB), kind))
        assert sniff(path.read_bytes()[:64]) == kind
        assert read_picture(path).format == kind
        assert find_pictures(tmp_path) == [path]
    assert sniff(b"BMW is a car maker, and this is a text") is None
    assert sniff(b"\0\0\0\x18ftypisom\0\0\0\0isommp41") is None


def test_the_header_decides_before_memory_is_taken(tmp_path: Path):
    huge = struct.pack(">II", 60000, 60000)
    png = bytearray(handmade.png(RGB))
    png[16:24] = huge
    jpeg = bytearray(saved(Image.fromarray(RGB), "JPEG"))
    at = jpeg.index(b"\xff\xc0") + 5
    jpeg[at : at + 4] = struct.pack(">HH", 60000, 60000)
    tiff = handmade.tiff(RGB, tags={256: (4, [60000]), 257: (4, [60000])})
    bmp = bytearray(saved(Image.fromarray(RGB), "BMP"))
    bmp[18:26] = struct.pack("<ii", 60000, 60000)
    for data in (png, jpeg, tiff, bmp):
        with pytest.raises(PictureError, match="60000 x 60000 pixels, more than") as error:
            read_picture(bytes(data))
        assert "--max-pixels" in error.value.hint
    for kind in ("PNG", "JPEG", "WEBP", "TIFF", "AVIF", "BMP", "GIF"):
        data = saved(Image.fromarray(RGB), kind)
        assert read_picture(data, max_pixels=12 * 17).pixels.shape == RGB.shape
        with pytest.raises(PictureError, match="17 x 12 pixels, more than 203"):
            read_picture(data, max_pixels=203)


def test_sizes_that_no_picture_has_are_refused_at_once(monkeypatch):
    png = bytearray(handmade.png(RGB))
    png[16:24] = struct.pack(">II", 2_000_000, 12)
    with pytest.raises(PictureError, match="no picture has"):
        read_picture(bytes(png))
    packed = bytearray(saved(Image.fromarray(RGB).quantize(4), "BMP"))
    packed[18:26] = struct.pack("<ii", 30000, 30000)
    packed[30:34] = struct.pack("<I", 1)  # run lengths, which Pillow unpacks in Python
    with pytest.raises(PictureError, match="packed BMP"):
        read_picture(bytes(packed))
    monkeypatch.setattr(arrays, "LARGE", 100)
    assert read_picture(handmade.png(RGB)).pixels.shape == RGB.shape
    with pytest.raises(PictureError, match="interlaced"):
        read_picture(handmade.png(RGB, interlaced=True))


def test_bombs_in_tags_are_left_out():
    bomb = zlib.compress(bytes(100 << 20), 9)
    before = handmade.chunk(b"iCCP", b"name\0\0" + bomb)
    before += handmade.chunk(b"iTXt", b"XML:com.adobe.xmp\0\1\0\0\0" + bomb)
    before += handmade.chunk(b"zTXt", b"Raw profile type exif\0\0" + bomb)
    picture = read_picture(handmade.png(RGB, before=before))
    assert (picture.icc, picture.xmp, picture.exif) == (None, None, None)
    assert picture.notes == ["damaged tags were left out"]
    assert np.array_equal(picture.pixels, RGB)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs pipes with names")
def test_what_is_no_file_is_refused_without_waiting(tmp_path: Path):
    os.mkfifo(tmp_path / "pipe.png")
    (tmp_path / "folder.png").mkdir()
    (tmp_path / "empty.png").touch()
    (tmp_path / "secret.png").symlink_to("/dev/zero")
    causes = {"pipe": "regular", "folder": "regular", "empty": "empty", "secret": "regular"}
    for name, cause in causes.items():
        with pytest.raises(PictureError, match=f"{name}.*{cause}") as error:
            read_picture(tmp_path / f"{name}.png")
        assert error.value.hint
    assert find_pictures(tmp_path) == [tmp_path / "empty.png"]


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "TIFF", "AVIF", "BMP", "GIF"])
def test_a_file_cut_anywhere_is_refused(kind):
    data = saved(Image.fromarray(RNG.integers(0, 256, (40, 50, 3)).astype(np.uint8)), kind)
    for part in (0.1, 0.3, 0.5, 0.7, 0.9, 0.97):
        with pytest.raises(PictureError, match=r"damaged|empty|not a picture"):
            read_picture(data[: int(len(data) * part)])


def test_a_missing_package_is_named(monkeypatch):
    picture = Picture(RGB)
    for kind, extra in (("HEIF", "heic"), ("JXL", "jxl")):
        monkeypatch.setitem(sys.modules, plugins.PACKAGES[kind][0], None)
        with pytest.raises(PictureError) as error:
            encode_picture(picture, kind, name="a")
        assert error.value.hint == f"run: pip install 'tunectl[{extra}]'"
    for start in (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(40), b"\xff\x0a" + b"\x89" * 40):
        with pytest.raises(PictureError, match=r"^a:.*not installed"):
            read_picture(start, "a")


def test_heic(tmp_path: Path):
    pytest.importorskip("pillow_heif")
    exif = Image.Exif()
    exif[0x0112] = 6
    exif[0x010F] = "a maker"
    smooth = np.broadcast_to(np.arange(0, 170, 10, dtype=np.uint8)[None, :, None], (12, 17, 3))
    given = Picture(smooth.copy(), exif=exif.tobytes(), xmp=b"<x/>")
    write_picture(tmp_path / "a.heic", given)
    picture = read_picture(tmp_path / "a.heic")
    assert picture.format == "HEIF"
    upright = np.rot90(smooth, -1).astype(int)  # as a viewer shows it: the decoder turns it
    assert np.abs(picture.pixels - upright).max() < 12
    assert picture.xmp == b"<x/>"
    found = Image.Exif()
    found.load(picture.exif)
    assert (found[0x010F], found[0x0112]) == ("a maker", 1)
    with pytest.raises(PictureError):
        read_picture((tmp_path / "a.heic").read_bytes()[:300])
    stale = b'<x tiff:Orientation="6"/>'  # XMP of a program that turned pixels and EXIF alone
    write_picture(tmp_path / "b.heic", Picture(smooth.copy(), xmp=stale))
    assert read_picture(tmp_path / "b.heic").pixels.shape == smooth.shape


def test_jpeg_xl(tmp_path: Path):
    pytest.importorskip("pillow_jxl")
    exif = Image.Exif()
    exif[0x0112] = 6
    exif[0x010F] = "a maker"
    for samples in (RGB, RGBA, RGB[..., :1], RGBA[..., :2]):
        alpha = samples[..., -1] if samples.shape[2] in (2, 4) else None
        pixels = samples if alpha is None else samples[..., :-1]
        given = Picture(pixels, alpha, exif=exif.tobytes(), xmp=b"<x/>")
        write_picture(tmp_path / "a.jxl", given)
        picture = read_picture(tmp_path / "a.jxl")
        assert picture.format == "JXL"
        assert np.array_equal(picture.pixels, np.rot90(pixels, -1))
        assert alpha is None or np.array_equal(picture.alpha, np.rot90(alpha, -1))
        found = Image.Exif()
        found.load(picture.exif)
        assert (found[0x010F], found[0x0112]) == ("a maker", 1)
        assert picture.xmp == b"<x/>"
        write_picture(tmp_path / "b.jxl", picture)
        with pytest.raises(PictureError, match="more than 9"):
            read_picture(tmp_path / "a.jxl", max_pixels=9)
    with pytest.raises(PictureError):
        read_picture((tmp_path / "a.jxl").read_bytes()[:60])
    Image.fromarray(RGB).save(tmp_path / "turned.jpg", quality=95, exif=exif)
    with Image.open(tmp_path / "turned.jpg") as turned:
        turned.save(tmp_path / "held.jxl", lossless_jpeg=True)
    held = read_picture(tmp_path / "held.jxl")  # a JPEG in it, which the decoder does not turn
    assert np.array_equal(held.pixels, read_picture(tmp_path / "turned.jpg").pixels)
    found.load(held.exif)
    assert found[0x0112] == 6
    deep = io.BytesIO()
    Image.fromarray(RGB[..., 0].astype(np.uint16) * 256).save(deep, "JXL", lossless=True)
    with pytest.raises(PictureError, match="16 bits"):
        read_picture(deep.getvalue())
    profile = b"0" * 16 + b"RGB " + b"Adobe RGB" * 20
    with pytest.raises(PictureError, match="no profile"):
        encode_picture(Picture(RGB, icc=profile), "JXL")


def test_what_is_not_the_photographers_is_passed_over(tmp_path: Path):
    for name in (
        "a.png",
        "@eaDir/a.png/thumb.jpg",
        "m.safetensors.run/previews/1.png",
        "b.run/c.png",
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (4, 4)).save(tmp_path / name)
    (tmp_path / "m.safetensors.run" / "run.json").write_text("{}")
    assert find_pictures(tmp_path) == [tmp_path / "a.png", tmp_path / "b.run" / "c.png"]


@pytest.mark.parametrize("kind", ["AVIF", "HEIF"])
def test_colours_told_by_numbers_stay(kind):
    data = encode_picture(read_picture(saved(Image.fromarray(RGB), "PNG")), kind)
    p3 = bytes((0, 12, 0, 13))
    assert boxes.colour(io.BytesIO(data)) is None
    picture = read_picture(boxes.with_colour(data, p3))
    assert picture.chunks == [(b"cICP", bytes((12, 13, 0, 1)))]
    assert boxes.colour(io.BytesIO(encode_picture(picture, kind))) == p3
    assert b"cICP" + bytes((12, 13, 0, 1)) in encode_picture(picture, "PNG")
    assert left_out(picture, kind) == left_out(picture, "PNG") == []
    assert left_out(picture, "JPEG") == ["its colour tags were left out"]


@pytest.mark.parametrize(
    ("chunks", "other"),
    [
        ([], False),
        ([(b"sRGB", b"\0"), (b"gAMA", (100000).to_bytes(4, "big"))], False),
        ([(b"gAMA", (45455).to_bytes(4, "big"))], False),
        ([(b"gAMA", (100000).to_bytes(4, "big"))], True),
        ([(b"cICP", bytes((1, 13, 0, 1)))], False),
        ([(b"cICP", bytes((9, 16, 0, 1)))], True),
        ([(b"cHRM", b"".join(n.to_bytes(4, "big") for n in range(8)))], True),
    ],
)
def test_what_a_png_says_of_its_colours_is_told_where_it_is_lost(chunks, other):
    picture = Picture(RGB, chunks=chunks)
    assert left_out(picture, "WEBP") == ["its colour tags were left out"] * other
    assert left_out(picture, "PNG") == []


def test_words_and_resolution_are_told_where_they_are_lost():
    picture = Picture(RGB, comment=b"a", chunks=[(b"tEXt", b"Author\0me")], dpi=(300, 300))
    assert left_out(picture, "WEBP") == ["its comment was left out", "its text was left out"]
    assert read_picture(encode_picture(picture, "WEBP")).dpi == pytest.approx((300, 300))
    exif = Image.Exif()
    exif[0x010F] = "a maker"
    picture.exif = exif.tobytes()
    assert "its resolution was left out" in left_out(picture, "WEBP")
    assert left_out(picture, "WEBP", strip_metadata=True) == []
    assert left_out(picture, "JPEG") == ["its text was left out"]
    assert left_out(picture, "PNG") == ["its comment was left out"]


def test_a_profile_is_srgb_by_what_it_shows_not_by_its_name():
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    assert metadata.is_srgb(srgb)
    bent = bytearray(srgb)  # its green counts for red
    entries = int.from_bytes(srgb[128:132], "big")
    places = {bytes(srgb[132 + 12 * i : 136 + 12 * i]): 132 + 12 * i for i in range(entries)}
    red, green = places[b"rXYZ"], places[b"gXYZ"]
    bent[red + 4 : red + 12], bent[green + 4 : green + 12] = (
        srgb[green + 4 : green + 12],
        srgb[red + 4 : red + 12],
    )
    assert b"sRGB" in bytes(bent) or "sRGB".encode("utf-16-be") in bytes(bent)
    assert not metadata.is_srgb(bytes(bent))
    assert not metadata.is_srgb(b"0" * 200)
