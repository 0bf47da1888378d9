"""What is finished of a protocol of segments is kept: a run that was stopped goes on, as if it had not been."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import cv2
import numpy as np
import pytest

from densessl.errors import RunStopped
from densessl.evaluation import candidates, probe, segments
from densessl.evaluation.judged import Judged
from densessl.evaluation.segments import SegmentsConfig, evaluate_segments
from densessl.evaluation.shelf import Shelf
from densessl.progress import silent
from densessl.segmentation import learning
from densessl.segmentation.config import StegoConfig
from densessl.segmentation.features import extractor
from densessl.segmentation.features.cache import Cache
from tests.evaluation.judging import write_scenes


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    return write_scenes(tmp_path_factory.mktemp("scenes"), 4, (48, 64))


def config(data: Path, cache: object, **settings) -> SegmentsConfig:
    plain = {"methods": ["kmeans", "stego", "linear"], "refine": ["none", "guided"]}
    plain |= {"seeds": 2, "steps": 3, "devices": "cpu", "image_size": 32, "stego": StegoConfig(dim=4)}
    return SegmentsConfig("colour", f"folder:{data}", cache=str(cache), **(plain | settings))


def plain(record: dict) -> dict:
    """A record without times, and without the folder of the cache."""
    settings = {key: value for key, value in record["settings"].items() if key not in ("cache", "pictures")}
    return {key: value for key, value in record.items() if key not in ("seconds", "environment")} | {
        "settings": settings
    }


def stopping(at: str, stop) -> object:
    """A progress that stops the run at a stage."""

    def progress(stage: str, done: int, total: int, note: str = "") -> None:
        if stage == at and done == 2:
            stop()

    return progress


def interrupt() -> None:
    raise KeyboardInterrupt


@pytest.fixture(scope="module")
def whole(data, tmp_path_factory) -> tuple[dict, Path, Path]:
    """The record of a run that nothing stopped, its pictures and its cache."""
    folder = tmp_path_factory.mktemp("whole")
    record = evaluate_segments(config(data, folder / "cache", pictures=str(folder / "pictures")), silent)
    return record, folder / "pictures", folder / "cache"


@pytest.mark.parametrize(
    ("stage", "stop", "name"),
    [
        ("Masks, seed 1", lambda: os.kill(os.getpid(), signal.SIGTERM), "SIGTERM"),
        ("Learning segments", interrupt, "Ctrl-C"),
        ("Pairs of places, codes of stego, seed 0", interrupt, "Ctrl-C"),
    ],
)
def test_a_run_that_was_stopped_goes_on_to_the_record_of_one_that_was_not(data, whole, tmp_path, stage, stop, name):
    record, pictures, _ = whole
    parts = config(data, tmp_path / "parts", pictures=str(tmp_path / "pictures"))
    with pytest.raises(RunStopped, match=f"{name} ended the run: .*parts, and the same command goes on from there.$"):
        evaluate_segments(parts, stopping(stage, stop))
    assert plain(evaluate_segments(parts, silent)) == plain(record)
    for picture in ("curves.png", "panel.png"):
        assert (tmp_path / "pictures" / picture).read_bytes() == (pictures / picture).read_bytes()


def test_what_is_finished_is_neither_learned_nor_judged_again(data, whole, monkeypatch, capsys):
    first, pictures, cache = whole
    monkeypatch.setattr(extractor.Extractor, "__call__", lambda *given: pytest.fail("the backbone was asked"))
    # Another refinement asks for its own masks alone, of models that are there.
    monkeypatch.setattr(learning, "cluster", lambda *given: pytest.fail("segments were learned"))
    monkeypatch.setattr(probe, "probe_loss", lambda *given: pytest.fail("a probe was learned"))
    more = evaluate_segments(config(data, cache, refine=["none", "guided", "crf"], seeds=1), silent)
    assert more["figures"]["features"] == first["figures"]["features"] and "stego, crf" in more["figures"]
    capsys.readouterr()
    monkeypatch.setattr(Judged, "judge", lambda *given, **more: pytest.fail("masks were made"))
    monkeypatch.setattr(Judged, "pairs", lambda *given, **more: pytest.fail("pairs were counted"))
    assert evaluate_segments(config(data, cache), silent)["figures"] == first["figures"]
    again = evaluate_segments(config(data, cache, pictures=str(pictures)), silent)
    assert plain(again) == plain(first) and f"taken from {cache}" in capsys.readouterr().err


def test_nothing_of_other_labels_or_settings_is_taken(data, tmp_path):
    few = {"methods": ["kmeans"], "judge": ["honest"], "refine": ["guided"], "seeds": 1}
    before = evaluate_segments(config(data, tmp_path, **few), silent)["figures"]
    other = evaluate_segments(config(data, tmp_path, **few, sharpness=20.0), silent)["figures"]
    assert other == evaluate_segments(config(data, "none", **few, sharpness=20.0), silent)["figures"] != before
    path = data / "labels" / "val" / "101.png"
    labels = path.read_bytes()
    try:
        cv2.imwrite(str(path), np.zeros((48, 64), np.uint8))
        changed = evaluate_segments(config(data, tmp_path, **few), silent)["figures"]
        assert changed == evaluate_segments(config(data, "none", **few), silent)["figures"]
        assert changed["features"] != before["features"] and changed["kmeans, guided"] != before["kmeans, guided"]
    finally:
        path.write_bytes(labels)


def test_another_training_is_not_taken_for_this_one(data, tmp_path, monkeypatch):
    few = {"methods": ["stego"], "judge": ["honest"], "refine": ["none"], "seeds": 1}
    evaluate_segments(config(data, tmp_path, **few), silent)
    monkeypatch.setattr(candidates, "VERSION", candidates.VERSION + 1)
    learned = []
    learn = candidates.learn
    monkeypatch.setattr(candidates, "learn", lambda *given: learned.append(1) or learn(*given))
    evaluate_segments(config(data, tmp_path, **few), silent)
    assert learned == [1]


def test_without_a_cache_the_sentence_says_that_nothing_was_kept(data):
    with pytest.raises(RunStopped, match="with cache=none nothing of it was kept, and the same command begins anew"):
        evaluate_segments(config(data, "none"), stopping("Reading features", interrupt))


def test_arrays_that_were_altered_count_as_missing(tmp_path):
    shelf = Shelf(Cache(tmp_path, 1e6))
    shelf.keep(["a", 1], {"x": np.arange(3)})
    np.testing.assert_array_equal(shelf.read(["a", 1])["x"], np.arange(3))
    assert shelf.read(["a", 2]) is None
    (path,) = tmp_path.rglob("*.npz")
    path.write_bytes(path.read_bytes().replace(b"x.npy", b"y.npy"))
    assert shelf.read(["a", 1]) is None and shelf.arrays(["a", 1], lambda: {"x": np.ones(1)})["x"] == 1


def test_the_command_prints_the_sentence_and_ends_with_the_status_of_the_signal(data, capsys, monkeypatch):
    from densessl import cli

    monkeypatch.setattr(segments, "_judge", lambda *given: interrupt())
    command = ["densessl", "evaluate", "colour", "--protocol", "segments", "--data", f"folder:{data}"]
    monkeypatch.setattr("sys.argv", command)
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == 130 and capsys.readouterr().err.endswith("the same command goes on from there.\n")
