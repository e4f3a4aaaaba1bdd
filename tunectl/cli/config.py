"""Options from a TOML file: `--config FILE`, and `--print-config`. Flags win."""

from __future__ import annotations

import functools
import inspect
import json
import re
import tomllib
from collections.abc import Callable, Collection, Iterable, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any

import typer

from tunectl.cli import console
from tunectl.errors import UsageError
from tunectl.text import read_text

_OWN = ("config", "print_config")
_RIVALS = (("alpha", "level"), ("steps", "minutes"))  # two ways to say one thing
# As a path has it, which knows no double slash.
_URL = re.compile(r"(?P<scheme>[a-z][a-z0-9+.-]+:)/(?P<rest>[^/].*)")


def _read(ctx: typer.Context, path: Path | None) -> Path | None:
    """Make the file's values the defaults of the command's options, before those are looked at."""
    if path is None:
        return None
    try:
        found = tomllib.loads(read_text(path))
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}", "name a file with --config") from error
    except ValueError as error:  # of UTF-8 or of TOML
        raise UsageError(f"{path}: is not TOML: {error}", "correct the file") from error
    options = _options(ctx)
    defaults = {}
    for key, value in found.items():
        name = key.replace("_", "-")
        if name not in options:
            near = get_close_matches(name, options, 1)
            hint = f"did you mean {near[0]}?" if near else "see the options with --help"
            raise UsageError(f"{path}: {ctx.command.name} has no option {key!r}", hint)
        option = options[name]
        _check(f"{path}: {key}", value, option)
        defaults[option.name] = value
    ctx.default_map = defaults
    return path


def _check(what: str, value: Any, option: Any) -> None:
    if "\0" in str(value):
        raise UsageError(f"{what} holds a zero byte", "correct the file")
    if option.multiple:
        if not isinstance(value, list):
            raise UsageError(f"{what} takes several values", f"write {option.name} = [...]")
    elif option.is_flag:
        if not isinstance(value, bool):
            raise UsageError(f"{what} is on or off", "write true or false")
    elif not isinstance(value, str | int | float) or isinstance(value, bool):
        raise UsageError(f"{what} takes one value", 'write a number, or words in "..."')


def _options(ctx: typer.Context) -> dict[str, Any]:
    """The command's options by their long names, without the dashes before them."""
    named: dict[str, Any] = {}
    for parameter in ctx.command.params:
        long = [word[2:] for word in parameter.opts if word.startswith("--")]
        if long and parameter.name not in (*_OWN, "help"):
            named[long[0]] = parameter
    return named


def resolved(ctx: typer.Context, without: Collection[str] = ()) -> str:
    """Every option that has a value, from wherever it came, as a file for `--config`; but for those
    in `without`."""
    lines = []
    for name, option in _options(ctx).items():
        value = ctx.params.get(option.name)
        if value is not None and name not in without:
            lines.append(f"{name} = {_toml(value)}\n")
    return "".join(lines)


def _toml(value: Any) -> str:
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_toml, value))}]"
    if isinstance(value, bool | int | float):
        return str(value).lower()
    return json.dumps(str(value), ensure_ascii=False).replace("\x7f", "\\u007f")


def configurable(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command `--config` and `--print-config`, after its own options."""
    own = inspect.signature(command, eval_str=True).parameters

    def _shared(
        ctx: typer.Context,
        config: Annotated[
            Path | None,
            typer.Option(
                help='Take options from this TOML file, such as device = "cpu"; flags win.',
                callback=_read,
                is_eager=True,
            ),
        ] = None,
        print_config: Annotated[
            bool, typer.Option("--print-config", help="Print all options as such a file, and stop.")
        ] = False,
    ) -> None:
        """Only its signature is used."""

    shared = inspect.signature(_shared, eval_str=True).parameters

    @functools.wraps(command)
    def wrapper(**values: Any) -> None:
        ctx, print_config = values["ctx"], values.pop("print_config")
        values.pop("config")
        if "ctx" not in own:
            del values["ctx"]
        for name in _beaten(ctx, own):
            values[name] = ctx.params[name] = None
        _refuse_urls(values.values())
        if print_config:
            console.emit(resolved(ctx).encode(errors="backslashreplace"))
        else:
            command(**values)

    takes(wrapper, {**own, **shared}.values())
    return wrapper


def _beaten(ctx: typer.Context, own: Mapping[str, inspect.Parameter]) -> list[str]:
    """The file's options that a flag says in another way."""

    def source(name: str) -> str:
        found = ctx.get_parameter_source(name)
        return found.name if found and own[name].default is None else ""

    pairs = [(a, b) for pair in _RIVALS for a, b in (pair, pair[::-1]) if {a, b} <= own.keys()]
    return [b for a, b in pairs if (source(a), source(b)) == ("COMMANDLINE", "DEFAULT_MAP")]


def _refuse_urls(values: Iterable[Any]) -> None:
    """What `apply` reads and writes is given as text: a path can name no URL."""
    for value in values:
        for one in value if isinstance(value, list | tuple) else [value]:
            found = _URL.fullmatch(str(one)) if isinstance(one, Path) else None
            if found and not Path(found["scheme"]).exists():
                raise UsageError(
                    f"{found['scheme']}//{found['rest']}: is a URL, which only the pictures and "
                    "results of apply may be",
                    "name a file of this machine",
                )


def takes(function: Callable[..., None], parameters: Iterable[inspect.Parameter]) -> None:
    """Let Typer see `parameters` as the function's own, those without a default first."""
    ordered = sorted(parameters, key=lambda p: p.default is not inspect.Parameter.empty)
    function.__signature__ = inspect.Signature(ordered)  # type: ignore[attr-defined]
    function.__annotations__ = {p.name: p.annotation for p in ordered}
