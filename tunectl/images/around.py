"""What a JPEG file holds around its picture: IPTC before it, films and further pictures behind."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator

from tunectl.images import ifd, photoshop

# In coded data 0xff is followed by a zero where it is meant, or by the number of a restart.
_MARKER = re.compile(rb"\xff([^\x00\xd0-\xd7\xff])")
_ALONE, _START, _END, _APP1, _APP11, _APP13 = 0x01, 0xDA, 0xD9, 0xE1, 0xEB, 0xED
_AFTER_A_SCAN = {0xC4, *range(0xDA, 0xDE), *range(0xE0, 0xF0), 0xFE, _END}
_PHOTOSHOP = b"Photoshop 3.0\0"
_MORE_XMP = b"http://ns.adobe.com/xmp/extension/\0"
_JUMBF, _CREDENTIALS = b"jumb", b"c2pa"
_MOST = (1 << 16) - 3 - len(_PHOTOSHOP)  # bytes of resources in a segment
_LONGEST_HEAD = 128  # bytes that tell what a segment is
# Segments that are read here, told of otherwise, or about how the file was coded.
_KNOWN = {
    0xE0: (b"JFIF\0", b"JFXX\0"),
    _APP1: (b"Exif\0", b"http://ns.adobe.com/xap/1.0/\0", _MORE_XMP),
    0xE2: (b"ICC_PROFILE\0", b"MPF\0"),
    0xEC: (b"Ducky",),
    _APP13: (_PHOTOSHOP, b"Adobe_CM"),
    0xEE: (b"Adobe",),
}
_WORDS = 1 << 10  # bytes of further ones; fewer are words, not heat, depth or another view
_LEAST = 64  # bytes behind a picture; fewer are a camera's padding
_SAMSUNG, _FILM, _JPEG = b"SEFT", b"ftyp", b"\xff\xd8\xff"
_ENTRIES, _ENTRY, _KIND, _PREVIEW = 0xB002, 16, 0xFFFFFF, 0x01  # of CIPA DC-007's index


def iptc(data: bytes) -> bytes | None:
    """The IPTC records of a JPEG, or None."""
    return photoshop.iptc(_resources(data))


def lost(data: bytes, index: bytes | None) -> list[str]:
    """What of a JPEG nobody here keeps. `index` is that of its further pictures."""
    found = photoshop.lost(_resources(data))
    parts = [(kind, data[at : at + _LONGEST_HEAD]) for kind, at, _ in _segments(data)]
    if any(kind == _APP1 and head.startswith(_MORE_XMP) for kind, head in parts):
        found.append("the extension of its XMP")
    boxes = {  # of JUMBF, by their number, under which one goes on in the next segment
        head[2:4]
        for kind, head in parts
        if kind == _APP11 and _JUMBF in head and _CREDENTIALS in head
    }
    if boxes:
        found.append("its content credentials")
    size = 0
    for kind, at, end in _segments(data):
        known = data.startswith(_KNOWN.get(kind, ()), at)
        known = known or (kind == _APP11 and data[at + 2 : at + 4] in boxes)
        if 0xE0 <= kind < 0xF0 and not known:
            size += end - at
    if size >= _WORDS:
        found.append(f"the {size:,} bytes that only its camera's maker reads")
    if index is not None:
        if _holds_more_than_previews(index):
            found.append("its further pictures (a gain map, or other views)")
    elif size := _bytes_behind(data):
        found.append(f"the {size:,} bytes behind its picture (a film?)")
    return found


def segments_of_iptc(records: bytes) -> bytes:
    """The segments of a JPEG that hold IPTC records."""
    block = photoshop.of_iptc(records)
    parts = (block[at : at + _MOST] for at in range(0, len(block), _MOST))
    return b"".join(
        bytes((0xFF, _APP13))
        + (2 + len(_PHOTOSHOP) + len(part)).to_bytes(2, "big")
        + _PHOTOSHOP
        + part
        for part in parts
    )


def _resources(data: bytes) -> bytes:
    """Photoshop's."""
    found = bytearray()  # one may go on in the next segment
    for kind, start, end in _segments(data):
        if kind == _APP13 and data.startswith(_PHOTOSHOP, start):
            found += data[start + len(_PHOTOSHOP) : end]
        if kind == _START:
            break
    return bytes(found)


def _holds_more_than_previews(index: bytes) -> bool:
    """Previews are as stale as a thumbnail."""
    try:
        reader = ifd.Reader(io.BytesIO(index))
        entries = reader.read(reader.first)[_ENTRIES]
    except (KeyError, ValueError):
        return True
    data = entries.data if isinstance(entries, ifd.Value) else b""
    words = (data[at : at + 4] for at in range(_ENTRY, len(data), _ENTRY))  # the first is the photo
    kinds = [int.from_bytes(word, reader.order) & _KIND for word in words]
    return any(kind >> 16 != _PREVIEW for kind in kinds)


def _bytes_behind(data: bytes) -> int:
    """How many bytes follow the end of the picture; 0 of padding, or of a camera's words."""
    end = next((at for kind, at, _ in _segments(data) if kind == _END), len(data))
    rest = data[end:].strip(b"\0\xff")
    words = rest.endswith(_SAMSUNG) and _FILM not in rest and _JPEG not in rest
    return 0 if words or len(rest) < _LEAST else len(data) - end


def _segments(data: bytes) -> Iterator[tuple[int, int, int]]:
    """The markers of a JPEG, and from where to where in the file each one's content lies.

    Where no end is marked it is before the first thing that stands in no picture.
    """
    at, coded = 2, False
    while found := _MARKER.search(data, at):
        kind, at = found[1][0], found.end()
        if coded and kind not in _AFTER_A_SCAN:
            yield _END, found.start(), found.start()
            return
        size = 0 if kind in (_ALONE, _END) else max(2, int.from_bytes(data[at : at + 2], "big"))
        yield kind, at + min(size, 2), at + size
        if kind == _END:
            return
        at += size
        coded = coded or kind == _START
