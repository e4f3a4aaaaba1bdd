"""Write a file so that its name never points at half of it."""

from __future__ import annotations

import contextlib
import errno
import os
import platform
import re
import secrets
import stat
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from tunectl.errors import DiskFullError, ResourceError, UsageError


def _machine() -> str:
    """What tells the place where processes are counted from others."""
    words = [platform.node()]
    with contextlib.suppress(OSError):
        words.append(os.readlink("/proc/self/ns/pid"))
    with contextlib.suppress(OSError):
        words.append(Path("/etc/machine-id").read_text())
    return " ".join(words)


# Hidden, so that no search for pictures finds it, and free of the file's own name, which may be
# as long as names can be. The machine, or the container on it, is told by a hash: only there does
# the number of the process mean anything, and several of them may share a folder.
_HERE = f"{zlib.crc32(_machine().encode(errors='replace')):08x}"
_TEMPORARY = re.compile(r"\.(?P<machine>[0-9a-f]{8})-(?P<process>\d+)-[0-9a-f]{8}\.tunectl-tmp")


@contextlib.contextmanager
def atomic_write(path: Path, new: bool = False) -> Iterator[BinaryIO]:
    """Yield a file that becomes `path` when the block ends, and leaves no trace if it raises.

    A missing folder is made. The temporary file lies in the same folder (one file system), is
    flushed and fsynced before the rename, and the folder is fsynced after it. A link is written
    through to its target; a file that is replaced passes on its permission bits, its owner and
    group where that is allowed, and its extended attributes (labels, ratings; on Linux), a new one
    has the bits of the umask. With `new` a file
    that has come to `path` by then stays, and the block's is lost. Raises ResourceError, which is a
    DiskFullError where that is the cause.
    """
    path = Path(path)
    try:
        target = Path(os.path.realpath(path)) if path.is_symlink() else path
        mode = _mode_to_keep(path, target)
        target.parent.mkdir(parents=True, exist_ok=True)
        name = f".{_HERE}-{os.getpid()}-{secrets.token_hex(4)}.tunectl-tmp"
        with _removed_on_error(target.with_name(name)) as temporary:
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
            with os.fdopen(os.open(temporary, flags, 0o666), "wb") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            if mode is not None:
                _take_over(target, temporary)
                os.chmod(temporary, mode)  # last: a new owner takes bits away
            if new:
                _rename_to_new(temporary, target, path)
            else:
                os.replace(temporary, target)
        _sync_folder(target.parent)
    except OSError as error:
        raise refusal(path, error) from error


def _take_over(target: Path, temporary: Path) -> None:
    """Copy owner, group and extended attributes, as far as the system lets us: Python knows the
    latter of Linux alone."""
    if hasattr(os, "chown"):
        found = os.stat(target)
        for user, group in ((found.st_uid, -1), (-1, found.st_gid)):
            with contextlib.suppress(OSError):  # only a superuser gives files away
                os.chown(temporary, user, group)
    if not hasattr(os, "listxattr"):
        return
    with contextlib.suppress(OSError):  # many file systems have none
        for name in os.listxattr(target):
            with contextlib.suppress(OSError):
                os.setxattr(temporary, name, os.getxattr(target, name))


def write_new(path: Path, data: bytes) -> None:
    """Write a file that is not there yet, as `atomic_write`. Raises UsageError if it is."""
    check_new(path)
    with atomic_write(path, new=True) as file:
        file.write(data)


def check_new(path: Path) -> None:
    """Raises UsageError for a file that is there: nothing is written over unasked; and where no
    file can be made, ResourceError if it may not be."""
    if os.path.lexists(path):
        raise UsageError(f"{path}: exists", "name another file, or remove it")
    above = next((one for one in (Path.cwd() / path).parents if os.path.lexists(one)), None)
    if above is None:
        return
    if not os.path.isdir(above):
        raise UsageError(f"{path}: {above} is no folder", "name another")
    if not os.access(above, os.W_OK):
        raise ResourceError(f"{path}: {above} may not be written to", "name another folder")


def refusal(path: Path, error: OSError) -> ResourceError:
    """What the system's refusal to write `path` means, in our words."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return DiskFullError(
            f"{path}: the disk is full", "free some space and run the command again"
        )
    return ResourceError(
        f"{path}: cannot be written ({error.strerror})", "check that you may write there"
    )


def remove_stale(folder: Path) -> None:
    """Remove what writers that were killed left in `folder`; a living writer's file stays."""
    if os.name != "posix":  # elsewhere asking whether a process lives may end it
        return
    with contextlib.suppress(OSError):
        for entry in os.scandir(folder):
            found = _TEMPORARY.fullmatch(entry.name)
            if found and found["machine"] == _HERE and not _lives(int(found["process"])):
                Path(entry.path).unlink(missing_ok=True)


def _rename_to_new(temporary: Path, target: Path, path: Path) -> None:
    """Raises ResourceError where the name is taken, which a plain rename would not mind."""
    try:
        os.link(temporary, target)
    except OSError as error:
        if not os.path.lexists(target):  # a file system without links: the best that can be done
            os.rename(temporary, target)
            return
        if not os.path.samefile(temporary, target):  # which it is if a network's answer was lost
            told = f"{path}: has come there meanwhile"
            raise ResourceError(told, "run the command again") from error
    os.unlink(temporary)


def _lives(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:  # it lives and is somebody else's
        return True
    return True


def _mode_to_keep(path: Path, target: Path) -> int | None:
    """The permission bits of the file to be replaced. Raises ResourceError if it must stay."""
    try:
        found = target.stat()
    except FileNotFoundError:
        return None
    if not stat.S_ISREG(found.st_mode):
        raise ResourceError(f"{path}: is not a file", "give the name of a file")
    if not os.access(target, os.W_OK):  # the rename would not mind
        raise ResourceError(f"{path}: is write-protected", "make it writable, or give another name")
    return stat.S_IMODE(found.st_mode)


@contextlib.contextmanager
def _removed_on_error(path: Path) -> Iterator[Path]:
    try:
        yield path
    except BaseException:
        with contextlib.suppress(OSError):
            path.unlink()
        raise


def _sync_folder(folder: Path) -> None:
    """Make a rename last. The file is whole by now: a folder that cannot be synced is no error."""
    if os.name == "posix":
        with contextlib.suppress(OSError):
            descriptor = os.open(folder, os.O_RDONLY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
