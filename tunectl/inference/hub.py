"""Models to and from Hugging Face (extra `hub`)."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tunectl import checkpoint
from tunectl.atomic import check_new, write_new
from tunectl.errors import CheckpointError, TunectlError, UsageError
from tunectl.header import ENDING, is_ours
from tunectl.inference.catalogue import describe, folder_of_own
from tunectl.inference.find import find_model

CARD = "README.md"


def push(name: str, repo: str, private: bool = False) -> tuple[str, bool]:
    """Put a model, verified, and its card into a repository, which is made if it is not there.

    A card that is there already stays. Returns the commit's address, and whether the card was
    written. Raises UsageError without huggingface_hub, CheckpointError for what it refuses.
    """
    hub = _library()
    path = find_model(name)
    checkpoint.read(path)
    with _refusals(repo):
        api = hub.HfApi()
        api.create_repo(repo, private=private, exist_ok=True)
        wants_card = not api.file_exists(repo, CARD)
        operations = [hub.CommitOperationAdd(f"{path.stem}{ENDING}", str(path))]
        if wants_card:
            operations.append(hub.CommitOperationAdd(CARD, card(path, repo).encode()))
        commit = api.create_commit(repo, operations, commit_message=f"{path.stem} by tunectl")
    return str(commit.commit_url), wants_card


def pull(repo: str, file: str = "", name: str = "", revision: str | None = None) -> Path:
    """Fetch a model into the user's folder, where it goes by its name, and verify it.

    `file` says which, of a repository that holds several. Raises UsageError where it cannot be
    told or the name is taken, CheckpointError for what is refused.
    """
    hub = _library()
    if name and Path(name).name != name:
        raise UsageError(f"--name {name!r} names a folder", "give a name alone, such as mine")
    with _refusals(repo):
        if not file:
            files = hub.HfApi().list_repo_files(repo, revision=revision)
            found = [one for one in files if one.endswith(ENDING)]
            if len(found) != 1:
                raise UsageError(
                    f"{repo}: holds {len(found)} models", f"give --file: {', '.join(found) or '-'}"
                )
            file = found[0]
        if not file.endswith(ENDING):
            raise UsageError(
                f"{file}: is no {ENDING} file", "fetch it otherwise, then: tunectl convert"
            )
        target = folder_of_own() / f"{name.removesuffix(ENDING) or Path(file).stem}{ENDING}"
        check_new(target)
        fetched = Path(hub.hf_hub_download(repo, file, revision=revision))
    if is_ours(fetched):
        checkpoint.read(fetched)
    write_new(target, fetched.read_bytes())
    return target


def card(path: Path, repo: str) -> str:
    """The card as the hub wants it: YAML for machines, then words and the header's lines."""
    entry = describe(str(path))
    header = entry.header
    assert header is not None
    task = header.task.name if header.task else "image-to-image"
    parts = [part.split(";")[0].strip().lower() for part in header.licence.split(" AND ")]
    licence = parts[0] if len(parts) == 1 else "other"  # the hub knows one at a time
    lines = ["---", "library_name: tunectl", "pipeline_tag: image-to-image", f"tags: [{task}]"]
    lines += [f"license: {licence}"] if licence else []
    lines += ["---", "", f"# {entry.name}", "", header.card, "", "```sh"]
    lines += [f"tunectl models pull {repo} --file {path.name}"]
    lines += [
        f"tunectl apply -m {entry.name} photo.png -o result.png",
        "```",
        "",
        "| | |",
        "|---|---|",
    ]
    hidden = ("name", "file", "about")
    lines += [f"| {key} | {value} |" for key, value in entry.card() if key not in hidden]
    return "\n".join(lines) + "\n"


def _library() -> Any:
    try:
        import huggingface_hub
    except ImportError as error:
        raise UsageError(
            "this needs huggingface_hub, which is not installed", "pip install 'tunectl[hub]'"
        ) from error
    return huggingface_hub


@contextlib.contextmanager
def _refusals(repo: str) -> Iterator[None]:
    """What the hub or the way to it refuses, in our words."""
    try:
        yield
    except TunectlError:
        raise
    except Exception as error:  # of its own, of HTTP's and of the system's many kinds
        said = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise CheckpointError(
            f"{repo}: {said}", "check the name and the network; `hf auth login` proves who you are"
        ) from error
