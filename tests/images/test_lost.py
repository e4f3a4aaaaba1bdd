"""What would be lost without a word: raw files taken for their preview, films behind a photo."""

from __future__ import annotations

import io
import struct
from pathlib import Path

import handmade
import numpy as np
import pytest
from handmade import saved
from PIL import Image

from tunectl.errors import PictureError
from tunectl.images import (
    around,
    boxes,
    encode_picture,
    find_pictures,
    ifd,
    plugins,
    read_picture,
)
from tunectl.images.write import left_out

RNG = np.random.default_rng(0)
SMALL = RNG.integers(0, 256, (12, 17, 3)).astype(np.uint8)
PURPOSE, PHOTOMETRIC, INNER, DNG_VERSION = 254, 262, 330, 50706
FILM = b"\0\0\0\x18ftypmp42" + bytes(range(256)) * 40


def nested(purpose: int, photometric: int, more: tuple[int, ...] = ()) -> bytes:
    """A TIFF of `purpose` with another picture, of a photometric kind, in a directory inside, and
    `more` tags."""
    other = RNG.integers(0, 256, (24, 34, 3)).astype(np.uint8)
    tags = {PURPOSE: (4, [purpose]), INNER: (4, [0])} | {tag: (4, [1]) for tag in more}
    data = bytearray(handmade.tiff(SMALL, tags=tags, more_pages=(other,)))
    reader = ifd.Reader(io.BytesIO(data))
    first, inner = reader.offsets(2)
    for at, number, size in (
        (reader.place(first, INNER), inner, 4),
        (reader.next_pointer(first), 0, 4),
        (reader.place(inner, PHOTOMETRIC), photometric, 2),
    ):
        data[at : at + size] = number.to_bytes(size, "little")
    return bytes(data)


def canon() -> bytes:
    """A TIFF whose directory begins at 16, behind Canon's mark."""
    data = bytearray(handmade.tiff(SMALL))
    start = int.from_bytes(data[4:8], "little")
    directory = ifd.Reader(io.BytesIO(data)).read(start)
    behind = ifd.pack(directory, 16, "little")
    data[4:8] = (16).to_bytes(4, "little")
    return bytes(data[:8]) + b"CR\2\0" + bytes(4) + behind


RAW = {
    "preview": nested(1, 2),
    "filter array": nested(0, 32803),
    "linear": nested(0, 34892),
    "dng": nested(0, 2, (DNG_VERSION,)),
    "preview of what is cut off": nested(1, 2)[:-200],
    "canon": canon(),
}


@pytest.mark.parametrize("kind", RAW)
def test_a_raw_file_is_not_taken_for_its_preview(kind, tmp_path: Path):
    for name in ("a.nef", "no_ending", "a.tif"):
        (tmp_path / name).write_bytes(RAW[kind])
        with pytest.raises(PictureError, match="is a raw file") as error:
            read_picture(tmp_path / name)
        assert "develop" in error.value.hint
    assert find_pictures(tmp_path) == [tmp_path / "a.tif"]  # it says that it is none


def test_an_ending_tells_a_raw_file_where_the_content_says_tiff_or_nothing(tmp_path: Path):
    for name, data in (("a.srw", handmade.tiff(SMALL)), ("a.CR3", b"\0\0\0\x18ftypcrx " + FILM)):
        (tmp_path / name).write_bytes(data)
        with pytest.raises(PictureError, match="is a raw file"):
            read_picture(tmp_path / name)
    assert find_pictures(tmp_path) == []
    (tmp_path / "b.nef").write_bytes(saved(Image.fromarray(SMALL), "PNG"))
    assert np.array_equal(read_picture(tmp_path / "b.nef").pixels, SMALL)


def test_smaller_copies_inside_a_picture_make_it_no_raw_file(tmp_path: Path):
    developed = handmade.tiff(SMALL, tags={DNG_VERSION: (4, [1])})
    for data in (nested(0, 2), developed, handmade.tiff(SMALL), handmade.tiff(SMALL, ">")):
        (tmp_path / "a").write_bytes(data)
        assert np.array_equal(read_picture(tmp_path / "a").pixels, SMALL)
        assert find_pictures(tmp_path) == [tmp_path / "a"]
    again = encode_picture(read_picture(developed), "TIFF")
    assert DNG_VERSION not in Image.open(io.BytesIO(again)).tag_v2


@pytest.mark.parametrize("progressive", [False, True])
def test_what_lies_behind_a_jpeg_is_told(progressive):
    photo = Image.fromarray(RNG.integers(0, 256, (80, 64, 3)).astype(np.uint8))
    exif = Image.Exif()
    exif[0x010E] = "\xff\xd9 in a tag is no end".encode("latin-1")
    data = saved(photo, "JPEG", progressive=progressive, exif=exif, restart_marker_blocks=2)
    words = b"\0\0\x01\x0aImage_UTC_Data" + bytes(range(200)) + b"SEFT"
    for harmless in (b"", bytes(5000), b"\xff" * 500, b"\xff\xd9", b"padding", words):
        assert not read_picture(data + harmless).notes
    film = FILM + b"\xff\xe5\x20\0" + bytes(9000)  # what looks like a segment is none there
    assert read_picture(data + film).lost == [
        f"the {len(film):,} bytes behind its picture (a film?)"
    ]
    (note,) = read_picture(data + FILM).notes
    assert note == f"the {len(FILM):,} bytes behind its picture (a film?) were left out"
    assert around.lost(data + FILM + b"SEFT", None)
    unmarked = data.removesuffix(b"\xff\xd9")
    assert not around.lost(unmarked, None)
    assert around.lost(unmarked + FILM[:100] + b"\xff\x42" + FILM, None)


def test_previews_in_an_index_of_pictures_are_none_that_would_be_lost():
    frames = [Image.fromarray(np.roll(SMALL, i, 1)) for i in range(3)]
    data = saved(frames[0], "MPO", save_all=True, append_images=frames[1:])
    assert "further pictures" in read_picture(data).notes[0]
    for kind, several in ((0x010001, False), (0x010002, False), (0x020002, True), (0, True)):
        at = data.index(b"MPF\0") + 4
        reader = ifd.Reader(io.BytesIO(data[at:]))
        entries = at + reader.place(reader.first, 0xB002)
        changed = bytearray(data)
        for entry in (1, 2):
            place = entries + 16 * entry
            changed[place : place + 4] = kind.to_bytes(4, reader.order)
        assert bool(read_picture(bytes(changed)).lost) == several
    assert around.lost(data, b"damaged")


PATH = b"8BIM\x07\xd0\0\0\0\0\0\x04path"


def test_paths_and_an_extension_of_xmp_are_told():
    path = b"Photoshop 3.0\0" + PATH
    more = b"http://ns.adobe.com/xmp/extension/\0" + bytes(50)
    extra = b"".join(
        b"\xff" + kind + (2 + len(part)).to_bytes(2, "big") + part
        for kind, part in ((b"\xed", path), (b"\xe1", more))
    )
    picture = read_picture(saved(Image.fromarray(SMALL), "JPEG", extra=extra))
    assert picture.lost == ["its clipping paths", "the extension of its XMP"]


def test_paths_of_a_tiff_are_told_and_its_iptc_is_found_among_the_resources():
    records = b"\x1c\x02\x78\0\x04word"
    iptc = b"8BIM\x04\x04\0\0\0\0\0\x09" + records + b"\0"
    for block, lost in ((PATH + iptc, ["its clipping paths"]), (iptc, [])):
        picture = read_picture(handmade.tiff(SMALL, tags={34377: (1, list(block))}))
        assert (picture.lost, picture.iptc) == (lost, records)


def segment(number: int, content: bytes) -> bytes:
    return bytes((0xFF, 0xE0 + number)) + (2 + len(content)).to_bytes(2, "big") + content


def test_what_only_a_camera_reads_is_told():
    heat = segment(1, b"FLIR\0\1\0\0" + bytes(5000))
    words = segment(15, b"Q 80") + segment(3, b"META" + bytes(60)) + segment(12, b"Ducky" * 500)
    picture = read_picture(saved(Image.fromarray(SMALL), "JPEG", extra=heat + words))
    assert picture.lost == ["the 5,076 bytes that only its camera's maker reads"]
    exif = Image.Exif()
    exif[0x010E] = "a" * 3000
    around_it = {"exif": exif, "icc_profile": bytes(4000), "xmp": b"<x/>" * 900}
    plain = saved(Image.fromarray(SMALL), "JPEG", extra=words, comment=b"c" * 2000, **around_it)
    assert not read_picture(plain).lost


def test_pictures_inside_a_tiff_are_told_but_for_smaller_copies():
    assert read_picture(nested(0, 2)).lost == ["its further pictures"]
    other = bytearray(nested(0, 2))
    reader = ifd.Reader(io.BytesIO(other))
    inner = ifd.numbers(reader.read(reader.first)[INNER], reader.order)[0]
    at = reader.place(inner, PURPOSE)
    other[at : at + 4] = (1).to_bytes(4, "little")
    assert not read_picture(bytes(other)).lost


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "TIFF"])
def test_pixels_that_are_not_square_are_told(kind):
    for x, y in ((10, 11), (7, 7)):
        if kind == "PNG":
            chunk = handmade.chunk(b"pHYs", struct.pack(">IIB", x, y, 0))
            data = handmade.png(SMALL, before=chunk)
        elif kind == "JPEG":
            data = bytearray(saved(Image.fromarray(SMALL), "JPEG"))
            data[13:18] = struct.pack(">BHH", 0, x, y)
        else:
            density = {282: (5, [x, 1]), 283: (5, [y, 1]), 296: (3, [1])}
            data = handmade.tiff(SMALL, tags=density)
        assert read_picture(bytes(data)).lost == ["the proportions of its pixels"] * (x != y)
    whole = {282: (3, [10]), 283: (3, [11]), 296: (3, [1])}  # as some write it
    assert not read_picture(handmade.tiff(SMALL, tags=whole)).lost


def test_layers_of_a_tiff_are_told():
    picture = read_picture(handmade.tiff(SMALL, tags={37724: (4, [7] * 100)}))
    assert picture.lost == ["its layers"]
    assert picture.notes == ["its layers were left out"]
    assert not read_picture(handmade.tiff(SMALL)).lost


def test_depth_and_auxiliary_pictures_of_a_heic_are_told(monkeypatch: pytest.MonkeyPatch):
    data = b"\0\0\0\x18ftypheic" + bytes(16)
    photo = Image.open(io.BytesIO(saved(Image.fromarray(SMALL), "PNG")))
    photo.load()
    monkeypatch.setattr(plugins, "opener", lambda kind, name: lambda file: photo)
    for info in ({}, {"aux": {}, "depth_images": []}):
        photo.info = info
        assert not read_picture(data).lost
    for info in ({"aux": {"urn:com:apple:photo:2020:aux:hdrgainmap": [3]}}, {"depth_images": [1]}):
        photo.info = info
        assert read_picture(data).lost == ["its depth and auxiliary pictures"]


def box(kind: bytes, content: bytes) -> bytes:
    return (8 + len(content)).to_bytes(4, "big") + kind + content


C2PA = bytes.fromhex("d8fec3d61b0e483c92975828877ec481")


@pytest.mark.parametrize("kind", ["AVIF", "HEIF"])
def test_what_lies_beside_a_heic_or_an_avif_is_told(kind):
    data = encode_picture(read_picture(saved(Image.fromarray(SMALL), "PNG")), kind)
    assert not read_picture(data).notes
    for more, lost in (
        (box(b"mpvd", FILM), "its film and sound"),
        (box(b"uuid", C2PA + bytes(9)), "its content credentials"),
        (box(b"uuid", bytes(25)), None),
        (box(b"free", bytes(9)), None),
    ):
        assert read_picture(data + more).lost == ([lost] if lost else [])
    jxl = b"".join((box(b"JXL ", b"\r\n\x87\n"), box(b"jhgm", bytes(9)), box(b"brob", b"Exif")))
    assert boxes.lost(io.BytesIO(jxl)) == ["its gain map"]
    packed = box(b"brob", b"xml " + bytes(9)) + box(b"jumb", box(b"jumd", b"c2pa" + bytes(12)))
    assert boxes.lost(io.BytesIO(packed)) == ["its packed XMP", "its content credentials"]
    size = int.from_bytes(data[:4], "big")
    brands = box(b"ftyp", data[8:size] + b"tmap")
    assert boxes.lost(io.BytesIO(brands + data[size:])) == ["its gain maps"]


def test_credentials_of_a_jpeg_and_a_png_are_told():
    manifest = b"JP\0\1\0\0\0\1" + box(b"jumb", box(b"jumd", b"c2pa" + bytes(20)))
    more = manifest[:4] + b"\0\0\0\2" + bytes(3000)  # the same box goes on
    extra = segment(11, manifest) + segment(11, more)
    jpeg = saved(Image.fromarray(SMALL), "JPEG", extra=extra)
    png = handmade.png(SMALL, before=handmade.chunk(b"caBX", manifest))
    for data in (jpeg, png):
        assert read_picture(data).lost == ["its content credentials"]


@pytest.mark.parametrize("kept", [(), (2,), (0,)])
@pytest.mark.parametrize("planar", [False, True])
def test_a_further_channel_that_is_no_opacity_is_kept_as_it_is(kept, planar):
    """A scanner's infrared is black where dust lies: as opacity it would make holes."""
    samples = RNG.integers(0, 256, (12, 17, 4)).astype(np.uint8)
    samples[:4, :, 3] = 0
    no_opacity = kept == (0,)
    data = handmade.tiff(samples, tags={338: (3, list(kept))}, planar=planar)
    again = encode_picture(read_picture(data), "TIFF")
    for picture in (read_picture(data), read_picture(again)):
        assert np.array_equal(picture.pixels, samples[..., :3])
        held, other = picture.alpha, picture.extra
        if no_opacity:
            held, other = other, held
        assert np.array_equal(held, samples[..., 3])
        assert other is None
    assert Image.open(io.BytesIO(again)).tag_v2[338] == (kept or (2,))
    assert left_out(picture, "TIFF") == []
    assert left_out(picture, "JPEG") == ["its further channel was left out"] * no_opacity
    assert (read_picture(encode_picture(picture, "PNG")).alpha is None) == no_opacity
