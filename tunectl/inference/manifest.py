"""The journal of a run, one JSON object a line, by which a later run knows what is done.

The same objects are what `tunectl apply --json` prints. `schema` is raised when a field changes its
meaning. A line is written when a result's bytes are on the disk and just before they take its name:
whatever moment a run is killed at, no result is unknown to its manifest, and a line without its
result is seen by the hash.
"""

from __future__ import annotations

import json
import os
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from tunectl.atomic import refusal
from tunectl.errors import TunectlError, UsageError
from tunectl.inference.job import Job, Outcome
from tunectl.inference.places import full_name, sha256, size_of, stamp

SCHEMA = 1
UP_TO_DATE, RESTORED = "up to date", "restored before"  # why a manifest has a job skipped
_START = b'{"schema": '


@dataclass(frozen=True)
class Setup:
    """What besides an input and a strength decides a result; `settings` holds plain JSON values."""

    model: str
    model_sha256: str | None
    settings: dict[str, Any] = field(default_factory=dict)

    def decisive(self, job: Job) -> dict[str, Any]:
        """The fields of a job's line that must be equal for its result to be up to date."""
        asked = job.asked
        alpha = list(asked.alpha) if isinstance(asked.alpha, tuple) else asked.alpha  # as JSON
        return {
            "model_sha256": self.model_sha256,
            "alpha_asked": asked.mark if asked.alpha is None and asked.level is None else alpha,
            "level_asked": asked.level,
            "settings": self.settings,
        }


class Journal:
    """The end of a manifest, where lines are added."""

    def __init__(self, path: Path, setup: Setup) -> None:
        self.path, self.setup = path, setup

    def append(self, outcome: Outcome) -> None:
        """Add a line and see it onto the disk. Raises ResourceError."""
        if outcome.job.skip in (UP_TO_DATE, RESTORED):  # its line is there
            return
        text = json.dumps(entry(outcome, self.setup)).encode() + b"\n"
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with open(self.path, "ab+") as file:
                if file.seek(0, os.SEEK_END):
                    file.seek(-1, os.SEEK_END)
                    if file.read(1) != b"\n":  # a crash cut the last line off
                        text = b"\n" + text
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise refusal(self.path, error) from error


class Manifest(Journal):
    """A manifest on the disk as it is now. Raises UsageError if the file is something else."""

    def __init__(self, path: Path, setup: Setup) -> None:
        super().__init__(path, setup)
        self._latest: dict[str, dict[str, Any]] = {}  # by output
        self._written: dict[str, set[str]] = {}  # every hash that we gave an output
        self._in_place: dict[str, set[Any]] = {}  # name and hash of what restored in place
        self._before: dict[str, set[str | None]] = {}  # hash to that of what it was made of there
        self._sizes: set[Any] = set()  # and how large those are
        for line in _read(path):
            output = line["output"]
            if line["status"] == "done":
                self._latest[output] = line
                self._written.setdefault(output, set()).add(line["output_sha256"])
                if line["input"] == output:
                    by = self._in_place.setdefault(line["output_sha256"], set())
                    by |= {line.get("model"), line.get("model_sha256")}
                    before = self._before.setdefault(line["output_sha256"], set())
                    before.add(line["input_sha256"])
                    self._sizes.add(line.get("output_bytes"))

    @property
    def journal(self) -> Journal:
        """Only its end, without what was read."""
        return Journal(Path(full_name(self.path)), self.setup)

    def made_of_one(self, path: Path, among: Collection[str]) -> bool:
        """Whether the file is, as it is now, a result of one `among` those of other full names, or
        of one that lay beside it, wherever that is by now."""
        line = self._latest.get(full_name(path))
        if line is None or line["input"] == line["output"]:
            return False
        beside = os.path.dirname(line["input"]) == os.path.dirname(line["output"])
        if not beside and line["input"] not in among:
            return False
        as_written = _is_same(stamp(path), line.get("output_stamp"))
        return as_written or line["output_sha256"] == sha256(path)

    @property
    def results(self) -> int:
        """How many outputs it knows of."""
        return len(self._latest)

    def made_from(self, job: Job) -> bool:
        """Whether the output was last made of the job's input."""
        assert job.source is not None
        assert job.output is not None
        line = self._latest.get(full_name(job.output), {})
        return line.get("input") == full_name(job.source)

    def look(
        self, job: Job, stamped: Mapping[str, str | None]
    ) -> Literal["fresh", "ours", "restored"] | None:
        """Whether the output is as this job would make it, or at least one of our making, or, in
        place, was restored by the job's model already, however strongly.

        A file that was changed since is not ours any more, nor is what another input became: None,
        as for one that is missing.
        `stamped` has the stamps of files by their full names: those that are the manifest's spare
        the reading.
        """
        if job.source is None or job.output is None:
            return None
        source, output = full_name(job.source), full_name(job.output)
        if output not in self._written:
            # The same folder may go by another name today: then content tells.
            like_ours = source == output and size_of(stamped.get(source)) in self._sizes
            return "restored" if like_ours and self._restored(sha256(job.source)) else None
        line = self._latest[output]
        if source != output and not self._is_of(line, job.source):
            return None
        as_written = _is_same(stamped.get(output), line.get("output_stamp"))
        found = line["output_sha256"] if as_written else sha256(job.output)
        if line["output_sha256"] == found:
            same = self.setup.decisive(job).items() <= line.items()
            # What was restored in place is an input no more: it would be restored twice.
            if same and (
                line["input"] == output
                or _is_same(stamped.get(source), line.get("input_stamp"))
                or line["input_sha256"] == sha256(job.source)
            ):
                return "fresh"
        if source == output and self._restored(found):
            return "restored"
        return "ours" if found in self._written[output] else None

    def _is_of(self, line: Mapping[str, Any], source: Path) -> bool:
        """Whether the result of that line was made of the picture, or the page, that it names."""
        frame = line.get("settings", {}).get("frame")
        same = line["input"] == full_name(source) or line["input_sha256"] == sha256(source)
        return bool(same and frame == self.setup.settings.get("frame"))

    def _restored(self, found: str | None) -> bool:
        waiting, seen = {found}, set[str | None]()
        while waiting:  # what it is, and what that had been before
            one = waiting.pop()
            seen.add(one)
            by = self._in_place.get(one or "", set())
            if self.setup.model in by or self.setup.model_sha256 in by - {None}:
                return True
            waiting |= self._before.get(one or "", set()) - seen
        return False


def _is_same(stamp: str | None, other: Any) -> bool:
    return stamp is not None and stamp == other


def planned(job: Job, setup: Setup) -> dict[str, Any]:
    """A job as a JSON object, before it is done. Files are named from the root, pipes are `-`."""
    return {
        "schema": SCHEMA,
        "status": "skipped" if job.skip else "planned",
        "input": full_name(job.source) if job.source else "-",
        "output": full_name(job.output) if job.output else "-",
        "reason": job.skip or None,
        "replaces": job.replaces,
        "model": setup.model,
        **setup.decisive(job),
    }


def entry(outcome: Outcome, setup: Setup) -> dict[str, Any]:
    """What became of a job as a JSON object."""
    return planned(outcome.job, setup) | {
        "status": outcome.status,
        "input_sha256": outcome.input_sha256,
        "input_bytes": outcome.input_bytes,
        "input_stamp": outcome.input_stamp,
        "output_sha256": outcome.output_sha256,
        "output_bytes": outcome.output_bytes,
        "output_stamp": outcome.output_stamp,
        "alpha": outcome.alpha,
        "level": outcome.level,
        "estimated": outcome.estimated,
        "notes": outcome.notes,
        "seconds": round(outcome.seconds, 3),
        "error": failure(outcome.error) if outcome.error else None,
    }


def failure(error: TunectlError) -> dict[str, Any]:
    """An error as a JSON object."""
    return {"message": error.message, "hint": error.hint, "exit_code": error.exit_code}


def _read(path: Path) -> Iterator[dict[str, Any]]:
    """The lines of a manifest; one that a crash cut off is left out."""
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return
    except OSError as error:
        raise UsageError(f"{path}: cannot be read ({error.strerror})", "name a file") from error
    for number, text in enumerate(data.split(b"\n"), 1):
        text = text.strip(b"\0\r ")  # a disk that lost its power may leave zeros
        if not text:
            continue
        try:
            line = json.loads(text)
        except (ValueError, RecursionError):
            if text.startswith(_START) or _START.startswith(text):
                continue
            line = None
        if not _is_ours(line):
            raise UsageError(
                f"{path}: line {number} is not of a manifest that this tunectl knows",
                "give --manifest another file",
            )
        yield line


def _is_ours(line: Any) -> bool:
    if not isinstance(line, dict) or line.get("schema") != SCHEMA:
        return False
    needed = {"status", "input", "output", "input_sha256", "output_sha256"}
    told = ("input", "output_sha256", "input_sha256", "model", "model_sha256", "output_bytes")
    plain = all(isinstance(line.get(name), str | int | None) for name in told)
    if not (needed <= line.keys() and isinstance(line["output"], str) and plain):
        return False
    made = line["status"] != "done" or isinstance(line["input"], str)
    return made and isinstance(line.get("settings", {}), dict)
