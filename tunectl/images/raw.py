"""Raw files of cameras: most are TIFFs whose first picture is a small preview.

Whoever took that for the photo would write a thumbnail, in place even over the raw file itself.
"""

from __future__ import annotations

from pathlib import PurePath
from typing import BinaryIO

from tunectl.images import ifd
from tunectl.images.tiff import (
    DNG_VERSION,
    INNER,
    LAYERS,
    MOST_INNER,
    PHOTOMETRIC,
    PLACES,
    PURPOSE,
    REDUCED,
)

ENDINGS = {
    *(".3fr", ".arw", ".cr2", ".cr3", ".crw", ".dcr", ".dng", ".erf", ".fff", ".gpr"),
    *(".iiq", ".kdc", ".mef", ".mos", ".mrw", ".nef", ".nrw", ".orf", ".pef", ".raf"),
    *(".raw", ".rw2", ".rwl", ".sr2", ".srf", ".srw", ".x3f", ".cap", ".dcs", ".k25", ".ptx"),
}
SKIPPED = PLACES | {LAYERS}
SENSOR = {32803, 34892}  # photometric kinds: a filter array, linear raw


def is_raw(file: BinaryIO, kind: str | None, name: str) -> bool:
    """Whether it is a raw file, by its content, or by its name where that says no more than TIFF.

    `kind` is what `sniff` says of it.
    """
    if kind not in (None, "TIFF"):
        return False
    if PurePath(name).suffix.lower() in ENDINGS:
        return True
    return kind == "TIFF" and _tells(file)


def _tells(file: BinaryIO) -> bool:
    try:
        reader = ifd.Reader(file)
        file.seek(8)
        if file.read(4) == b"CR\2\0" and reader.first == 16:  # Canon's
            return True
        first = reader.read(reader.first, skip=SKIPPED)
    except ValueError:  # damaged, which reading it will say
        return False
    inner = ifd.numbers(first.get(INNER), reader.order)[:MOST_INNER]
    if not inner:  # nor does a photo that has a raw file's tags, since it was developed, hold one
        return False
    if DNG_VERSION in first or _number(first, PURPOSE, reader.order) & REDUCED:
        return True
    return any(_is_of_sensor(reader, at) for at in inner)


def _is_of_sensor(reader: ifd.Reader, at: int) -> bool:
    try:
        return _number(reader.read(at, SKIPPED), PHOTOMETRIC, reader.order) in SENSOR
    except ValueError:
        return False


def _number(tags: ifd.Directory, tag: int, order: ifd.Order) -> int:
    return (ifd.numbers(tags.get(tag), order) or [0])[0]
