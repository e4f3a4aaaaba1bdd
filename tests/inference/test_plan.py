from __future__ import annotations

import os
import unicodedata
from collections.abc import Collection
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from tunectl.errors import PictureError, ResourceError, UsageError
from tunectl.images import plugins
from tunectl.inference.job import PIPE, Asked, Job
from tunectl.inference.plan import Layout, plan
from tunectl.inference.settle import check_targets, decide, settle
from tunectl.inference.shard import Shard

PNG = b"\x89PNG\r\n\x1a\n"
AUTO = [Asked()]


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def pictures(*names: str) -> None:
    """Files that start like a PNG; a plan asks for no more."""
    for name in names:
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).write_bytes(PNG)


def pairs(jobs: list[Job]) -> dict[str, str]:
    return {job.name: job.target for job in jobs}


def test_a_tree_is_kept_and_what_is_no_input_is_left_out():
    pictures("in/a.png", "in/b/c.jpg", "in/b/no_ending", "in/.hidden.png", "in/.d/e.png")
    pictures("in/.0123abcd-1-0123abcd.tunectl-tmp", "other/f.png", "in/out/old.png", "g.png")
    Path("in/notes.txt").write_text("not a picture")
    Path("in/link").symlink_to(Path("other").resolve())
    jobs = plan(["in", "g.png"], AUTO, Layout("in/out"))
    assert pairs(jobs) == {
        "in/a.png": "in/out/a.png",
        "in/b/c.jpg": "in/out/b/c.jpg",
        "in/b/no_ending": "in/out/b/no_ending.png",
        "g.png": "in/out/g.png",
    }


def test_an_output_folder_around_the_input_hides_nothing():
    pictures("all/raw/a.png")
    assert pairs(plan(["all/raw"], AUTO, Layout("all"))) == {"all/raw/a.png": "all/a.png"}


@pytest.mark.parametrize(
    ("asked", "layout", "names"),
    [
        (AUTO, Layout(), ["d/a_out.jpg"]),
        ([Asked(0.3)], Layout(), ["d/a_alpha0.3.jpg"]),
        ([Asked(level=15)], Layout(), ["d/a_level15.jpg"]),
        ([Asked(0), Asked()], Layout("o"), ["o/a_alpha0.jpg", "o/a_auto.jpg"]),
        ([Asked(0.3)], Layout("o"), ["o/a.jpg"]),
        ([Asked(0.3)], Layout(suffix="_clean"), ["d/a_clean.jpg"]),
        ([Asked(0), Asked(1)], Layout(suffix="_c"), ["d/a_c_alpha0.jpg", "d/a_c_alpha1.jpg"]),
        (AUTO, Layout("o", "_c", ".PNG"), ["o/a_c.PNG"]),
        (AUTO, Layout("o.v2/"), ["o.v2/a.jpg"]),
        (AUTO, Layout("b.tif"), ["b.tif"]),
        (AUTO, Layout("b.jpg", ending=".jpeg"), ["b.jpg"]),
        (AUTO, Layout(in_place=True), ["d/a.jpg"]),
        (AUTO, Layout(PIPE), ["-"]),
    ],
)
def test_names_of_results(asked, layout, names):
    pictures("d/a.jpg")
    assert [job.target for job in plan(["d/a.jpg"], asked, layout)] == names


def test_a_name_keeps_what_only_looks_like_an_ending():
    pictures("in/photo.v1", "in/photo.v2", "in/moving.gif")
    assert {job.target for job in plan(["in"], AUTO, Layout("o"))} == {
        "o/photo.v1.png",
        "o/photo.v2.png",
        "o/moving.png",
    }


def test_the_kind_is_the_inputs_own_only_where_no_name_says_it():
    pictures("a.jpg")
    kinds = {
        layout: plan(["a.jpg"], AUTO, layout)[0].kind
        for layout in (Layout(in_place=True), Layout(PIPE), Layout(PIPE, ending=".png"), Layout())
    }
    assert list(kinds.values()) == [None, None, "PNG", "JPEG"]


@pytest.mark.parametrize(
    ("inputs", "asked", "layout", "cause"),
    [
        (["none.png"], AUTO, Layout(), "no such file"),
        (["*.png"], AUTO, Layout(), "no file's name is like this"),
        (["n" * 300], AUTO, Layout(), "no such file"),
        (["pipe"], AUTO, Layout(), "is no file"),
        (["d"], AUTO, Layout(), "is a folder"),
        (["empty"], AUTO, Layout("o"), "no pictures"),
        (["d"], AUTO, Layout("o", ending=".png"), "would both become o/a.png"),
        (["d/a.jpg", "e/a.jpg"], AUTO, Layout("o"), "would both become o/a.jpg"),
        (["d/a.jpg", "e/A.JPG"], AUTO, Layout("o"), "would both become"),
        (["d"], AUTO, Layout("d"), "is an input too"),
        (["d/a.jpg"], AUTO, Layout("d/a.jpg"), "is an input too"),
        (["d/a.jpg"], AUTO, Layout("link.jpg"), "is an input too"),
        (["d/a.jpg", "e/a.jpg"], AUTO, Layout("o.png"), "cannot take 2 results"),
        (["d/a.jpg"], [Asked(0), Asked(1)], Layout("o.png"), "cannot take 2 results"),
        (["d"], AUTO, Layout("o.png"), "cannot take the results of a folder"),
        (["d"], AUTO, Layout("e/a.jpg"), "is a file"),
        (["d/a.jpg"], AUTO, Layout("o.xyz"), "no format is known"),
        (["d/a.jpg"], AUTO, Layout("o.png", ending=".jpg"), "disagree"),
        (["d/a.jpg"], AUTO, Layout("o.png", "_c"), "--suffix"),
        (["d/a.jpg"], AUTO, Layout(suffix="x/y"), "--suffix"),
        (["d/a.jpg"], AUTO, Layout(ending=".xyz"), "--format 'xyz'"),
        (["d/a.jpg"], AUTO, Layout("o", in_place=True), "--in-place takes"),
        (["d/a.jpg"], [Asked(0), Asked(1)], Layout(in_place=True), "--in-place takes"),
        (["-", "d/a.jpg"], AUTO, Layout(PIPE), "one picture"),
        (["-"], AUTO, Layout("o"), "has no name"),
        (["-"], AUTO, Layout(), "has no name"),
        (["-"], [Asked(0), Asked(1)], Layout(PIPE), "cannot take 2 results"),
    ],
)
def test_what_would_clash_or_be_lost_is_refused(inputs, asked, layout, cause):
    pictures("d/a.jpg", "d/a.png", "e/a.jpg", "e/A.JPG")
    Path("empty").mkdir()
    os.mkfifo("pipe")
    Path("link.jpg").symlink_to("d/a.jpg")
    with pytest.raises(UsageError, match=cause) as error:
        plan(inputs, asked, layout)
    assert error.value.hint


def test_names_clash_as_they_would_where_letters_are_composed():
    name = "d\u00e9j\u00e0.png"
    pictures(f"x/{name}", f"y/{unicodedata.normalize('NFD', name)}")
    with pytest.raises(UsageError, match="would both become"):
        plan(["x", "y"], AUTO, Layout("o"))


def test_pipes_are_no_files_and_a_file_may_be_called_like_one():
    assert plan(["-"], AUTO, Layout(PIPE)) == [Job(None, None, Asked(), below="-")]
    pictures("-")
    assert pairs(plan(["./-"], AUTO, Layout("o"))) == {"-": "o/-.png"}


def test_an_input_that_is_named_twice_is_done_once():
    pictures("in/a.png", "in/b.png")
    assert len(plan(["in", "in", "in/a.png"], AUTO, Layout("o"))) == 2


def test_results_beside_their_inputs_are_no_inputs_of_the_next_run():
    pictures("in/a.png", "in/b.png")
    layout = Layout(suffix="_clean")
    first = plan(["in"], AUTO, layout)
    pictures(*(job.target for job in first))
    assert plan(["in"], AUTO, layout) == first
    named = plan(["in/a_clean.png"], AUTO, layout)
    assert [job.target for job in named] == ["in/a_clean_clean.png"]


def test_results_that_got_a_number_are_no_inputs():
    pictures("in/a.png", "in/b_2.png")
    layout = Layout(suffix="_clean")
    for run in range(4):
        jobs = decide(["in"], AUTO, layout, "rename")
        number = f"_{run + 1}" if run else ""
        made = [f"in/a_clean{number}.png", f"in/b_2_clean{number}.png"]
        assert list(pairs(jobs).items()) == list(zip(["in/a.png", "in/b_2.png"], made, strict=True))
        pictures(*made)
    assert set(pairs(decide(["in"], AUTO, layout, "skip"))) == {"in/a.png", "in/b_2.png"}
    named = plan(["in/a_clean_2.png"], AUTO, layout)
    assert [job.target for job in named] == ["in/a_clean_2_clean.png"]


def test_pictures_where_the_results_go_are_told(here: Path):
    pictures("in/a.png", "in/out/a.png", "in/out/mine.png", "in/out/more/mine.png")
    said: list[str] = []
    jobs = plan(["in"], AUTO, Layout("in/out"), say=said.append)
    assert pairs(jobs) == {"in/a.png": "in/out/a.png"}
    assert said == ["left alone: 2 more in in/out, where results go"]


def test_results_of_earlier_runs_are_no_inputs(here: Path):
    pictures("in/a.png", "in/a_x.png", "out/a.png")
    made = {"in/a_x.png": str(here / "in/a.png"), "out/a.png": "gone"}

    def earlier(path: Path, among: Collection[str]) -> bool:
        return made.get(str(path)) in among

    asked = [Asked(0.5), Asked(0.7)]
    said: list[str] = []
    jobs = plan(["in"], asked, Layout(suffix="_x"), earlier, said.append)
    assert said == ["left alone: 1 of tunectl's own results"]
    assert {job.name for job in jobs} == {"in/a.png"}
    assert pairs(plan(["out"], AUTO, Layout("next"), earlier=earlier)) == {
        "out/a.png": "next/a.png"
    }
    named = plan(["in", "in/a_x.png"], AUTO, Layout("new"), earlier=earlier)
    assert pairs(named)["in/a_x.png"] == "new/a_x.png"


def test_what_is_done_where_an_output_exists():
    pictures("in/a.png", "in/a_2.png", "in/b.png", "out/a.png")
    jobs = plan(["in"], AUTO, Layout("out"))
    with pytest.raises(UsageError, match=r"out/a\.png: exists already\n"):
        settle(jobs, "error")
    assert [job.skip for job in settle(jobs, "skip")] == ["exists", "", ""]
    written = settle(jobs, "overwrite")
    assert [job.replaces for job in written] == [True, False, False]
    assert [replace(job, replaces=False) for job in written] == jobs
    # a_2 is free on the disk, and taken by this very plan
    renamed = [job.target for job in settle(jobs, "rename")]
    assert renamed == ["out/a_3.png", "out/a_2.png", "out/b.png"]
    pictures("out/b.png")
    with pytest.raises(UsageError, match="exists already, and 1 more"):
        settle(jobs, "error")
    with pytest.raises(UsageError, match="not known"):
        settle(jobs, "ask")


def test_in_place_writes_over_whatever_the_policy():
    pictures("a.png")
    jobs = plan(["a.png"], AUTO, Layout(in_place=True))
    assert [job.skip for job in settle(jobs, "error")] == [""]


def test_no_name_is_not_the_current_folder():
    pictures("a.png")
    with pytest.raises(UsageError, match="has no name"):
        plan([""], AUTO, Layout(in_place=True))
    with pytest.raises(UsageError, match="has no name"):
        plan(["a.png"], AUTO, Layout(""))


def test_only_overwriting_takes_a_name_that_was_free():
    pictures("in/a.png", "in/b.png", "out/b.png")
    for policy, new in (("skip", [True, False]), ("rename", [True, True])):
        jobs = settle(plan(["in"], AUTO, Layout("out")), policy)
        assert [job.new for job in jobs] == new
    jobs = settle(plan(["in"], AUTO, Layout("out")), "overwrite")
    assert [job.new for job in jobs] == [False, False]


def test_a_plan_reads_no_more_than_the_first_bytes():
    """Three pictures of 8 TB each: read, they would take hours."""
    for name in ("a.png", "b.png", "c.png"):
        pictures(f"in/{name}")
        os.truncate(f"in/{name}", 8 << 40)
    assert len(plan(["in"], AUTO, Layout("o"))) == 3


def test_no_shard_takes_the_name_of_anothers_result():
    pictures("in/a.png", "in/a_2.png", "out/a.png")
    planned = plan(["in"], AUTO, Layout("out"))
    parts = [[job] for job in planned]
    names = [settle(part, "rename", None, planned)[0].output for part in parts]
    assert names == [Path("out/a_3.png"), Path("out/a_2.png")]


def test_shards_are_disjoint_and_keep_a_source_together():
    jobs = [
        Job(Path(f"in/{i}.png"), Path(f"{i}{asked.mark}.png"), asked, below=f"{i}.png")
        for i in range(300)
        for asked in (Asked(0.1), Asked(0.2))
    ]
    shards = [Shard.parse(f"{i}/3") for i in (1, 2, 3)]
    parts = [shard.of(jobs) for shard in shards]
    assert all(160 < len(part) < 240 for part in parts)
    assert sorted(str(job) for part in parts for job in part) == sorted(map(str, jobs))
    assert all(len([j for j in part if j.source == part[0].source]) == 2 for part in parts)
    # Nor does a picture that is new, or gone, move others, or where the folder is mounted.
    pictures(*(f"{place}/{name}.png" for place in ("in", "there/in") for name in "abcdef"))
    plans = [plan([folder], AUTO, Layout("out")) for folder in ("in", "there/in")]
    for shard in shards:
        here, there = ([job.target for job in shard.of(planned)] for planned in plans)
        assert here == there
    assert [shard.of(jobs[8:]) for shard in shards] == [
        [job for job in part if job in jobs[8:]] for part in parts
    ]
    for wrong in ("0/3", "4/3", "1", "1/0", "a/b", "1/3/2"):
        with pytest.raises(UsageError, match="is not a part"):
            Shard.parse(wrong)


def test_what_every_result_would_fail_at_is_told_first(tmp_path: Path, monkeypatch):
    monkeypatch.setattr(os, "access", lambda path, mode: "closed" not in str(path))
    (tmp_path / "closed").mkdir()
    source = tmp_path / "a.png"
    inside, outside = tmp_path / "closed" / "new" / "a.png", tmp_path / "open" / "a.png"
    with pytest.raises(ResourceError, match="closed"):
        check_targets([Job(source, inside, Asked())])
    check_targets([Job(source, inside, Asked()), Job(source, outside, Asked())])
    check_targets([Job(source, inside, Asked(), skip="exists"), Job(source, None, Asked())])
    monkeypatch.setitem(plugins.PACKAGES, "JXL", ("no_such_package", "Opener", "jxl"))
    with pytest.raises(PictureError, match="not installed"):
        check_targets([Job(source, outside.with_suffix(".jxl"), Asked(), "JXL")])


def test_in_place_a_link_beside_its_target_is_that_file(tmp_path: Path):
    Image.new("RGB", (4, 4)).save(tmp_path / "a.png")
    (tmp_path / "b.png").symlink_to(tmp_path / "a.png")
    (job,) = plan([str(tmp_path)], [Asked()], Layout(in_place=True))
    assert job.source == tmp_path / "a.png"


def test_pictures_whose_names_differ_by_case_alone_are_restored_in_place():
    pictures("in/IMG.png", "in/img.png")
    if len(os.listdir("in")) < 2:
        pytest.skip("one file here")
    assert len(plan(["in"], AUTO, Layout(in_place=True))) == 2
    with pytest.raises(UsageError, match=r"would both become out/img\.png"):
        plan(["in"], AUTO, Layout("out"))


def test_one_file_by_two_names_is_done_once(here: Path):
    pictures("in/a.png")
    Path("in/link.png").symlink_to("a.png")
    jobs = plan(["in/a.png", str(here / "in/a.png"), "in/link.png"], AUTO, Layout("out"))
    assert pairs(jobs) == {"in/a.png": "out/a.png", "in/link.png": "out/link.png"}


def test_all_clashes_are_counted():
    pictures(*(f"in/{name}.{kind}" for name in "abc" for kind in ("jpg", "jpeg")))
    with pytest.raises(UsageError, match="so would 2 more names"):
        plan(["in"], AUTO, Layout("out", ending=".png"))


def test_names_that_no_file_can_have_are_told_first():
    pictures(f"in/{'a' * 240}.png")
    plan(["in"], AUTO, Layout("out"))
    with pytest.raises(UsageError, match="is longer than a name can be"):
        plan(["in"], AUTO, Layout(suffix="_" + 20 * "c"))


@pytest.mark.parametrize("policy", ["skip", "rename"])
def test_in_place_and_what_leaves_files_contradict_each_other(policy: str):
    pictures("in/a.png")
    with pytest.raises(UsageError, match=f"--if-exists {policy} would leave"):
        decide(["in"], AUTO, Layout(in_place=True), policy)
