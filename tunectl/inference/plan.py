"""Which file becomes which, decided and checked before the first pixel."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tunectl.errors import UsageError
from tunectl.images import find_pictures
from tunectl.images.picture import FORMATS, output_format

POLICIES = ("error", "skip", "overwrite", "rename")


@dataclass(frozen=True)
class Job:
    """One input, one alpha, one output. `skip` where the output exists and is to be left."""

    source: Path
    alpha: float | None
    output: Path
    skip: bool = False


def plan(
    inputs: Sequence[Path],
    output: Path | None,
    alphas: Sequence[float | None],
    if_exists: str = "error",
) -> list[Job]:
    """List every job. Raises UsageError for anything that would clash or be lost.

    A folder is searched to the bottom and its tree is kept below `output`. One input and one
    alpha may name a file as output; without an output, results lie beside their inputs with the
    alpha in their names.
    """
    if if_exists not in POLICIES:
        raise UsageError(f"--if-exists {if_exists!r} is not known", f"known: {', '.join(POLICIES)}")
    pairs: list[tuple[Path, Path]] = []  # input, and where it lies below the output folder
    for given in inputs:
        if given.is_dir():
            if output is None:
                raise UsageError(f"{given}: is a folder", "name the folder for the results with -o")
            inside = output.resolve()
            pairs += [
                (path, path.relative_to(given))
                for path in find_pictures(given)
                if not path.resolve().is_relative_to(inside) or inside == given.resolve()
            ]
        elif not given.exists():
            raise UsageError(f"{given}: there is no such file", "check its name")
        else:
            pairs.append((given, Path(given.name)))
    if not pairs:
        raise UsageError("there are no pictures among the inputs", "name pictures or folders")
    one_file = output is not None and _names_a_file(output, inputs)
    if one_file and len(pairs) * len(alphas) > 1:
        raise UsageError(
            f"{output}: one file cannot take {len(pairs) * len(alphas)} results",
            "name a folder with -o",
        )
    jobs = []
    for source, below in pairs:
        for alpha in alphas:
            if one_file:
                assert output is not None
                target = output
            else:
                mark = "" if alpha is None or (output and len(alphas) == 1) else f"_alpha{alpha:g}"
                mark = mark or ("" if output else "_out")
                ending = below.suffix if below.suffix.lower() in FORMATS else ".png"
                folder = output / below.parent if output else source.parent
                target = folder / f"{below.stem}{mark}{ending}"
            output_format(target)
            jobs.append(Job(source, alpha, target))
    _refuse_collisions(jobs)
    return [_when_there(job, if_exists) for job in jobs]


def _names_a_file(output: Path, inputs: Sequence[Path]) -> bool:
    return not output.is_dir() and output.suffix != "" and not any(p.is_dir() for p in inputs)


def _refuse_collisions(jobs: Sequence[Job]) -> None:
    seen: dict[str, Job] = {}
    sources = {job.source.resolve() for job in jobs}
    for job in jobs:
        other = seen.setdefault(str(job.output.resolve()), job)
        if other is not job:
            raise UsageError(
                f"{job.source} and {other.source} would both become {job.output}",
                "rename one of them",
            )
        if job.output.resolve() in sources:
            raise UsageError(
                f"{job.output}: is an input too", "give another name or folder with -o"
            )


def _when_there(job: Job, if_exists: str) -> Job:
    if not job.output.exists() or if_exists == "overwrite":
        return job
    if if_exists == "skip":
        return Job(job.source, job.alpha, job.output, skip=True)
    if if_exists == "rename":
        number = 2
        while (path := job.output.with_stem(f"{job.output.stem}_{number}")).exists():
            number += 1
        return Job(job.source, job.alpha, path)
    raise UsageError(f"{job.output}: exists already", "add --if-exists overwrite, skip or rename")
