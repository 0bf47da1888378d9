"""A run on a film that was stopped, killed or robbed of a file ends with the files of one that was not."""

from __future__ import annotations

import json
import os
import resource
import signal

import cv2
import numpy as np
import pytest

from densessl.errors import RunStopped, UserError
from densessl.progress import silent
from densessl.segmentation import run, segment
from densessl.segmentation.films import masks as film_masks
from densessl.segmentation.masks import MaskRun
from tests.segmentation.filming import contents, labels, settings, shots, write


def stop_after(monkeypatch, frames: int, number: int = signal.SIGTERM) -> None:
    plain, count = MaskRun.score, []

    def scoring(self, *arguments, **named):
        count.append(1)
        if len(count) == frames:
            os.kill(os.getpid(), number)
        return plain(self, *arguments, **named)

    monkeypatch.setattr(MaskRun, "score", scoring)


@pytest.mark.parametrize("refine", ["none", "guided"])
def test_a_stopped_film_goes_on_at_the_next_frame_to_the_same_files(tmp_path, monkeypatch, refine):
    film = write(tmp_path / "film.mp4", shots(8, 4))
    segment(settings(film, tmp_path / "whole", refine=refine, probabilities=True), silent)
    out = tmp_path / "out"
    with monkeypatch.context() as patch:
        stop_after(patch, 5)
        with pytest.raises(RunStopped, match="ended the run with 5 of 12 pictures done"):
            segment(settings(film, out, refine=refine, probabilities=True), silent)
    assert len(labels(out, "film")) == 5 and not (out / "overlays").exists()
    computed = counting(monkeypatch)
    segment(settings(film, out, refine=refine, probabilities=True), silent)
    assert len(computed) == 7
    assert contents(out) == contents(tmp_path / "whole")
    assert any(not np.array_equal(a, b) for a, b in zip(labels(out, "film"), labels(out, "film")[1:], strict=False))


def forbid_backbone(monkeypatch) -> None:
    def refuse(*arguments, **named):
        raise AssertionError("no backbone is to be loaded")

    monkeypatch.setattr(run, "extractor_of", refuse)


def counting(monkeypatch) -> list[int]:
    """Gets an entry for each frame that is computed from now on."""
    plain, computed = MaskRun.score, []

    def scoring(self, model, picture, **named):
        computed.append(picture.index)
        return plain(self, model, picture, **named)

    monkeypatch.setattr(MaskRun, "score", scoring)
    return computed


@pytest.mark.parametrize("kept", [3, 100])
def test_a_killed_film_goes_on_from_the_last_average_that_was_kept(tmp_path, monkeypatch, kept):
    monkeypatch.setattr(film_masks, "KEPT", kept)
    film, out = write(tmp_path / "film.mp4", shots(12)), tmp_path / "out"
    segment(settings(film, tmp_path / "whole"), silent)

    plain = MaskRun.score

    def die(self, model, picture, **named):
        if picture.index == 8:
            raise KeyboardInterrupt
        return plain(self, model, picture, **named)

    with monkeypatch.context() as patch:
        patch.setattr(MaskRun, "score", die)
        with pytest.raises(KeyboardInterrupt):
            segment(settings(film, out), silent)
    assert len(labels(out, "film")) == 8
    (out / "labels" / "film" / "000007.png").unlink()
    computed = counting(monkeypatch)
    segment(settings(film, out), silent)
    assert computed == list(range(6 if kept == 3 else 0, 12))
    assert contents(out) == contents(tmp_path / "whole")


def test_a_mask_that_was_deleted_comes_back_as_it_was_and_no_other_is_touched(tmp_path, monkeypatch):
    film, out = write(tmp_path / "film.mp4", shots(8)), tmp_path / "out"
    segment(settings(film, out), silent)
    before = contents(out)
    times = {path.name: path.stat().st_mtime_ns for path in (out / "labels" / "film").iterdir()}
    (out / "labels" / "film" / "000004.png").unlink()
    computed = counting(monkeypatch)
    segment(settings(film, out), silent)
    assert contents(out) == before and computed == [0, 1, 2, 3, 4]
    after = {path.name: path.stat().st_mtime_ns for path in (out / "labels" / "film").iterdir()}
    assert [name for name in times if times[name] != after[name]] == ["000004.png"]


def test_a_run_that_is_killed_while_it_draws_leaves_no_video(tmp_path, monkeypatch):
    film, out = write(tmp_path / "film.mp4", shots(8)), tmp_path / "out"
    segment(settings(film, tmp_path / "whole"), silent)
    drawn = []

    def progress(stage: str, done: int, *rest) -> None:
        drawn.append(stage)
        if drawn.count("Drawing videos") == 4:
            os.kill(os.getpid(), signal.SIGTERM)

    with pytest.raises(RunStopped, match="8 of 8 pictures done"):
        segment(settings(film, out), progress)
    assert len(labels(out, "film")) == 8 and not list((out / "overlays").iterdir())
    forbid_backbone(monkeypatch)
    segment(settings(film, out), silent)
    assert contents(out) == contents(tmp_path / "whole")


def test_names_are_shown_without_a_backbone(tmp_path, monkeypatch):
    film, out = write(tmp_path / "film.mp4", shots(6)), tmp_path / "out"
    segment(settings(film, out), silent)
    plain = contents(out)
    (out / "names.txt").write_text("0: ground\n1: sky\n2: ground\n")
    forbid_backbone(monkeypatch)
    summary = segment(settings(film, out), silent)
    assert (summary.masks, summary.pictures) == ("classes", 6)
    merged = [cv2.imread(str(path), -1) for path in sorted((out / "classes" / "film").iterdir())]
    assert all(np.array_equal(classes, each == 1) for classes, each in zip(merged, labels(out, "film"), strict=True))
    assert contents(out)["overlays/film.mp4"] != plain["overlays/film.mp4"]
    assert json.loads((out / "segments.json").read_text())["files"] == {"film.mp4": "classes/film"}
    (out / "names.txt").unlink()
    segment(settings(film, out), silent)
    assert contents(out) == plain


def test_a_full_disk_leaves_no_video(tmp_path):
    noise = np.random.default_rng(0).integers(0, 256, (8, 240, 320, 3), np.uint8)
    film, out = write(tmp_path / "film.mp4", list(noise)), tmp_path / "out"
    segment(settings(film, out), silent)
    (out / "overlays" / "film.mp4").unlink()
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, before[1]))
    try:
        with pytest.raises(UserError, match=r"film.mp4 could not be written whole, \d of 8 frames are in it: free"):
            segment(settings(film, out), silent)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert not list((out / "overlays").iterdir())


def test_another_choice_of_frames_is_refused_and_another_average_writes_all_masks_anew(tmp_path):
    film, told = write(tmp_path / "film.mp4", shots(4)), []
    segment(settings(film, tmp_path / "out"), silent)
    with pytest.raises(UserError, match="every: .*give another --out"):
        segment(settings(film, tmp_path / "out", every=2), silent)
    assert segment(settings(film, tmp_path / "out", stable=0.5), silent, told.append).before == 0
    assert len(told) == 1 and "(stable: 0.7, now 0.5): all are written anew" in told[0]
    segment(settings(film, tmp_path / "whole", stable=0.5), silent)
    assert contents(tmp_path / "out") == contents(tmp_path / "whole")
