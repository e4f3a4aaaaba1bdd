"""Which file exactly: by the hash of its bytes, or, without reading them, by size and time."""

from __future__ import annotations

import hashlib
from pathlib import Path


def file_sha256(path: Path) -> str | None:
    """The SHA-256 of a whole file in hexadecimal, None if it cannot be read."""
    try:
        with open(path, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return None


def size_and_time(path: Path) -> tuple[int, int]:
    """In bytes, and in nanoseconds since 1970; zeros of a file that is not to be seen."""
    try:
        found = path.stat()
    except OSError:
        return 0, 0
    return found.st_size, found.st_mtime_ns
