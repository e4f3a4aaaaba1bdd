"""The hub's own library, with its calls over the network answered by a folder."""

from __future__ import annotations

import shutil
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import huggingface_hub
import pytest
from huggingface_hub import CommitOperationAdd, HfApi, ModelCard
from huggingface_hub.errors import RepositoryNotFoundError
from safetensors.torch import save_file
from torch import ones

from tunectl import checkpoint
from tunectl.errors import CheckpointError, CorruptError, UsageError
from tunectl.header import read_header
from tunectl.inference import hub
from tunectl.inference.find import find_model


@pytest.fixture(autouse=True)
def remote(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository me/it as a folder; the user's own models in another."""
    monkeypatch.setenv("TUNECTL_HOME", str(tmp_path / "own"))
    root = tmp_path / "remote"

    def folder(repo: str) -> Path:
        if not (root / repo).is_dir():
            response = SimpleNamespace(headers={}, request=None, status_code=404)
            raise RepositoryNotFoundError("404: no such repository\nat length", response=response)
        return root / repo

    def create(_self, repo: str, private: bool, exist_ok: bool) -> None:
        (root / repo).mkdir(parents=True, exist_ok=exist_ok)

    def commit(_self, repo: str, operations: list[CommitOperationAdd], commit_message: str):
        for operation in operations:
            with operation.as_file() as file:
                (folder(repo) / operation.path_in_repo).write_bytes(file.read())
        return SimpleNamespace(commit_url=f"https://hub/{repo}/commit/1")

    def files(_self, repo: str, revision: str | None) -> list[str]:
        return sorted(path.name for path in folder(repo).iterdir())

    def download(repo: str, file: str, revision: str | None) -> str:
        return str(folder(repo) / file)

    monkeypatch.setattr(HfApi, "create_repo", create)
    monkeypatch.setattr(HfApi, "create_commit", commit)
    monkeypatch.setattr(HfApi, "list_repo_files", files)
    monkeypatch.setattr(HfApi, "file_exists", lambda _s, repo, name: (folder(repo) / name).exists())
    monkeypatch.setattr(huggingface_hub, "hf_hub_download", download)
    return root


def test_a_model_goes_there_and_comes_back(cli, tunable_file: Path, remote: Path):
    code, printed, told = cli("models", "push", tunable_file, "me/it")
    assert (code, printed.strip()) == (0, "https://hub/me/it/commit/1"), told
    code, printed, _ = cli("models", "pull", "me/it", "--name", "mine")
    assert (code, Path(printed.strip())) == (0, find_model("mine"))
    assert find_model("mine").read_bytes() == tunable_file.read_bytes()
    card = ModelCard((remote / "me/it/README.md").read_text())
    assert card.data.library_name == "tunectl"
    assert f"tunectl apply -m {tunable_file.stem}" in card.text
    assert "| knob |" in card.text
    (remote / "me/it/README.md").write_text("mine")
    code, _, told = cli("models", "push", "denoise", "me/it")
    assert (code, "stays as it is" in told) == (0, True)
    assert (remote / "me/it/README.md").read_text() == "mine"
    with pytest.raises(UsageError, match="holds 2 models"):
        hub.pull("me/it")
    assert read_header(hub.pull("me/it", "denoise.safetensors", "other")).task.name == "denoise"


def test_the_card_names_the_licence(tunable_file: Path):
    data = ModelCard(hub.card(find_model("denoise"), "me/it")).data
    assert (data.license, data.tags) == ("mit", ["denoise"])
    assert ModelCard(hub.card(tunable_file, "me/it")).data.license is None
    header, tensors = checkpoint.read(tunable_file)
    mixed = tunable_file.parent / "mixed.safetensors"
    checkpoint.write(mixed, replace(header, licence="MIT; its sources AND CC-BY-NC-4.0"), tensors)
    assert ModelCard(hub.card(mixed, "me/it")).data.license == "other"


def test_what_is_refused(tunable_file: Path, remote: Path, tmp_path: Path, monkeypatch):
    with pytest.raises(CheckpointError, match=r"me/it: 404: no such repository\n"):
        hub.pull("me/it")
    place = remote / "me/it"
    place.mkdir(parents=True)
    with pytest.raises(UsageError, match="holds 0 models"):
        hub.pull("me/it")
    data = bytearray(tunable_file.read_bytes())
    data[-1] ^= 1
    (place / "m.safetensors").write_bytes(data)
    with pytest.raises(CorruptError):
        hub.pull("me/it")
    with pytest.raises(CheckpointError):
        hub.push(str(place / "m.safetensors"), "me/it")
    assert not (tmp_path / "own").exists()
    shutil.copy(tunable_file, place / "m.safetensors")
    for name in ("../../x", "sub/x"):
        with pytest.raises(UsageError, match="names a folder"):
            hub.pull("me/it", name=name)
    hub.pull("me/it")
    with pytest.raises(UsageError, match="exists"):
        hub.pull("me/it")
    save_file({"w": ones(2)}, place / "foreign.safetensors")
    assert hub.pull("me/it", "foreign.safetensors").exists()  # spandrel may know it
    with pytest.raises(UsageError, match=r"is no \.safetensors file"):
        hub.pull("me/it", "pytorch_model.bin")
    assert hub.pull("me/it", "m.safetensors", "mine.safetensors").name == "mine.safetensors"
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(UsageError, match="not installed"):
        hub.pull("me/it")
