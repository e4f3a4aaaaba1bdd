"""The folder of a run: what it is, its states, from which it goes on, and its log."""

from __future__ import annotations

import contextlib
import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

import safetensors.torch
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from tunectl.atomic import atomic_write, refusal, remove_stale
from tunectl.errors import CorruptError, UsageError
from tunectl.hashing import file_sha256

KEEP = 2
KEY = "tunectl.state"


class RunFolder:
    """`FILE.run/` beside a model that is being trained.

    `run.json` says what run it is, `config.toml` repeats its options, `log.jsonl` has a line a
    report, `previews` a picture a validation, `tensorboard` both for TensorBoard, and `report.html`
    all of it to look at; `lock` is held while a process trains. A state is one safetensors file
    with its JSON inside, so that it cannot be torn in two; it is written atomically, the newest
    `KEEP` are kept, and a finished run has none.
    """

    def __init__(self, output: Path) -> None:
        self.output = output
        self.path = output.with_name(output.name + ".run")
        self.log_path = self.path / "log.jsonl"
        self.previews = self.path / "previews"
        self.board = self.path / "tensorboard"
        self._lock: BinaryIO | None = None

    def open(self, run: Mapping[str, Any], fresh: bool = False) -> bool:
        """Whether the run that `run` describes is to begin or go on; False if it is finished.

        Nothing is changed yet. Raises UsageError where another run would be lost, unless `fresh`.
        """
        run = json.loads(json.dumps(run))  # as it will be read
        before = self._described()
        if not fresh and self._another(run):
            self._refuse(before.get("run"), run)
        elif not fresh and not self.states() and self.output.exists():
            if before.get("model") == file_sha256(self.output):
                return False
            raise UsageError(
                f"{self.output}: is not the model that this run made",
                "move it away, or name another -o; --fresh would write over it",
            )
        return True

    def begin(self, run: Mapping[str, Any], fresh: bool = False, photos: int = 0) -> None:
        """Write down which run this is, after `open` had nothing against it.

        `fresh`, or another run, throws away what is there of an earlier one, but for its model,
        which stays until the new one takes its place. `photos` is how many could be read: with
        fewer or more of them a run would go on with other patches. Raises UsageError then, or where
        another process is at it, and ResourceError if the disk refuses. The folder is this
        process's until `release`.
        """
        self._take()
        if not self.open(run, fresh):
            raise UsageError(f"{self.output}: was finished meanwhile", "--fresh trains it anew")
        run = json.loads(json.dumps(run))
        before = self._described().get("photos", photos)
        if fresh or self._another(run):
            self._clear()
        elif self.states() and before != photos:
            raise UsageError(
                f"{self.path}: was begun with {before} photos, of which now {photos} can be read",
                "make them readable again, or train it anew with --fresh",
            )
        remove_stale(self.path)
        self.write("run.json", json.dumps({"run": run, "photos": photos}, indent=1))

    def finish(self) -> None:
        """The model is written: remember which, and remove the states."""
        described = self._described() | {"model": file_sha256(self.output)}
        self.write("run.json", json.dumps(described, indent=1))
        for path in self.states():
            path.unlink()

    def write(self, name: str, text: str) -> None:
        """Write a file of the folder. Raises ResourceError if the disk refuses."""
        with atomic_write(self.path / name) as file:
            file.write(text.encode(errors="backslashreplace"))

    def states(self) -> list[Path]:
        """State files, oldest first."""
        found = self.path.glob("state-*.safetensors")  # a copy under another name is the user's
        return sorted(path for path in found if path.stem.removeprefix("state-").isdecimal())

    def step_of(self, state: Path) -> int:
        """How many steps the run had made."""
        return int(state.stem.removeprefix("state-"))

    def save(self, step: int, facts: dict[str, Any], tensors: dict[str, Tensor]) -> None:
        """Write the state after `step` steps. Raises ResourceError if the disk refuses."""
        plain = {
            name: tensor.detach().cpu().clone(memory_format=torch.contiguous_format)
            for name, tensor in tensors.items()
        }
        data = safetensors.torch.save(plain, {KEY: json.dumps(facts, sort_keys=True)})
        with atomic_write(self.path / f"state-{step:08d}.safetensors") as file:
            file.write(data)
        later = [path for path in self.states() if self.step_of(path) > step]  # unreadable ones
        for old in [*later, *self.states()[: -KEEP - len(later)]]:
            old.unlink(missing_ok=True)

    def load(self) -> tuple[dict[str, Any] | None, dict[str, Tensor]]:
        """The newest state that can be read; None and nothing where there is none.

        What the log and the previews know of later steps is forgotten. Raises CorruptError where
        there are states, none of which can be read.
        """
        facts: dict[str, Any] | None = None
        tensors: dict[str, Tensor] = {}
        for path in reversed(self.states()):
            with contextlib.suppress(SafetensorError, OSError, ValueError, KeyError):
                with safe_open(path, "pt") as file:
                    found = json.loads((file.metadata() or {})[KEY])
                tensors = safetensors.torch.load_file(path)
                facts = found
                break
        if facts is None and self.states():
            raise CorruptError(
                f"{self.states()[-1]}: cannot be read, nor can an older state",
                "get one back, or train it anew with --fresh",
            )
        self._forget_after(facts["step"] if facts else -1)
        return facts, tensors

    def log(self, record: dict[str, Any]) -> None:
        """Append one line to the log. Raises ResourceError if the disk refuses."""
        try:
            with open(self.log_path, "a", encoding="utf-8") as file:
                file.write(json.dumps(record) + "\n")
        except OSError as error:
            raise refusal(self.log_path, error) from error

    def records(self) -> list[dict[str, Any]]:
        """The lines of the log; one that was torn by a crash is left out."""
        found = []
        if self.log_path.exists():
            text = self.log_path.read_text(encoding="utf-8", errors="replace")
            for line in text.splitlines():
                with contextlib.suppress(ValueError):
                    record = json.loads(line)
                    if isinstance(record, dict) and {"step", "validation"} <= record.keys():
                        found.append(record)
        return found

    def sheets(self) -> list[Path]:
        """The previews, in the order of their steps."""
        return sorted(path for path in self.previews.glob("*.png") if path.stem.isdecimal())

    def release(self) -> None:
        """Let another process go on."""
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    def _take(self) -> None:
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            self._lock = open(self.path / "lock", "ab")  # noqa: SIM115 - it is held
        except OSError as error:
            raise refusal(self.path, error) from error
        try:
            import fcntl

            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            self.release()
            raise UsageError(
                f"{self.path}: another process is training there", "wait for it, or stop it"
            ) from error
        except (ImportError, OSError):
            pass  # a system, or a file system, that knows no locks

    def _described(self) -> dict[str, Any]:
        try:
            found = json.loads((self.path / "run.json").read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        return found if isinstance(found, dict) else {}

    def _another(self, run: Mapping[str, Any]) -> bool:
        before = self._described().get("run")
        return not isinstance(before, dict) or bool(_differing(before, run))

    def _refuse(self, before: Any, run: Mapping[str, Any]) -> None:
        """Raise UsageError if another run, `before` or unknown, has left something here."""
        states = self.states()
        if not states and not self.output.exists():
            return
        hint = "repeat its options, name another -o, or train it anew with --fresh"
        what = self.path if states else self.output
        if isinstance(before, dict):
            name = _differing(before, run)[0]
            was, now = (_word(one.get(name)) for one in (before, run))
            kind = "was begun" if states else "was trained"
            raise UsageError(f"{what}: {kind} with {name} {was}, not {now}", hint)
        raise UsageError(f"{what}: is there already", hint)

    def _clear(self) -> None:
        for path in [*self.states(), self.log_path, self.path / "run.json"]:
            path.unlink(missing_ok=True)
        for folder in (self.previews, self.board):
            shutil.rmtree(folder, ignore_errors=True)

    def _forget_after(self, step: int) -> None:
        kept = [json.dumps(line) + "\n" for line in self.records() if line["step"] <= step]
        self.write(self.log_path.name, "".join(kept))
        for preview in self.sheets():
            if int(preview.stem) > step:
                preview.unlink()


def _differing(before: Mapping[str, Any], run: Mapping[str, Any]) -> list[str]:
    """The names in which two descriptions of a run differ.

    What one does not have is as if it were null there: a later version may describe more.
    """
    return [name for name in {**run, **before} if run.get(name) != before.get(name)]


def _word(value: Any) -> str:
    if isinstance(value, dict):  # a name and fields
        fields = " ".join(f"{name}={_word(one)}" for name, one in value.items() if name != "name")
        return f"{value.get('name', '')} {fields}".strip()
    return f"{value:g}" if isinstance(value, float) else str(value)
