"""What happens to each planned job: what is there already, and what every result would fail at."""

from __future__ import annotations

import os
from collections import ChainMap
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from tunectl.errors import ResourceError, UsageError
from tunectl.images.plugins import PACKAGES, opener
from tunectl.inference.job import Asked, Job, with_number
from tunectl.inference.manifest import RESTORED, UP_TO_DATE, Manifest
from tunectl.inference.places import exists, full_name, is_remote, key_of, stamps
from tunectl.inference.plan import Layout, plan
from tunectl.inference.shard import Shard

POLICIES = ("error", "skip", "overwrite", "rename")


def decide(
    inputs: Sequence[str],
    asked: Sequence[Asked],
    layout: Layout,
    if_exists: str,
    manifest: Manifest | None = None,
    shard: Shard | None = None,
    say: Callable[[str], None] = lambda words: None,
) -> list[Job]:
    """All that a run will do: what is planned, or a shard of it, settled, and possible to write.

    Raises as `plan`, `settle` and `check_targets` do.
    """
    _check_policy(if_exists)
    if layout.in_place and if_exists in ("skip", "rename"):
        raise UsageError(
            f"--in-place writes over what --if-exists {if_exists} would leave", "leave one away"
        )
    earlier = {} if manifest is None else {"earlier": manifest.made_of_one}
    planned = plan(inputs, asked, layout, say=say, **earlier)
    jobs = planned if shard is None else shard.of(planned)
    jobs = settle(jobs, if_exists, manifest, planned)
    check_targets(jobs)
    return jobs


def settle(
    jobs: Sequence[Job],
    if_exists: str,
    manifest: Manifest | None = None,
    elsewhere: Sequence[Job] = (),
) -> list[Job]:
    """Decide what happens where an output exists already. Raises UsageError if that is an error.

    `elsewhere` are the jobs of all shards, whose outputs no other name may become. What the
    manifest knows to be up to date is skipped. What it knows to be an older result of ours is
    written anew, unless `if_exists` is to skip, but for one in place by the same model: that would
    be restored twice, and is left unless overwriting is asked for.
    """
    _check_policy(if_exists)
    taken = {key_of(job.output) for job in (*jobs, *elsewhere) if job.output}
    if manifest and key_of(manifest.path) in taken:
        raise UsageError(f"{manifest.path}: is a result too", "give --manifest another file")
    outputs = [job.output for job in jobs if job.output]
    sources = [job.source for job in jobs if job.source and manifest]
    stamped = stamps([*outputs, *sources])
    settled, there = [], []
    for job in jobs:
        if job.output is None or full_name(job.output) not in stamped:
            settled.append(replace(job, new=if_exists != "overwrite"))
            continue
        known = manifest.look(job, stamped) if manifest else None
        if known == "fresh":
            settled.append(replace(job, skip=UP_TO_DATE))
        elif job.in_place:
            twice = known == "restored" and if_exists != "overwrite"
            here = not is_remote(job.output)  # stores may say it otherwise in a list
            stamp = stamped[full_name(job.output)] if here else None
            again = replace(job, stamp=stamp, replaces=True)
            settled.append(replace(job, skip=RESTORED) if twice else again)
        elif known == "ours" and if_exists != "skip":
            settled.append(replace(job, replaces=True))
        elif if_exists == "rename":
            settled.append(_renamed(job, taken, manifest, stamped))
        else:
            skips = if_exists == "skip"
            settled.append(replace(job, skip="exists" if skips else "", replaces=not skips))
            there.append(job.target)
    if there and if_exists == "error":
        others = f", and {len(there) - 1} more" if len(there) > 1 else ""
        raise UsageError(
            f"{there[0]}: exists already{others}", "add --if-exists overwrite, skip or rename"
        )
    return settled


def check_targets(jobs: Sequence[Job]) -> None:
    """Raise for what every result would fail at: ResourceError where none of their folders may be
    written to, PictureError where a format's package is missing."""
    jobs = [job for job in jobs if not job.skip]
    folders = {job.output.parent for job in jobs if job.output and not is_remote(job.output)}
    closed = [folder for folder in map(_nearest, folders) if not os.access(folder, os.W_OK)]
    if closed and len(closed) == len(folders):
        raise ResourceError(f"{closed[0]}: may not be written to", "name another folder with -o")
    for kind, job in {job.kind: job for job in jobs}.items():
        if kind in PACKAGES:
            opener(kind, job.target)


def _check_policy(if_exists: str) -> None:
    if if_exists not in POLICIES:
        raise UsageError(f"--if-exists {if_exists!r} is not known", f"known: {', '.join(POLICIES)}")


def _nearest(folder: Path) -> Path:
    """The folder, or the nearest above it that is there."""
    folder = Path(full_name(folder))
    return next(above for above in (folder, *folder.parents) if exists(above))


def _renamed(
    job: Job, taken: set[str], manifest: Manifest | None, stamped: dict[str, str | None]
) -> Job:
    """The job with the first number after its output's name that neither the disk nor this plan
    has, which is then taken; or with that of a result of it that the manifest knows."""
    assert job.output is not None
    number, known = 1, None
    while True:
        number += 1
        output = with_number(job.output, number)
        if key_of(output) in taken:
            continue
        there, other = exists(output), replace(job, output=output)
        if there and manifest and manifest.made_from(other):
            known = manifest.look(other, ChainMap(stamps([output]), stamped))
        if known or not there:
            taken.add(key_of(output))
            skip = UP_TO_DATE if known == "fresh" else ""
            return replace(other, skip=skip, new=not there, replaces=there and not skip)
