"""Write a file so that its name never points at half of it."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from tunectl.errors import ResourceError

# os.umask can only be read by setting it, which other threads would see: so once, at import.
_UMASK = os.umask(0)
os.umask(_UMASK)


@contextlib.contextmanager
def atomic_write(path: Path) -> Iterator[BinaryIO]:
    """Yield a file that becomes `path` when the block ends, and leaves no trace if it raises.

    The temporary file lies in the same folder (one file system), is flushed and fsynced before
    the rename, and the folder is fsynced after it. The umask is honoured.
    """
    path = Path(path)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tunectl-tmp")
    try:
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o666 & ~_UMASK)
        with os.fdopen(descriptor, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
        if os.name == "posix":
            folder = os.open(path.parent, os.O_RDONLY)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)
    except BaseException as error:
        with contextlib.suppress(OSError):
            temporary.unlink()
        if isinstance(error, OSError):
            if error.errno == errno.ENOSPC:
                raise ResourceError(
                    f"{path}: the disk is full", "free some space and run the command again"
                ) from error
            raise ResourceError(
                f"{path}: cannot be written ({error.strerror})",
                "check that the folder exists and that you may write there",
            ) from error
        raise
