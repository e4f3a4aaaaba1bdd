"""Which files are pictures, told by their first bytes, whatever they are called."""

from __future__ import annotations

import contextlib
import io
import os
import stat
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

from tunectl.errors import DataError, PictureError
from tunectl.images.picture import FORMATS
from tunectl.images.raw import ENDINGS as RAW
from tunectl.images.raw import is_raw

ENDINGS = {*FORMATS, ".gif"}
UNREAD = {*RAW, ".dds", ".exr", ".hdr", ".ico", ".j2k", ".jp2", ".jpx", ".jxr", ".pbm", ".pcx"}
UNREAD |= {".pgm", ".pnm", ".ppm", ".psb", ".psd", ".tga", ".xcf"}
# At the root of a disk; and the thumbnails, bins and copies that network storage keeps everywhere.
_OF_SYSTEMS = {"lost+found", "System Volume Information", "$RECYCLE.BIN"}
_LIBRARIES = (".photoslibrary", ".photolibrary", ".aplibrary")  # of macOS, which looks after them
_OF_SYSTEMS |= {"@eaDir", "#recycle", "@Recycle", "#snapshot", "@Recently-Snapshot"}
_OF_A_RUN = ".run", "run.json"  # training's folder beside its model, full of previews
HEAD = 64  # bytes that tell a format
_STARTS = {
    b"\x89PNG\r\n\x1a\n": "PNG",
    b"\xff\xd8\xff": "JPEG",
    b"II*\0": "TIFF",
    b"MM\0*": "TIFF",
    b"II+\0": "TIFF",  # BigTIFF
    b"MM\0+": "TIFF",
    b"GIF87a": "GIF",
    b"GIF89a": "GIF",
    b"\0\0\0\x0cJXL \r\n\x87\n": "JXL",
    b"\xff\x0a": "JXL",
}
_BMP_HEADERS = (12, 16, 40, 52, 56, 64, 108, 124)  # "BM" alone could be a text
_BRANDS = {b"avif": "AVIF", b"avis": "AVIF"} | dict.fromkeys(
    (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs"), "HEIF"
)


def sniff(head: bytes) -> str | None:
    """Pillow's name of the format of a file that starts so, or None if it is no picture."""
    for start, kind in _STARTS.items():
        if head.startswith(start):
            return kind
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "WEBP"
    if head[:2] == b"BM" and int.from_bytes(head[14:18], "little") in _BMP_HEADERS:
        return "BMP"
    if head[4:8] == b"ftyp":
        end = min(int.from_bytes(head[:4], "big"), len(head))
        for at in (8, *range(16, end, 4)):  # the major brand, then the compatible ones
            if head[at : at + 4] in _BRANDS:
                return _BRANDS[head[at : at + 4]]
    return None


@contextlib.contextmanager
def opened(source: Path | bytes, name: str) -> Iterator[BinaryIO]:
    """The bytes as a file, or the file at a path. Raises PictureError if it is no regular file.

    A pipe or a device is never waited for.
    """
    if isinstance(source, bytes):
        yield io.BytesIO(source)
        return
    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
    descriptor = os.open(source, flags)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise PictureError(f"{name}: is no regular file", "name a picture file")
    with os.fdopen(descriptor, "rb") as file:
        yield file


def is_picture(path: Path) -> bool:
    """Whether the file starts like a picture of a format that is known here, or is called like one.

    What is only called so was lost on the way, which whoever reads it has to hear. A raw file is
    none.
    """
    called_one = path.suffix.lower() in ENDINGS
    try:
        if not stat.S_ISREG(path.stat().st_mode):  # a pipe would be waited for
            return False
    except OSError:
        return called_one
    if called_one:
        return True
    try:
        with open(path, "rb") as file:
            kind = sniff(file.read(HEAD))
            return kind is not None and not is_raw(file, kind, path.name)
    except OSError:
        return False


def find_pictures(folder: Path) -> list[Path]:
    """Every picture below `folder`, in name order; what is hidden, the folders that a system keeps
    on a disk for itself or training for a run, and links to folders, are left out.

    A folder below that cannot be looked into stands for what is in it: whoever reads it hears why.
    Raises DataError if `folder` is such a one itself, or none.
    """
    if not folder.is_dir():
        raise DataError(f"{folder}: is not a folder", "name a folder of pictures")
    found: list[Path] = []

    def closed(error: OSError) -> None:
        if Path(error.filename) == folder:
            raise DataError(f"{folder}: {error.strerror}", "check that you may look into it")
        found.append(Path(error.filename))

    for place, names in _shown(folder, closed):
        found += filter(is_picture, (Path(place, name) for name in names))
    return sorted(found)


def unread_below(folder: Path) -> dict[str, int]:
    """How many files below `folder` are pictures, by their endings, that nothing here reads."""
    endings = (os.path.splitext(name)[1].lower() for _, names in _shown(folder) for name in names)
    return dict(sorted(Counter(ending for ending in endings if ending in UNREAD).items()))


def _shown(
    folder: Path, onerror: Callable[[OSError], None] | None = None
) -> Iterator[tuple[str, list[str]]]:
    """Folders, and the names of the files in each, but for what is left out."""
    for place, folders, names in os.walk(folder, onerror=onerror):
        folders[:] = [name for name in folders if not _is_passed_over(place, name)]
        yield place, [name for name in names if not name.startswith(".")]


def _is_passed_over(place: str, folder: str) -> bool:
    ending, mark = _OF_A_RUN
    of_a_run = folder.endswith(ending) and os.path.exists(os.path.join(place, folder, mark))
    junction = getattr(os.path, "isjunction", None)  # Windows' links to folders
    led_away = junction is not None and junction(os.path.join(place, folder))
    return of_no_one(folder) or of_a_run or led_away


def of_no_one(name: str) -> bool:
    """Whether a file or folder is hidden, or one that systems keep for themselves."""
    return name.startswith(".") or name in _OF_SYSTEMS or name.endswith(_LIBRARIES)
