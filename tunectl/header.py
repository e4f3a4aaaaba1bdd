"""What a model file says of itself, read without its tensors, and without torch.

The header lies under a single metadata key, `tunectl.header`, because the library writes several
keys in a random order and the same model would give different bytes each time. Its field
`sha256` covers the rest of the header and every tensor (name, dtype, shape, bytes, by name).
"""

from __future__ import annotations

import json
import math
import os
import struct
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tunectl.errors import (
    CheckpointError,
    CorruptError,
    ForeignError,
    NewerFormatError,
    StrangerError,
    TruncatedError,
    UsageError,
)
from tunectl.knob import Knob

ENDING = ".safetensors"
PICKLES = (".pth", ".pt", ".ckpt", ".bin")
FORMAT = 1
KEY = "tunectl.header"
MAX_HEADER_BYTES = 16 << 20
STORED = ("fp32", "fp16", "bf16", "int8")
_ITEM_BYTES = {"F32": 4, "F16": 2, "BF16": 2, "I8": 1}

AGAIN = "copy or download the file again"


@dataclass(frozen=True)
class Part:
    """A network, tuner or task: its name in the registry and its fields."""

    name: str
    fields: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        _expect("a part", isinstance(self.name, str) and isinstance(self.fields, dict))


@dataclass(frozen=True)
class Header:
    """Everything about a model but its tensors.

    A tunable model has a `tuner` and a `knob`. A plain one has neither, unless it was folded from
    a tuner whose inserted modules stay (AdaFM above 1x1, Dynamic-Net): then they say which.
    `level` is the one a plain model was trained for, or the range it is blind to; None where
    nobody knows one.
    """

    network: Part
    task: Part | None = None
    level: tuple[float, float] | None = None
    tuner: Part | None = None
    knob: Knob | None = None
    plain: bool = True
    dtype: str = "fp32"
    provenance: dict[str, Any] = field(default_factory=dict)
    licence: str = ""
    card: str = ""

    def __post_init__(self) -> None:
        """Raises ValueError for types that a damaged or hostile file may hold."""
        for name in ("network", "task", "tuner"):
            part = getattr(self, name)
            _expect(name, isinstance(part, Part) or (part is None and name != "network"))
        level = self.level
        _expect("level", level is None or (len(level) == 2 and all(map(_finite, level))))
        _expect("plain", isinstance(self.plain, bool))
        _expect("knob", self.plain or (self.knob is not None and self.tuner is not None))
        _expect("dtype", isinstance(self.dtype, str) and self.dtype in STORED)
        _expect("provenance", isinstance(self.provenance, dict))
        _expect("licence and card", isinstance(self.licence, str) and isinstance(self.card, str))


def joint_licence(headers: Sequence[Header]) -> str:
    """What all of them ask for together, as SPDX writes it; nothing where one does not say."""
    words = [word for header in headers for word in header.licence.split(" AND ")]
    words = [f"({word})" if " OR " in word and word[0] != "(" else word for word in words]
    return " AND ".join(dict.fromkeys(words)) if all(words) else ""


def check_stored(dtype: str) -> str:
    """Return the dtype. Raises UsageError if files are not stored in it."""
    if dtype not in STORED:
        raise UsageError(f"--store {dtype!r} is not known", f"give {', '.join(STORED)}")
    return dtype


def _expect(what: str, holds: bool) -> None:
    if not holds:
        raise ValueError(f"{what} is not what it should be")


def _finite(value: Any) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)


def read_header(path: Path) -> Header:
    """Only the header, without verifying the tensors."""
    content = read_content(path)
    content.pop("sha256", None)
    return header_of(path, content)


def is_ours(path: Path) -> bool:
    """False for a pickle, and a safetensors file without our header; others fail when read."""
    if path.suffix in PICKLES:
        return False
    try:
        read_content(path)
    except StrangerError:
        return False
    except CheckpointError:
        return True
    return True


def read_content(path: Path) -> dict[str, Any]:
    """The JSON under our key, after every length in the file was checked against its size."""
    foreign = "tunectl reads its own .safetensors files; train one or name a bundled model"
    try:
        size = os.path.getsize(path)
        with open(path, "rb") as file:
            prefix = file.read(8)
            if len(prefix) < 8:
                raise TruncatedError(f"{path}: is only {size} bytes long", AGAIN)
            (length,) = struct.unpack("<Q", prefix)
            if length > MAX_HEADER_BYTES:
                raise ForeignError(f"{path}: is not a safetensors file", foreign)
            if length > size - 8:
                raise TruncatedError(f"{path}: ends inside its header", AGAIN)
            raw = file.read(length)
    except OSError as error:
        raise CheckpointError(f"{path}: {error.strerror}", "check the name of the model") from error
    try:
        table = json.loads(raw)
        metadata = table.pop("__metadata__", {})
    except (ValueError, RecursionError, AttributeError, TypeError) as error:
        raise ForeignError(f"{path}: is not a safetensors file", foreign) from error
    if not isinstance(metadata, dict) or KEY not in metadata:
        raise StrangerError(f"{path}: has no tunectl header", foreign)
    _check_lengths(path, table, size - 8 - length)
    try:
        content = json.loads(
            metadata[KEY], parse_constant=_refuse_constant, parse_float=_finite_float
        )
        version = int(content["format"])
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise CorruptError(f"{path}: its tunectl header cannot be read", AGAIN) from error
    if version > FORMAT:
        raise NewerFormatError(
            f"{path}: has format {version}, this tunectl knows {FORMAT}", "upgrade tunectl"
        )
    return dict(content)


def _finite_float(word: str) -> float:
    return float(word) if math.isfinite(float(word)) else _refuse_constant(word)


def _refuse_constant(word: str) -> float:
    raise ValueError(f"{word} is not a number")


def _check_lengths(path: Path, table: dict[str, Any], available: int) -> None:
    end = 0
    for name, entry in table.items():
        try:
            begin, stop = entry["data_offsets"]
            expected = _ITEM_BYTES[entry["dtype"]] * math.prod(entry["shape"])
            honest = 0 <= begin <= stop and stop - begin == expected
        except (KeyError, TypeError, ValueError) as error:
            raise CorruptError(f"{path}: tensor {name!r} is not described", AGAIN) from error
        if not honest:
            raise CorruptError(f"{path}: tensor {name!r} lies about its size", AGAIN)
        end = max(end, stop)
    if end > available:
        raise TruncatedError(f"{path}: {end - available} bytes are missing at its end", AGAIN)
    if end < available:
        raise CorruptError(f"{path}: {available - end} bytes too many at its end", AGAIN)


def header_of(path: Path, content: dict[str, Any]) -> Header:
    """The header out of the JSON of `read_content`. Raises CorruptError."""
    content = {name: value for name, value in content.items() if name != "format"}
    try:
        for name in ("network", "task", "tuner"):
            if content[name] is not None:
                content[name] = Part(**content[name])
        if content["level"] is not None:
            content["level"] = tuple(content["level"])
        if content["knob"] is not None:
            knob = content["knob"]
            for name in ("levels", "knots"):
                knob[name] = tuple(knob[name])
            knob["calibration"] = tuple((a, level) for a, level in knob["calibration"])
            content["knob"] = Knob(**knob)
        return Header(**content)
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise CorruptError(
            f"{path}: its tunectl header is not complete ({error})", AGAIN
        ) from error
