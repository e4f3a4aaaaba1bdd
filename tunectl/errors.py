"""Everything that can go wrong, one exception a cause, each with the exit code a script sees."""

from __future__ import annotations


class TunectlError(Exception):
    """A cause in one line and, as `hint`, what to do about it in another."""

    exit_code = 3

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        if hint:
            self.add_note(hint)


class UsageError(TunectlError):
    """An option or argument that cannot be meant."""

    exit_code = 2


class PictureError(TunectlError):
    """A picture that cannot be read or written without loss."""


class DataError(TunectlError):
    """A folder of photos that cannot be trained or measured on."""


class AlphaError(UsageError):
    """An alpha or level outside what the model's knob covers."""


class CheckpointError(TunectlError):
    """A model file that is refused. Its subclasses say why."""


class TruncatedError(CheckpointError):
    """The file is shorter than it says it is."""


class ForeignError(CheckpointError):
    """Not a safetensors file, or one that tunectl did not write."""


class StrangerError(ForeignError):
    """A safetensors file of another program."""


class NewerFormatError(CheckpointError):
    """Written by a later tunectl in a format this one does not know."""


class CorruptError(CheckpointError):
    """The content does not match its hash, or is not what the header says."""


class IncompatibleError(CheckpointError):
    """Two models that cannot be mixed, or a model that cannot do what was asked."""


class ResourceError(TunectlError):
    """Out of memory or disk, or a device that is not there."""

    exit_code = 4


class DiskFullError(ResourceError):
    """The disk or the user's share of it is full: no other file will fit either."""


class DivergedError(TunectlError):
    """Training met a value that is not a number."""

    exit_code = 5


_MEMORY_WORDS = (
    *("out of memory", "allocate memory", "not enough memory", "bad_alloc"),
    "ALLOC_FAILED",  # cuBLAS's and cuDNN's
)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an allocation failed; for the CPU, torch has words for it but no type."""
    if isinstance(error, MemoryError):
        return True
    return isinstance(error, RuntimeError) and any(words in str(error) for words in _MEMORY_WORDS)
