"""Run a plan: while one picture is restored, the next is decoded and the last is encoded."""

from __future__ import annotations

import hashlib
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path

from tunectl.atomic import remove_stale
from tunectl.errors import PictureError, ResourceError, TunectlError, is_out_of_memory
from tunectl.hashing import file_sha256
from tunectl.images import MAX_PIXELS, Picture, encode_picture, read_picture
from tunectl.images.write import check_holds, left_out
from tunectl.inference import places
from tunectl.inference.job import Asked, Job, Outcome, Tally
from tunectl.inference.model import Model
from tunectl.inference.places import content, write
from tunectl.inference.restore import Restored, restore
from tunectl.inference.strength import Strength

AHEAD = 2  # pictures that wait decoded, and results that wait to be encoded: this bounds memory


@dataclass(frozen=True)
class Files:
    """How files are read and written; see `read_picture` and `encode_picture`.

    `stdin` holds what standard input gave, for the job whose source it is.
    """

    frame: int | None = None
    max_pixels: int | None = None
    quality: str | int = "auto"
    strip_metadata: bool = False
    stdin: bytes = b""


@dataclass
class _Source:
    """A decoded input; the seconds are given to its first result."""

    picture: Picture
    sha256: str | None
    stamp: str | None
    size: int
    seconds: float


def remove_leftovers(jobs: Sequence[Job]) -> None:
    """Temporary files of writers that were killed, in every folder that results go to."""
    for folder in {job.output.parent for job in jobs if job.output and not job.skip}:
        if not places.is_remote(folder):
            remove_stale(folder)


def run(
    model: Model,
    jobs: Sequence[Job],
    strengths: Mapping[Asked, Strength],
    files: Files,
    done: Callable[[Outcome, Tally], None],
    record: Callable[[Outcome], None] = lambda outcome: None,
    check: Callable[[], None] = lambda: None,
) -> Tally:
    """Do every job that is not to be skipped, in order; a bad picture does not stop the others.

    A source is read once for all its strengths. `done` hears of each job in this thread; `record`
    in the one that writes, just before the result takes its name. A result that cannot be recorded
    is a failure, and one that cannot be recorded either stops the run. So does what `done` raises,
    or `check`, which is called before each picture and after each row of its windows: what is being
    written is then finished, and nothing more is begun. After `check`, what was finished is told.
    """
    tally = Tally()
    reader = ThreadPoolExecutor(1, "tunectl-read")
    writer = ThreadPoolExecutor(1, "tunectl-write")
    writing: deque[Future[Outcome]] = deque()

    def take(most: int) -> None:
        while writing and (len(writing) > most or writing[0].done()):
            outcome = writing.popleft().result()
            tally.add(outcome)
            done(outcome, tally)

    try:
        for group, reading in _read_ahead(reader, jobs, files):
            for job in group:
                check()
                outcome, restored = _restore(model, job, strengths[job.asked], reading, check)
                writing.append(writer.submit(_write, outcome, restored, files, record))
                take(AHEAD)
        take(0)
    except SystemExit:  # by `check`
        writer.shutdown(cancel_futures=True)
        writing = deque(future for future in writing if not future.cancelled())
        take(0)
        raise
    finally:
        reader.shutdown(cancel_futures=True)
        writer.shutdown(cancel_futures=True)
    return tally


def _read_ahead(
    reader: ThreadPoolExecutor, jobs: Iterable[Job], files: Files
) -> Iterator[tuple[list[Job], Future[_Source] | None]]:
    """The jobs by source, with the source's reading, while the next ones are being read."""
    waiting: deque[tuple[list[Job], Future[_Source] | None]] = deque()
    for source, same in groupby(jobs, key=lambda job: job.source):
        group = list(same)
        needed = not all(job.skip for job in group)
        waiting.append((group, reader.submit(_read, source, files) if needed else None))
        if len(waiting) > AHEAD:
            yield waiting.popleft()
    yield from waiting


def _read(source: Path | None, files: Files) -> _Source:
    started = time.perf_counter()
    # Stamp and hash come first: of a file that changes meanwhile, they are then the old ones, which
    # a later run finds changed.
    stamp = places.stamp(source) if source else None
    found = content(source) if source else files.stdin
    digest = file_sha256(found) if isinstance(found, Path) else hashlib.sha256(found).hexdigest()
    picture = read_picture(
        found,
        str(source or "standard input"),
        frame=files.frame,
        max_pixels=files.max_pixels or MAX_PIXELS,
    )
    size = len(found) if isinstance(found, bytes) else places.size_of(stamp) or 0
    return _Source(picture, digest, stamp, size, time.perf_counter() - started)


def _restore(
    model: Model,
    job: Job,
    strength: Strength,
    reading: Future[_Source] | None,
    check: Callable[[], None],
) -> tuple[Outcome, Restored | None]:
    if job.skip or reading is None:
        return Outcome(job, "skipped"), None
    outcome = Outcome(job, "failed")
    try:
        source = reading.result()
        started = time.perf_counter() - source.seconds
        source.seconds = 0.0
        outcome = replace(
            outcome,
            input_sha256=source.sha256,
            input_bytes=source.size,
            input_stamp=source.stamp,
        )
        _check_in_place(job, source)
        check_holds(source.picture, _kind(job, source.picture), job.target)
        restored = restore(model, source.picture, strength, check)
    except Exception as error:
        return replace(outcome, error=_as_ours(job, error)), None
    outcome = replace(
        outcome,
        status="done",
        alpha=restored.alpha,
        level=restored.level,
        estimated=restored.estimated,
        pixels=restored.picture.pixels.shape[0] * restored.picture.pixels.shape[1],
        seconds=time.perf_counter() - started,
    )
    return outcome, restored


def _check_in_place(job: Job, source: _Source) -> None:
    picture = source.picture
    _check_unchanged(job, source.stamp)
    if job.in_place and picture.format == "GIF":
        raise PictureError(f"{job.name}: a GIF is not written", "write elsewhere with -o")
    if job.in_place and picture.lost:
        lost = " and ".join(picture.lost)
        raise PictureError(f"{job.name}: {lost} would be lost in place", "write elsewhere with -o")


def _check_unchanged(job: Job, stamp: str | None) -> None:
    """Raises ResourceError where somebody else wrote what is to be replaced."""
    if job.stamp is not None and job.stamp != stamp:
        raise ResourceError(f"{job.name}: has changed since the run began", "run the command again")


def _write(
    outcome: Outcome, restored: Restored | None, files: Files, record: Callable[[Outcome], None]
) -> Outcome:
    if restored is not None:
        try:
            return _write_picture(outcome, restored, files, record)
        except Exception as error:
            outcome = replace(outcome, status="failed", error=_as_ours(outcome.job, error))
    record(outcome)
    return outcome


def _write_picture(
    outcome: Outcome, restored: Restored, files: Files, record: Callable[[Outcome], None]
) -> Outcome:
    started = time.perf_counter()
    job, picture = outcome.job, restored.picture
    kind = _kind(job, picture)
    data = _as_it_was(outcome, restored, files) if restored.untouched else None
    unheld = [] if data else left_out(picture, kind, files.strip_metadata)
    if job.output is not None and (links := places.other_links(job.output)):
        unheld.append(f"{links} other hard link{'s keep' if links > 1 else ' keeps'} the old file")
    if job.in_place and job.output is not None and (target := places.link(job.output)):
        unheld.append(f"it is a link to {target}, which was written")
    notes = picture.notes[-1:] if data else picture.notes  # the file loses nothing
    data = data or encode_picture(
        picture,
        kind,
        name=job.target,
        quality=files.quality,
        strip_metadata=files.strip_metadata,
    )
    digest = hashlib.sha256(data).hexdigest()
    outcome = replace(
        outcome,
        output_sha256=digest,
        output_bytes=len(data),
        notes=list(dict.fromkeys([*notes, *unheld])),
    )
    if job.output is None:
        record(outcome)
        return replace(outcome, data=data)
    path = job.output

    def just_before(stamp: str) -> None:
        nonlocal outcome
        if job.stamp is not None:
            _check_unchanged(job, places.stamp(path))
        seconds = outcome.seconds + time.perf_counter() - started
        outcome = replace(outcome, output_stamp=stamp, seconds=seconds)
        record(outcome)

    write(path, data, just_before, job.new)
    return outcome


def _as_it_was(outcome: Outcome, restored: Restored, files: Files) -> bytes | None:
    """The input's own bytes, where its result would be the same picture in the same format; None
    where something else was asked for, or the input has changed meanwhile."""
    job, picture = outcome.job, restored.picture
    plain = files.quality in ("auto", "keep") and not files.strip_metadata and files.frame is None
    if not plain or _kind(job, picture) != picture.format:
        return None
    found = content(job.source) if job.source else files.stdin
    data = found.read_bytes() if isinstance(found, Path) else found
    return data if hashlib.sha256(data).hexdigest() == outcome.input_sha256 else None


def _kind(job: Job, picture: Picture) -> str:
    return job.kind or ("PNG" if picture.format == "GIF" else picture.format)


def _as_ours(job: Job, error: Exception) -> TunectlError:
    """The error as one that names the file and can be told in two lines."""
    if isinstance(error, TunectlError):
        if error.message.startswith((f"{job.name}:", f"{job.target}:")):
            return error
        ours = type(error)(f"{job.name}: {error.message}", error.hint)
    elif is_out_of_memory(error):
        ours = ResourceError(
            f"{job.name}: out of memory", "close other programs, or work on less at a time"
        )
    else:
        ours = TunectlError(
            f"{job.name}: {type(error).__name__}: {error}",
            "this is a fault of tunectl; TUNECTL_DEBUG=1 shows where",
        )
    ours.__cause__ = error
    return ours
