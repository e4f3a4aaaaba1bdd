from __future__ import annotations

import json
import os
import re
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from tunectl.errors import PictureError, ResourceError, UsageError
from tunectl.hashing import file_sha256
from tunectl.inference import manifest as manifest_module
from tunectl.inference.job import Asked, Job, Outcome
from tunectl.inference.manifest import Manifest, Setup
from tunectl.inference.places import stamp, stamps
from tunectl.inference.settle import settle

SETUP = Setup("m", "hash of m", {"quality": "auto"})


@pytest.fixture
def job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Job:
    monkeypatch.chdir(tmp_path)
    Path("in.png").write_bytes(b"input")
    Path("out.png").write_bytes(b"result")
    return Job(Path("in.png"), Path("out.png"), Asked(0.3), "PNG")


def finished(job: Job) -> Outcome:
    """What a run would record of the files as they are."""
    assert job.source
    assert job.output
    of_input = {"input_sha256": file_sha256(job.source), "input_stamp": stamp(job.source)}
    of_output = {"output_sha256": file_sha256(job.output), "output_stamp": stamp(job.output)}
    sizes = {"input_bytes": 5, "output_bytes": 6}
    return Outcome(job, "done", 0.3, 12.4, **of_input, **of_output, **sizes, seconds=1.23456)


def look(manifest: Manifest, job: Job) -> str | None:
    assert job.source
    assert job.output
    return manifest.look(job, stamps([job.source, job.output]))


def edit(name: str, data: bytes) -> None:
    """Later than before, as clocks of some file systems are coarse."""
    then = os.stat(name).st_mtime_ns
    Path(name).write_bytes(data)
    os.utime(name, ns=(then + 10**9, then + 10**9))


def written(job: Job, setup: Setup = SETUP) -> Manifest:
    """The manifest of a run that did the job, read again."""
    Manifest(Path("m/done.jsonl"), setup).append(finished(job))
    return Manifest(Path("m/done.jsonl"), setup)


def test_a_line_says_all_that_was_done(job: Job, tmp_path: Path):
    written(job)
    (line,) = Path("m/done.jsonl").read_text().splitlines()
    assert json.loads(line) == {
        "schema": 1,
        "status": "done",
        "input": str(tmp_path / "in.png"),
        "output": str(tmp_path / "out.png"),
        "reason": None,
        "replaces": False,
        "model": "m",
        "model_sha256": "hash of m",
        "alpha_asked": 0.3,
        "level_asked": None,
        "settings": {"quality": "auto"},
        "input_sha256": file_sha256(Path("in.png")),
        "input_bytes": 5,
        "input_stamp": stamp(Path("in.png")),
        "output_sha256": file_sha256(Path("out.png")),
        "output_bytes": 6,
        "output_stamp": stamp(Path("out.png")),
        "alpha": 0.3,
        "level": 12.4,
        "estimated": False,
        "notes": [],
        "seconds": 1.235,
        "error": None,
    }


def test_what_was_done_is_fresh_from_any_folder(job: Job, tmp_path: Path, monkeypatch):
    assert look(Manifest(Path("none"), SETUP), job) is None
    written(job)
    monkeypatch.chdir(tmp_path / "m")
    moved = Job(tmp_path / "in.png", Path("../out.png"), job.asked)
    assert look(Manifest(Path("done.jsonl"), SETUP), moved) == "fresh"


def test_a_change_of_anything_that_decides_makes_it_stale(job: Job):
    written(job)
    for setup in (
        Setup("m", "another hash", SETUP.settings),
        Setup("m", "hash of m", {"quality": 90}),
        Setup("m", "hash of m", {"quality": "auto", "more": 1}),
    ):
        assert look(Manifest(Path("m/done.jsonl"), setup), job) == "ours"
    same_model = Setup("by another name", "hash of m", SETUP.settings)
    assert look(Manifest(Path("m/done.jsonl"), same_model), job) == "fresh"
    manifest = Manifest(Path("m/done.jsonl"), SETUP)
    for asked in (Asked(), Asked(0.4), Asked(level=0.3)):
        assert look(manifest, Job(job.source, job.output, asked)) == "ours"
    edit("in.png", b"other")
    assert look(manifest, job) == "ours"


def test_a_result_that_somebody_changed_or_removed_is_not_ours(job: Job):
    manifest = written(job)
    edit("out.png", b"edited")
    assert look(manifest, job) is None
    Path("out.png").unlink()
    assert look(manifest, job) is None


def test_files_are_read_only_where_their_stamps_changed(job: Job, monkeypatch: pytest.MonkeyPatch):
    manifest, read = written(job), []
    monkeypatch.setattr(
        "tunectl.inference.manifest.sha256", lambda path: read.append(path) or file_sha256(path)
    )
    assert look(manifest, job) == "fresh"
    assert read == []
    for name in ("in.png", "out.png"):
        edit(name, Path(name).read_bytes())
    assert look(manifest, job) == "fresh"
    assert read == [job.output, job.source]
    text = Path("m/done.jsonl").read_text()  # as earlier versions wrote it
    Path("m/done.jsonl").write_text(re.sub(r'"(in|out)put_stamp": "[^"]*", ', "", text))
    assert look(Manifest(manifest.path, SETUP), job) == "fresh"
    assert len(read) == 4


def test_a_run_that_is_killed_before_the_rename_leaves_the_older_result_ours(job: Job):
    written(job)
    older = Path("out.png").read_bytes()
    edit("out.png", b"newer")
    manifest = written(job)
    assert look(manifest, job) == "fresh"
    edit("out.png", older)
    assert look(manifest, job) == "ours"


def test_a_failure_is_told_of_and_changes_nothing(job: Job):
    """As of an overlapping run, which found the result in its way."""
    manifest = written(job)
    manifest.append(Outcome(job, "failed", error=PictureError("in.png: is damaged", "copy it")))
    again = Manifest(manifest.path, SETUP)
    assert look(again, job) == "fresh"
    last = json.loads(manifest.path.read_text().splitlines()[-1])
    assert last["error"] == {"message": "in.png: is damaged", "hint": "copy it", "exit_code": 3}


def test_skipped_files_are_told_of_but_change_nothing(job: Job):
    manifest = written(job)
    manifest.append(Outcome(Job(job.source, job.output, job.asked, skip="exists"), "skipped"))
    manifest.append(Outcome(Job(job.source, job.output, job.asked, skip="up to date"), "skipped"))
    lines = [json.loads(line) for line in manifest.path.read_text().splitlines()]
    assert [line["reason"] for line in lines] == [None, "exists"]
    assert look(Manifest(manifest.path, SETUP), job) == "fresh"


def test_what_was_restored_in_place_is_not_restored_twice(job: Job):
    before = file_sha256(Path("out.png"))
    in_place = Job(job.output, job.output, job.asked)
    edit("out.png", b"restored")
    outcome = finished(in_place)
    manifest = Manifest(Path("m/done.jsonl"), SETUP)
    manifest.append(Outcome(in_place, "done", 0.3, 12.4, False, before, 6, outcome.output_sha256))
    manifest = Manifest(manifest.path, SETUP)
    assert look(manifest, in_place) == "fresh"
    edit("out.png", b"a new photo")
    assert look(manifest, in_place) is None


@pytest.mark.parametrize("keep", [1, 11, 12, 40, -2, -1])
def test_a_line_that_a_crash_cut_off_is_left_out_and_the_next_stands_alone(job: Job, keep: int):
    manifest = written(job)
    whole = manifest.path.read_bytes()
    manifest.path.write_bytes(whole + whole[:keep] + b"\0\0")
    other = Job(job.source, Path("other.png"), job.asked)
    Path("other.png").write_bytes(b"other result")
    assert look(Manifest(manifest.path, SETUP), job) == "fresh"
    manifest.append(finished(other))
    again = Manifest(manifest.path, SETUP)
    assert (look(again, job), look(again, other)) == ("fresh", "fresh")


@pytest.mark.parametrize(
    "content",
    [
        b"\x89PNG\r\n\x1a\n",
        b"words",
        b"[]\n",
        b"7",
        b'{"schema": 2, "status": "done"}',
        b'{"schema": 1, "status": "done"}',
        b'{"schema": 1, "status": "done", "input": 1, "output": [],'
        b' "input_sha256": "", "output_sha256": ""}',
        b"[" * 100_000,
    ],
)
def test_a_file_that_is_no_manifest_is_refused_and_left_alone(tmp_path: Path, content: bytes):
    (tmp_path / "file").write_bytes(content)
    with pytest.raises(UsageError, match="line 1 is not of a manifest"):
        Manifest(tmp_path / "file", SETUP)
    assert (tmp_path / "file").read_bytes() == content
    with pytest.raises(UsageError, match="cannot be read"):
        Manifest(tmp_path, SETUP)


def test_names_of_any_bytes_come_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    strange = Job(Path("a\nb\udcff.png"), Path("out\u2028\udcff.png"), Asked())
    for path in (strange.source, strange.output):
        assert path
        path.write_bytes(b"x")
    assert look(written(strange), strange) == "fresh"
    assert len(Path("m/done.jsonl").read_bytes().splitlines()) == 1


def test_what_was_restored_in_place_is_left_at_another_strength_and_by_another_name(
    job: Job, monkeypatch: pytest.MonkeyPatch
):
    in_place = Job(job.output, job.output, job.asked)
    manifest = written(in_place)
    stronger = replace(in_place, asked=Asked(0.8))
    assert settle([in_place], "error", manifest)[0].skip == "up to date"
    assert settle([stronger], "error", manifest)[0].skip == "restored before"
    assert settle([stronger], "overwrite", manifest)[0].skip == ""
    other_name = Manifest(Path("m/done.jsonl"), replace(SETUP, model="/there/m"))
    assert settle([stronger], "error", other_name)[0].skip == "restored before"
    other_model = Manifest(Path("m/done.jsonl"), replace(SETUP, model="n", model_sha256="of n"))
    assert settle([stronger], "error", other_model)[0].skip == ""
    Path("moved").mkdir()
    moved = replace(in_place, source=Path("moved/out.png"), output=Path("moved/out.png"))
    os.rename("out.png", "moved/out.png")
    assert settle([moved], "error", manifest)[0].skip == "restored before"
    read: list[Path] = []
    monkeypatch.setattr(manifest_module, "sha256", lambda path: read.append(path))
    edit("moved/out.png", b"another photo")  # its size tells, without its being read
    assert settle([moved], "error", manifest)[0].skip == ""
    assert read == []


def test_two_models_in_place_do_so_once_each(job: Job):
    here, path = replace(job, output=job.source), Path("m/done.jsonl")
    setups = SETUP, Setup("n", "hash of n")
    for round_, setup in enumerate(setups):
        sha256 = file_sha256(Path("in.png"))
        edit("in.png", f"after {round_}".encode())
        Manifest(path, setup).append(replace(finished(here), input_sha256=sha256))
    for setup in setups:
        assert look(Manifest(path, setup), here) in ("fresh", "restored")
    path.write_text("".join(reversed(path.read_text().splitlines(keepends=True))))
    assert look(Manifest(path, SETUP), here) == "restored"  # whatever the order of the lines


def test_it_knows_what_became_of_what(job: Job, tmp_path: Path):
    manifest, source = written(job), str(tmp_path / "in.png")
    assert manifest.made_of_one(job.output, {source})
    edit("out.png", b"another photo by now")
    assert not manifest.made_of_one(job.output, {source})
    assert not written(replace(job, source=job.output)).made_of_one(job.output, {source})


@pytest.mark.parametrize("name", ["output_sha256", "model", "output_bytes", "input", "settings"])
def test_a_line_of_odd_values_is_refused(job: Job, name: str):
    written(job)
    line = json.loads(Path("m/done.jsonl").read_text())
    Path("m/done.jsonl").write_text(json.dumps(line | {name: ["x"]}) + "\n")
    with pytest.raises(UsageError, match="line 1 is not of a manifest"):
        Manifest(Path("m/done.jsonl"), SETUP)


def test_a_renamed_result_is_found_again(job: Job):
    Path("out.png").rename("out_2.png")
    Path("out.png").write_bytes(b"somebody's")
    manifest = written(replace(job, output=Path("out_2.png")))
    (again,) = settle([job], "rename", manifest)
    assert (again.target, again.skip) == ("out_2.png", "up to date")
    (other,) = settle([replace(job, asked=Asked(0.8))], "rename", manifest)
    assert (other.target, other.skip, other.new) == ("out_2.png", "", False)
    Path("y").mkdir()
    Path("y/in.png").write_bytes(b"another input")
    (another,) = settle([replace(job, source=Path("y/in.png"))], "rename", manifest)
    assert (another.target, another.new) == ("out_3.png", True)


def test_a_copy_on_another_disk_is_the_same_file(job: Job):
    manifest = written(job)
    for name in ("in.png", "out.png"):
        shutil.copy2(name, "copy")
        os.replace("copy", name)
    assert job.source
    assert job.output
    stamped = stamps([job.source, job.output])
    lines = json.loads(Path("m/done.jsonl").read_text())
    assert set(stamped.values()) == {lines["input_stamp"], lines["output_stamp"]}
    assert manifest.look(job, stamped) == "fresh"


def test_a_place_that_cannot_be_written_is_named(job: Job):
    manifest = Manifest(Path("m/done.jsonl"), SETUP)
    Path("m").write_bytes(b"a file")
    with pytest.raises(ResourceError, match=r"m/done\.jsonl: cannot be written"):
        manifest.append(finished(job))


def test_a_result_is_of_its_input_and_page(job: Job):
    """Two folders of photos with the same names, as cameras count, and the pages of one file."""
    manifest = written(job)
    Path("y").mkdir()
    other = replace(job, source=Path("y/in.png"))
    edit("in.png", b"input")
    Path("y/in.png").write_bytes(b"INPUT")  # another photo of equal size and time
    os.utime("y/in.png", ns=2 * (os.stat("in.png").st_mtime_ns,))
    with pytest.raises(UsageError, match="exists already"):
        settle([other], "error", manifest)
    assert settle([other], "skip", manifest)[0].skip == "exists"
    Path("y/in.png").write_bytes(b"input")  # the same photo, moved
    assert settle([other], "error", manifest)[0].skip == "up to date"
    second = Manifest(Path("m/done.jsonl"), replace(SETUP, settings={"frame": 1}))
    with pytest.raises(UsageError, match="exists already"):
        settle([job], "error", second)


def test_a_result_beside_its_input_stays_one_when_that_has_moved(job: Job, tmp_path: Path):
    manifest = written(job)
    assert manifest.made_of_one(job.output, set())
    Path("y").mkdir()
    os.rename("out.png", "y/out.png")
    manifest = written(replace(job, output=Path("y/out.png")))
    assert not manifest.made_of_one(Path("y/out.png"), set())  # what a further stage begins with


def test_a_manifest_is_no_result(job: Job):
    Path("out.png").unlink()
    manifest = Manifest(Path("out.png"), SETUP)
    with pytest.raises(UsageError, match="is a result too"):
        settle([job], "error", manifest)
