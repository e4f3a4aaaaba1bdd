"""The processes that train one model together."""

from __future__ import annotations

import contextlib
import hashlib
import os
import secrets
import time
from collections.abc import Iterator, Sequence
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed.rendezvous import rendezvous

from tunectl.device import pick_device, sent
from tunectl.errors import ResourceError, UsageError

T = TypeVar("T")


class Processes:
    """This process among those that torchrun started for one run, or alone.

    Each takes some of a step's patches; their gradients are added up, so that the step is the one
    that a single process would take, but for the order of the sums. What is written is written by
    the first.
    """

    def __init__(self, rank: int, count: int, device: torch.device) -> None:
        self.rank, self.count, self.device = rank, count, device

    @property
    def first(self) -> bool:
        """Whether it is this one that reports, validates and writes."""
        return self.rank == 0

    @property
    def restarted(self) -> bool:
        """Whether torchrun has started the run before, and one of its processes has died."""
        return int(os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")) > 0

    def part(self, pieces: Sequence[T]) -> Sequence[T]:
        """The pieces that this process works on, in one stretch."""
        start, end = (len(pieces) * i // self.count for i in (self.rank, self.rank + 1))
        return pieces[start:end]

    def add_gradients(self, parameters: Sequence[Tensor], numbers: Tensor) -> Tensor:
        """Add up the parameters' gradients, and `numbers`, over all processes; return the latter.

        A parameter that no process used keeps None for its gradient, as it would in one process:
        with zeros an optimiser's moments would move it. All travels as one buffer: which
        parameters a step uses depends on its alphas, and so differs between processes.
        """
        if self.count == 1:
            return numbers
        used = torch.tensor([p.grad is not None for p in parameters], dtype=torch.float32)
        flat = [(torch.zeros_like(p) if p.grad is None else p.grad).reshape(-1) for p in parameters]
        sizes = [len(part) for part in flat]
        buffer = torch.cat([*flat, sent(used, self.device), numbers.to(self.device)])
        with _reached():
            dist.all_reduce(buffer)
        *gradients, counted, numbers = torch.split(buffer, [*sizes, len(used), len(numbers)])
        for parameter, gradient, by in zip(parameters, gradients, counted.tolist(), strict=True):
            # The fused optimiser walks memory: a gradient needs its parameter's layout.
            whole = torch.empty_like(parameter).copy_(gradient.view(parameter.shape))
            parameter.grad = whole if by else None
        return numbers

    def tell(self, value: T | None) -> T:
        """What the first process gives, to all. The others may give None."""
        box: list[Any] = [value]
        if self.count > 1:
            with _reached():
                dist.broadcast_object_list(box, device=self.device)
        result: T = box[0]
        return result

    def share(self, tensors: Sequence[Tensor]) -> None:
        """Overwrite the tensors of all processes with those of the first."""
        if self.count > 1:
            for tensor in tensors:
                whole = tensor.contiguous()
                with _reached():
                    dist.broadcast(whole, 0)
                tensor.copy_(whole)


@contextlib.contextmanager
def joined(device: str) -> Iterator[Processes]:
    """Meet the other processes of a run, if torchrun started this one, and part at the end,
    unless an error comes before.

    `device` is what `pick_device` takes; of several processes on one machine each takes a CUDA
    device of its own.
    """
    count = int(os.environ.get("WORLD_SIZE") or 1)
    picked = pick_device(device)
    if count == 1:
        yield Processes(0, 1, picked)
        return
    own_gpu = picked.type == "cuda" and picked.index is None
    on_this_machine = int(os.environ.get("LOCAL_WORLD_SIZE") or 1)  # torchrun says it
    if picked.type == "cuda" and not own_gpu and on_this_machine > 1:
        raise UsageError(
            f"--device {device} is one, and the processes here want one each",
            "give --device cuda, or start one process",
        )
    needed = ["RANK", "MASTER_ADDR", "MASTER_PORT"]
    for name in [*needed, "LOCAL_RANK"] if own_gpu else needed:
        if name not in os.environ:
            raise UsageError(
                f"WORLD_SIZE is {count}, and {name} is not set",
                "start by torchrun, or unset WORLD_SIZE",
            )
    if own_gpu:
        picked = pick_device(f"cuda:{os.environ['LOCAL_RANK']}")
    with _reached():
        store, rank, count = next(rendezvous("env://"))
        store = dist.PrefixStore(_word_of(store, rank, count), store)  # type: ignore[attr-defined]
        backend = "nccl" if picked.type == "cuda" else "gloo"
        dist.init_process_group(backend, store=store, rank=rank, world_size=count)
    yield Processes(rank, count, picked)
    # Not after an error: with NCCL this waits for the others, who may be waiting for this one.
    dist.destroy_process_group()


def _word_of(store: Any, rank: int, count: int) -> str:
    """A word that only the processes of this start agree on.

    After an elastic restart torchrun's store still has the addresses of the processes before. So
    each writes down who it is, the first repeats the list until all have found themselves in it,
    and what they write from then on lies under the list's hash.
    """
    own = secrets.token_hex(8).encode()
    store.set(f"tunectl/{rank}", own)
    while True:
        if rank == 0:
            names = [store.get(f"tunectl/{i}") for i in range(count)]  # waits for what is missing
            store.set("tunectl/all", b" ".join(names))
        listed = store.get("tunectl/all")
        if own in listed.split():
            word = hashlib.sha256(listed).hexdigest()
            store.set(f"tunectl/{word}/{rank}", b"here")
            if store.check([f"tunectl/{word}/{i}" for i in range(count)]):
                return word
        time.sleep(0.05)


@contextlib.contextmanager
def _reached() -> Iterator[None]:
    try:
        yield
    except RuntimeError as error:
        raise ResourceError(
            "another process of this run cannot be reached",
            "see what ended it; the same command without --fresh goes on from the last state",
        ) from error
