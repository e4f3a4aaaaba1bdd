"""PNG and TIFF files written byte by byte, an oracle that shares no code with tunectl."""

from __future__ import annotations

import io
import struct
import zlib

import numpy as np
from PIL import Image

SIGNATURE = b"\x89PNG\r\n\x1a\n"
# Adam7: first column, first row, steps.
_PASSES = [(0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2)]
_PASSES += [(0, 1, 1, 2)]


def saved(image: Image.Image, kind: str, **options: object) -> bytes:
    """The file that Pillow writes of an image."""
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def chunk(kind: bytes, data: bytes) -> bytes:
    check = zlib.crc32(kind + data)
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", check)


def png(
    samples: np.ndarray, interlaced: bool = False, before: bytes = b"", after: bytes = b""
) -> bytes:
    """A PNG of (H, W, C) uint8 or uint16 samples with further chunks before and after IDAT."""
    height, width, channels = samples.shape
    colour = {1: 0, 2: 4, 3: 2, 4: 6}[channels]
    head = struct.pack(
        ">IIBBBBB", width, height, 8 * samples.itemsize, colour, 0, 0, int(interlaced)
    )
    big = samples.astype(samples.dtype.newbyteorder(">"))
    parts = [big[y::dy, x::dx] for x, y, dx, dy in _PASSES] if interlaced else [big]
    rows = [b"\0" + row.tobytes() for part in parts if part.size for row in part]
    data = SIGNATURE + chunk(b"IHDR", head) + before + chunk(b"IDAT", zlib.compress(b"".join(rows)))
    return data + after + chunk(b"IEND", b"")


def lzw(data: bytes) -> bytes:
    """TIFF's LZW without a dictionary: every byte a 9-bit code, cleared before codes grow."""
    codes = []
    for i in range(0, len(data), 200):
        codes += [256, *data[i : i + 200]]
    bits = "".join(f"{code:09b}" for code in [*codes, 257])
    bits += "0" * (-len(bits) % 8)
    return int(bits, 2).to_bytes(len(bits) // 8, "big")


def tiff(
    samples: np.ndarray,
    order: str = "<",
    planar: bool = False,
    tiled: bool = False,
    packing: str = "none",
    predictor: bool = False,
    photometric: int | None = None,
    tags: dict[int, tuple[int, list[int]]] | None = None,
    more_pages: tuple[np.ndarray, ...] = (),
) -> bytes:
    """A TIFF of (H, W, C) samples; `tags` adds (type, numbers) by tag, of BYTE, SHORT, LONG
    or RATIONAL, or takes the tag away where there are no numbers."""
    data = bytearray(({"<": b"II", ">": b"MM"}[order]) + struct.pack(order + "HI", 42, 0))
    pointer = 4
    for page in (samples, *more_pages):
        height, width, channels = page.shape
        kind = page.dtype.kind
        colours = {1: 1, 2: 1, 3: 3, 4: 3, 5: 4}[channels]
        planes = [page[..., i : i + 1] for i in range(channels)] if planar else [page]
        offsets, counts = [], []
        for plane in planes:
            for block in _blocks(plane, tiled):
                if predictor:
                    left = block.copy()
                    block[:, 1:] -= left[:, :-1]
                raw = block.astype(page.dtype.newbyteorder(order)).tobytes()
                pack = {"none": bytes, "lzw": lzw, "deflate": zlib.compress}[packing]
                data += bytes(len(data) % 2)
                offsets.append(len(data))
                data += pack(raw)
                counts.append(len(data) - offsets[-1])
        entries = {
            256: (4, [width]),
            257: (4, [height]),
            258: (3, [8 * page.itemsize] * channels),
            259: (3, [{"none": 1, "lzw": 5, "deflate": 8}[packing]]),
            262: (3, [photometric if photometric is not None else 2 if colours == 3 else 1]),
            277: (3, [channels]),
            284: (3, [2 if planar else 1]),
            317: (3, [2 if predictor else 1]),
            339: (3, [3 if kind == "f" else 1] * channels),
        }
        if channels > colours:
            entries[338] = (3, [2])
        if tiled:
            entries |= {322: (4, [16]), 323: (4, [16]), 324: (4, offsets), 325: (4, counts)}
        else:
            entries |= {273: (4, offsets), 278: (4, [5]), 279: (4, counts)}
        entries |= tags or {}
        entries = {tag: entry for tag, entry in entries.items() if entry[1]}
        data += bytes(len(data) % 2)
        data[pointer : pointer + 4] = struct.pack(order + "I", len(data))
        pointer = len(data) + 2 + 12 * len(entries)
        data += _directory(entries, order, len(data))
    return bytes(data)


def _blocks(plane: np.ndarray, tiled: bool) -> list[np.ndarray]:
    height, width = plane.shape[:2]
    if not tiled:
        return [plane[y : y + 5].copy() for y in range(0, height, 5)]
    padded = np.pad(plane, ((0, -height % 16), (0, -width % 16), (0, 0)))
    return [
        padded[y : y + 16, x : x + 16].copy()
        for y in range(0, height, 16)
        for x in range(0, width, 16)
    ]


def _directory(entries: dict[int, tuple[int, list[int]]], order: str, at: int) -> bytes:
    table = struct.pack(order + "H", len(entries))
    behind = b""
    after = at + 2 + 12 * len(entries) + 4
    for tag, (kind, numbers) in sorted(entries.items()):
        code = {1: "B", 3: "H", 4: "I", 5: "I"}[kind]
        data = struct.pack(order + str(len(numbers)) + code, *numbers)
        if len(data) > 4:
            place = struct.pack(order + "I", after + len(behind))
            behind += data + bytes(len(data) % 2)
            data = place
        count = len(numbers) // 2 if kind == 5 else len(numbers)  # pairs
        table += struct.pack(order + "HHI", tag, kind, count) + data.ljust(4, b"\0")
    return table + bytes(4) + behind
