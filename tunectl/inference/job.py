"""What is asked of one input, and what became of it: the words of plan, batch and manifest."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tunectl.errors import TunectlError
from tunectl.knob import Alpha

PIPE = "-"  # names standard input and standard output


def with_number(path: Path, number: int) -> Path:
    """The name that a result gets, from 2 on, where its own is taken."""
    return path.with_stem(f"{path.stem}_{number}")


def without_number(path: Path) -> Path | None:
    """The name that got a number to become this one; None of one without."""
    stem, _, number = path.stem.rpartition("_")
    return path.with_stem(stem) if stem and number.isdecimal() and int(number) > 1 else None


@dataclass(frozen=True)
class Asked:
    """One strength as it was asked for: an alpha, a level, or neither, which means auto.

    `share` is how much of what a picture says is to count; see `Strength`.
    """

    alpha: Alpha | None = None
    level: float | None = None
    share: float | None = None

    @property
    def alphas(self) -> tuple[float, ...]:
        """The alpha, or those of several sites; none where none was asked for."""
        if self.alpha is None:
            return ()
        return self.alpha if isinstance(self.alpha, tuple) else (self.alpha,)

    @property
    def mark(self) -> str:
        """What tells its result from those of other strengths, in a file's name."""
        if self.alphas:
            return "alpha" + "_".join(f"{one:.12g}" for one in self.alphas)
        if self.level is not None:
            return f"level{self.level:.12g}"
        return "auto" if self.share is None else f"auto{self.share:.12g}"


@dataclass(frozen=True)
class Job:
    """One input at one strength. `source` is None for standard input, `output` for standard output.

    `kind` is the format to write, None for the input's own. `skip` says why it is to be left; `new`
    that the output was not there, and that nothing which has come meanwhile may be written over.
    `replaces` that something is there which the result will take the place of.
    `stamp` is that of an input in whose place the result will be, as it was when this was decided.
    `below` is the input's name below the folder that was searched, which shards go by.
    """

    source: Path | None
    output: Path | None
    asked: Asked
    kind: str | None = None
    skip: str = ""
    new: bool = False
    replaces: bool = False
    stamp: str | None = None
    below: str = ""

    @property
    def name(self) -> str:
        """The input as messages name it."""
        return str(self.source or "standard input")

    @property
    def in_place(self) -> bool:
        """Whether the result takes its input's place: by one name, as a plan refuses others."""
        return self.output is not None and self.output == self.source

    @property
    def target(self) -> str:
        """The output as messages name it."""
        return str(self.output or PIPE)


@dataclass(frozen=True)
class Outcome:
    """What became of a job. `status` is done, skipped or failed.

    `alpha`, `level` and `estimated` are what it was restored at, `notes` what a user should know
    of how it was read and written, one phrase each. `seconds` are those of decoding
    (with a source's first result), restoring and encoding, without the waiting between them.
    Stamps are those of `places.stamp`. `data` is the encoded picture where the job has no file to
    write it to.
    """

    job: Job
    status: str
    alpha: Alpha | None = None
    level: float | None = None
    estimated: bool = False
    input_sha256: str | None = None
    input_bytes: int | None = None
    output_sha256: str | None = None
    output_bytes: int | None = None
    input_stamp: str | None = None
    output_stamp: str | None = None
    notes: Sequence[str] = ()
    pixels: int = 0
    seconds: float = 0.0
    error: TunectlError | None = None
    data: bytes | None = None


@dataclass
class Tally:
    """The counts of a run so far."""

    done: int = 0
    skipped: int = 0
    failed: int = 0
    pixels: int = 0
    started: float = field(default_factory=time.perf_counter)

    @property
    def megapixels_per_second(self) -> float:
        """Since the run began."""
        return self.pixels / 1e6 / max(time.perf_counter() - self.started, 1e-9)

    def add(self, outcome: Outcome) -> None:
        """Count one more."""
        self.done += outcome.status == "done"
        self.skipped += outcome.status == "skipped"
        self.failed += outcome.status == "failed"
        self.pixels += outcome.pixels
