from __future__ import annotations

import os
import sys
import threading
import time
import weakref
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tunectl.errors import AlphaError, PictureError, ResourceError
from tunectl.images import Picture, encode_picture, read_picture, write_picture
from tunectl.inference import batch
from tunectl.inference.batch import AHEAD, Files, run
from tunectl.inference.job import Asked, Job, Outcome, Tally
from tunectl.inference.restore import Restored
from tunectl.inference.settle import settle
from tunectl.inference.strength import Strength

PIXELS = np.arange(5 * 6 * 3, dtype=np.uint8).reshape(5, 6, 3)
STRENGTHS = {Asked(): Strength(), Asked(0.5): Strength(alpha=0.5)}


def darker(model: object, picture: Picture, strength: Strength, _: object = None) -> Restored:
    """A network that costs nothing: it halves the samples."""
    alpha = 0.3 if strength.alpha is None else strength.alpha
    restored = Picture(picture.pixels // 2, format=picture.format)
    return Restored(restored, alpha, 40 * alpha, strength.alpha is None)


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(batch, "restore", darker)


def jobs(count: int, asked: tuple[Asked, ...] = (Asked(),)) -> list[Job]:
    """Jobs for as many pictures, which lie in `in`."""
    listed = []
    for i in range(count):
        source = Path("in") / f"{i}.png"
        write_picture(source, Picture(PIXELS + i))
        listed += [Job(source, Path(f"out/{i}_{a.mark}.png"), a, "PNG") for a in asked]
    return listed


def outcomes(listed: list[Job], **files: object) -> list[Outcome]:
    found: list[Outcome] = []
    run(None, listed, STRENGTHS, Files(**files), lambda outcome, tally: found.append(outcome))
    return found


def test_results_come_in_order_with_what_they_were_made_of():
    listed = jobs(5, (Asked(), Asked(0.5)))
    found = outcomes(listed)
    assert [outcome.job for outcome in found] == listed
    first, second = found[:2]
    assert (first.status, first.alpha, first.level, first.estimated) == ("done", 0.3, 12, True)
    assert (second.alpha, second.estimated) == (0.5, False)
    assert first.input_bytes == os.path.getsize("in/0.png")
    assert first.output_bytes == os.path.getsize("out/0_auto.png")
    assert first.pixels == 30
    assert np.array_equal(read_picture(Path("out/4_auto.png")).pixels, (PIXELS + 4) // 2)
    assert {outcome.data for outcome in found} == {None}


def test_a_source_is_read_once_for_all_its_strengths(monkeypatch: pytest.MonkeyPatch):
    read: list[object] = []

    def count(source: object, *words: object, **options: object) -> Picture:
        read.append(source)
        time.sleep(0.2)
        return Picture(PIXELS)

    listed = jobs(2, (Asked(), Asked(0.5)))
    monkeypatch.setattr(batch, "read_picture", count)
    first, second, *_ = outcomes(listed)
    assert read == [Path("in/0.png"), Path("in/1.png")]
    assert first.seconds > 0.2 > second.seconds


def test_what_is_to_be_skipped_is_not_even_read():
    left = Job(Path("none.png"), Path("out/none.png"), Asked(), skip="exists")
    found = outcomes([left, *jobs(1)])
    assert [outcome.status for outcome in found] == ["skipped", "done"]
    assert not Path("out/none.png").exists()


def test_an_error_at_any_stage_is_that_files_alone(monkeypatch: pytest.MonkeyPatch):
    listed = jobs(8)
    Path("in/1.png").write_bytes(Path("in/1.png").read_bytes()[:50])
    Path("in/2.png").unlink()
    Path("out/3_auto.png").mkdir(parents=True)
    faults = {4: ValueError("a slip"), 5: MemoryError(), 7: AlphaError("no level", "give one")}

    def faulty(model: object, picture: Picture, strength: Strength, _: object) -> Restored:
        for number, fault in faults.items():
            if np.array_equal(picture.pixels, PIXELS + number):
                raise fault
        return darker(model, picture, strength)

    monkeypatch.setattr(batch, "restore", faulty)
    found = outcomes(listed)
    told = {i: outcome.error for i, outcome in enumerate(found) if outcome.error}
    assert {i: type(error) for i, error in told.items() if i != 4} == {
        1: PictureError,
        2: PictureError,
        3: ResourceError,
        5: ResourceError,
        7: AlphaError,
    }
    assert (told[7].message, told[7].hint) == ("in/7.png: no level", "give one")
    assert told[4].message == "in/4.png: ValueError: a slip"
    assert told[4].__cause__ is faults[4]
    assert [outcome.status for outcome in found if not outcome.error] == ["done", "done"]
    assert sorted(os.listdir("out")) == ["0_auto.png", "3_auto.png", "6_auto.png"]


def test_decoding_restoring_and_encoding_overlap(monkeypatch: pytest.MonkeyPatch):
    """Each stage waits for its neighbours to be at another picture; in turns it would for ever."""
    count = 4
    listed = jobs(count)
    was_read = [threading.Event() for _ in range(count)]
    begun = [threading.Event() for _ in range(count)]
    turn = iter(range(count))
    late: list[str] = []

    def wait(events: list[threading.Event], number: int, who: str) -> None:
        if number < count and not events[number].wait(10):
            late.append(f"{who} {number}")

    def read(source: Path, *_: object, **__: object) -> Picture:
        was_read[int(source.stem)].set()
        return Picture(PIXELS)

    def restore(model: object, picture: Picture, strength: Strength, _: object) -> Restored:
        number = next(turn)
        begun[number].set()
        wait(was_read, number + 1, "read")
        return darker(model, picture, strength)

    def encode(picture: Picture, kind: str, *, name: str, **_: object) -> bytes:
        wait(begun, int(Path(name).name[0]) + 1, "begun")
        return b"encoded"

    for name, stage in (("read_picture", read), ("restore", restore), ("encode_picture", encode)):
        monkeypatch.setattr(batch, name, stage)
    assert [outcome.status for outcome in outcomes(listed)] == ["done"] * count
    assert not late


@pytest.mark.parametrize("slow", ["read_picture", "restore", "encode_picture"])
def test_memory_is_bounded_whatever_the_slowest_stage(slow, monkeypatch: pytest.MonkeyPatch):
    pictures: list[weakref.ref[Picture]] = []
    most = 0

    def seen(picture: Picture, stage: str) -> Picture:
        nonlocal most
        time.sleep(0.01 * (stage == slow))
        pictures.append(weakref.ref(picture))
        most = max(most, sum(reference() is not None for reference in pictures))
        return picture

    def restore(*_: object) -> Restored:
        return Restored(seen(Picture(PIXELS), "restore"))

    def encode(picture: Picture, *_: object, **__: object) -> bytes:
        seen(picture, "encode_picture")
        return b"encoded"

    read = lambda *_, **__: seen(Picture(PIXELS), "read_picture")  # noqa: E731
    listed = jobs(20)
    for name, stage in (("read_picture", read), ("restore", restore), ("encode_picture", encode)):
        monkeypatch.setattr(batch, name, stage)
    assert [outcome.status for outcome in outcomes(listed)] == ["done"] * 20
    # at both ends AHEAD that wait and one at work, and one each on its way to the next
    assert most <= 2 * (AHEAD + 2)


def test_standard_input_and_output_are_bytes():
    jobs(1)
    data = Path("in/0.png").read_bytes()
    (outcome,) = outcomes([Job(None, None, Asked())], stdin=data)
    assert outcome.data
    assert np.array_equal(read_picture(outcome.data).pixels, PIXELS // 2)
    (outcome,) = outcomes([Job(None, None, Asked())], stdin=b"words")
    assert outcome.error
    assert "standard input: is not a picture" in outcome.error.message


def test_options_reach_the_files(monkeypatch: pytest.MonkeyPatch):
    listed = jobs(1)
    told: dict[str, object] = {}

    def encode(picture: Picture, kind: str, **options: object) -> bytes:
        told.update(options, kind=kind)
        return b"encoded"

    monkeypatch.setattr(batch, "encode_picture", encode)
    outcomes(listed, quality=80, strip_metadata=True)
    name = str(listed[0].output)
    assert told == {"kind": "PNG", "name": name, "quality": 80, "strip_metadata": True}
    (outcome,) = outcomes(listed, max_pixels=29)
    assert "pixels" in str(outcome.error)
    (outcome,) = outcomes(listed, frame=1)
    assert "frame" in str(outcome.error)


def test_what_is_recorded_is_not_yet_there_and_nothing_goes_unrecorded():
    listed = jobs(3)
    recorded: list[tuple[str, bool]] = []

    def record(outcome: Outcome) -> None:
        assert outcome.job.output
        recorded.append((outcome.status, outcome.job.output.exists()))
        if len(recorded) > 1:
            raise ResourceError("the manifest is full")

    with pytest.raises(ResourceError, match="manifest"):
        run(None, listed, STRENGTHS, Files(), lambda *_: None, record)
    assert recorded[:3] == [("done", False), ("done", False), ("failed", False)]
    assert os.listdir("out") == ["0_auto.png"]


@pytest.mark.parametrize("stage", ["read_picture", "restore", "encode_picture", "done"])
def test_an_interrupt_leaves_no_thread_and_nothing_half(stage, monkeypatch: pytest.MonkeyPatch):
    listed = jobs(8)
    honest = getattr(batch, stage, None)
    calls = iter(range(9))

    def interrupted(*words: object, **options: object) -> object:
        if next(calls) == 3:
            raise KeyboardInterrupt
        return honest(*words, **options) if honest else None

    if honest:
        monkeypatch.setattr(batch, stage, interrupted)
    done = interrupted if stage == "done" else lambda *_: None
    with pytest.raises(KeyboardInterrupt):
        run(None, listed, STRENGTHS, Files(), done)
    assert not [t.name for t in threading.enumerate() if t.name.startswith("tunectl-")]
    there = {job.output.name: job.output for job in listed if job.output.exists()}
    assert sorted(os.listdir("out")) == sorted(there)
    assert len(there) < 8
    for path in there.values():
        read_picture(path)


def test_a_tally_counts_and_measures():
    tally = Tally(started=time.perf_counter() - 2)
    job = Job(None, None, Asked())
    for status in ("done", "done", "skipped", "failed"):
        tally.add(Outcome(job, status, pixels=1_000_000 * (status == "done")))
    assert (tally.done, tally.skipped, tally.failed) == (2, 1, 1)
    assert 0.9 < tally.megapixels_per_second <= 1


def test_a_file_that_holds_more_than_its_picture_is_not_written_over():
    film = b"\0\0\0\x18ftypmp42" + bytes(range(256))
    photo = encode_picture(Picture(PIXELS), "JPEG") + film
    Path("a.jpg").write_bytes(photo)
    elsewhere = Job(Path("a.jpg"), Path("b.jpg"), Asked(), "JPEG")
    in_place = Job(Path("a.jpg"), Path("a.jpg"), Asked(), "JPEG")
    done, failed = outcomes([elsewhere, in_place])
    assert done.status == "done"
    assert (failed.status, type(failed.error)) == ("failed", PictureError)
    assert "a.jpg: the 268 bytes behind its picture (a film?) would be lost" in str(failed.error)
    assert Path("a.jpg").read_bytes() == photo


def test_tags_that_a_format_has_no_place_for_are_told(monkeypatch: pytest.MonkeyPatch):
    def keeping(model: object, picture: Picture, strength: Strength, _: object) -> Restored:
        return Restored(picture, 0.3, 12.0, True)

    monkeypatch.setattr(batch, "restore", keeping)
    picture = Picture(PIXELS)
    picture.iptc = b"\x1c\x02\x78\0\5hello"
    picture.xmp = b"<x:xmpmeta xmlns:x='adobe:ns:meta/'></x:xmpmeta>"
    write_picture(Path("a.jpg"), picture)
    kinds = {"JPEG": "b.jpg", "TIFF": "b.tif", "PNG": "b.png", "WEBP": "b.webp", "BMP": "b.bmp"}
    listed = [Job(Path("a.jpg"), Path(name), Asked(), kind) for kind, name in kinds.items()]
    told = [list(outcome.notes) for outcome in outcomes(listed)]
    lost = ["its IPTC was left out", "its XMP was left out"]
    assert told == [[], [], lost[:1], lost[:1], lost]
    assert not any(outcome.notes for outcome in outcomes(listed, strip_metadata=True))


def test_a_picture_that_changes_while_it_is_restored_is_not_replaced(
    monkeypatch: pytest.MonkeyPatch,
):
    (job,) = jobs(1)
    (settled,) = settle([replace(job, output=job.source)], "error")

    def meanwhile(model: object, picture: Picture, strength: Strength, _: object) -> Restored:
        Image.fromarray(PIXELS[:4]).save(job.source)
        return Restored(picture, 0.3, 12.0, True)

    monkeypatch.setattr(batch, "restore", meanwhile)
    (outcome,) = outcomes([settled])
    assert (outcome.status, "has changed since" in str(outcome.error)) == ("failed", True)
    assert read_picture(job.source).pixels.shape[0] == 4
    assert os.listdir(job.source.parent) == [job.source.name]


def test_a_picture_that_has_changed_since_is_not_restored_in_its_place():
    """Another run, begun before this one ended, may have restored it already."""
    (job,) = jobs(1)
    job = replace(job, output=job.source)
    (settled,) = settle([job], "error")
    before = job.source.read_bytes()
    Image.fromarray(PIXELS[:4]).save(job.source)
    (outcome,) = outcomes([settled])
    assert outcome.status == "failed"
    assert "has changed" in outcome.error.message
    job.source.write_bytes(before)
    (settled,) = settle([job], "error")
    assert outcomes([settled])[0].status == "done"


def test_a_name_that_others_share_is_told(tmp_path: Path):
    (job,) = jobs(1)
    os.link(job.source, "in/other.png")
    (outcome,) = outcomes([replace(job, output=job.source)])
    assert outcome.notes == ["1 other hard link keeps the old file"]


def test_what_is_being_written_when_the_run_is_to_end_is_told(monkeypatch: pytest.MonkeyPatch):
    begun = threading.Event()

    def slowly(*words: object) -> None:
        begun.set()
        time.sleep(0.2)
        write(*words)

    def check() -> None:
        if begun.is_set():
            sys.exit(143)

    def restore(*words: object) -> Restored:
        time.sleep(0.05)  # the writer begins meanwhile
        return darker(*words)

    write, told = batch.write, []
    monkeypatch.setattr(batch, "write", slowly)
    monkeypatch.setattr(batch, "restore", restore)

    def tell(outcome: Outcome, _: Tally) -> None:
        told.append((outcome.status, outcome.job.target))

    with pytest.raises(SystemExit):
        run(None, jobs(9), STRENGTHS, Files(), tell, check=check)
    assert told[0] == ("done", "out/0_auto.png")
    assert [target for _, target in told] == [f"out/{name}" for name in sorted(os.listdir("out"))]
    assert len(told) < 4


def test_what_a_format_cannot_hold_is_told_before_the_work(monkeypatch: pytest.MonkeyPatch):
    opacity = np.full((5, 6), 9, np.uint8)
    Path("a.png").write_bytes(encode_picture(Picture(PIXELS, opacity), "PNG"))
    monkeypatch.setattr(batch, "restore", None)
    (found,) = outcomes([Job(Path("a.png"), Path("b.jpg"), Asked(), "JPEG")])
    assert "b.jpg: JPEG holds no transparency" in str(found.error)


def test_that_a_link_was_written_through_is_told():
    write_picture(Path("masters/a.png"), Picture(PIXELS))
    Path("a.png").symlink_to("masters/a.png")
    (found,) = outcomes([Job(Path("a.png"), Path("a.png"), Asked())])
    assert found.notes == ["it is a link to masters/a.png, which was written"]
    assert np.array_equal(read_picture(Path("masters/a.png")).pixels, PIXELS // 2)
