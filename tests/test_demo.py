"""`densessl demo`: its figures, its sheet, and the photographs it ships."""

from __future__ import annotations

import json
import re
from importlib import resources
from pathlib import Path

import cv2
import numpy as np
import pytest

from densessl.data.images import read_image
from densessl.data.synthetic import CLASSES, write_scenes
from densessl.demo import run as demonstration

PHOTOGRAPHS = Path(str(resources.files("densessl"))) / "photographs"


def save(path: Path, labels: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), labels.astype(np.uint8))


def test_segments_that_only_have_other_numbers_score_one(tmp_path):
    truth = np.arange(64).reshape(8, 8) % len(CLASSES)
    save(tmp_path / "truth" / "a.png", truth)
    save(tmp_path / "found" / "a.png", (truth + 3) % len(CLASSES))
    scores = demonstration.score(tmp_path / "found", tmp_path / "truth")
    assert (scores.miou, scores.accuracy) == (1.0, 1.0)
    np.testing.assert_array_equal(scores.assignment, (np.arange(8) - 3) % 8)


def test_chance_is_the_share_of_the_commonest_class_and_an_eighth(tmp_path):
    labels = np.zeros((80, 80))
    labels[:, 60:] = np.arange(80)[:, None] % 7 + 1
    save(tmp_path / "a.png", labels)
    figures = demonstration.chance(tmp_path)
    assert figures["majority"] == (pytest.approx(0.75 / 8), pytest.approx(0.75))
    assert figures["random"][1] == pytest.approx(1 / 8, abs=0.02)


def test_the_table_has_a_line_for_every_kind_of_features():
    figures = dict.fromkeys(demonstration.ROWS, (0.25, 0.5))
    text = demonstration.table(figures)
    for title in demonstration.ROWS.values():
        assert re.search(rf"^{title} +25.0% +50.0%$", text, re.MULTILINE)


def test_the_demo_leaves_scenes_masks_figures_and_a_sheet_and_runs_again(tmp_path, monkeypatch):
    from densessl.training import pretrain

    def short(recipe, overrides):
        return pretrain(recipe, [*overrides, "steps=2", "batch_size=4", "devices=cpu"])

    monkeypatch.setattr("densessl.training.pretrain", short)
    monkeypatch.setattr(demonstration, "TRAIN", 6)
    monkeypatch.setattr(demonstration, "VALIDATION", 3)
    monkeypatch.setattr(demonstration, "SEEN_AT", 128)
    said: list[str] = []
    demonstration.demo(tmp_path / "demo", say=said.append)
    figures = json.loads((tmp_path / "demo" / "figures.json").read_text())
    assert set(figures) == set(demonstration.ROWS)
    assert all(0 <= value <= 1 for pair in figures.values() for value in pair)
    assert len(list((tmp_path / "demo" / "segments" / "pretrained" / "labels").iterdir())) == 3
    shipped = len(list(PHOTOGRAPHS.glob("*.jpg")))
    assert len(list((tmp_path / "demo" / "segments" / "photographs" / "overlays").iterdir())) == shipped
    assert read_image(tmp_path / "demo" / "demo.png").shape[1] > 1000
    assert any("demo.png" in sentence for sentence in said)

    scene = next((tmp_path / "demo" / "scenes" / "train" / "images").iterdir())
    before = scene.stat().st_mtime_ns
    demonstration.demo(tmp_path / "demo", say=said.append)
    assert scene.stat().st_mtime_ns == before
    assert json.loads((tmp_path / "demo" / "figures.json").read_text()) == figures


def test_scenes_cut_short_are_written_anew(tmp_path):
    write_scenes(tmp_path, 2, size=(32, 40))
    (tmp_path / "labels" / "scene-00001.png").unlink()
    demonstration._write(tmp_path, 2, 0, lambda _: None)
    assert len(list((tmp_path / "labels").iterdir())) == 2


def test_every_photograph_has_an_author_a_source_and_a_licence_that_lets_it_be_shipped():
    rows = re.findall(
        r"^\| `(.+\.jpg)` \| (.+) \| (.+) \| (.+) \| (.+) \|$", (PHOTOGRAPHS / "LICENSES.md").read_text(), re.M
    )
    assert sorted(row[0] for row in rows) == sorted(path.name for path in PHOTOGRAPHS.glob("*.jpg"))
    allowed = re.compile(
        r"public domain"
        r"|\[CC0 1\.0\]\(https://creativecommons\.org/publicdomain/zero/1\.0/\)"
        r"|\[CC BY(-SA)? \d\.\d\]\(https://creativecommons\.org/licenses/by(-sa)?/\d\.\d/\)"
    )
    for row in rows:
        assert allowed.fullmatch(row[4]), row


def test_photographs_are_small_and_many_enough():
    paths = sorted(PHOTOGRAPHS.glob("*.jpg"))
    assert 12 <= len(paths) <= 30
    assert sum(path.stat().st_size for path in PHOTOGRAPHS.iterdir()) < 3e6
    for path in paths:
        assert 200 <= max(read_image(path).shape) <= 640
