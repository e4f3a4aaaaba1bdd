"""What a JPEG file holds around its picture: IPTC before it, films and further pictures behind."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator

from tunectl.images import ifd
from tunectl.images.metadata import iptc_records

# In coded data 0xff is followed by a zero where it is meant, or by the number of a restart.
_MARKER = re.compile(rb"\xff([^\x00\xd0-\xd7\xff])")
_ALONE, _START, _END, _APP1, _APP13 = 0x01, 0xDA, 0xD9, 0xE1, 0xED
_AFTER_A_SCAN = {0xC4, *range(0xDA, 0xDE), *range(0xE0, 0xF0), 0xFE, _END}
_PHOTOSHOP, _RESOURCE, _IPTC, _PATHS = b"Photoshop 3.0\0", b"8BIM", 0x0404, range(2000, 2998)
_MORE_XMP = b"http://ns.adobe.com/xmp/extension/\0"
_MOST = (1 << 16) - 3 - len(_PHOTOSHOP)  # bytes of resources in a segment
_LEAST = 64  # bytes behind a picture; fewer are a camera's padding
_SAMSUNG, _FILM, _JPEG = b"SEFT", b"ftyp", b"\xff\xd8\xff"
_ENTRIES, _ENTRY, _KIND, _PREVIEW = 0xB002, 16, 0xFFFFFF, 0x01  # of CIPA DC-007's index


def iptc(data: bytes) -> bytes | None:
    """The IPTC records of a JPEG, or None: captions and the like, among Photoshop's resources."""
    return iptc_records(dict(_resources(data)).get(_IPTC))


def lost(data: bytes, index: bytes | None) -> list[str]:
    """What of a JPEG nobody here keeps. `index` is that of its further pictures."""
    found = []
    if any(number in _PATHS for number, _ in _resources(data)):
        found.append("its clipping paths")
    if any(kind == _APP1 and data.startswith(_MORE_XMP, at) for kind, at, _ in _segments(data)):
        found.append("the extension of its XMP")
    if index is not None:
        if _holds_more_than_previews(index):
            found.append("its further pictures (a gain map, or other views)")
    elif size := _bytes_behind(data):
        found.append(f"the {size:,} bytes behind its picture (a film?)")
    return found


def segments_of_iptc(records: bytes) -> bytes:
    """The segments of a JPEG that hold IPTC records."""
    head = _RESOURCE + _IPTC.to_bytes(2, "big") + bytes(2) + len(records).to_bytes(4, "big")
    block = head + records + bytes(len(records) % 2)
    parts = (block[at : at + _MOST] for at in range(0, len(block), _MOST))
    return b"".join(
        bytes((0xFF, _APP13))
        + (2 + len(_PHOTOSHOP) + len(part)).to_bytes(2, "big")
        + _PHOTOSHOP
        + part
        for part in parts
    )


def _resources(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Photoshop's: numbers and contents."""
    found = bytearray()  # one may go on in the next segment
    for kind, start, end in _segments(data):
        if kind == _APP13 and data.startswith(_PHOTOSHOP, start):
            found += data[start + len(_PHOTOSHOP) : end]
        if kind == _START:
            break
    at = 0
    while found[at : at + 4] == _RESOURCE:
        number = int.from_bytes(found[at + 4 : at + 6], "big")
        at += 6
        at += 2 * (found[at] // 2 + 1) if at < len(found) else 0  # a name, its length before it
        size = int.from_bytes(found[at : at + 4], "big")
        at += 4
        if at + size > len(found):
            break
        yield number, bytes(found[at : at + size])
        at += size + size % 2


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
        at += size
        coded = coded or kind == _START
