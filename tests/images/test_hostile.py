"""Files made to break a decoder: each one reads, or is refused in one line."""

from __future__ import annotations

import os
import struct
import zlib
from collections.abc import Callable
from importlib.util import find_spec

import handmade
import numpy as np
import pytest
from handmade import saved
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageCms

from tunectl.errors import PictureError, ResourceError
from tunectl.images import encode_picture, metadata, read_picture

# By hand: TUNECTL_FUZZ=20000 TUNECTL_FUZZ_SEED=7 pytest tests/images/test_hostile.py
FILES = int(os.environ.get("TUNECTL_FUZZ", "8000"))
SEED = int(os.environ.get("TUNECTL_FUZZ_SEED", "0"))
RNG = np.random.default_rng(0)
LOW = RNG.integers(0, 256, (12, 10, 4)).astype(np.uint8)
DEEP = RNG.integers(0, 65536, (12, 10, 4)).astype(np.uint16)
EDGES = (0, 1, 2, 127, 128, 255, 256, 4096, 32767, 65535, 1 << 24, (1 << 31) - 1, 1 << 31)


def seeds() -> dict[str, bytes]:
    """Small files of every format, with all the metadata that each can have."""
    exif = Image.Exif()
    exif[0x0112] = 6
    exif[0x010F] = "a maker"
    exif.get_ifd(0x8769)[0x9286] = b"ASCII\0\0\0a comment"
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    around = {"exif": exif.tobytes(), "icc_profile": profile}
    rgb, rgba = Image.fromarray(LOW[..., :3]), Image.fromarray(LOW)
    frames = {"save_all": True, "append_images": [Image.new("RGB", (10, 12))]}
    extras = {}
    if find_spec("pillow_heif") and find_spec("pillow_jxl"):
        extras["rgb.heic"] = encode_picture(read_picture(saved(rgba, "PNG", **around)), "HEIF")
        extras["rgb.jxl"] = encode_picture(read_picture(saved(rgba, "PNG", **around)), "JXL")
    return extras | {
        "rgb.png": encode_picture(read_picture(saved(rgb, "PNG", dpi=(72, 72), **around)), "PNG"),
        "deep.png": handmade.png(DEEP, interlaced=True),
        "palette.png": saved(rgb.quantize(5), "PNG", transparency=3, bits=4),
        "moving.png": saved(rgb, "PNG", **frames),
        "rgb.jpg": saved(rgb, "JPEG", xmp=b"<x/>", dpi=(72, 72), progressive=True, **around),
        "cmyk.jpg": saved(rgb.convert("CMYK"), "JPEG"),
        "lossless.webp": saved(rgba, "WEBP", lossless=True, xmp=b"<x/>", **around),
        "lossy.webp": saved(rgb, "WEBP", **frames),
        "deep.tif": encode_picture(read_picture(handmade.png(DEEP)), "TIFF"),
        "lzw.tif": handmade.tiff(LOW[..., :3], ">", packing="lzw", predictor=True, tiled=True),
        "float.tif": handmade.tiff(LOW[..., :3].astype(np.float32) / 255, planar=True),
        "jpeg.tif": saved(rgb, "TIFF", compression="jpeg", icc_profile=profile),
        "fax.tif": saved(rgb.convert("1"), "TIFF", compression="group4"),
        "rgba.avif": saved(rgba, "AVIF", speed=10, max_threads=1, xmp=b"<x/>", **around),
        "rgb.bmp": saved(rgb, "BMP"),
        "run.bmp": saved(rgb.quantize(7), "BMP"),
        "moving.gif": saved(rgb, "GIF", **frames),
    }


def flip(data: bytearray, rng: np.random.Generator, other: bytes) -> bytearray:
    for _ in range(rng.integers(1, 6)):
        data[rng.integers(len(data))] ^= 1 << int(rng.integers(8))
    return data


def cut(data: bytearray, rng: np.random.Generator, other: bytes) -> bytearray:
    return data[: rng.integers(len(data))]


def lie(data: bytearray, rng: np.random.Generator, other: bytes) -> bytearray:
    """Put an edge value where a length, size or offset could stand."""
    at, form = rng.integers(min(len(data), 400)), rng.choice(["<H", ">H", "<I", ">I"])
    size = struct.calcsize(form)
    number = int(rng.choice(EDGES)) & ((1 << 8 * size) - 1)
    data[at : at + size] = struct.pack(form, number)
    return data


def splice(data: bytearray, rng: np.random.Generator, other: bytes) -> bytearray:
    return data[: rng.integers(len(data))] + other[rng.integers(len(other)) :]


def scribble(data: bytearray, rng: np.random.Generator, other: bytes) -> bytearray:
    at = int(rng.integers(len(data)))
    data[at : at + 16] = rng.bytes(16)
    return data


def repeat(data: bytearray, rng: np.random.Generator, other: bytes) -> bytearray:
    start, length, at = rng.integers(len(data)), rng.integers(1, 64), rng.integers(len(data))
    data[at:at] = data[start : start + length]
    return data


def drop(data: bytearray, rng: np.random.Generator, other: bytes) -> bytearray:
    at = int(rng.integers(len(data)))
    del data[at : at + int(rng.integers(1, 64))]
    return data


MUTATIONS: list[Callable[[bytearray, np.random.Generator, bytes], bytearray]] = [
    flip, cut, lie, lie, splice, scribble, repeat, drop,
]  # fmt: skip


def with_right_checks(data: bytes) -> bytes:
    """A PNG with the checksums of its chunks put right, so that decoders look further."""
    found, at = bytearray(data), 8
    while data.startswith(handmade.SIGNATURE) and at + 12 <= len(data):
        end = at + 8 + int.from_bytes(data[at : at + 4], "big")
        if end + 4 > len(data):
            break
        found[end : end + 4] = struct.pack(">I", zlib.crc32(data[at + 4 : end]))
        at = end + 4
    return bytes(found)


def survives(data: bytes) -> bool:
    """Whether the bytes read, and then are written again; False if they are refused."""
    refusal = None
    try:
        picture = read_picture(data, "hostile", max_pixels=1 << 18)
    except (PictureError, ResourceError) as error:
        refusal = error
    if refusal:
        assert "\n" not in refusal.message
        assert refusal.hint
        return False
    assert metadata.orientation(picture.exif) in range(1, 9)
    kinds = ["TIFF"] if picture.peak == 1 or picture.pixels.shape[2] == 4 else ["TIFF", "PNG"]
    if picture.format in ("JPEG", "WEBP", "AVIF") and picture.pixels.size < 1 << 13:
        kinds.append(picture.format)
    for kind in kinds:
        if (kind, picture.alpha is None) != ("JPEG", False):
            again = encode_picture(picture, kind)
            if kind in ("TIFF", "PNG"):
                assert np.array_equal(read_picture(again).pixels, picture.pixels)
    return True


def test_every_seed_is_sound():
    for name, data in seeds().items():
        assert survives(data) is not name.startswith(("moving", "lossy")), name
        assert sorted(read_picture(data, frame=0).pixels.shape[:2]) == [10, 12], name


def test_no_hostile_file_does_more_than_be_refused():
    rng = np.random.default_rng(SEED)
    good = list(seeds_once.values())
    read = 0
    for i in range(FILES):
        data = bytearray(good[i % len(good)])
        other = good[rng.integers(len(good))]
        for _ in range(rng.integers(1, 4)):
            if data:
                data = MUTATIONS[rng.integers(len(MUTATIONS))](data, rng, other)
        read += survives(with_right_checks(bytes(data)) if i % 2 else bytes(data))
    assert FILES // 50 < read < FILES  # the mutations are neither too rough nor too gentle


seeds_once = seeds()


@settings(derandomize=True, deadline=None, max_examples=150)
@given(st.sampled_from(sorted(seeds_once)), st.data())
def test_any_bytes_may_follow_a_good_start(name, data):
    whole = seeds_once[name]
    at = data.draw(st.integers(0, len(whole)))
    survives(whole[:at] + data.draw(st.binary(max_size=100)) + whole[at:])


@pytest.mark.parametrize(
    "start", [b"", b"\0", b"hello", b"BM", b"\xff\xd8\xff", b"II*\0", b"GIF89a"]
)
def test_what_is_hardly_there_is_refused(start):
    assert not survives(start)
