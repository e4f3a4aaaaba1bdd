"""A part of a plan, for job arrays whose jobs know nothing of each other."""

from __future__ import annotations

import os
import zlib
from collections.abc import Sequence
from dataclasses import dataclass

from tunectl.errors import UsageError
from tunectl.inference.job import Job


@dataclass(frozen=True)
class Shard:
    """Part `number` of `count`, from 1.

    What a source is called below its input decides which it is in, wherever that is mounted: a
    folder that changes while the parts are done moves no picture from one to another.
    """

    number: int
    count: int

    @classmethod
    def parse(cls, text: str) -> Shard:
        """From `i/n`. Raises UsageError."""
        part, _, count = text.partition("/")
        if not (part.isdecimal() and count.isdecimal() and 1 <= int(part) <= int(count)):
            raise UsageError(f"--shard {text!r} is not a part", "give i/n, such as 1/8 to 8/8")
        return cls(int(part), int(count))

    def of(self, jobs: Sequence[Job]) -> list[Job]:
        """Its jobs. All are planned before, so that clashes between parts are found as well."""
        return [
            job
            for job in jobs
            if zlib.crc32(os.fsencode(job.below)) % self.count == self.number - 1
        ]
