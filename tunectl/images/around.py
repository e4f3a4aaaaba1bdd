"""What a JPEG file holds around its picture: IPTC before it, and whatever lies behind."""

from __future__ import annotations

import re
from collections.abc import Iterator

# In coded data 0xff is followed by a zero where it is meant, or by the number of a restart.
_MARKER = re.compile(rb"\xff([^\x00\xd0-\xd7\xff])")
_ALONE, _START, _END, _APP13 = 0x01, 0xDA, 0xD9, 0xED  # the first is followed by no length
_PHOTOSHOP, _RESOURCE, _IPTC = b"Photoshop 3.0\0", b"8BIM", 0x0404
_RECORD = b"\x1c"  # begins each of IPTC's
_MOST = (1 << 16) - 3 - len(_PHOTOSHOP)  # bytes of resources in a segment
_LEAST = 64  # bytes behind a picture; fewer are a camera's padding


def bytes_behind(data: bytes) -> int:
    """How many bytes follow the end of the picture; 0 where they are padding, or no end is found.

    `data` begins with a JPEG.
    """
    for kind, start, _ in _segments(data):
        if kind == _END:
            rest = len(data[start:].strip(b"\0"))
            return rest if rest >= _LEAST else 0
    return 0


def iptc(data: bytes) -> bytes | None:
    """The IPTC records of a JPEG, or None: captions and the like, among Photoshop's resources."""
    found = bytearray()  # resources may go on in the next segment
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
        if number == _IPTC:
            records = bytes(found[at : at + size])
            return records if len(records) == size and records.startswith(_RECORD) else None
        at += size + size % 2
    return None


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


def _segments(data: bytes) -> Iterator[tuple[int, int, int]]:
    """The markers of a JPEG, and from where to where in the file each one's content lies."""
    at = 2
    while found := _MARKER.search(data, at):
        kind, at = found[1][0], found.end()
        size = 0 if kind in (_ALONE, _END) else max(2, int.from_bytes(data[at : at + 2], "big"))
        yield kind, at + min(size, 2), at + size
        at += size
