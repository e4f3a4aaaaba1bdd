"""The small frozen dataclasses that describe a network, a tuner or a task in a model file."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import Any, TypeVar, get_type_hints

from tunectl.errors import UsageError

T = TypeVar("T")
# A model file from a stranger must not make us build a network of a billion blocks.
LARGEST = 2048
LONGEST = 8


def build_fields(kind: type[T], values: Mapping[str, Any], owner: str) -> T:
    """Make the dataclass `kind` from JSON values or the words of a command line.

    Fields are of type int (1 to LARGEST), float (from 0), bool, str or tuple[int, ...]: these, and
    no more, a file keeps. Raises UsageError for an unknown field, or one whose value, given or by
    default, is not so, naming `owner`.
    """
    hints = get_type_hints(kind)
    hints = {field.name: hints[field.name] for field in dataclasses.fields(kind)}  # type: ignore[arg-type]
    unknown = sorted(set(values) - set(hints))
    if unknown:
        known = ", ".join(hints) or "none"
        raise UsageError(f"{owner} has no field {unknown[0]!r}", f"its fields: {known}")
    try:
        made = kind(**{name: _convert(value, hints[name]) for name, value in values.items()})
        for name, hint in hints.items():  # a default that no file may hold could not be read again
            _convert(getattr(made, name), hint)
        return made
    except (TypeError, ValueError) as error:
        raise UsageError(f"{owner}: {error}", "correct the field's value") from error


def fields_to_json(fields: Any) -> dict[str, Any]:
    """The inverse of `build_fields`, in types that JSON keeps."""
    return {
        name: list(value) if isinstance(value, tuple) else value
        for name, value in dataclasses.asdict(fields).items()
    }


def parse_fields(words: list[str], option: str) -> dict[str, str]:
    """`["width=32", "blocks=4"]` to a dict. Raises UsageError where a word has no `=`."""
    values = {}
    for word in words:
        name, equals, value = word.partition("=")
        if not equals:
            raise UsageError(
                f"{option} {word!r} is not NAME=VALUE", f"for example {option} width=32"
            )
        values[name] = value
    return values


def _convert(value: Any, hint: Any) -> Any:
    if hint == tuple[int, ...]:
        parts = value.split(",") if isinstance(value, str) else value
        if len(parts) > LONGEST:
            raise ValueError(f"has {len(parts)} numbers, more than {LONGEST}")
        return tuple(_convert(part, int) for part in parts)
    if hint is bool:
        if isinstance(value, bool) or str(value).lower() in ("true", "false"):
            return str(value).lower() == "true"
        raise ValueError(f"{value!r} is neither true nor false")
    if hint is int:
        if isinstance(value, float | bool):
            raise ValueError(f"{value!r} is not a whole number")
        number = int(value)
        if not 1 <= number <= LARGEST:
            raise ValueError(f"{value!r} is not a whole number from 1 to {LARGEST}")
        return number
    if hint is float:
        real = float(value)
        if not math.isfinite(real) or real < 0:
            raise ValueError(f"{value!r} is not a number from 0")
        return real
    if hint is str:
        return str(value)
    raise TypeError(f"a field of type {hint} cannot be read")
