"""Every kind of sample comes in and goes out to the bit, against files written by hand."""

from __future__ import annotations

import io
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import handmade
import numpy as np
import pytest
from PIL import Image

from tunectl.errors import PictureError
from tunectl.images import encode_picture, read_picture, write_picture
from tunectl.images.deep import libvips

RNG = np.random.default_rng(0)
DEEP = RNG.integers(0, 65536, (19, 21, 4)).astype(np.uint16)
LOW = RNG.integers(0, 256, (19, 21, 4)).astype(np.uint8)
FLOAT = RNG.random((19, 21, 4), dtype=np.float32)


def together(picture) -> np.ndarray:
    planes = [picture.pixels] + ([] if picture.alpha is None else [picture.alpha[..., None]])
    return np.concatenate(planes, axis=2)


def by_pillow(data: bytes) -> np.ndarray:
    """Exact 16-bit samples of a PNG by Pillow alone: its 16-bit decoder run for either byte."""

    def plane(raw: str) -> np.ndarray:
        image = Image.open(io.BytesIO(data))
        image.tile = [tile._replace(args=raw) for tile in image.tile]
        image.load()
        return np.asarray(image).astype(np.uint16)

    raw = Image.open(io.BytesIO(data)).tile[0].args
    if raw == "LA;16B":
        bytes_ = plane("RGBA")
        return bytes_[..., 0::2] * 256 + bytes_[..., 1::2]
    if raw.startswith("I;16"):
        return np.asarray(Image.open(io.BytesIO(data)))[..., None]
    return plane(raw) * 256 + plane(raw[:-1] + "L")


def by_libvips(data: bytes) -> np.ndarray:
    image = libvips().Image.tiffload_buffer(data)
    return image.numpy().reshape(image.height, image.width, image.bands)


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
@pytest.mark.parametrize("samples", [LOW, DEEP], ids=["8", "16"])
@pytest.mark.parametrize("interlaced", [False, True])
def test_png(samples, channels, interlaced):
    samples = samples[..., :channels]
    picture = read_picture(handmade.png(samples, interlaced))
    assert np.array_equal(together(picture), samples)
    assert together(picture).dtype == samples.dtype
    assert (picture.alpha is not None) == (channels in (2, 4))
    for kind in ("PNG", "TIFF"):
        data = encode_picture(picture, kind)
        assert np.array_equal(together(read_picture(data)), samples)
        if samples.itemsize == 1:
            seen = np.asarray(Image.open(io.BytesIO(data))).reshape(samples.shape)
        else:
            seen = by_pillow(data) if kind == "PNG" else by_libvips(data)
        assert np.array_equal(seen, samples)


@pytest.mark.parametrize("packing", ["none", "lzw", "deflate"])
@pytest.mark.parametrize("tiled", [False, True], ids=["strips", "tiles"])
@pytest.mark.parametrize("planar", [False, True], ids=["together", "planar"])
@pytest.mark.parametrize("order", ["<", ">"], ids=["little", "big"])
def test_16_bit_tiff(order, planar, tiled, packing, tmp_path: Path):
    for channels in (1, 2, 3, 4):
        samples = DEEP[..., :channels]
        for predictor in (False, True) if packing != "none" else (False,):
            data = handmade.tiff(samples, order, planar, tiled, packing, predictor)
            (tmp_path / "a.tif").write_bytes(data)
            picture = read_picture(tmp_path / "a.tif")
            assert np.array_equal(together(picture), samples)
            write_picture(tmp_path / "b.tif", picture)
            assert np.array_equal(by_libvips((tmp_path / "b.tif").read_bytes()), samples)
            write_picture(tmp_path / "b.png", picture)
            assert np.array_equal(by_pillow((tmp_path / "b.png").read_bytes()), samples)


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
@pytest.mark.parametrize("planar", [False, True])
@pytest.mark.parametrize("order", ["<", ">"])
def test_float_tiff(order, planar, channels):
    samples = FLOAT[..., :channels]
    picture = read_picture(handmade.tiff(samples, order, planar))
    assert picture.peak == 1
    assert together(picture).tobytes() == samples.tobytes()
    assert by_libvips(encode_picture(picture, "TIFF")).tobytes() == samples.tobytes()


@pytest.mark.parametrize("dtype", [np.float16, np.float64])
@pytest.mark.parametrize("planar", [False, True])
def test_floats_of_another_length_are_refused(planar, dtype):
    with pytest.raises(PictureError, match=f"floats of {8 * dtype().itemsize} bits"):
        read_picture(handmade.tiff(FLOAT[..., :3].astype(dtype), planar=planar))


@pytest.mark.parametrize("wrong", [-0.25, 1.5, np.nan, np.inf])
def test_floats_outside_0_to_1_are_refused(wrong):
    samples = FLOAT[..., :3].copy()
    samples[7, 3, 1] = wrong
    with pytest.raises(PictureError, match="outside 0 to 1"):
        read_picture(handmade.tiff(samples))


@pytest.mark.parametrize("mode", ["L", "LA", "RGB", "RGBA", "CMYK"])
@pytest.mark.parametrize("packing", ["raw", "tiff_deflate", "tiff_lzw", "packbits"])
def test_8_bit_tiff_as_pillow_has_it(mode, packing):
    image = Image.fromarray(LOW).convert("RGB").convert(mode) if mode == "CMYK" else None
    channels = {"L": 1, "LA": 2, "RGB": 3, "RGBA": 4}.get(mode, 4)
    image = image or Image.fromarray(LOW[..., :channels].squeeze())
    file = io.BytesIO()
    image.save(file, "TIFF", compression=packing)
    picture = read_picture(file.getvalue())
    assert np.array_equal(together(picture).squeeze(), np.asarray(image))
    again = Image.open(io.BytesIO(encode_picture(picture, "TIFF")))
    assert again.mode == mode
    assert np.array_equal(np.asarray(again), np.asarray(image))


def test_white_as_zero_is_shown_as_it_is_meant():
    picture = read_picture(handmade.tiff(DEEP[..., :1], photometric=0))
    assert np.array_equal(picture.pixels, 65535 - DEEP[..., :1])


def test_a_colour_that_is_transparent_becomes_opacity():
    for samples in (LOW[..., :3], DEEP[..., :3], LOW[..., :1], DEEP[..., :1]):
        clear = b"".join(struct.pack(">H", int(value)) for value in samples[4, 5])
        picture = read_picture(handmade.png(samples, before=handmade.chunk(b"tRNS", clear)))
        hidden = (samples == samples[4, 5]).all(axis=2)
        assert np.array_equal(picture.alpha, np.where(hidden, 0, picture.peak))
        assert np.array_equal(picture.pixels, samples)


@pytest.mark.parametrize("bits", [1, 2, 4])
def test_few_bits_become_eight(bits):
    width = 21
    values = RNG.integers(0, 1 << bits, (19, width))
    shifts = np.arange(8 // bits)[::-1] * bits
    padded = np.pad(values, ((0, 0), (0, -width % (8 // bits))))
    packed = (padded.reshape(19, -1, 8 // bits) << shifts).sum(axis=2).astype(np.uint8)
    head = handmade.chunk(b"IHDR", struct.pack(">IIBBBBB", width, 19, bits, 0, 0, 0, 0))
    rows = b"".join(b"\0" + row.tobytes() for row in packed)
    body = handmade.chunk(b"IDAT", zlib.compress(rows))
    data = handmade.SIGNATURE + head + body + handmade.chunk(b"IEND", b"")
    picture = read_picture(data)
    assert np.array_equal(picture.pixels[..., 0], values * 255 // ((1 << bits) - 1))


@pytest.mark.parametrize("kind", ["JPEG", "WEBP", "AVIF", "BMP", "HEIF", "JXL"])
def test_16_bits_are_never_cut(kind):
    picture = read_picture(handmade.png(DEEP[..., :3]))
    with pytest.raises(PictureError, match="no 16-bit") as error:
        encode_picture(picture, kind)
    assert "PNG or TIFF" in error.value.hint
    floats = read_picture(handmade.tiff(FLOAT[..., :3]))
    for other in (kind, "PNG"):
        with pytest.raises(PictureError, match="no floats"):
            encode_picture(floats, other)


@pytest.mark.parametrize(
    "mode", ["I", "LAB", "YCbCr"], ids=["32 bits", "LAB", "YCbCr that is not JPEG's"]
)
def test_other_samples_are_refused(mode):
    image = Image.frombytes("LAB", (21, 19), LOW[..., :3].tobytes())
    if mode == "I":
        image = Image.fromarray(LOW[..., 0].astype(np.int32))
    elif mode == "YCbCr":
        image = Image.fromarray(LOW[..., :3]).convert("YCbCr")
    file = io.BytesIO()
    image.save(file, "TIFF")
    with pytest.raises(PictureError, match=r"samples of type|TIFF kind") as error:
        read_picture(file.getvalue())
    assert error.value.hint


def test_colours_multiplied_by_opacity_are_made_straight_and_told():
    samples = DEEP.copy()
    samples[..., 3] = 32768
    samples[..., :3] //= 2
    picture = read_picture(handmade.tiff(samples, tags={338: (3, [1])}))
    expected = np.minimum(samples[..., :3].astype(float) * 65535 / 32768, 65535)
    assert np.abs(picture.pixels - expected).max() <= 1
    assert "straight" in picture.notes[0]
    with pytest.raises(PictureError, match="multiplied"):
        read_picture(handmade.tiff(samples, planar=True, tags={338: (3, [1])}))
    five = np.concatenate([samples, samples[..., :1]], axis=2)
    with pytest.raises(PictureError, match="multiplied"):  # libvips would wipe its inks
        read_picture(handmade.tiff(five, photometric=5, tags={338: (3, [1]), 332: (3, [1])}))
    floats = np.random.default_rng(0).random((12, 17, 2)).astype(np.float32)
    with pytest.raises(PictureError, match="multiplied"):
        read_picture(handmade.tiff(floats, tags={338: (3, [1])}))


def test_channels_that_are_no_colours_are_not_taken_for_them():
    for samples, photometric, tags in (
        (DEEP, 1, {338: (3, [0, 0, 0])}),  # of a satellite
        (LOW[..., :3], 1, {338: (3, [0, 0])}),
        (LOW, 5, {338: (3, []), 332: (3, [2])}),  # inks of one's own
    ):
        with pytest.raises(PictureError, match="not those of its colours"):
            read_picture(handmade.tiff(samples, photometric=photometric, tags=tags))
    with pytest.raises(PictureError, match="samples of 12 bits") as error:
        read_picture(handmade.tiff(DEEP[..., :1], tags={258: (3, [12])}))
    assert "damaged" not in error.value.message


def test_a_packing_that_is_not_unpacked_is_named():
    file = io.BytesIO()
    Image.fromarray(LOW).save(file, "TIFF", compression="zstd")
    with pytest.raises(PictureError, match="zstd") as error:
        read_picture(file.getvalue())
    assert "deflate" in error.value.hint


def test_damage_in_a_tile_is_found():
    smooth = np.arange(64 * 48, dtype=np.uint16).reshape(64, 48, 1) * 7
    for tiled in (False, True):
        data = bytearray(handmade.tiff(smooth, packing="deflate", tiled=tiled))
        data[40] ^= 0xFF
        with pytest.raises(PictureError, match="damaged"):
            read_picture(bytes(data))


def test_libvips_is_loaded_when_it_is_needed():
    code = "import sys, tunectl.images; print('pyvips' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


@pytest.mark.parametrize("kind", [np.uint8, np.uint16, np.float32])
@pytest.mark.parametrize("planar", [False, True])
def test_gray_that_counts_from_white_is_turned(kind, planar):
    peak = 1 if kind == np.float32 else np.iinfo(kind).max
    samples = (np.linspace(0, 1, 48).reshape(6, 8, 1) * peak).astype(kind)
    picture = read_picture(handmade.tiff(samples, photometric=0, planar=planar))
    np.testing.assert_allclose(picture.pixels, peak - samples, rtol=1e-6)
