"""TIFF around its pixels: the header checked and the tags taken over; and a whole TIFF written."""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from tunectl.errors import PictureError
from tunectl.images import ifd, metadata, photoshop
from tunectl.images.arrays import release
from tunectl.images.picture import Picture

WIDTH, HEIGHT, BITS, COMPRESSION, PHOTOMETRIC, FILL_ORDER = 256, 257, 258, 259, 262, 266
STRIPS, CHANNELS, ROWS, STRIP_BYTES, PLANES, PREDICTOR = 273, 277, 278, 279, 284, 317
TILE_WIDTH, TILE_HEIGHT, TILES, TILE_BYTES = 322, 323, 324, 325
EXTRA, SAMPLE_FORMAT, XMP, IPTC, ICC, FAX_OPTIONS = 338, 339, 700, 33723, 34675, 292
PURPOSE, INNER, RESOURCES, LAYERS, DNG_VERSION = 254, 330, 34377, 37724, 50706
PLACES = frozenset({STRIPS, STRIP_BYTES, TILES, TILE_BYTES})  # each may be a long list
_OF_A_PLANE = {WIDTH, HEIGHT, BITS, COMPRESSION, PHOTOMETRIC, FILL_ORDER, CHANNELS, ROWS, PLANES}
_OF_A_PLANE |= {PREDICTOR, TILE_WIDTH, TILE_HEIGHT, SAMPLE_FORMAT, FAX_OPTIONS, *PLACES}
# What describes how one file was laid out or drawn, not what it shows: written anew for each.
_LAYOUT = _OF_A_PLANE | {PURPOSE, 255, *range(263, 266), *range(280, 284), *range(288, 292), 293}
_LAYOUT |= {metadata.DENSITY_UNIT, 297, 301, 320, 321, *range(332, 348), 351, *range(512, 533)}
_LAYOUT |= {XMP, ICC}
_LAYOUT |= {INNER, 400}  # point to further directories
_LAYOUT |= {RESOURCES, LAYERS}  # Photoshop's: the former a thumbnail; both as they were before
_LAYOUT |= {DNG_VERSION, 50707}  # what is written is developed
COLOURS = {0: 1, 1: 1, 2: 3, 5: 4}  # by photometric kind: gray from white, gray, RGB, CMYK
FROM_WHITE, RGB, PALETTE, INKS, YCBCR, JPEG = 0, 2, 3, 5, 6, 7
REDUCED = 1  # the bit of a picture's purpose that says: a smaller one of another in the file
MOST_INNER = 16  # directories that are looked into
_BITS = {1, 2, 4, 8, 16, 32}  # a sample
_DEFLATE = 8
# By the libtiff in pyvips-binary.
_NOT_UNPACKED = {34712: "JPEG 2000", 34887: "LERC", 34925: "LZMA", 50000: "zstd", 50001: "WebP"}
_NOT_UNPACKED |= {50002: "JPEG XL", 52546: "JPEG XL"}
_MOST_PAGES = 1 << 16
_DENSITIES, _NO_UNIT = (metadata.X_DENSITY, metadata.Y_DENSITY), 1
_STRIP = 4 << 20  # bytes of samples packed in one go
_CLASSIC = (1 << 32) - (64 << 20)  # offsets of a classic TIFF reach so far, with room for tags


@dataclass
class TiffHeader:
    """One page of a TIFF: its size, how its samples are meant and packed, and its tags."""

    width: int
    height: int
    bits: int
    floating: bool
    photometric: int
    compression: int
    planes: int  # that lie apart; 0 where samples lie side by side
    multiplied: bool  # opacity into the colours
    opaque: bool  # a further channel is none of opacity
    lost: list[str]
    tags: metadata.Tags


def pages(file: BinaryIO) -> list[int]:
    """Where the pages' directories start. Raises ValueError on what is no TIFF."""
    return ifd.Reader(file).offsets(_MOST_PAGES)


def read_header(file: BinaryIO, at: int) -> TiffHeader:
    """The page whose directory is at `at`. Raises ValueError where it is damaged."""
    reader = ifd.Reader(file)
    found = reader.read(at, skip=PLACES | {LAYERS})  # which may be as large as the picture

    def number(tag: int, missing: int) -> int:
        return (ifd.numbers(found.get(tag), reader.order) or [missing])[0]

    def raw(tag: int) -> bytes | None:
        entry = found.get(tag)
        return entry.data if isinstance(entry, ifd.Value) else None

    resources = raw(RESOURCES) or b""
    lost = photoshop.lost(resources) + ["its layers"] * reader.has(at, LAYERS)
    inner = ifd.numbers(found.get(INNER), reader.order)[:MOST_INNER]
    if any(_is_whole(file, at) for at in inner):
        lost.append("its further pictures")
    x, y = (ifd.numbers(found.get(tag), reader.order) for tag in _DENSITIES)
    fractions = len(x) == len(y) == 2
    if fractions and number(metadata.DENSITY_UNIT, 2) == _NO_UNIT and x[0] * y[1] != y[0] * x[1]:
        lost.append(metadata.PROPORTIONS)
    iptc = photoshop.iptc_records(raw(IPTC))
    if iptc:
        del found[IPTC]
    iptc = iptc or photoshop.iptc(resources)
    exif = metadata.pack_exif(_kept(found), reader.order)
    tags = metadata.Tags(raw(ICC), exif, raw(XMP), iptc=iptc)
    tags.damaged = reader.damaged
    tags.dpi = metadata.density(found, reader.order)
    return TiffHeader(
        number(WIDTH, 0),
        number(HEIGHT, 0),
        bits=number(BITS, 1),
        floating=number(SAMPLE_FORMAT, 1) == 3,
        photometric=number(PHOTOMETRIC, -1),
        compression=number(COMPRESSION, 1),
        planes=number(CHANNELS, 1) if number(PLANES, 1) == 2 else 0,
        multiplied=number(EXTRA, 0) == 1,
        opaque=number(EXTRA, 2) == 0,
        lost=lost,
        tags=tags,
    )


def _is_whole(file: BinaryIO, at: int) -> bool:
    """Whether the picture in a directory inside another is no smaller copy."""
    try:
        reader = ifd.Reader(file)  # of its own: what is odd there harms nobody
        purpose = ifd.numbers(reader.read(at, PLACES | {LAYERS}).get(PURPOSE), reader.order)
    except ValueError:
        return False
    return not (purpose or [0])[0] & REDUCED


def check(header: TiffHeader, name: str) -> None:
    """Raise PictureError for what libvips would show wrongly or cannot unpack."""
    shown = header.photometric
    usual = shown in COLOURS or shown == PALETTE
    if not usual and not (shown == YCBCR and header.compression == JPEG):
        raise PictureError(
            f"{name}: has colours of TIFF kind {shown}", "convert it to RGB, CMYK or gray first"
        )
    if header.bits not in _BITS or (header.floating and header.bits != 32):
        raise PictureError(
            f"{name}: has {'floats' if header.floating else 'samples'} of {header.bits} bits",
            "convert it to 8 or 16 bits a sample, or to floats of 32 bits from 0 to 1",
        )
    # Libvips takes 65535 for full opacity in gray and RGB of 16 bits, 1 in RGB of floats, and 255
    # elsewhere.
    deep_inks, floating_gray = shown == INKS and header.bits > 8, header.floating and shown != RGB
    if header.multiplied and (header.planes or deep_inks or floating_gray):
        raise PictureError(
            f"{name}: has colours that are multiplied by its opacity",
            "save it with straight opacity",
        )
    if header.planes and header.planes - COLOURS.get(shown, 0) not in (0, 1):
        raise PictureError(
            f"{name}: has {header.planes} planes", "keep its colours and one opacity at most"
        )
    if header.compression in _NOT_UNPACKED:
        raise PictureError(
            f"{name}: is packed by {_NOT_UNPACKED[header.compression]}",
            "save it with LZW or deflate instead",
        )


def plane(file: BinaryIO, at: int, index: int) -> bytes:
    """A gray TIFF of one of the planes that lie apart in the page whose directory is at `at`.

    Libvips reads them wrong or not at all where there are two of them, or tiles. The file is
    copied with a new directory behind it.
    """
    reader = ifd.Reader(file)
    tags = {tag: entry for tag, entry in reader.read(at).items() if tag in _OF_A_PLANE}
    planes = ifd.numbers(tags[CHANNELS], reader.order)[0]
    inverted = index == 0 and ifd.numbers(tags[PHOTOMETRIC], reader.order) == [0]
    for tag in {STRIPS, STRIP_BYTES, TILES, TILE_BYTES} & tags.keys():
        places = ifd.numbers(tags[tag], reader.order)
        count = len(places) // planes
        kind = ifd.LONG8 if reader.big else ifd.LONG
        tags[tag] = ifd.value(kind, places[index * count :][:count], reader.order)
    for tag in {BITS, SAMPLE_FORMAT} & tags.keys():
        tags[tag] = ifd.value(ifd.SHORT, ifd.numbers(tags[tag], reader.order)[:1], reader.order)
    for tag, number in {CHANNELS: 1, PLANES: 1, PHOTOMETRIC: int(not inverted)}.items():
        tags[tag] = ifd.value(ifd.SHORT, [number], reader.order)
    file.seek(0)
    data = bytearray(file.read())
    data += bytes(len(data) % 2)
    width = 8 if reader.big else 4
    data[width : 2 * width] = len(data).to_bytes(width, reader.order)
    data += ifd.pack(tags, len(data), reader.order, reader.big)
    return bytes(data)


def _kept(tags: ifd.Directory) -> ifd.Directory:
    """Without the layout, and without value types that only BigTIFF has."""
    return {
        tag: entry
        for tag, entry in tags.items()
        if tag not in _LAYOUT and not (isinstance(entry, ifd.Value) and entry.kind >= ifd.LONG8)
    }


def write(file: BinaryIO, picture: Picture) -> None:
    """Write strips packed by deflate, then the tags; BigTIFF where offsets would not reach.

    The file must be seekable and empty. A memmap passes through a strip at a time. libvips is not
    used here since it leaves EXIF tags out of a TIFF.
    """
    pixels = picture.pixels
    further = picture.alpha if picture.extra is None else picture.extra
    tags, order = metadata.unpack_exif(picture.exif)
    height, width, colours = pixels.shape
    channels = colours + (further is not None)
    row = width * channels * pixels.itemsize
    rows = max(1, min(height, _STRIP // row))
    big = row * height > _CLASSIC
    file.write((b"II" if order == "little" else b"MM") + (43 if big else 42).to_bytes(2, order))
    file.write((8).to_bytes(2, order) + bytes(10) if big else bytes(4))
    offsets, lengths = [], []
    for top in range(0, height, rows):
        block = pixels[top : top + rows]
        if further is not None:
            block = np.concatenate([block, further[top : top + rows, :, None]], axis=2)
            release(further)
        packed = zlib.compress(_predicted(block, order))
        offsets.append(file.tell())
        lengths.append(len(packed))
        file.write(packed + bytes(len(packed) % 2))
        release(pixels)
    if metadata.orientation(picture.exif) == 1:
        tags.pop(metadata.ORIENTATION, None)  # or what is none: readers refuse the whole file
    place = ifd.LONG8 if big else ifd.LONG
    layout = _described(picture, channels, order) | {
        STRIPS: ifd.value(place, offsets, order),
        STRIP_BYTES: ifd.value(place, lengths, order),
        ROWS: ifd.value(ifd.LONG, [rows], order),
    }
    at = file.tell()
    file.write(ifd.pack(_kept(tags) | layout, at, order, big))
    file.seek(8 if big else 4)
    file.write(at.to_bytes(8 if big else 4, order))


def _described(picture: Picture, channels: int, order: ifd.Order) -> ifd.Directory:
    """The tags that say how samples are meant, and the picture's profile, XMP and density."""
    height, width, colours = picture.pixels.shape
    whole = picture.pixels.dtype.kind == "u"
    shorts = {
        BITS: [8 * picture.pixels.itemsize] * channels,
        COMPRESSION: [_DEFLATE],
        PHOTOMETRIC: [{1: 1, 3: 2, 4: 5}[colours]],
        CHANNELS: [channels],
        PLANES: [1],  # samples of a pixel side by side
        PREDICTOR: [2 if whole else 1],
        SAMPLE_FORMAT: [1 if whole else 3] * channels,
    }
    if channels > colours:
        shorts[EXTRA] = [2 if picture.extra is None else 0]  # opacity, straight; or unknown
    found: ifd.Directory = {tag: ifd.value(ifd.SHORT, n, order) for tag, n in shorts.items()}
    found[WIDTH] = ifd.value(ifd.LONG, [width], order)
    found[HEIGHT] = ifd.value(ifd.LONG, [height], order)
    if picture.dpi:
        found |= metadata.density_tags(picture.dpi, order)
    if picture.xmp:
        found[XMP] = ifd.Value(ifd.BYTE, len(picture.xmp), picture.xmp)
    if picture.iptc:
        found[IPTC] = ifd.Value(ifd.UNDEFINED, len(picture.iptc), picture.iptc)
    if picture.icc:
        found[ICC] = ifd.Value(ifd.UNDEFINED, len(picture.icc), picture.icc)
    return found


def _predicted(block: NDArray[Any], order: ifd.Order) -> bytes:
    """The samples as bytes; whole numbers as differences to the left, which pack better."""
    if block.dtype.kind == "u":
        left = block
        block = block.copy()
        block[:, 1:] -= left[:, :-1]
    return block.astype(block.dtype.newbyteorder(order)).tobytes()
