"""What surrounds the pixels: the same way up, the same tags, no stale thumbnail."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path

import handmade
import numpy as np
import pytest
from handmade import saved
from PIL import Image, ImageCms, ImageOps

from tunectl.images import encode_picture, metadata, read_picture

RNG = np.random.default_rng(0)
LOW = RNG.integers(0, 256, (8, 11, 3)).astype(np.uint8)
DEEP = RNG.integers(0, 65536, (8, 11, 3)).astype(np.uint16)
SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
XMP = b"<x:xmpmeta xmlns:x='adobe:ns:meta/'>words \xc3\xa9</x:xmpmeta>"
THUMBNAIL = b"\xff\xd8" + bytes(range(100)) + b"\xff\xd9"


def tags(orientation: int = 6) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = orientation
    exif[0x010F] = "a maker"
    exif.get_ifd(0x8769)[0x927C] = b"maker note with offsets"
    exif.get_ifd(0x8825)[1] = "N"
    return exif.tobytes()


def shown(samples: np.ndarray, orientation: int) -> np.ndarray:
    """As a viewer turns it: by Pillow, a plane at a time."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    planes = []
    for i in range(samples.shape[2]):
        image = Image.fromarray(samples[..., i].astype(np.int32))
        image.info["exif"] = exif.tobytes()
        planes.append(np.asarray(ImageOps.exif_transpose(image)))
    return np.dstack(planes)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("target", ["PNG", "TIFF", "WEBP", "BMP", "JPEG"])
@pytest.mark.parametrize("source", ["JPEG", "PNG", "TIFF", "deep TIFF"])
def test_every_viewer_shows_it_the_same_way_up(source, target, orientation):
    if source == "deep TIFF":
        data = handmade.tiff(DEEP, tags={0x0112: (3, [orientation])})
        stored, target = DEEP, {"PNG": "PNG"}.get(target, "TIFF")
    elif source == "TIFF":
        data = handmade.tiff(LOW, tags={0x0112: (3, [orientation])})
        stored = LOW
    else:
        data = saved(Image.fromarray(LOW), source, exif=tags(orientation))
        stored = np.asarray(Image.open(io.BytesIO(data)))
    picture = read_picture(data)
    assert np.array_equal(picture.pixels, stored)
    before = shown(stored, orientation)
    for strip in (False, True):
        again = read_picture(encode_picture(picture, target, strip_metadata=strip))
        after = shown(again.pixels, metadata.orientation(again.exif))
        assert after.shape == before.shape
        assert target == "JPEG" or np.array_equal(after, before)
        if source != "deep TIFF":  # and by Pillow, which knows nothing of ours
            image = Image.open(io.BytesIO(encode_picture(picture, target, strip_metadata=strip)))
            seen = np.asarray(ImageOps.exif_transpose(image)).astype(int)
            assert np.abs(seen - before).max() <= (60 if target == "JPEG" else 0)


@pytest.mark.parametrize("deep", [False, True])
@pytest.mark.parametrize("target", ["JPEG", "PNG", "WEBP", "TIFF", "AVIF"])
@pytest.mark.parametrize("source", ["JPEG", "PNG", "WEBP", "TIFF", "AVIF"])
def test_everything_is_kept(source, target, deep):
    if deep and not {source, target} <= {"PNG", "TIFF"}:
        pytest.skip("holds no 16 bits")
    given = read_picture(handmade.png(DEEP if deep else LOW))
    given.icc, given.exif, given.xmp, given.dpi = SRGB, tags(), XMP, (300, 240)
    picture = read_picture(encode_picture(given, source))
    again = read_picture(encode_picture(picture, target))
    assert again.icc == SRGB
    assert again.xmp == XMP
    assert not again.notes
    found = Image.Exif()
    found.load(again.exif)
    assert found[0x010F] == "a maker"
    assert found.get(0x0112) == 6
    assert found.get_ifd(0x8769)[0x927C] == b"maker note with offsets"
    assert found.get_ifd(0x8825)[1] == "N"
    if {source, target} <= {"JPEG", "PNG", "TIFF"}:
        assert again.dpi == pytest.approx((300, 240), abs=0.02)
    if {source, target} <= {"JPEG", "PNG", "WEBP"}:
        assert again.exif == tags()  # to the byte


def test_strip_leaves_the_profile_and_which_way_is_up():
    given = read_picture(saved(Image.fromarray(LOW), "JPEG"))
    given.icc, given.exif, given.xmp, given.dpi = SRGB, tags(), XMP, (300, 240)
    for kind in ("JPEG", "PNG", "WEBP", "TIFF", "AVIF"):
        data = encode_picture(given, kind, strip_metadata=True)
        again = read_picture(data)
        assert again.icc == SRGB
        assert again.xmp is None
        assert again.dpi is None
        found = Image.Exif()
        found.load(again.exif)
        assert dict(found) == {0x0112: 6}
        assert b"maker" not in data


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF", "AVIF"])
def test_strip_leaves_what_a_camera_says_of_colours(kind):
    given = read_picture(saved(Image.fromarray(LOW), "JPEG"))
    exif = Image.Exif()
    exif[0x010F] = "a maker"
    exif.get_ifd(0x8769)[0xA001] = 65535  # of no standard: as the next tag says
    exif.get_ifd(0x8769)[0xA005] = {1: "R03"}  # Adobe RGB, to cameras
    given.exif = exif.tobytes()
    found = Image.Exif()
    found.load(read_picture(encode_picture(given, kind, strip_metadata=True)).exif)
    assert 0x010F not in found
    assert found.get_ifd(0x8769)[0xA001] == 65535
    assert found.get_ifd(0xA005)[1] == "R03"
    given.icc = SRGB  # which says it better
    assert read_picture(encode_picture(given, kind, strip_metadata=True)).exif is None
    exif.get_ifd(0x8769)[0xA001] = 1  # as all do who see no tag
    given.icc, given.exif = None, exif.tobytes()
    assert read_picture(encode_picture(given, kind, strip_metadata=True)).exif is None


def test_a_profile_of_the_wrong_kind_is_not_written():
    given = read_picture(handmade.png(LOW[..., :1]))
    given.icc = SRGB
    for kind in ("PNG", "TIFF", "JPEG"):
        assert read_picture(encode_picture(given, kind)).icc is None


def exif_with_thumbnail(order: str, in_the_middle: bool) -> tuple[bytes, bytes]:
    """EXIF with a maker note before or behind the thumbnail; and the maker note's bytes."""
    note = b"NOTE" * 10

    def entry(tag: int, kind: int, count: int, data: int) -> bytes:
        return struct.pack(order + "HHII", tag, kind, count, data)

    first, sub = 8, 8 + 2 + 2 * 12 + 4  # IFD0, EXIF with the note, then the two parts
    after = sub + 2 + 12 + 4
    size_of_second = 2 + 2 * 12 + 4 + len(THUMBNAIL)
    note_at = after + size_of_second if in_the_middle else after
    second = after if in_the_middle else after + len(note)
    data = ({"<": b"II", ">": b"MM"}[order]) + struct.pack(order + "HI", 42, first)
    data += struct.pack(order + "H", 2)
    data += struct.pack(order + "HHIHH", 0x0112, 3, 1, 6, 0) + entry(0x8769, 4, 1, sub)
    data += struct.pack(order + "I", second)
    data += struct.pack(order + "H", 1) + entry(0x927C, 7, len(note), note_at) + bytes(4)
    thumbnail = struct.pack(order + "H", 2) + entry(513, 4, 1, second + 2 + 24 + 4)
    thumbnail += entry(514, 4, 1, len(THUMBNAIL)) + bytes(4) + THUMBNAIL
    data += thumbnail + note if in_the_middle else note + thumbnail
    return b"Exif\0\0" + data, note


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("in_the_middle", [False, True])
def test_the_stale_thumbnail_goes_and_nothing_else_moves(order, in_the_middle):
    exif, note = exif_with_thumbnail(order, in_the_middle)
    pointer = slice(6 + 34, 6 + 38)  # from IFD0 to the thumbnail's directory
    assert any(exif[pointer])
    assert THUMBNAIL in exif
    picture = read_picture(saved(Image.fromarray(LOW), "JPEG", exif=exif))
    again = read_picture(encode_picture(picture, "JPEG")).exif
    after = Image.Exif()
    after.load(again)
    assert not any(again[pointer])
    assert THUMBNAIL[2:50] not in again
    assert after.get_ifd(0x8769)[0x927C] == note
    assert after[0x0112] == 6
    assert again.find(note) == exif.find(note)
    assert len(again) < len(exif) or in_the_middle


@pytest.mark.parametrize(
    "exif",
    [
        b"Exif\0\0",
        b"Exif\0\0garbage",
        b"Exif\0\0II*\0\xff\xff\xff\xff",
        b"Exif\0\0II*\0\x08\0\0\0\xff\xff",
        tags()[:40],
    ],
)
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_damaged_tags_stop_no_picture_but_are_told(kind, exif):
    picture = read_picture(saved(Image.fromarray(LOW), kind, exif=exif))
    assert picture.exif is None
    if exif != b"Exif\0\0":
        assert picture.notes == ["damaged tags were left out"]


def test_directories_that_run_in_a_circle_end():
    loop = b"II*\0" + struct.pack("<I", 8) + struct.pack("<H", 1)
    loop += struct.pack("<HHII", 0x8769, 4, 1, 8) + struct.pack("<I", 8)
    picture = read_picture(saved(Image.fromarray(LOW), "JPEG", exif=b"Exif\0\0" + loop))
    for kind in ("JPEG", "TIFF", "AVIF"):
        assert read_picture(encode_picture(picture, kind)).pixels.shape == LOW.shape


def test_tags_behind_the_pixels_of_a_png_count():
    text = b"XML:com.adobe.xmp\0\0\0\0\0" + XMP
    after = handmade.chunk(b"eXIf", tags()[6:]) + handmade.chunk(b"iTXt", text)
    picture = read_picture(handmade.png(DEEP, after=after))
    assert (picture.exif, picture.xmp) == (tags(), XMP)


def test_density_that_means_nothing_is_left_out(tmp_path: Path):
    head = bytearray(saved(Image.fromarray(LOW), "JPEG", dpi=(300, 300)))
    at = head.index(b"JFIF") + 8
    for density in ((0, 300), (0, 0)):
        head[at : at + 4] = struct.pack(">HH", *density)
        assert read_picture(bytes(head)).dpi is None


def test_a_photo_s_tags_and_dates_reach_a_tiff_of_16_bits(tmp_path: Path):
    given = read_picture(handmade.png(DEEP))
    exif = Image.Exif()
    exif[0x0132] = "2020:01:01 00:00:00"
    exif.get_ifd(0x8769)[0x9003] = "2019:01:01 00:00:00"
    exif.get_ifd(0x8769)[0x829A] = 0.004
    given.exif = exif.tobytes()
    found = Image.Exif()
    found.load(read_picture(encode_picture(given, "TIFF")).exif)
    assert found[0x0132] == "2020:01:01 00:00:00"
    assert found.get_ifd(0x8769)[0x9003] == "2019:01:01 00:00:00"
    assert float(found.get_ifd(0x8769)[0x829A]) == pytest.approx(0.004)


def photoshop(*resources: tuple[int, bytes, bytes]) -> bytes:
    """Resources by number, name and content, as in the segments of a JPEG."""
    blocks = b""
    for number, name, content in resources:
        named = bytes([len(name)]) + name
        blocks += b"8BIM" + number.to_bytes(2, "big") + named + bytes(len(named) % 2)
        blocks += len(content).to_bytes(4, "big") + content + bytes(len(content) % 2)
    parts = [blocks[at : at + 60_000] for at in range(0, len(blocks), 60_000)]
    head = b"Photoshop 3.0\0"
    sizes = [(2 + len(head) + len(part)).to_bytes(2, "big") for part in parts]
    return b"".join(
        b"\xff\xed" + size + head + part for size, part in zip(sizes, parts, strict=True)
    )


@pytest.mark.parametrize("length", [1, 20, 65_000, 200_001])
def test_iptc_stays_in_a_jpeg_and_goes_into_a_tiff(length):
    records = (b"\x1c\x02\x78" + RNG.bytes(length))[:length]
    thumbnail = (1036, b"old", b"\xff\xd8 not to be kept \xff\xd9")
    extra = photoshop(thumbnail, (0x0404, b"", records), (1005, b"even", b"odd"))
    image = Image.fromarray(LOW)
    data = saved(image, "JPEG", extra=extra, exif=tags(), xmp=XMP, comment=b"a remark")
    picture = read_picture(data)
    assert (picture.iptc, picture.comment) == (records, b"a remark")
    assert not picture.notes
    written = encode_picture(picture, "JPEG")
    again = read_picture(written)
    assert (again.iptc, again.exif, again.xmp) == (records, picture.exif, XMP)
    assert again.comment == b"a remark"
    assert b"not to be kept" not in written
    if length < 60_000:  # Pillow does not put segments together
        seen = Image.open(io.BytesIO(written)).info["photoshop"]
        assert seen == {0x0404: records}
    tiff = encode_picture(picture, "TIFF")
    assert bytes(Image.open(io.BytesIO(tiff)).tag_v2[33723]) == records
    assert read_picture(encode_picture(read_picture(tiff), "JPEG")).iptc == records
    for kind in ("JPEG", "TIFF"):
        stripped = encode_picture(picture, kind, strip_metadata=True)
        assert read_picture(stripped).iptc is None
        assert b"a remark" not in stripped
        assert records[:200] not in stripped or length < 20


@pytest.mark.parametrize("cut", [0, 3, 8, 11, 15, 40])
def test_damaged_iptc_never_stops_a_picture(cut):
    blocks = photoshop((0x0404, b"name", b"\x1c" + bytes(50)))[18:]
    segment = b"Photoshop 3.0\0" + blocks[:cut]
    extra = b"\xff\xed" + (2 + len(segment)).to_bytes(2, "big") + segment
    data = saved(Image.fromarray(LOW), "JPEG", extra=extra)
    assert read_picture(data).iptc is None


def test_words_and_colour_of_a_png_stay():
    chunks = [
        (b"gAMA", (45455).to_bytes(4, "big")),
        (b"cHRM", bytes(range(32))),
        (b"tEXt", b"Author\0somebody"),
        (b"zTXt", b"parameters\0\0" + zlib.compress(b"a cat, 20 steps")),
        (b"iTXt", "Title\0\0\0\0\0Gr\u00fc\u00dfe".encode()),
    ]
    around = [b"".join(handmade.chunk(*chunk) for chunk in part) for part in (chunks, chunks[2:3])]
    picture = read_picture(handmade.png(LOW, before=around[0], after=around[1]))
    assert picture.chunks == [*chunks, chunks[2]]
    picture.xmp = XMP
    again = read_picture(encode_picture(picture, "PNG"))
    assert (again.chunks, again.xmp) == (picture.chunks, XMP)
    stripped = read_picture(encode_picture(picture, "PNG", strip_metadata=True))
    assert (stripped.chunks, stripped.xmp) == (chunks[:2], None)
    assert not read_picture(encode_picture(picture, "TIFF")).chunks
