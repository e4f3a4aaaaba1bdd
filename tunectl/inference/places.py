"""Files by path or by URL: `s3://bucket/a.png` is as good a name as `a.png`.

What lies elsewhere is a `UPath` of universal-pathlib, over fsspec, which has what we ask of a
`Path`; only what differs is told apart here.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import os
import unicodedata
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, cast

from tunectl.atomic import atomic_write
from tunectl.errors import PictureError, ResourceError, UsageError
from tunectl.hashing import file_sha256
from tunectl.images import find_pictures
from tunectl.images.files import ENDINGS, of_no_one

LOCAL = "file://"
MANY = 50  # files of one folder far away, from which on it is listed rather than asked for each


def place(name: str) -> Path:
    """The file or folder of a name. Raises UsageError for none, which would be the current folder,
    and for a URL that nothing here can open."""
    if not name:
        raise UsageError("an input or -o has no name", "check the variable that it came from")
    if "://" not in name or name.startswith(LOCAL):
        return Path(name.removeprefix(LOCAL))
    try:
        from upath import UPath
    except ImportError as error:
        raise UsageError(f"{name}: is a URL", "pip install 'tunectl[ray]' opens those") from error
    try:
        found: Any = UPath(name)
        assert found.fs is not None
    except (ValueError, ImportError) as error:
        reason = str(error).strip().splitlines()[0]
        raise UsageError(f"{name}: cannot be opened: {reason}", "check the URL") from error
    return cast(Path, found)


def is_remote(path: Path) -> bool:
    """Whether it was a URL."""
    return not isinstance(path, Path)


def is_folder(path: Path) -> bool:
    """Whether a folder is there."""
    if not is_remote(path):
        return os.path.isdir(path)  # which bears any name
    with _reached(path):
        return path.is_dir()


def is_file(path: Path) -> bool:
    """Whether a file is there."""
    if not is_remote(path):
        return os.path.isfile(path)
    with _reached(path):
        return path.is_file()


def exists(path: Path) -> bool:
    """Whether anything is there."""
    if not is_remote(path):
        return os.path.exists(path)
    with _reached(path):
        return path.exists()


def stamps(paths: Iterable[Path]) -> dict[str, str | None]:
    """Of the paths that are there, by their full names, what `stamp` says of them.

    A folder far away with many of them is asked once. Raises PictureError.
    """
    found: dict[str, str | None] = {}
    folders: dict[str, list[Any]] = defaultdict(list)
    for path in paths:
        if is_remote(path):
            folders[str(path.parent)].append(path)
        else:
            with contextlib.suppress(OSError, ValueError):
                found[full_name(path)] = _stamp_here(os.stat(path))
    for remote in folders.values():
        with _reached(remote[0].parent):
            found |= {str(path): _stamp_there(info) for path, info in _infos(remote)}
    return found


def stamp(path: Path) -> str | None:
    """What changes when a file does, without its bytes being read: size and time, or, of one far
    away, its size and the hash that its store knows. None where that is not to be had."""
    with contextlib.suppress(Exception):
        if is_remote(path):
            remote: Any = path
            return _stamp_there(remote.fs.info(remote.path))
        return _stamp_here(os.stat(path))
    return None


def size_of(stamp: str | None) -> int | None:
    """The size in bytes that a stamp tells."""
    size = (stamp or "").partition("-")[0]
    return int(size) if size.isdecimal() else None


def _stamp_here(found: os.stat_result) -> str:
    return f"{found.st_size}-{found.st_mtime_ns}"


def _stamp_there(info: Mapping[str, Any]) -> str | None:
    """Google's store tells a file's MD5 hash; most others have it as the ETag of what was written
    in one piece."""
    if md5 := info.get("md5Hash"):
        tag = base64.b64decode(md5).hex()
    else:
        tag = str(info.get("ETag") or info.get("etag") or "").strip('"')
    return f"{info.get('size')}-{tag}" if tag else None


def _infos(paths: list[Any]) -> Iterator[tuple[Any, Mapping[str, Any]]]:
    """Of paths in one folder, those that are there, with what its store knows of them."""
    fs = paths[0].fs
    if len(paths) < MANY:
        for path in paths:
            with contextlib.suppress(FileNotFoundError):
                yield path, fs.info(path.path)
        return
    with contextlib.suppress(FileNotFoundError):
        known = {
            info["name"].strip("/"): info
            for info in fs.ls(paths[0].parent.path, detail=True, refresh=True)
        }
        for path in paths:
            if info := known.get(path.path.strip("/")):
                yield path, info


def full_name(path: Path) -> str:
    """A name that means the same wherever it is read."""
    return str(path) if is_remote(path) else os.path.abspath(path)


def other_links(path: Path) -> int:
    """How many names beside this one a file here has, which a new file in its place leaves."""
    with contextlib.suppress(OSError, ValueError):
        return 0 if is_remote(path) else max(0, os.stat(path).st_nlink - 1)
    return 0


def link(path: Path) -> str | None:
    """Where a link here leads."""
    return os.readlink(path) if not is_remote(path) and os.path.islink(path) else None


def name_of(path: Path) -> str:
    """What a file is called: of a URL, without what is asked of its server."""
    asked = is_remote(path) and str(path).startswith(("http://", "https://"))
    return path.name.partition("?")[0] if asked else path.name


def real_name(path: Path | None) -> str | None:
    """The full name of what a link leads to, or of the file itself."""
    return None if path is None else str(path) if is_remote(path) else os.path.realpath(path)


def key_of(path: Path) -> str:
    """By which two names of one file are told: links resolved, composed letters, no case.

    The names of URLs are exact.
    """
    if is_remote(path):
        return str(path)
    return unicodedata.normalize("NFC", os.path.realpath(path)).casefold()


def pictures_below(folder: Path) -> list[Path]:
    """Every picture, in name order: told by content or ending, of URLs by their endings."""
    if not is_remote(folder):
        return find_pictures(folder)
    with _reached(folder):
        remote: Any = folder
        root = remote.path.rstrip("/")
        names = (found[len(root) :].strip("/") for found in remote.fs.find(remote.path))
        shown = (name for name in names if not any(map(of_no_one, name.split("/"))))
        found = (folder.joinpath(*name.split("/")) for name in shown)
        return sorted((path for path in found if path.suffix.lower() in ENDINGS), key=str)


def sha256(path: Path) -> str | None:
    """As `file_sha256`."""
    if not is_remote(path):
        return file_sha256(path)
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except Exception:
        return None


def content(path: Path) -> Path | bytes:
    """What `read_picture` takes: the path, or what lies at the URL. Raises PictureError."""
    if not is_remote(path):
        return path
    with _reached(path, "read"):
        return path.read_bytes()


def write(path: Path, data: bytes, just_before: Callable[[str], None], new: bool = False) -> None:
    """Write a file in one step, with a last word before it takes its name.

    `just_before` is given the stamp that the file will have; `new` is as in `atomic_write`, and
    nothing to object stores, which show a file when all of it is there. Raises ResourceError.
    """
    if not is_remote(path):
        with atomic_write(path, new) as file:
            file.write(data)
            file.flush()
            just_before(_stamp_here(os.fstat(file.fileno())))
        return
    just_before(f"{len(data)}-{hashlib.md5(data, usedforsecurity=False).hexdigest()}")
    remote: Any = path
    try:
        remote.fs.pipe_file(remote.path, data)
    except Exception as error:
        raise ResourceError(
            f"{path}: cannot be written ({_reason(error)})", "check that you may write there"
        ) from error


@contextlib.contextmanager
def _reached(path: Path, what: str = "reached") -> Iterator[None]:
    try:
        yield
    except Exception as error:  # each file system has its own
        raise PictureError(
            f"{path}: cannot be {what} ({_reason(error)})", "check the URL, and your access to it"
        ) from error


def _reason(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__
