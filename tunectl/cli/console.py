"""The only place that writes words to the terminal, and that turns errors into exit codes."""

from __future__ import annotations

import contextlib
import os
import sys
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TextIO
from unicodedata import category

from tunectl.atomic import refusal
from tunectl.errors import ResourceError, TunectlError, UsageError, is_out_of_memory
from tunectl.signals import heeded

INTERRUPTED = 130
BROKEN_PIPE = 141
_NO_LINE = {"Cc", "Cs", "Zl", "Zp"}  # control, surrogate, line and paragraph separator


def open_streams() -> None:
    """Open those of the three standard streams that whoever started the program has closed.

    A file that is opened later would take their place, and have words in it.
    """
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):  # by their numbers
        if getattr(sys, name) is None:
            setattr(sys, name, os.fdopen(os.open(os.devnull, os.O_RDWR), mode))


def check_current_folder() -> None:
    """Raises UsageError where it was removed: no library can stand that."""
    try:
        os.getcwd()
    except OSError as error:
        raise UsageError(f"the current folder: {error.strerror}", "change to another") from error


def say(words: str) -> None:
    """One line for the person at the terminal; results go to stdout, this does not."""
    with _reader_may_leave(sys.stderr):
        print(shown(words), file=sys.stderr)


def shown(words: str) -> str:
    """Words on one line, as names of files may hold line ends, commands and half characters."""
    return "".join(
        sign.encode("unicode_escape").decode() if category(sign) in _NO_LINE else sign
        for sign in words
    )


def emit_text(text: str) -> None:
    """A result of several lines, to stdout."""
    emit(f"{text}\n".encode(sys.stdout.encoding, "backslashreplace"))


def emit(result: str | bytes) -> None:
    """A result, at once, to stdout: a line, or bytes as they are."""
    if isinstance(result, str):
        result = f"{shown(result)}\n".encode(sys.stdout.encoding, "backslashreplace")
    with _reader_may_leave(sys.stdout):
        sys.stdout.buffer.write(result)
        sys.stdout.flush()


@contextlib.contextmanager
def _reader_may_leave(stream: TextIO) -> Iterator[None]:
    """End the program without a word where nobody reads any more, as after `| head`.

    Raises ResourceError where a disk is full, or anything else refuses to take what is written.
    """
    try:
        yield
    except OSError as error:
        # What is still buffered would be written, and fail, when the interpreter ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
        if isinstance(error, BrokenPipeError):
            sys.exit(BROKEN_PIPE)
        name = "standard output" if stream is sys.stdout else "standard error"
        raise refusal(Path(name), error) from error


def complain(error: TunectlError, tell: Callable[[str], None] = say) -> None:
    """The cause in one line and the advice in another; a traceback only with TUNECTL_DEBUG."""
    if os.environ.get("TUNECTL_DEBUG"):
        traceback.print_exception(error)
    tell(f"tunectl: {error.message}")
    if error.hint:
        tell(f"  {error.hint}")


@contextlib.contextmanager
def stoppable() -> Iterator[Callable[[], None]]:
    """What is yielded ends the program, with 130, 143 or 129, if a SIGINT, SIGTERM or SIGHUP came
    in the block; so does its end.

    They only leave word: an exception at any moment might come between a lock and its release.
    A second SIGINT or SIGTERM ends the program on the spot.
    """
    came: list[int] = []

    def stop(number: int) -> None:
        came.append(number)
        with contextlib.suppress(Exception, SystemExit):  # the terminal may be gone
            say("tunectl: stopping; once more to stop at once")

    def check() -> None:
        if came:
            sys.exit(128 + came[0])

    with heeded(stop, lambda number: os._exit(128 + number)):
        yield check
        check()


@contextlib.contextmanager
def exit_codes() -> Iterator[None]:
    """Turn our errors into two lines and an exit code; a traceback only with TUNECTL_DEBUG."""
    try:
        yield
    except TunectlError as error:
        complain(error)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        say("tunectl: interrupted")
        sys.exit(INTERRUPTED)
    except OSError as error:
        if error.filename is None:
            raise
        may = isinstance(error, PermissionError)
        hint = "check that you may use it" if may else "check its name"
        told = ResourceError(f"{error.filename}: {error.strerror}", hint)
        told.__cause__ = error
        complain(told)
        sys.exit(told.exit_code)
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        say("tunectl: out of memory")
        say("  close other programs, or work on less at a time")
        sys.exit(4)
