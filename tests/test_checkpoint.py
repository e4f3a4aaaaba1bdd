from __future__ import annotations

import json
import os
import struct
from dataclasses import asdict, replace
from pathlib import Path

import pytest
import safetensors.torch
import torch

from tunectl import checkpoint
from tunectl.errors import (
    CheckpointError,
    CorruptError,
    ForeignError,
    NewerFormatError,
    TruncatedError,
)
from tunectl.header import FORMAT, KEY, Header, Part, read_header
from tunectl.knob import Knob

HEADER = Header(
    network=Part("unet", {"widths": [4, 8]}),
    task=Part("denoise", {"clip": False}),
    tuner=Part("dni"),
    knob=Knob((0.0, 75.0), 1.5, calibration=((0.0, 0.0), (0.5, 30.0), (1.0, 75.0))),
    plain=False,
)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    tensors = {"network.a": torch.arange(12.0).reshape(3, 4), "tuner.b": torch.rand(2, 3, 1, 1)}
    checkpoint.write(tmp_path / "model.safetensors", HEADER, tensors)
    return tmp_path / "model.safetensors"


def test_header_and_tensors_come_back(file: Path):
    header, tensors = checkpoint.read(file)
    assert header == HEADER
    assert read_header(file) == HEADER
    assert torch.equal(tensors["network.a"], torch.arange(12.0).reshape(3, 4))


def test_the_same_model_gives_the_same_bytes(file: Path, tmp_path: Path):
    header, tensors = checkpoint.read(file)
    checkpoint.write(tmp_path / "again.safetensors", header, dict(reversed(tensors.items())))
    assert (tmp_path / "again.safetensors").read_bytes() == file.read_bytes()


def test_channels_last_tensors_are_stored_as_they_count(tmp_path: Path):
    tensor = torch.rand(5, 1, 1, 1).to(memory_format=torch.channels_last)
    checkpoint.write(tmp_path / "m.safetensors", HEADER, {"network.a": tensor})
    assert torch.equal(checkpoint.read(tmp_path / "m.safetensors")[1]["network.a"], tensor)


def test_int8_is_as_near_as_its_codes(tmp_path: Path):
    generator = torch.Generator().manual_seed(0)
    tensors = {
        "network.large": torch.randn(40, 100, 3, 3, generator=generator),
        "network.flat": torch.randn(40_000, generator=generator),
        "network.small": torch.randn(4, 5, generator=generator),
    }
    tensors["network.large"][3] = 0
    path = tmp_path / "m.safetensors"
    header = checkpoint.write(path, replace(HEADER, dtype="int8"), tensors)
    kept, read = checkpoint.read(path)
    assert kept == header
    assert read.keys() == tensors.keys()
    large = tensors["network.large"]
    half_a_code = large.abs().amax((1, 2, 3), keepdim=True) / 127 / 2
    assert ((read["network.large"] - large).abs() <= half_a_code * 1.001).all()
    for name in ("network.flat", "network.small"):
        assert torch.equal(read[name], tensors[name].half())
    assert path.stat().st_size < 36_000 + 80_000 + 3_000
    checkpoint.write(tmp_path / "again.safetensors", header, read)
    again = checkpoint.read(tmp_path / "again.safetensors")[1]
    torch.testing.assert_close(again["network.large"], read["network.large"])
    tensors["network.large"][0, 0] = float("inf")
    with pytest.raises(CorruptError, match="not numbers"):
        checkpoint.write(path, header, tensors)


@pytest.mark.parametrize("scale", [None, torch.ones(3), torch.ones(40, 1)])
def test_codes_without_their_scale_are_refused(scale, tmp_path: Path):
    path = tmp_path / "m.safetensors"
    stored = {"network.a": torch.zeros(40, 1000, dtype=torch.int8)}
    if scale is not None:
        stored["network.a" + checkpoint.SCALE] = scale
    content = {"format": 1, **asdict(HEADER)}
    content["sha256"] = checkpoint._digest(content, stored)
    safetensors.torch.save_file(stored, path, {KEY: json.dumps(content)})
    with pytest.raises(CorruptError, match="no scale that fits"):
        checkpoint.read(path)


@pytest.mark.parametrize("kept", [0, 5, 8, 100, -1])
def test_truncated(file: Path, kept: int):
    file.write_bytes(file.read_bytes()[:kept])
    with pytest.raises(TruncatedError, match=r"model\.safetensors"):
        checkpoint.read(file)


def test_foreign(file: Path, tmp_path: Path):
    safetensors.torch.save_file({"weight": torch.rand(3)}, tmp_path / "other.safetensors")
    with pytest.raises(ForeignError, match="no tunectl header"):
        checkpoint.read(tmp_path / "other.safetensors")
    file.write_bytes(b"\x89PNG\r\n\x1a\n" + b"x" * 1000)
    with pytest.raises(ForeignError, match="not a safetensors file"):
        checkpoint.read(file)


def test_newer(file: Path):
    rewrite(file, lambda content: content | {"format": 2})
    with pytest.raises(NewerFormatError, match="has format 2"):
        checkpoint.read(file)


def test_every_flipped_bit_is_noticed(file: Path):
    """In the tensors and anywhere in the header: never a silently different model."""
    intact = file.read_bytes()
    for position in range(0, len(intact), 7):
        damaged = bytearray(intact)
        damaged[position] ^= 1 << position % 8
        file.write_bytes(damaged)
        try:
            header, tensors = checkpoint.read(file)
        except CheckpointError:
            continue
        # Only padding spaces and the two tables' order may differ without a consequence.
        assert header == HEADER
        assert {n: t.tolist() for n, t in tensors.items()} == {
            n: t.tolist() for n, t in safetensors.torch.load(intact).items()
        }


def test_flipped_tensor_bit_is_a_corrupt_file(file: Path):
    data = bytearray(file.read_bytes())
    data[-3] ^= 16
    file.write_bytes(data)
    with pytest.raises(CorruptError, match="sha256"):
        checkpoint.read(file)


def test_lies_about_shapes_are_refused_before_anything_is_allocated(file: Path):
    data = file.read_bytes()
    (length,) = struct.unpack("<Q", data[:8])
    table = json.loads(data[8 : 8 + length])
    table["network.a"]["shape"] = [2**40, 2**20]
    raw = json.dumps(table).encode()
    file.write_bytes(struct.pack("<Q", len(raw)) + raw + data[8 + length :])
    with pytest.raises(CorruptError, match="lies about its size"):
        checkpoint.read(file)


def test_numbers_too_large_are_refused(file: Path):
    header, tensors = checkpoint.read(file)
    checkpoint.write(file, replace(header, provenance={"hours": 12345.5}), tensors)
    file.write_bytes(file.read_bytes().replace(b"12345.5", b"1e99999"))
    with pytest.raises(CorruptError, match="header cannot be read"):
        read_header(file)


def test_a_model_does_not_change_with_its_file(file: Path):
    _, tensors = checkpoint.read(file)
    before = tensors["network.a"].clone()
    with open(file, "r+b") as written:  # as copying over it does
        written.write(bytes(file.stat().st_size))
    assert torch.equal(tensors["network.a"], before)


def test_deep_and_huge_headers_are_refused(file: Path):
    raw = b"[" * 200_000
    file.write_bytes(struct.pack("<Q", len(raw)) + raw)
    with pytest.raises(ForeignError):
        checkpoint.read(file)
    file.write_bytes(struct.pack("<Q", 1 << 40) + b"{}")
    with pytest.raises(ForeignError):
        checkpoint.read(file)


def test_nan_is_neither_written_nor_read(tmp_path: Path):
    path = tmp_path / "m.safetensors"
    with pytest.raises(CorruptError, match="not numbers"):
        checkpoint.write(path, HEADER, {"network.a": torch.tensor([1.0, float("nan")])})
    assert list(tmp_path.iterdir()) == []


def test_a_failed_write_keeps_the_old_file(file: Path, monkeypatch: pytest.MonkeyPatch):
    before = file.read_bytes()

    def full(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(Exception, match="disk is full"):
        checkpoint.write(file, HEADER, {"network.a": torch.zeros(4)})
    assert file.read_bytes() == before
    assert [path.name for path in file.parent.iterdir()] == [file.name]


@pytest.mark.skipif(os.name != "posix", reason="file modes")
def test_the_umask_is_honoured(file: Path):
    umask = os.umask(0)
    os.umask(umask)
    assert file.stat().st_mode & 0o777 == 0o666 & ~umask


def test_a_missing_file_says_so(tmp_path: Path):
    with pytest.raises(CheckpointError, match="No such file"):
        checkpoint.read(tmp_path / "none.safetensors")


def rewrite(file: Path, change) -> None:
    """Change our header and nothing else, as a later version or a vandal would."""
    tensors = safetensors.torch.load_file(file)
    with safetensors.safe_open(file, "pt") as opened:
        content = json.loads(opened.metadata()[KEY])
    metadata = {KEY: json.dumps(change(content))}
    safetensors.torch.save_file(tensors, file, metadata)


def test_what_is_not_a_number_is_neither_written_nor_read(tmp_path: Path, monkeypatch):
    path, header = tmp_path / "m.safetensors", Header(network=Part("unet"), plain=True)
    broken = {"network.a": torch.tensor([1.0, float("nan")])}
    with pytest.raises(CorruptError, match="not numbers"):
        checkpoint.write(path, header, broken)
    assert not path.exists()
    with monkeypatch.context() as patch:
        patch.setattr(checkpoint, "_check_finite", lambda *_: None)
        checkpoint.write(path, header, broken)
    with pytest.raises(CorruptError, match="not numbers"):
        checkpoint.read(path)


@pytest.mark.parametrize("dtype", ["fp16", "int8"])
def test_weights_beyond_a_precision_are_told_as_such(tmp_path: Path, dtype: str):
    path = tmp_path / "m.safetensors"
    header = Header(network=Part("unet"), plain=True, dtype=dtype)
    with pytest.raises(CheckpointError, match=f"do not fit {dtype}"):
        checkpoint.write(path, header, {"network.a": torch.tensor([1.0, 1e6])})
    assert not path.exists()
    checkpoint.write(path, replace(header, dtype="fp32"), {"network.a": torch.tensor([1.0, 1e6])})


@pytest.mark.parametrize("levels", [[0, 75, 75], [5], [0, 10**400]])
def test_a_hostile_knob_is_refused(tmp_path: Path, tunable_file: Path, levels: list[int]):
    header, tensors = checkpoint.read(tunable_file)
    content = {"format": FORMAT, **asdict(header)}
    content["knob"]["levels"] = levels
    path = tmp_path / "m.safetensors"
    safetensors.torch.save_file(tensors, path, {KEY: json.dumps(content)})
    with pytest.raises(CorruptError, match="header is not complete"):
        read_header(path)
