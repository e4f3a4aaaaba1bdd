"""Which files of a folder are pictures, told by their first bytes and not by their names."""

from __future__ import annotations

from pathlib import Path

from tunectl.errors import DataError

_SIGNATURES = (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"II*\x00", b"MM\x00*", b"BM", b"GIF8")


def is_picture(path: Path) -> bool:
    """Whether the file starts like a JPEG, PNG, TIFF, BMP, GIF, WebP or AVIF."""
    try:
        with open(path, "rb") as file:
            head = file.read(16)
    except OSError:
        return False
    riff = head[:4] == b"RIFF" and head[8:12] == b"WEBP"
    avif = head[4:12] in (b"ftypavif", b"ftypavis")
    return head.startswith(_SIGNATURES) or riff or avif


def find_pictures(folder: Path) -> list[Path]:
    """Every picture below `folder`, in name order; hidden files and links to folders are left out.

    Raises DataError if `folder` is not one.
    """
    if not folder.is_dir():
        raise DataError(f"{folder}: is not a folder", "name a folder of pictures")
    return sorted(
        path
        for path in folder.rglob("*")
        if path.is_file()
        and not any(part.startswith(".") for part in path.relative_to(folder).parts)
        and is_picture(path)
    )
