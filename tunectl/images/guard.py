"""The one place that turns what decoders and encoders raise into errors a user can act on."""

from __future__ import annotations

import contextlib
import threading
import warnings
from collections.abc import Iterator
from typing import Literal

from tunectl.errors import PictureError, ResourceError, TunectlError

_ONE_AT_A_TIME = threading.Lock()  # warning filters belong to the whole process


@contextlib.contextmanager
def pillow_warnings(action: Literal["ignore", "error"]) -> Iterator[None]:
    """What becomes of Pillow's warnings, which are about tags that it cannot follow."""
    with _ONE_AT_A_TIME, warnings.catch_warnings():
        warnings.simplefilter(action)
        yield


@contextlib.contextmanager
def clear_errors(name: str, fault: str, hint: str) -> Iterator[None]:
    """Raise whatever goes wrong inside as PictureError(`name`: `fault` (cause)) with `hint`.

    Decoders of hostile bytes raise nearly anything (OSError, SyntaxError, struct.error, KeyError,
    RecursionError, pyvips.Error, ...), so every Exception is taken. Lack of memory becomes
    ResourceError. An error of ours passes as it is, and so does one of the file system, which the
    caller can name better.
    """
    try:
        yield
    except TunectlError:
        raise
    except MemoryError as error:
        raise _too_big(name) from error
    except OSError as error:
        if error.errno is not None:
            raise
        raise PictureError(f"{name}: {fault} ({_one_line(error)})", hint) from error
    except Exception as error:
        if "out of memory" in str(error):  # libvips has no type for it
            raise _too_big(name) from error
        raise PictureError(f"{name}: {fault} ({_one_line(error)})", hint) from error
    except BaseException as error:
        if type(error).__name__ == "PanicException":  # a crash in Rust, as pyo3 hands it on
            raise PictureError(f"{name}: {fault} ({_one_line(error)})", hint) from error
        raise


def _too_big(name: str) -> ResourceError:
    return ResourceError(f"{name}: does not fit into memory", "cut it into parts")


def _one_line(error: BaseException) -> str:
    lines = list(dict.fromkeys(" ".join(line.split()) for line in str(error).splitlines()))
    causes = [line for line in lines if line and not line.startswith("unable to ")]  # libvips adds
    return "; ".join(causes or lines)[:160] or type(error).__name__
