"""Text files as they are written by hand, or by a shell."""

from __future__ import annotations

import codecs
from pathlib import Path


def read_text(path: Path) -> str:
    """UTF-8, or UTF-16 where its mark says so, as Windows' shells write it. Raises OSError, and
    UnicodeDecodeError for another."""
    data = path.read_bytes()
    wide = data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    return data.decode("utf-16" if wide else "utf-8-sig")
