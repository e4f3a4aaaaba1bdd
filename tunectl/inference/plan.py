"""Which file becomes which, decided before the first pixel."""

from __future__ import annotations

import glob
import os
import sys
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath

from tunectl.errors import UsageError
from tunectl.images.files import ENDINGS, unread_below
from tunectl.images.picture import FORMATS, output_format
from tunectl.inference.job import PIPE, Asked, Job, without_number
from tunectl.inference.places import (
    exists,
    full_name,
    is_file,
    is_folder,
    is_remote,
    key_of,
    name_of,
    pictures_below,
    place,
    real_name,
)

LONGEST_NAME = 255  # of bytes, or elsewhere of UTF-16's units


@dataclass(frozen=True)
class Layout:
    """Where results go and what they are called.

    `output` is a file, a folder or `-`, or None for a place beside the input; `suffix` is put
    before the ending; `ending`, such as `.png`, decides every output's format and else the
    input's own does; `in_place` writes over the input. Pictures in folders that match a pattern in
    `exclude` are left out.
    """

    output: str | None = None
    suffix: str = ""
    ending: str = ""
    in_place: bool = False
    exclude: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Found:
    """An input, where it lies below the output folder, and whether it was named or searched for."""

    source: Path | None
    below: Path
    named: bool


def plan(
    inputs: Sequence[str],
    asked: Sequence[Asked],
    layout: Layout,
    earlier: Callable[[Path, Collection[str]], bool] = lambda path, among: False,
    say: Callable[[str], None] = lambda words: None,
) -> list[Job]:
    """List every job, input by input. Raises UsageError for anything that would clash or be lost.

    A folder is searched to the bottom and its tree is kept below the output folder; pictures in it
    that are results of this plan, also with a number behind their names, are no inputs, nor are
    those of which `earlier` knows that they were made from one among the inputs, by full names.
    Names are compared as file systems may: normalised and without case. `say` is told how many were
    left out.
    """
    one = _names_a_file(layout.output, inputs)
    _refuse_contradictions(inputs, asked, layout, one)
    passed: list[Path] = []
    found = list(_find(_expanded(inputs), layout, passed))
    if one and len(found) * len(asked) > 1:
        raise UsageError(
            f"{layout.output}: one file cannot take {len(found) * len(asked)} results",
            "name a folder with -o",
        )
    several = len(asked) > 1
    jobs = [_job(item, strength, several, one, layout) for item in found for strength in asked]
    unlike: dict[object, Job] = {}
    for job in jobs:  # an input that is named twice is done once
        unlike.setdefault((real_name(job.source), job.output, job.asked), job)
    named = {real_name(item.source) for item in found if item.named}
    results = _results(list(unlike.values()), named, earlier)
    jobs = [job for job in unlike.values() if job.source not in results]
    if results:
        say(f"left alone: {len(results)} of tunectl's own results")
    made = {key_of(job.output) for job in jobs if job.output}
    if others := {key_of(path) for path in passed} - made:
        say(f"left alone: {len(others)} more in {layout.output}, where results go")
    if not jobs:
        raise UsageError(
            "there are no pictures among the inputs" + (" but such results" if results else ""),
            "name pictures or folders; raw files have to be developed first",
        )
    if layout.in_place:  # a link beside its target: one file, done once
        first: dict[str | None, Job] = {}
        jobs = [job for job in jobs if first.setdefault(real_name(job.source), job) is job]
    else:
        _refuse_clashes(jobs)
        _refuse_long_names(jobs)
    return jobs


def unread(inputs: Sequence[str]) -> str:
    """How many pictures in the folders are of no format that is read, such as `3 .cr2, 1 .psd`."""
    found: Counter[str] = Counter()
    for given in inputs:
        if given and given != PIPE and not is_remote(path := place(given)) and is_folder(path):
            found.update(unread_below(path))
    return ", ".join(f"{count} {ending}" for ending, count in sorted(found.items()))


def _refuse_contradictions(
    inputs: Sequence[str], asked: Sequence[Asked], layout: Layout, one: bool
) -> None:
    for pattern in layout.exclude:
        if not PurePath(pattern).name:
            raise UsageError(f"--exclude {pattern!r} is no pattern", "give one such as 'scan_*'")
    if layout.in_place and (layout.output or layout.suffix or layout.ending or len(asked) > 1):
        raise UsageError(
            "--in-place takes one strength and no -o, --suffix or --format",
            "leave it away, or them",
        )
    if layout.ending and layout.ending.lower() not in FORMATS:
        known = ", ".join(ending[1:] for ending in FORMATS)
        raise UsageError(f"--format {layout.ending[1:]!r} is not known", f"known: {known}")
    if os.path.basename(layout.suffix) != layout.suffix:
        raise UsageError(f"--suffix {layout.suffix!r} names a folder", "name folders with -o")
    if PIPE in inputs and len(inputs) > 1:
        raise UsageError("- stands for one picture", "name no other input beside it")
    if PIPE in inputs and not one:
        raise UsageError("a picture from standard input has no name", "add -o - or -o FILE")
    if one and layout.suffix:
        raise UsageError("--suffix goes with names that tunectl makes", "give -o the whole name")
    if layout.output and not one:
        output = place(layout.output)
        if exists(output) and not is_folder(output):
            raise UsageError(f"{output}: is a file", "name a folder with -o")
        if output.suffix.lower() in FORMATS and not exists(output) and layout.output[-1] != "/":
            raise UsageError(
                f"{output}: one file cannot take the results of a folder", "name a folder with -o"
            )


def _names_a_file(output: str | None, inputs: Sequence[str]) -> bool:
    if output is None or output == PIPE:
        return output == PIPE
    where = place(output)
    if output.endswith(("/", os.sep)) or is_folder(where) or not where.suffix:
        return False
    return not any(is_folder(place(given)) for given in inputs if given != PIPE)


def _expanded(inputs: Sequence[str]) -> list[str]:
    """Patterns and the home folder by name, which Windows' shells leave to the programs."""
    if os.name != "nt":
        return list(inputs)
    found: list[str] = []
    for given in map(os.path.expanduser, inputs):
        pattern = any(sign in given for sign in "*?") and "://" not in given
        # Brackets are common in names of photos.
        found += (pattern and sorted(glob.glob(given.replace("[", "[[]")))) or [given]
    return found


def _find(inputs: Sequence[str], layout: Layout, passed: list[Path]) -> Iterator[_Found]:
    """What the inputs name; pictures where the results go are not of them, but `passed`."""
    for given in inputs:
        path = place(given)
        if given == PIPE:
            yield _Found(None, path, True)
        elif is_folder(path):
            if not (layout.output or layout.suffix or layout.in_place):
                raise UsageError(f"{path}: is a folder", "name a folder for the results with -o")
            results = _results_below(path, layout.output)
            for picture in pictures_below(path):
                below = Path(str(picture.relative_to(path)))
                if any(below.match(pattern) for pattern in layout.exclude):
                    continue
                if results is not None and below.is_relative_to(results):
                    passed.append(picture)
                else:
                    yield _Found(picture, below, False)
        elif is_file(path):
            yield _Found(path, Path(name_of(path)), True)
        elif exists(path):
            raise UsageError(f"{path}: is no file", "give a picture, or - for standard input")
        elif any(sign in given for sign in "*?["):
            raise UsageError(
                f"{given}: no file's name is like this",
                "where the shell does not expand patterns, name a folder",
            )
        else:
            raise _unseen(given, path)


def _unseen(given: str, path: Path) -> UsageError:
    """Why a file is not to be seen."""
    try:
        path.stat()
    except PermissionError as error:
        return UsageError(f"{given}: {error.strerror}", "check that you may enter its folder")
    except OSError:
        pass
    return UsageError(f"{given}: there is no such file", "check its name")


def _results_below(folder: Path, output: str | None) -> Path | None:
    """Where below an input folder the output folder lies, if it does."""
    if output is None:
        return None
    where = place(output)
    if is_remote(folder) or is_remote(where):
        root, results = Path(full_name(folder)), Path(full_name(where))
    else:
        root, results = Path(os.path.realpath(folder)), Path(os.path.realpath(where))
    inside = results != root and results.is_relative_to(root)
    return results.relative_to(root) if inside else None


def _job(item: _Found, asked: Asked, several: bool, one: bool, layout: Layout) -> Job:
    below = item.below.as_posix()
    if layout.in_place:
        return Job(item.source, item.source, asked, below=below)
    if layout.output == PIPE:
        return Job(item.source, None, asked, FORMATS.get(layout.ending.lower()), below=below)
    if one:
        assert layout.output is not None
        output = place(layout.output)
        kind = output_format(output)
        if layout.ending and FORMATS[layout.ending.lower()] != kind:
            raise UsageError(
                f"{output}: its ending and --format {layout.ending[1:]} disagree",
                "leave --format away",
            )
        return Job(item.source, output, asked, kind, below=below)
    known = item.below.suffix.lower() in ENDINGS
    stem = item.below.stem if known else item.below.name
    own = item.below.suffix if item.below.suffix.lower() in FORMATS else ".png"
    mark = f"_{asked.mark}" if several else ""
    if not (several or layout.output or layout.suffix):
        mark = "_out" if asked == Asked() else f"_{asked.mark}"
    assert item.source is not None
    folder = item.source.parent
    if layout.output:
        folder = place(layout.output).joinpath(*item.below.parent.parts)
    output = folder / f"{stem}{layout.suffix}{mark}{layout.ending or own}"
    return Job(item.source, output, asked, output_format(output), below=below)


def _results(
    jobs: Sequence[Job],
    named: Collection[str | None],
    earlier: Callable[[Path, Collection[str]], bool],
) -> set[Path | None]:
    """The inputs that were not `named` and are what other inputs become, or became."""
    names = {full_name(job.source) for job in jobs if job.source}
    makers: dict[str, set[Path | None]] = {}
    for job in jobs:
        if job.output:
            makers.setdefault(key_of(job.output), set()).add(job.source)

    def is_result(source: Path | None) -> bool:
        if source is None or real_name(source) in named:
            return False
        found = makers.get(key_of(source), set())
        if not found and (name := without_number(source)):
            found = makers.get(key_of(name), set())
        return (bool(found) and source not in found) or earlier(source, names)

    return {source for source in {job.source for job in jobs} if is_result(source)}


def _refuse_long_names(jobs: Sequence[Job]) -> None:
    for job in jobs:
        if job.output is None or is_remote(job.output):
            continue
        name = job.output.name
        in_bytes = sys.platform.startswith("linux")
        length = len(os.fsencode(name) if in_bytes else name.encode("utf-16-le")[::2])
        if length > LONGEST_NAME:
            raise UsageError(
                f"{job.output}: is longer than a name can be", "give a shorter --suffix, or -o"
            )


def _refuse_clashes(jobs: Sequence[Job]) -> None:
    sources = {key_of(job.source) for job in jobs if job.source}
    made: dict[str, list[Job]] = {}
    for job in jobs:
        if job.output is not None:
            made.setdefault(key_of(job.output), []).append(job)
    for key, same in made.items():
        if key in sources:
            raise UsageError(
                f"{same[0].output}: is an input too",
                "give another name or folder with -o, or write over inputs with --in-place",
            )
    clashes = [same for same in made.values() if len(same) > 1]
    if clashes:
        one, other = clashes[0][:2]
        more = f"; so would {len(clashes) - 1} more names" if len(clashes) > 1 else ""
        raise UsageError(
            f"{other.name} and {one.name} would both become {other.output}{more}",
            "rename one of them, or do each in a run with a folder of its own",
        )
