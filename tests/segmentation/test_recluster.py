"""Other numbers of segments from what is kept: no backbone, no training, and the masks of a run that had neither."""

from __future__ import annotations

import json
import os

import pytest

from densessl.errors import UserError
from densessl.progress import silent
from densessl.segmentation import finding, segment
from densessl.segmentation.masks import MaskRun
from densessl.segmentation.resume import State
from tests.segmentation.runs import contents, fresh, settings, unsaid


@pytest.mark.parametrize("method", ["stego", "kmeans", "spectral"])
def test_other_classes_in_the_same_folder_are_those_of_a_run_of_its_own(png_folder, tmp_path, counts, method):
    expected = fresh(png_folder, tmp_path / "fresh", classes=5, method=method)
    segment(settings(png_folder, tmp_path / "out", method=method), silent)
    before, learned, said = contents(tmp_path / "out"), dict(counts), []
    summary = segment(settings(png_folder, tmp_path / "out", method=method, classes=5), silent, said.append)
    assert counts == learned
    assert contents(tmp_path / "out") == expected != before
    assert said == [
        f"{tmp_path / 'out'} holds masks of 3 segments; 5 are found anew in what is kept of the run before, and all "
        "masks are written anew."
    ]
    assert (summary.segments, summary.before, summary.learned) == (5, 0, True)
    assert summary.head == ("kept" if method == "stego" else None)
    assert ("Segments: 5, found in" in str(summary)) == (method == "stego")
    segment(settings(png_folder, tmp_path / "out", method=method), silent)
    assert contents(tmp_path / "out") == before and counts == learned


def test_without_a_cache_the_folder_has_the_head_still(png_folder, tmp_path, counts, cache_folder):
    expected = fresh(png_folder, tmp_path / "fresh", classes=5)
    segment(settings(png_folder, tmp_path / "out", cache=None), silent)
    trained = counts["training"]
    summary = segment(settings(png_folder, tmp_path / "out", cache=None, classes=5), silent, unsaid)
    assert contents(tmp_path / "out") == expected and counts["training"] == trained
    assert summary.head == "kept" and summary.cache is None and "kept for other runs" not in str(summary)
    assert not cache_folder.exists()


@pytest.mark.parametrize("kept", ["auto", None])
@pytest.mark.parametrize("change", ["added", "mended"])
def test_a_head_that_learned_from_other_pictures_is_not_taken_for_that_of_these(
    png_folder, tmp_path, change, kept, counts
):
    mended = (png_folder / "b.png").read_bytes()
    if change == "added":
        (png_folder / "b.png").unlink()
    else:
        (png_folder / "b.png").write_bytes(b"x" * len(mended))
        about = (png_folder / "b.png").stat()
    segment(settings(png_folder, tmp_path / "out", cache=kept), silent)
    (png_folder / "b.png").write_bytes(mended)
    if change == "mended":  # as an archive that is unpacked again leaves it
        os.utime(png_folder / "b.png", ns=(about.st_atime_ns, about.st_mtime_ns))
    trained = counts["training"]
    summary = segment(settings(png_folder, tmp_path / "out", cache=kept, classes=5), silent, unsaid)
    assert (summary.head, summary.pictures, counts["training"]) == ("trained", 4, trained + 1)
    assert contents(tmp_path / "out") == fresh(png_folder, tmp_path / "fresh", classes=5)


def test_names_of_segments_that_are_no_more_are_put_aside_and_come_back_with_them(png_folder, tmp_path):
    said: list[str] = []
    out = tmp_path / "out"
    segment(settings(png_folder, out), silent)
    plain = contents(out)
    (out / "names.txt").write_text("0: ground\n1: sky\n2: ground\n")
    segment(settings(png_folder, out), silent)
    named = contents(out)
    segment(settings(png_folder, out, classes=4), silent, said.append)
    assert said[1] == f"The names of the segments before are kept in {out / 'names-3.txt'}."
    assert (out / "names-3.txt").read_bytes() == named["names.txt"]
    assert contents(out, "names-3.txt") == fresh(png_folder, tmp_path / "fresh", classes=4)
    assert not list((out / "classes").rglob("*.png"))
    said.clear()
    segment(settings(png_folder, out), silent, said.append)
    assert said[1] == f"names-3.txt names these very segments: it is {out / 'names.txt'} again."
    assert contents(out) == named
    (out / "names.txt").unlink()
    segment(settings(png_folder, out), silent)
    assert contents(out) == plain


def test_names_put_aside_twice_do_not_overwrite_each_other(png_folder, tmp_path):
    out = tmp_path / "out"
    segment(settings(png_folder, out), silent)
    (out / "names-3.txt").write_text("mine")
    (out / "names.txt").write_text("no list of names")
    with pytest.raises(UserError, match="line 1"):
        segment(settings(png_folder, out), silent)
    segment(settings(png_folder, out, classes=4), silent, unsaid)
    assert (out / "names-3.txt").read_text() == "mine"
    assert (out / "names-3-2.txt").read_text() == "no list of names"


def test_names_of_another_place_are_read_for_the_new_segments(png_folder, tmp_path):
    names = tmp_path / "mine.txt"
    names.write_text("3: sky\n")
    segment(settings(png_folder, tmp_path / "out"), silent)
    before = contents(tmp_path / "out")
    config = settings(png_folder, tmp_path / "out", classes=2, names=str(names))
    with pytest.raises(UserError, match="3 is no segment; the model has 2"):
        segment(config, silent)
    assert contents(tmp_path / "out") == before
    config.classes = 4
    summary = segment(config, silent, unsaid)
    assert summary.names == ["segment 0", "segment 1", "segment 2", "sky"]


def test_the_sheets_of_segments_that_are_no_more_go(png_folder, tmp_path):
    segment(settings(png_folder, tmp_path / "out", classes=4, coco=True), silent)
    segment(settings(png_folder, tmp_path / "out", classes=2), silent, unsaid)
    assert sorted(path.name for path in (tmp_path / "out" / "sheets").iterdir()) == ["segment-00.png", "segment-01.png"]
    assert len(json.loads((tmp_path / "out" / "coco.json").read_text())["categories"]) == 2


@pytest.mark.parametrize("moment", ["finding", "saved", "following"])
@pytest.mark.parametrize("then", [3, 5])
def test_a_run_killed_while_it_changes_the_segments_leaves_none_of_one_for_the_other(
    png_folder, tmp_path, monkeypatch, moment, then
):
    """The command with the former number, and that with the new one, both end as runs of their own."""
    expected = fresh(png_folder, tmp_path / "fresh", classes=then)
    out = tmp_path / "out"
    segment(settings(png_folder, out), silent)
    (out / "names.txt").write_text("0: sky\n")
    if then == 3:
        (tmp_path / "fresh" / "names.txt").write_text("0: sky\n")
        segment(settings(png_folder, tmp_path / "fresh", cache="none"), silent)
        expected = contents(tmp_path / "fresh")
    segment(settings(png_folder, out), silent)

    def killed(*arguments, **named):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        if moment == "finding":
            patch.setattr(finding, "cluster", killed)
        elif moment == "saved":
            patch.setattr(State, "follow", killed)
        else:
            patch.setattr(MaskRun, "write", killed)
        with pytest.raises(KeyboardInterrupt):
            segment(settings(png_folder, out, classes=5), silent, unsaid)
    segment(settings(png_folder, out, classes=then), silent, unsaid)
    assert contents(out, "names-3.txt") == expected
    assert (out / "names-3.txt").exists() == (then == 5)


def test_pictures_that_are_gone_leave_no_mask_of_former_segments(png_folder, tmp_path):
    segment(settings(png_folder, tmp_path / "out"), silent)
    (png_folder / "b.png").unlink()
    segment(settings(png_folder, tmp_path / "out", classes=4), silent, unsaid)
    assert not (tmp_path / "out" / "labels" / "b.png").exists()


def test_a_probe_is_trained_with_its_head(png_folder, tmp_path):
    config = settings(png_folder, tmp_path / "out")
    config.stego.clusters = "probe"
    segment(config, silent)
    before = contents(tmp_path / "out")
    config.classes = 4
    with pytest.raises(UserError, match="classes: 3, now 4.*stego.clusters=probe trains them with the head"):
        segment(config, silent)
    config.classes = "auto"
    with pytest.raises(UserError, match="stego.clusters=probe trains them with it: give a number"):
        segment(config, silent)
    assert contents(tmp_path / "out") == before


def test_a_number_that_cannot_be_leaves_folder_and_recipe_as_they_were(png_folder, tmp_path):
    out, told = tmp_path / "out", []
    segment(settings(png_folder, out), silent)
    before = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    with pytest.raises(UserError, match="5000 segments cannot be learned from"):
        segment(settings(png_folder, out, classes=5000), silent, told.append)
    assert {path: path.read_bytes() for path in out.rglob("*") if path.is_file()} == before
    assert not any("written anew" in each for each in told)
