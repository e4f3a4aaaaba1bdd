"""Photoshop's resources, which stand in JPEG and TIFF files: IPTC and clipping paths among them."""

from __future__ import annotations

from collections.abc import Iterator

_MARK, _IPTC, _PATHS = b"8BIM", 0x0404, range(2000, 2998)


def iptc(block: bytes) -> bytes | None:
    """The IPTC records among the resources, or None: captions and the like."""
    return iptc_records(dict(_resources(block)).get(_IPTC))


def iptc_records(raw: bytes | None) -> bytes | None:
    """IPTC as it was found, if it begins as its records do."""
    return raw if raw and raw.startswith(b"\x1c") else None


def lost(block: bytes) -> list[str]:
    """What among the resources nobody here keeps, and no picture shows."""
    found = any(number in _PATHS for number, _ in _resources(block))
    return ["its clipping paths"] if found else []


def of_iptc(records: bytes) -> bytes:
    """The resource that holds IPTC records."""
    head = _MARK + _IPTC.to_bytes(2, "big") + bytes(2) + len(records).to_bytes(4, "big")
    return head + records + bytes(len(records) % 2)


def _resources(block: bytes) -> Iterator[tuple[int, bytes]]:
    """Numbers and contents."""
    at = 0
    while block[at : at + 4] == _MARK:
        number = int.from_bytes(block[at + 4 : at + 6], "big")
        at += 6
        at += 2 * (block[at] // 2 + 1) if at < len(block) else 0  # a name, its length before it
        size = int.from_bytes(block[at : at + 4], "big")
        at += 4
        if at + size > len(block):
            break
        yield number, block[at : at + size]
        at += size + size % 2
