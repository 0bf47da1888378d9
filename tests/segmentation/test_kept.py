"""What runs of `segment` keep for each other changes nothing but the time: cached is the same as not, bit for bit."""

from __future__ import annotations

import os
import shutil

import cv2
import pytest
import torch

from densessl.errors import RunStopped, UserError
from densessl.progress import silent
from densessl.segmentation import finding, segment
from densessl.segmentation.features.cache import GB
from densessl.segmentation.masks import MaskRun
from densessl.segmentation.model import load_model
from tests.segmentation.runs import contents, fresh, settings, unsaid


@pytest.mark.parametrize("changes", [{"classes": 5}, {"refine": "guided"}, {"restarts": 2}, {}])
def test_another_folder_finds_features_and_head_too(png_folder, tmp_path, counts, changes):
    expected = fresh(png_folder, tmp_path / "fresh", **changes)
    segment(settings(png_folder, tmp_path / "one"), silent)
    learned = dict(counts)
    summary = segment(settings(png_folder, tmp_path / "two", **changes), silent)
    assert contents(tmp_path / "two") == expected and counts == learned
    for name, tensor in load_model(tmp_path / "two")[0].state_dict().items():
        assert torch.equal(tensor, load_model(tmp_path / "fresh")[0].state_dict()[name])
    assert summary.head == "kept"


@pytest.mark.parametrize("changes", [{"steps": 4}, {"seed": 1}, {"lr": 1e-3}, {"batch_size": 2}])
def test_a_head_of_other_settings_is_trained_on_the_features_that_are_kept(png_folder, tmp_path, counts, changes):
    expected = fresh(png_folder, tmp_path / "fresh", **changes)
    segment(settings(png_folder, tmp_path / "one"), silent)
    learned = dict(counts)
    assert segment(settings(png_folder, tmp_path / "two", **changes), silent).head == "trained"
    assert contents(tmp_path / "two") == expected
    assert counts == {"backbone": learned["backbone"], "training": learned["training"] + 1}


def test_a_head_of_another_window_is_another(png_folder, tmp_path, counts):
    expected = fresh(png_folder, tmp_path / "fresh", window=3)
    segment(settings(png_folder, tmp_path / "one"), silent)
    learned = dict(counts)
    assert segment(settings(png_folder, tmp_path / "two", window=3), silent).head == "trained"
    assert contents(tmp_path / "two") == expected
    assert counts["backbone"] > learned["backbone"] and counts["training"] == learned["training"] + 1
    keys = [load_model(tmp_path / name)[1].head for name in ("one", "two", "fresh")]
    assert keys[0] != keys[1] == keys[2]


def test_pictures_that_were_not_learned_from_are_kept_too(png_folder, tmp_path, counts):
    expected = fresh(png_folder, tmp_path / "fresh", learn_from=2, classes=4)
    (tmp_path / "broken").mkdir()
    segment(settings(png_folder, tmp_path / "out", learn_from=2), silent)
    learned = dict(counts)
    segment(settings(png_folder, tmp_path / "out", learn_from=2, classes=4), silent, unsaid)
    assert contents(tmp_path / "out") == expected and counts == learned


def test_a_stopped_run_goes_on_with_the_features_that_are_kept(png_folder, tmp_path, counts, monkeypatch):
    expected = fresh(png_folder, tmp_path / "fresh")
    with monkeypatch.context() as patch:
        patch.setattr(MaskRun, "_segment", lambda self, *arguments: os.kill(os.getpid(), 15))
        with pytest.raises(RunStopped, match="with 0 of 4 pictures done"):
            segment(settings(png_folder, tmp_path / "out"), silent)
    learned = dict(counts)
    segment(settings(png_folder, tmp_path / "out"), silent)
    assert contents(tmp_path / "out") == expected and counts == learned


def test_a_part_that_was_stopped_in_is_not_computed_for_its_own_sake(
    png_folder, tmp_path, counts, monkeypatch, cache_folder
):
    plain, masks = MaskRun._segment, []

    def stopping(self, *arguments):
        masks.append(1)
        if len(masks) == 3:
            os.kill(os.getpid(), 15)
        plain(self, *arguments)

    with monkeypatch.context() as patch:
        patch.setattr(MaskRun, "_segment", stopping)
        with pytest.raises(RunStopped, match="with 3 of 4"):
            segment(settings(png_folder, tmp_path / "out", learn_from=2), silent)
    assert counts["backbone"] == 3
    segment(settings(png_folder, tmp_path / "out", learn_from=2), silent)
    assert counts["backbone"] == 4
    assert list(cache_folder.rglob(".*")) == []
    segment(settings(png_folder, tmp_path / "out", learn_from=2, classes=4), silent, unsaid)
    assert counts["backbone"] == 6
    segment(settings(png_folder, tmp_path / "out", learn_from=2, classes=3), silent, unsaid)
    assert counts["backbone"] == 6
    assert contents(tmp_path / "out") == fresh(png_folder, tmp_path / "fresh", learn_from=2)


def test_a_model_that_is_given_uses_what_is_kept_and_keeps_nothing(png_folder, tmp_path, counts, cache_folder):
    segment(settings(png_folder, tmp_path / "one"), silent)
    learned = dict(counts)
    given = {"model": str(tmp_path / "one"), "image_size": None}
    segment(settings(png_folder, tmp_path / "two", **given), silent)
    assert counts == learned
    kept = {path: path.read_bytes() for path in cache_folder.rglob("*.bin")}
    summary = segment(settings(png_folder / "sub", tmp_path / "three", **given), silent)
    assert "kept for other runs" not in str(summary)
    assert counts["backbone"] == learned["backbone"] + 1
    assert {path: path.read_bytes() for path in cache_folder.rglob("*.bin")} == kept


def test_a_picture_that_was_changed_is_seen_anew_though_its_size_and_time_are_as_they_were(png_folder, tmp_path):
    image = cv2.imread(str(png_folder / "a.png"))
    (png_folder / "a.png").unlink()
    cv2.imwrite(str(png_folder / "a.bmp"), image)
    segment(settings(png_folder, tmp_path / "one"), silent)
    about = os.stat(png_folder / "a.bmp")
    cv2.imwrite(str(png_folder / "a.bmp"), 255 - image[:, ::-1])
    os.utime(png_folder / "a.bmp", ns=(about.st_atime_ns, about.st_mtime_ns))
    assert os.stat(png_folder / "a.bmp").st_size == about.st_size
    segment(settings(png_folder, tmp_path / "two"), silent)
    assert contents(tmp_path / "two") == fresh(png_folder, tmp_path / "fresh") != contents(tmp_path / "one")


@pytest.mark.parametrize("what", ["features", "head"])
def test_a_damaged_cache_costs_time_and_nothing_else(png_folder, tmp_path, counts, cache_folder, what):
    expected = fresh(png_folder, tmp_path / "fresh", classes=5)
    segment(settings(png_folder, tmp_path / "one"), silent)
    learned = dict(counts)
    (path,) = cache_folder.glob("*/head.bin" if what == "head" else "*/0*.bin")
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    told = []
    segment(settings(png_folder, tmp_path / "two", classes=5), silent, told.append)
    (sentence,) = (each for each in told if "cache" in each)
    assert sentence.startswith(f"{path} in the cache is not as it was written") and "made anew" in sentence
    told.clear()
    segment(settings(png_folder, tmp_path / "three", classes=4), silent, told.append)
    assert not any("cache" in each for each in told)
    assert contents(tmp_path / "two") == expected
    assert counts["training" if what == "head" else "backbone"] > learned["training" if what == "head" else "backbone"]


@pytest.mark.parametrize(
    ("few", "words"), [(5, "STEGO's head learns from 4 pictures here; of fewer than 5"), (4, None)]
)
def test_that_pictures_are_few_for_a_head_is_said_before_it_is_trained(png_folder, tmp_path, monkeypatch, few, words):
    monkeypatch.setattr(finding, "FEW", few)
    plain, told = finding.train, []

    def train(*arguments):
        assert [each.startswith(words) for each in told] == [True] if words else not told
        return plain(*arguments)

    monkeypatch.setattr(finding, "train", train)
    segment(settings(png_folder, tmp_path / "out"), silent, told.append)
    segment(settings(png_folder, tmp_path / "out", classes=2), silent, unsaid)
    told.clear()
    segment(settings(png_folder, tmp_path / "kmeans", method="kmeans"), silent, told.append)
    assert not told


def test_features_that_do_not_fit_are_not_kept_and_the_summary_says_so(png_folder, tmp_path, cache_folder):
    expected = fresh(png_folder, tmp_path / "fresh")
    summary = segment(settings(png_folder, tmp_path / "out", cache_size=1e-6), silent)
    assert contents(tmp_path / "out") == expected
    assert "Not all features are kept for other runs: they would take less than 0.01 GB, for which" in str(summary)
    assert [path for path in cache_folder.rglob("*") if path.is_file()] == []


def test_a_head_is_kept_where_features_do_not_fit(png_folder, tmp_path, counts, cache_folder):
    segment(settings(png_folder, tmp_path / "one"), silent)
    head, features = (sum(p.stat().st_size for p in cache_folder.glob(f"*/{name}")) for name in ("head.bin", "0*.bin"))
    shutil.rmtree(cache_folder)
    room = (head + 1000) / GB
    assert head + 1000 < features
    summary = segment(settings(png_folder, tmp_path / "two", cache_size=room), silent)
    assert f"for which cache_size={room:g} has no room and cache_size=1 would have." in str(summary)
    seen, trained = counts["backbone"], counts["training"]
    summary = segment(settings(png_folder, tmp_path / "three", classes=5, cache_size=room), silent)
    assert summary.head == "kept" and counts["training"] == trained and counts["backbone"] > seen
    assert contents(tmp_path / "three") == fresh(png_folder, tmp_path / "fresh", classes=5)


def test_a_cache_that_cannot_be_written_ends_no_run(png_folder, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("DENSESSL_CACHE", str(tmp_path / "file" / "below"))
    summary = segment(settings(png_folder, tmp_path / "out"), silent)
    assert contents(tmp_path / "out") == fresh(png_folder, tmp_path / "fresh")
    assert f"Not all features are kept for other runs: {tmp_path / 'file' / 'below'} could not be" in str(summary)
    with pytest.raises(UserError, match="could not be written"):
        segment(settings(png_folder, tmp_path / "other", cache=str(tmp_path / "file" / "below")), silent)


def test_the_summary_names_the_cache_and_its_size(png_folder, tmp_path, cache_folder):
    line = str(segment(settings(png_folder, tmp_path / "out"), silent)).splitlines()[-1]
    assert (
        line == f"Features kept for other runs, with other --classes for one: {cache_folder} (less than 0.01 of 16 GB)"
    )
