"""Photos decoded once: one long table of 8-bit pixels, in memory or in a file."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
import platformdirs
from numpy.typing import NDArray

from tunectl.atomic import atomic_write, remove_stale
from tunectl.errors import PictureError
from tunectl.hashing import size_and_time
from tunectl.images import read_pair, read_rgb8, rgb8

# A photo, or a clean one and the same as it really came.
Source = Path | tuple[Path, Path]


@dataclass(frozen=True)
class Table:
    """The pixels (P, 3) of all photos, row by row, one after the other; of pairs, (P, 6).

    `names` and `shapes`, heights and widths, are theirs; `skipped` says of each file that could not
    be read why.
    """

    pixels: NDArray[np.uint8]
    names: tuple[str, ...]
    shapes: tuple[tuple[int, int], ...]
    skipped: tuple[str, ...]


def decode(sources: Sequence[Source], cached: bool = False) -> Table:
    """Decode the photos, or, where `cached`, map the file that an earlier run decoded them into.

    Without the file they are decoded into it, one by one, in the user's cache folder, so that
    memory does not limit how many there are. It is told by the names, sizes and times of the
    photos. Raises ResourceError if the disk refuses.
    """
    if not cached:
        found, arrays = _Found(), []
        for array in found.read(sources):
            arrays.append(array.reshape(-1, array.shape[2]))
        return found.table(_joined(arrays) if arrays else _nothing())
    place = platformdirs.user_cache_path("tunectl") / "photos" / _key(sources)
    pixels, facts = place.with_suffix(".u8"), place.with_suffix(".json")
    known = _decoded(pixels, facts, sources)
    found = known or _Found()
    if known is None:
        remove_stale(place.parent)
        with atomic_write(pixels) as file:
            for array in found.read(sources):
                file.write(np.ascontiguousarray(array).data)
        with atomic_write(facts) as file:
            file.write(json.dumps(asdict(found)).encode())
    if not found.shapes:
        return found.table(_nothing())
    # Mapped for copying on write: torch wants tables that can be written to, and never writes.
    return found.table(np.memmap(pixels, np.uint8, "c").reshape(-1, found.channels))


@dataclass
class _Found:
    """What was read so far."""

    channels: int = 3
    names: list[str] = field(default_factory=list)
    shapes: list[list[int]] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)
    unread: list[int] = field(default_factory=list)  # which ones, among all

    def read(self, sources: Sequence[Source]) -> Iterator[NDArray[np.uint8]]:
        """Each that can be read."""
        for index, source in enumerate(sources):
            try:
                array = read_source(source)
            except PictureError as error:
                self.skipped.append(error.message)
                self.unread.append(index)
                continue
            self.names.append(str(files_of(source)[0]))
            self.shapes.append(list(array.shape[:2]))
            self.channels = array.shape[2]
            yield array

    def table(self, pixels: NDArray[np.uint8]) -> Table:
        """With the pixels of them all."""
        shapes = tuple((height, width) for height, width in self.shapes)
        return Table(pixels, tuple(self.names), shapes, tuple(self.skipped))


def _decoded(pixels: Path, facts: Path, sources: Sequence[Source]) -> _Found | None:
    """What an earlier run has read, if it is there, and no more can be read by now."""
    try:
        found = _Found(**json.loads(facts.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None
    whole = sum(height * width for height, width in found.shapes) * found.channels
    if size_and_time(pixels)[0] != whole:  # removed, or of a run that was killed since
        return None
    for index in found.unread:
        with contextlib.suppress(PictureError):
            read_source(sources[index])
            return None
    return found


def files_of(source: Source) -> tuple[Path, ...]:
    """One, or two."""
    return (source,) if isinstance(source, Path) else source


def read_source(source: Source) -> NDArray[np.uint8]:
    """(H, W, 3) of a photo, (H, W, 6) of a pair. Raises PictureError."""
    if isinstance(source, Path):
        return read_rgb8(source)
    pair = zip(read_pair(*source), source, strict=True)
    return np.concatenate([rgb8(picture, path) for picture, path in pair], 2)


def _key(sources: Sequence[Source]) -> str:
    lines = []
    for source in sources:
        for path in files_of(source):
            size, time = size_and_time(path)
            lines.append(f"{path.resolve()} {size} {time}")
        lines.append("")
    return hashlib.sha256(os.fsencode("\n".join(lines))).hexdigest()[:32]


def _joined(arrays: list[NDArray[np.uint8]]) -> NDArray[np.uint8]:
    """One after the other; each is let go of as soon as it is copied, or memory would hold both."""
    rows = [len(array) for array in arrays]
    joined = np.empty((sum(rows), arrays[0].shape[1]), np.uint8)
    for end in reversed(np.cumsum(rows).tolist()):
        array = arrays.pop()
        joined[end - len(array) : end] = array
    return joined


def _nothing() -> NDArray[np.uint8]:
    return np.empty((0, 3), np.uint8)
