"""The one file format: safetensors, with a JSON header that says what the tensors are.

In dtype int8 every large tensor is 8-bit codes with a scale for each of its rows beside it, under
its name and `SCALE`; the small ones, a network's first and last convolutions among them, are
fp16: they are few, and as codes they would cost most of what is lost. So are those of tuners that
are nearly the identity, in bf16 as well: what such a tuner has learned is the small rest.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor

from tunectl.atomic import atomic_write, write_new
from tunectl.errors import CheckpointError, CorruptError
from tunectl.header import AGAIN, FORMAT, KEY, Header, header_of, read_content

DTYPES = {
    "fp32": torch.float32,
    "fp16": torch.float16,
    "bf16": torch.bfloat16,
    "int8": torch.float16,  # what is too small for codes
}
CODED = 30_000  # values from which on a tensor is worth codes
LARGEST_CODE = 127
NEARLY_IDENTITY = ("ftn",)
SCALE = ":scale"


def write(path: Path, header: Header, tensors: dict[str, Tensor], new: bool = False) -> Header:
    """Write a model file as `atomic_write`, or with `new` as `write_new`, in the header's dtype.

    Returns the header as written. Raises CheckpointError if a tensor is not finite, ResourceError
    if the disk refuses.
    """
    stored: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        plain = _plain(tensor.detach().cpu())
        fine = name.startswith("tuner.") and header.tuner and header.tuner.name in NEARLY_IDENTITY
        if fine and header.dtype in ("bf16", "int8"):
            stored[name] = plain.half()
        elif header.dtype == "int8" and plain.ndim > 1 and plain.numel() >= CODED:
            stored[name], stored[name + SCALE] = _codes(plain)
        else:
            stored[name] = plain.to(DTYPES[header.dtype])
    _check_finite(path, tensors)
    if header.dtype != "fp32" and not all(part.isfinite().all() for part in stored.values()):
        raise CheckpointError(f"{path}: its weights do not fit {header.dtype}", "give --store fp32")
    content = {"format": FORMAT, **asdict(header)}
    content["sha256"] = _digest(content, stored)
    metadata = {KEY: _canonical(content)}
    data = safetensors.torch.save(stored, metadata)
    if new:
        write_new(path, data)
    else:
        with atomic_write(path) as file:
            file.write(data)
    return header


def read(path: Path) -> tuple[Header, dict[str, Tensor]]:
    """Read and verify a model file; tensors come in their stored dtype, codes as fp32.

    Raises TruncatedError, ForeignError, NewerFormatError or CorruptError, each naming the file.
    """
    content = read_content(path)
    try:
        # Not mapped: a file that is written over meanwhile would end the process, or change it.
        tensors = safetensors.torch.load(path.read_bytes())
    except (SafetensorError, OSError, ValueError) as error:
        raise CorruptError(f"{path}: its tensors cannot be read ({error})", AGAIN) from error
    if content.pop("sha256", None) != _digest(content, tensors):
        raise CorruptError(f"{path}: the content does not match its sha256", AGAIN)
    _check_finite(path, tensors)
    return header_of(path, content), _decoded(path, tensors)


def under(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """The tensors of one part of a model, as fp32 and by their names inside that part."""
    return {n.removeprefix(prefix): t.float() for n, t in tensors.items() if n.startswith(prefix)}


def named(
    network: Mapping[str, Tensor], tuner: Mapping[str, Tensor] | None = None
) -> dict[str, Tensor]:
    """The way back: a model's tensors as its file names them, from those of its parts."""
    parts = {"network.": network, "tuner.": tuner or {}}
    return {prefix + n: t for prefix, part in parts.items() for n, t in part.items()}


def _codes(tensor: Tensor) -> tuple[Tensor, Tensor]:
    """int8 codes of a tensor's shape, and the scale (rows,) that its rows are multiplied by."""
    rows = tensor.float().flatten(1)
    scale = rows.abs().amax(1) / LARGEST_CODE
    codes = (rows / scale.clamp_min(torch.finfo().tiny)[:, None]).round()
    return codes.nan_to_num().to(torch.int8).view(tensor.shape), scale


def _decoded(path: Path, stored: dict[str, Tensor]) -> dict[str, Tensor]:
    tensors = {n: t for n, t in stored.items() if not n.endswith(SCALE)}
    for name, codes in tensors.items():
        if codes.dtype != torch.int8:
            continue
        scale = stored.get(name + SCALE)
        if scale is None or codes.ndim < 2 or scale.shape != codes.shape[:1]:
            raise CorruptError(f"{path}: tensor {name!r} has no scale that fits it", AGAIN)
        tensors[name] = codes * scale.view(-1, *[1] * (codes.ndim - 1))
    return tensors


def _check_finite(path: Path, tensors: dict[str, Tensor]) -> None:
    for name, tensor in tensors.items():
        if not torch.isfinite(tensor).all():
            raise CorruptError(
                f"{path}: tensor {name!r} holds values that are not numbers",
                "the training that made it diverged; train again with a lower --lr",
            )


def _plain(tensor: Tensor) -> Tensor:
    # contiguous() would keep the strides of a channels-last tensor whose sides are 1
    return tensor.clone(memory_format=torch.contiguous_format)


def _canonical(content: dict[str, Any]) -> str:
    return json.dumps(content, sort_keys=True, separators=(",", ":"), allow_nan=False)


def _digest(content: dict[str, Any], tensors: dict[str, Tensor]) -> str:
    digest = hashlib.sha256(_canonical(content).encode())
    for name in sorted(tensors):
        tensor = tensors[name]
        digest.update(f"{name}|{tensor.dtype}|{tuple(tensor.shape)}|".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
