"""Model files that lie with a straight face: their hashes are right, their headers are not."""

from __future__ import annotations

import copy
import json
import os
import random
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch

from tunectl import checkpoint
from tunectl.errors import CheckpointError, TunectlError
from tunectl.header import FORMAT, KEY
from tunectl.inference.load import load

COUNT = int(os.environ.get("TUNECTL_FUZZ", "300"))
JUNK: list[Any] = [
    *(None, True, -1, 0, 3, 2**31, 2**63, 1e308, -0.5, float("nan"), float("inf")),
    *("", "nan", "denoise", "dni", "ftn", "adafm-net", "1" * 400, "\x00", "../../etc"),
    *([], [0], [64, 64], [0.0, 1.0], [1.0, 0.0], [[0, 0]], {}, {"width": 9}, {"name": "unet"}),
]


def forge(path: Path, content: dict[str, Any], tensors: dict[str, torch.Tensor]) -> None:
    """Write what the header says, whatever it says, with a hash that fits."""
    content = {"format": FORMAT, **content}
    words = json.dumps(content, sort_keys=True, separators=(",", ":"))
    # The reader forms the hash over what it has read.
    honest = json.dumps(json.loads(words), sort_keys=True, separators=(",", ":"))
    content["sha256"] = digest(honest, tensors)
    words = json.dumps(content, sort_keys=True, separators=(",", ":"))
    path.write_bytes(safetensors.torch.save(tensors, {KEY: words}))


def digest(words: str, tensors: dict[str, torch.Tensor]) -> str:
    import hashlib

    found = hashlib.sha256(words.encode())
    for name in sorted(tensors):
        tensor = tensors[name]
        found.update(f"{name}|{tensor.dtype}|{tuple(tensor.shape)}|".encode())
        found.update(tensor.reshape(-1).view(torch.uint8).numpy().tobytes())
    return found.hexdigest()


def mutate(value: Any, rng: random.Random) -> Any:
    """One leaf, entry or branch of a JSON value replaced, dropped or doubled."""
    if isinstance(value, dict) and value and rng.random() < 0.9:
        key = rng.choice(sorted(value))
        changed = {**value, key: mutate(value[key], rng)}
        if rng.random() < 0.1:
            del changed[key]
        if rng.random() < 0.05:
            changed[rng.choice(["more", "name", "fields"])] = rng.choice(JUNK)
        return changed
    if isinstance(value, list) and value and rng.random() < 0.7:
        i = rng.randrange(len(value))
        return (
            value[:i] + rng.choice([[mutate(value[i], rng)], [], [value[i]] * 40]) + value[i + 1 :]
        )
    return copy.deepcopy(rng.choice(JUNK))


def mutate_tensors(tensors: dict[str, torch.Tensor], rng: random.Random) -> dict[str, torch.Tensor]:
    name = rng.choice(sorted(tensors))
    tensor = tensors[name]
    changes = {
        "dropped": {},
        "renamed": {name + "x": tensor},
        "flat": {name: tensor.flatten()},
        "empty": {name: tensor[:0].clone()},
        "other dtype": {name: tensor.half() if tensor.dtype == torch.float32 else tensor.float()},
        "doubled": {name: torch.cat([tensor, tensor])},
        "not a number": {name: torch.full_like(tensor, float("nan"))},
        "infinite": {name: torch.full_like(tensor, float("inf"))},
    }
    return {n: t for n, t in tensors.items() if n != name} | rng.choice(list(changes.values()))


def test_forged_files_are_refused_or_work(tunable_file: Path, tmp_path: Path):
    header, tensors = checkpoint.read(tunable_file)
    honest = json.loads(json.dumps(asdict(header)))
    path, refused = tmp_path / "forged.safetensors", 0
    forge(path, honest, tensors)
    assert load(path, device="cpu").tunable  # forging itself is not what is refused
    for seed in range(COUNT):
        rng = random.Random(seed)
        content, changed = copy.deepcopy(honest), dict(tensors)
        for _ in range(rng.randint(1, 2)):
            if rng.random() < 0.7:
                content = mutate(content, rng)
                content = content if isinstance(content, dict) else {}
            else:
                changed = mutate_tensors(changed, rng)
        forge(path, content, changed)
        try:
            model = load(path, device="cpu", precision="fp32")
            output = model(torch.rand(3, 9, 9), alpha=0.5 if model.tunable else None)
            assert torch.isfinite(output).all()
        except TunectlError:
            refused += 1
    assert refused > COUNT / 3


@pytest.mark.parametrize(
    ("part", "fields"),
    [
        ("network", {"widths": [2048] * 8, "encoder": [2048] * 8, "decoder": [2048] * 7}),
        ("network", {"widths": [10**9, 10**9]}),
        ("network", {"widths": [2048, 2048]}),
        ("tuner", {"groups": 10**12}),
    ],
)
def test_a_header_alone_allocates_nothing(
    tunable_file: Path, tmp_path: Path, part, fields, monkeypatch: pytest.MonkeyPatch
):
    header, tensors = checkpoint.read(tunable_file)
    content = json.loads(json.dumps(asdict(header)))
    content[part]["fields"] = fields
    forge(tmp_path / "huge.safetensors", content, tensors)
    drawn: list[torch.Size] = []  # of weights that are more than a shape
    monkeypatch.setattr(
        torch.nn.init, "kaiming_normal_", lambda tensor, **_: drawn.append(tensor.shape)
    )
    with pytest.raises(TunectlError):
        load(tmp_path / "huge.safetensors", device="cpu")
    assert not drawn


def test_a_pickle_is_never_opened(tmp_path: Path):
    class Bomb:
        def __reduce__(self):
            return (Path.write_text, (tmp_path / "opened", ""))

    for name in ("model.pth", "model.safetensors"):
        torch.save({"weights": Bomb()}, tmp_path / name)
        with pytest.raises(CheckpointError, match=r"is a pickle|not a safetensors"):
            load(tmp_path / name)
    assert not (tmp_path / "opened").exists()
