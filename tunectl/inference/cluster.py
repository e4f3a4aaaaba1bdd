"""A run on a Ray cluster: Ray starts the workers, places them, and starts them again."""

from __future__ import annotations

import io
import logging
import os
import signal
import socket
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import groupby, islice
from pathlib import Path
from typing import Any, TextIO, cast

from tunectl.errors import ResourceError, UsageError
from tunectl.inference import batch
from tunectl.inference.batch import Files
from tunectl.inference.execution import Execution
from tunectl.inference.job import Asked, Job, Outcome, Tally
from tunectl.inference.model import Model
from tunectl.inference.places import sha256
from tunectl.inference.strength import Strength

SOURCES = 4  # pictures a task: enough that a worker reads and writes while it restores
RETRIES = 3  # of a task whose worker died
ANSWERED = 10.0  # seconds within which a cluster has to
CHECKED = 0.5  # seconds after which is asked whether to go on
TILE = 512  # processors of one machine share its memory, all of which each worker would see


def run(
    model: Model,
    jobs: Sequence[Job],
    strengths: Mapping[Asked, Strength],
    files: Files,
    done: Callable[[Outcome, Tally], None],
    record: Callable[[Outcome], None] = lambda outcome: None,
    check: Callable[[], None] = lambda: None,
    *,
    device: str = "auto",
    precision: str = "auto",
    workers: int | None = None,
) -> Tally:
    """As `batch.run`, by processes all over the cluster; results come in any order.

    The cluster is the one that RAY_ADDRESS names, or else this machine; every machine has to see
    the files under the same names. `workers` is how many processes restore; without it one for
    each GPU, or for each processor core where there are none. `record` is called in one process,
    on this machine, just before a result takes its name; what was recorded is not done again when
    a worker dies. `check` is called twice a second; after it nothing more is told. Raises
    UsageError without Ray, ResourceError where it fails.
    """
    ray = _ray()
    tally = Tally()

    def count(outcome: Outcome) -> None:
        tally.add(outcome)
        done(outcome, tally)

    for job in jobs:
        if job.skip:
            outcome = Outcome(job, "skipped")
            record(outcome)
            count(outcome)
    tasks = list(_tasks([job for job in jobs if not job.skip]))
    model.forget()  # what is folded again where it is needed need not travel
    model.network.cpu()  # a worker may have no GPU
    _check_address(os.environ.get("RAY_ADDRESS", ""))
    printed, sys.stdout = sys.stdout, cast(TextIO, _OfThisThread(sys.stdout))
    try:
        terminated = signal.getsignal(signal.SIGTERM)
        ray.init(log_to_driver=False, logging_level=logging.ERROR, include_dashboard=False)
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, terminated)  # of which Ray makes its own
        place, most = _places(ray, device)
        workers = workers or max(1, min(most, len(tasks)))
        if workers > most:
            raise UsageError(
                f"the cluster has room for {most} workers", "lower --workers, or wait for machines"
            )
        here = ray.util.scheduling_strategies.NodeAffinitySchedulingStrategy(
            ray.get_runtime_context().get_node_id(), soft=False
        )
        journal = ray.remote(_Journal).options(num_cpus=0, scheduling_strategy=here).remote(record)
        worker = ray.remote(_Worker).options(
            **place, max_restarts=RETRIES, max_task_retries=RETRIES
        )
        given = [ray.put(each) for each in (model, strengths, files)]
        pool = ray.util.ActorPool(
            worker.remote(os.getcwd(), device, precision) for _ in range(workers)
        )
        for task in tasks:
            pool.submit(lambda actor, task: actor.do.remote(task, given, journal), task)
        while pool.has_next():
            check()
            try:
                outcomes = pool.get_next_unordered(timeout=CHECKED)
            except TimeoutError as error:
                if isinstance(error, ray.exceptions.RayError):  # a worker's own
                    raise
                continue
            for outcome in outcomes:
                count(outcome)
    except (ray.exceptions.RayError, ConnectionError) as error:
        raise ResourceError(
            f"Ray: {str(error).strip().splitlines()[-1]}",
            "run the command again: with --manifest it does only what is missing",
        ) from error
    finally:
        ray.shutdown()
        sys.stdout = printed
        batch.remove_leftovers(jobs)  # of workers that died
    return tally


class _OfThisThread:
    """A stream that what another thread prints does not reach: Ray tells of a worker's death on
    standard output, among the results."""

    def __init__(self, stream: TextIO) -> None:
        self._stream, self._thread, self._nowhere = stream, threading.get_ident(), io.StringIO()

    def __getattr__(self, name: str) -> Any:
        here = threading.get_ident() == self._thread
        return getattr(self._stream if here else self._nowhere, name)


class _Journal:
    """Writes down results, one after the other, for all workers."""

    def __init__(self, record: Callable[[Outcome], None]) -> None:
        self._record = record
        self._written: dict[Path, Outcome] = {}

    def append(self, outcome: Outcome) -> None:
        self._record(outcome)
        if outcome.status == "done" and outcome.job.output:
            self._written[outcome.job.output] = outcome

    def written(self, outputs: Sequence[Path | None]) -> list[Outcome]:
        """Those of the outputs that were recorded, and so are done if they are there."""
        return [self._written[path] for path in outputs if path in self._written]


class _Worker:
    """Restores on one GPU, or on one processor core."""

    def __init__(self, folder: str, device: str, precision: str) -> None:
        os.chdir(folder)  # names of files count from where the command was given
        self._device, self._precision = device, precision
        self._ready: tuple[Model, Mapping[Asked, Strength], Files] | None = None

    def do(self, jobs: Sequence[Job], given: Sequence[Any], journal: Any) -> list[Outcome]:
        """All of the jobs, but for those that another worker had done before it died.

        `given` refers to the model, the strengths and the files of the run. They come with each
        task, since Ray does not promise that what starts a worker is there to start it again.
        """
        if self._ready is None:
            self._ready = self._prepared(*_ray().get(list(given)))
        ray = _ray()
        written = ray.get(journal.written.remote([job.output for job in jobs]))
        outcomes = [one for one in written if sha256(one.job.output) == one.output_sha256]
        finished = {outcome.job for outcome in outcomes}
        model, strengths, files = self._ready
        batch.run(
            model,
            [job for job in jobs if job not in finished],
            strengths,
            files,
            lambda outcome, _: outcomes.append(outcome),
            lambda outcome: ray.get(journal.append.remote(outcome)),
        )
        return outcomes

    def _prepared(
        self, model: Model, strengths: Mapping[Asked, Strength], files: Files
    ) -> tuple[Model, Mapping[Asked, Strength], Files]:
        given = model.execution
        execution = Execution.pick(self._device, self._precision, given.tile, given.ensemble)
        if execution.device.type == "cpu" and execution.tile is None:
            execution = replace(execution, tile=TILE)
        return Model(model.header, model.network, execution), strengths, files


def _check_address(address: str) -> None:
    """Raise ResourceError for a HOST:PORT where nobody answers: Ray would wait without an end."""
    host, _, port = address.rpartition(":")
    if "/" in address or address in ("", "auto", "local"):
        return
    try:
        socket.create_connection((host.strip("[]"), int(port)), ANSWERED).close()
    except (OSError, ValueError) as error:
        raise ResourceError(
            f"Ray: nobody answers at RAY_ADDRESS {address!r} ({error})",
            "correct RAY_ADDRESS, or unset it to work on this machine",
        ) from error


def _tasks(jobs: Sequence[Job]) -> Iterator[list[Job]]:
    """The jobs of a few sources at a time, which are each read once."""
    by_source = (list(same) for _, same in groupby(jobs, key=lambda job: job.source))
    while taken := list(islice(by_source, SOURCES)):
        yield [job for group in taken for job in group]


def _places(ray: Any, device: str) -> tuple[dict[str, int], int]:
    """What a worker asks of Ray, and for how many the cluster has it."""
    there = ray.cluster_resources()
    if device != "cpu" and there.get("GPU"):
        return {"num_gpus": 1, "num_cpus": 1}, int(there["GPU"])
    return {"num_cpus": 1}, int(there.get("CPU", 0))


def _ray() -> Any:
    try:
        import ray
        import ray.util.scheduling_strategies
    except ImportError as error:
        raise UsageError("Ray is not installed", "pip install 'tunectl[ray]'") from error
    return ray
