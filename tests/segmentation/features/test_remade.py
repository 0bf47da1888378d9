"""Features that are made anew for each step: exactly those that are kept, chosen by what there is room for."""

from __future__ import annotations

from collections import namedtuple

import numpy as np
import pytest
import torch

from densessl.errors import RunStopped
from densessl.evaluation.probe import learn_probe
from densessl.segmentation.config import SegmentConfig
from densessl.segmentation.features import kept as features
from densessl.segmentation.features import remade
from densessl.segmentation.features.cache import GB, Cache
from densessl.segmentation.features.colour import ColourBackbone
from densessl.segmentation.features.extractor import Extractor
from densessl.segmentation.features.kept import extract
from densessl.segmentation.features.remade import Remade, expected, features_of
from densessl.segmentation.learning import learn
from densessl.segmentation.run import segment
from densessl.segmentation.stego.diagnosis import measure
from tests.segmentation.conftest import Arrays, scene


def extractor() -> Extractor:
    return Extractor(ColourBackbone(), 64)


def kept_and_made(source, **options):
    made = features_of(source, extractor(), range(len(source)), keep=0, say=lambda sentence: None, **options)
    assert isinstance(made, Remade)
    return extract(source, extractor(), range(len(source))), made


def config(**changes) -> SegmentConfig:
    found = SegmentConfig(data="", out="", classes=2, method="stego", steps=6, batch_size=3)
    for key, value in changes.items():
        setattr(found, key, value)
    return found


@pytest.fixture
def many() -> Arrays:
    """Nine pictures, one of which cannot be read."""
    images = [scene(seed, 80 + 4 * seed, 120 - 6 * seed)[0] for seed in range(9)]
    return Arrays([*images[:4], None, *images[4:]])


@pytest.mark.parametrize("keep", [0, 1e-4, 1])
def test_tables_made_anew_are_those_that_are_kept_bit_by_bit(many, tmp_path, keep, monkeypatch):
    monkeypatch.setattr(remade, "_too_much", lambda *given: "There is no room.")
    kept = extract(many, extractor(), range(10))
    made = features_of(many, extractor(), range(10), spill=tmp_path, keep=keep, say=lambda sentence: None)
    assert not made.at_hand and kept.at_hand and len(made) == 9
    assert (made.indices, made.shapes, made.unreadable) == (kept.indices, kept.shapes, kept.unreadable)
    assert torch.equal(made.pooled(), kept.pooled()) and made.channels == kept.channels
    for rows in ([4, 0, 8], [0, 4], list(range(9))):
        for one, other in zip(made.each(rows), kept.each(rows), strict=True):
            assert torch.equal(one, other)
        (tokens, layout), (expected_tokens, expected_layout) = made.batch(rows), kept.batch(rows)
        assert torch.equal(tokens, expected_tokens) and torch.equal(layout.starts, expected_layout.starts)


@pytest.mark.parametrize("method", ["stego", "kmeans"])
def test_a_window_is_of_those_that_are_made_too_and_their_segments_are_the_same(many, method):
    wide, there = Extractor(ColourBackbone(), 64, window=3), [0, 1, 2, 3, 5, 6, 7, 8, 9]
    kept = extract(many, wide, there)
    made = features_of(many, wide, there, keep=0, say=lambda sentence: None)
    assert isinstance(made, Remade) and torch.equal(made.tokens(2), kept.tokens(2))
    assert not torch.equal(made.tokens(2), extract(many, extractor(), there).tokens(2))
    one, other = (learn(each, config(method=method)).model.state_dict() for each in (kept, made))
    assert all(torch.equal(weight, other[name]) for name, weight in one.items())


@pytest.mark.parametrize("clusters", ["kmeans", "probe"])
def test_losses_and_segments_are_exactly_those_of_kept_features(many, clusters):
    kept, made = kept_and_made(many)
    settings = config()
    settings.stego.clusters = clusters
    one, other = learn(kept, settings), learn(made, settings)
    assert one.losses == other.losses and len(one.losses) == 6
    for name, weight in one.model.state_dict().items():
        assert torch.equal(weight, other.model.state_dict()[name])


def test_the_probe_the_diagnosis_and_the_sweep_see_the_same(many, tmp_path):
    kept, made = kept_and_made(many)
    head = learn(kept, config(steps=2)).model.head
    for one, other in zip(measure(kept, head, config()), measure(made, head, config()), strict=True):
        assert one.record() == other.record()
    draws = (each.sampled(3, torch.Generator().manual_seed(3)) for each in (kept, made))
    assert torch.equal(*draws)

    class Labels:
        classes = ("left", "right")

        def labels(self, index):
            return (np.indices(many.images[index].shape[:2])[1] > 40).astype(np.int16)

    probes = [learn_probe(each, Labels(), extractor().frame, head, 3, 3, 5e-3, 0) for each in (kept, made)]
    assert torch.equal(probes[0].centres, probes[1].centres) and torch.equal(probes[0].bias, probes[1].bias)


def test_a_sample_of_many_pictures_is_of_some_of_them_and_the_same_either_way(many, monkeypatch):
    monkeypatch.setattr(features, "SAMPLED", 4)
    kept, made = kept_and_made(many)
    rows = kept.some(torch.Generator().manual_seed(1))
    assert len(set(rows)) == 4 and list(rows) == sorted(rows) and max(rows) < 9
    assert learn(kept, config(method="kmeans")).model.centres.equal(learn(made, config(method="kmeans")).model.centres)
    monkeypatch.setattr(features, "SAMPLED", 9)
    assert list(kept.some(torch.Generator())) == list(range(9))


def test_only_pictures_that_steps_touch_are_read_again_and_each_once_where_there_is_room(many, tmp_path):
    made = kept_and_made(many)[1]
    many.reads.clear()
    for _ in range(3):
        made.batch([0, 5])
    assert many.reads == 3 * [0, 6]  # keep=0 leaves no room for what the backbone is shown either
    made.room = 1e6
    many.reads.clear()
    first = made.tokens(2)
    again = made.tokens(2)
    assert many.reads == [2] and torch.equal(first, again)


def test_the_pass_for_neighbours_is_in_the_cache_for_the_next_run(many, tmp_path):
    first = kept_and_made(many, cache=Cache(tmp_path, 0.0001 * GB))[1]
    many.reads.clear()
    again = features_of(many, extractor(), range(10), cache=Cache(tmp_path, 0.0001 * GB), keep=0, say=lambda each: None)
    assert isinstance(again, Remade) and torch.equal(first.pooled(), again.pooled()) and again.shapes == first.shapes
    assert set(many.reads) <= set(range(10)) and len(many.reads) < 13
    assert again.unreadable == first.unreadable


def test_the_choice_is_said_with_what_to_do(many, tmp_path, monkeypatch):
    told: list[str] = []
    whole = sum(np.asarray(each).nbytes for each in extract(many, extractor(), range(10)).arrays)
    assert expected(many, extractor(), range(10)) == pytest.approx(whole * 10 / 9)  # as if all could be read
    few = features_of(many, extractor(), range(10), spill=tmp_path, keep=whole / GB / 2, say=told.append)
    assert isinstance(few, Remade)
    assert "10 pictures would take" in told[0] and "keep_size=1 keeps them" in told[0] and "anew" in told[0]
    assert not isinstance(features_of(many, extractor(), range(10), keep=1.2 * whole / GB, say=told.append), Remade)
    assert len(told) == 1
    # A disk without room, and tables that do not fit into memory.
    monkeypatch.setattr(remade.shutil, "disk_usage", lambda folder: namedtuple("Usage", "free")(whole / 2))
    monkeypatch.setattr(remade, "MEMORY", 0)
    few = features_of(many, extractor(), range(10), spill=tmp_path / "new", say=told.append, elsewhere="another --out")
    assert isinstance(few, Remade)
    assert str(tmp_path / "new") in told[1] and "another --out names another place" in told[1]


def test_what_the_cache_has_is_used_whatever_may_be_kept(many, tmp_path):
    many = Arrays([each for each in many.images if each is not None])
    extract(many, extractor(), range(9), cache=Cache(tmp_path, GB))
    found = features_of(many, extractor(), range(9), cache=Cache(tmp_path, 0), keep=0)
    assert found.at_hand and torch.equal(found.tokens(3), extract(many, extractor(), range(9)).tokens(3))


def test_a_picture_that_changes_while_it_is_learned_from_ends_the_run_with_its_name(many):
    made = kept_and_made(many)[1]
    many.images[1] = np.zeros((64, 512, 3), dtype=np.uint8)
    with pytest.raises(RunStopped, match=r"001.jpg was changed .* another size"):
        made.tokens(1)
    many.images[2] = None
    with pytest.raises(RunStopped, match=r"002.jpg was changed .* cut short"):
        made.tokens(2)


@pytest.mark.parametrize("method", ["stego", "kmeans"])
def test_segment_writes_the_same_masks_without_room_for_features(png_folder, tmp_path, method):
    told: list[str] = []
    for name, keep in (("kept", 20.0), ("made", 0.0)):
        run = SegmentConfig(
            data=str(png_folder), out=str(tmp_path / name), classes=2, method=method, cache="none", keep_size=keep,
            refine="none", devices="cpu", backbone="colour", image_size=64,
        )  # fmt: skip
        if method == "stego":
            run.steps, run.batch_size = 3, 2
        segment(run, lambda *each: None, say=told.append)
    told = [each for each in told if "fewer than 100" not in each]
    assert len(told) == 1 and "keep_size=0" in told[0]
    for path in (tmp_path / "kept" / "labels").rglob("*.png"):
        assert path.read_bytes() == (tmp_path / "made" / path.relative_to(tmp_path / "kept")).read_bytes()
