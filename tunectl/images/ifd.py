"""TIFF directories, which hold the tags of a TIFF and of every EXIF block: read and packed.

Values stay bytes in the byte order they were found in, so what is copied stays equal to the bit.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import BinaryIO, Literal

Order = Literal["little", "big"]

EXIF, GPS, INTEROP = 34665, 34853, 40965  # tags that point to a further directory
# Which of them stand in which directory: not more, so that no hostile file can nest them endlessly.
_INNER: dict[int | None, tuple[int, ...]] = {
    None: (EXIF, GPS),
    EXIF: (INTEROP,),
    GPS: (),
    INTEROP: (),
}
_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4}
_SIZES |= {16: 8, 17: 8, 18: 8}  # of BigTIFF only
BYTE, SHORT, LONG, RATIONAL, UNDEFINED, SIGNED_RATIONAL, LONG8 = 1, 3, 4, 5, 7, 10, 16
_MOST_TAGS = 4096
_MOST_BYTES = 64 << 20  # of one directory's values: a profile or a page of text, not pixels


@dataclass(frozen=True)
class Value:
    """One tag's value: TIFF type, count, and `data` in the file's byte order."""

    kind: int
    count: int
    data: bytes


Directory = dict[int, "Value | Directory"]


@dataclass(frozen=True)
class Extent:
    """Where a part of the structure lies: bytes `start` to `end`."""

    start: int
    end: int


class Reader:
    """Reads directories from a seekable file. Raises ValueError on what is no TIFF structure."""

    def __init__(self, file: BinaryIO) -> None:
        self.file = file
        self.damaged = False
        self.length = file.seek(0, io.SEEK_END)
        head = self._bytes(0, 4)
        if head[:2] not in (b"II", b"MM"):
            raise ValueError("no byte order")
        self.order: Order = "little" if head[:2] == b"II" else "big"
        version = int.from_bytes(head[2:], self.order)
        if version not in (42, 43):
            raise ValueError(f"version {version}")
        self.big = version == 43
        self.first = self._number(8, 8) if self.big else self._number(4, 4)

    def offsets(self, most: int) -> list[int]:
        """Where the directories of the main chain start, `most` of them at most."""
        found: dict[int, None] = {}
        at = self.first
        while at and len(found) < most:
            if at in found:
                raise ValueError("its directories run in a circle")
            found[at] = None
            at = self._number(self.next_pointer(at), 8 if self.big else 4)
        return list(found)

    def read(self, at: int, skip: frozenset[int] = frozenset(), of: int | None = None) -> Directory:
        """The directory at `at` and those inside it; `of` is the tag that pointed to it.

        Tags in `skip` are left out, and so are tags whose value lies outside the file or that say
        so of their directory: `damaged` is set then.
        """
        result: Directory = {}
        total = 0
        for tag, (kind, count, extent) in self._entries(at).items():
            if tag in skip:
                continue
            total += extent.end - extent.start
            if extent.end > self.length or total > _MOST_BYTES:
                self.damaged = True
                continue
            data = self._bytes(extent.start, extent.end - extent.start)
            if tag not in _INNER[of]:
                result[tag] = Value(kind, count, data)
                continue
            try:
                result[tag] = self.read(int.from_bytes(data, self.order), of=tag)
            except ValueError:
                self.damaged = True
        return result

    def extents(self, at: int, of: int | None = None) -> list[Extent]:
        """Every part that the directory at `at` and those inside it take up."""
        found = [Extent(at, self.next_pointer(at) + (8 if self.big else 4))]
        for tag, (_, _, extent) in self._entries(at).items():
            found.append(extent)
            if tag in _INNER[of] and extent.end <= self.length:
                inner = self._number(extent.start, extent.end - extent.start)
                found += self.extents(inner, tag)
        return found

    def has(self, at: int, tag: int) -> bool:
        """Whether the directory at `at` has a tag, of whatever size."""
        return tag in self._entries(at)

    def place(self, at: int, tag: int) -> int:
        """Where the value of a tag stands that the directory at `at` has."""
        return self._entries(at)[tag][2].start

    def next_pointer(self, at: int) -> int:
        """Where the offset of the directory after that at `at` stands."""
        count, first, size = self._shape(at)
        return first + count * size

    def _shape(self, at: int) -> tuple[int, int, int]:
        """How many entries, where the first one starts, and how long each is."""
        count = self._number(at, 8 if self.big else 2)
        if count > _MOST_TAGS:
            raise ValueError(f"{count} tags")
        return (count, at + 8, 20) if self.big else (count, at + 2, 12)

    def _entries(self, at: int) -> dict[int, tuple[int, int, Extent]]:
        """Tag to type, count and where the value lies; of a tag that comes twice, the first."""
        count, first, size = self._shape(at)
        table = self._bytes(first, count * size)
        width = 8 if self.big else 4
        found: dict[int, tuple[int, int, Extent]] = {}
        for i in range(count):
            row = table[i * size : (i + 1) * size]
            tag, kind = (int.from_bytes(row[k : k + 2], self.order) for k in (0, 2))
            number = int.from_bytes(row[4 : 4 + width], self.order)
            if kind not in _SIZES:
                self.damaged = True
                continue
            length = number * _SIZES[kind]
            start = first + i * size + 4 + width
            if length > width:
                start = int.from_bytes(row[4 + width :], self.order)
            found.setdefault(tag, (kind, number, Extent(start, start + length)))
        return found

    def _number(self, at: int, size: int) -> int:
        return int.from_bytes(self._bytes(at, size), self.order)

    def _bytes(self, at: int, size: int) -> bytes:
        if at + size > self.length:
            raise ValueError("points outside the file")
        self.file.seek(at)
        return self.file.read(size)


def numbers(value: Value | Directory | None, order: Order) -> list[int]:
    """A value as whole numbers, a rational's two parts one by one; [] if it is not there."""
    if not isinstance(value, Value):
        return []
    size = 4 if value.kind in (RATIONAL, SIGNED_RATIONAL) else _SIZES[value.kind]
    data = value.data
    return [int.from_bytes(data[i : i + size], order) for i in range(0, len(data) - size + 1, size)]


def value(kind: int, numbers: list[int], order: Order) -> Value:
    """A tag's value from whole numbers; for a rational, its two parts one by one."""
    size = 4 if kind == RATIONAL else _SIZES[kind]
    data = b"".join(number.to_bytes(size, order) for number in numbers)
    return Value(kind, len(data) // _SIZES[kind], data)


def pack(directory: Directory, at: int, order: Order, big: bool = False) -> bytes:
    """The bytes of a directory that will start at `at`: table, then values, then inner ones."""
    width, size = (8, 20) if big else (4, 12)
    count_size = 8 if big else 2
    table = bytearray(len(directory).to_bytes(count_size, order))
    behind = bytearray()
    after = at + count_size + len(directory) * size + width
    for tag, entry in sorted(directory.items()):
        if isinstance(entry, Value):
            kind, count, data = entry.kind, entry.count, entry.data
        else:
            inner = pack(entry, after + len(behind), order, big)
            kind, count = (LONG8 if big else LONG), 1
            data = (after + len(behind)).to_bytes(width, order)
            behind += inner + bytes(len(inner) % 2)
        if len(data) > width:
            place = (after + len(behind)).to_bytes(width, order)
            behind += data + bytes(len(data) % 2)
            data = place
        table += tag.to_bytes(2, order) + kind.to_bytes(2, order) + count.to_bytes(width, order)
        table += data.ljust(width, b"\0")
    return bytes(table) + bytes(width) + bytes(behind)
