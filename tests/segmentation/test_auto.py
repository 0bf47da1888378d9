"""`--classes auto`: the sweep's number, its curve in the png_folder, and then a run like any other."""

from __future__ import annotations

import json

import cv2
import numpy as np
import pytest

from densessl.data.sources import open_source
from densessl.errors import UserError
from densessl.progress import silent
from densessl.segmentation import segment
from densessl.segmentation import sweep as sweeps
from densessl.segmentation.features.colour import ColourBackbone
from densessl.segmentation.features.extractor import Extractor
from densessl.segmentation.features.kept import extract
from densessl.segmentation.model import load_model
from tests.segmentation.runs import contents, settings, unsaid


@pytest.fixture
def quick(monkeypatch):
    monkeypatch.setattr(sweeps, "REPEATS", 1)
    monkeypatch.setattr(sweeps, "RESTARTS", 2)


@pytest.mark.parametrize("method", ["stego", "kmeans", "spectral"])
def test_as_many_segments_as_fit_best(png_folder, tmp_path, counts, quick, method):
    out, auto = tmp_path / "out", {"classes": "auto", "method": method}
    summary = segment(settings(png_folder, out, **auto), silent)
    record = json.loads((out / "sweep.json").read_text())
    assert record["chosen"] == summary.segments == load_model(out)[0].classes
    assert record["of"] == ("codes" if method == "stego" else "features")
    assert [row["classes"] for row in record["curve"]] == list(range(2, 21))
    best = max(row["score"] for row in record["curve"])
    chosen = next(row for row in record["curve"] if row["score"] >= sweeps.ENOUGH * best)
    assert chosen["classes"] == record["chosen"]
    assert cv2.imread(str(out / "sweep.png")).std() > 5
    assert f"Segments: {summary.segments}, as many as fit best: see {out / 'sweep.png'}" in str(summary)
    # The same again: nothing is found anew. By its number: the same segments, and no mask is written again.
    learned, before = dict(counts), contents(out)
    masks = {path: path.stat().st_mtime_ns for path in out.glob("*/*.png") if path.parent.name != "sheets"}
    again = segment(settings(png_folder, out, **auto), silent)
    assert (again.learned, again.before, again.chosen) == (False, 4, True)
    number = segment(settings(png_folder, out, **auto | {"classes": summary.segments}), silent, unsaid)
    assert (number.before, number.chosen) == (4, False)
    assert contents(out) == before and counts == learned
    assert {path: path.stat().st_mtime_ns for path in masks} == masks
    other = segment(settings(png_folder, out, **auto | {"classes": summary.segments + 1}), silent, unsaid)
    assert other.segments == summary.segments + 1 and counts == learned
    assert not list(out.glob("sweep.*"))  # which chose another number


def test_the_sweep_is_of_the_trained_codes(png_folder, tmp_path, quick):
    segment(settings(png_folder, tmp_path / "out", classes="auto"), silent)
    model, _ = load_model(tmp_path / "out")
    source = open_source(str(png_folder))
    kept = extract(source, Extractor(ColourBackbone(), 64), range(4))
    coded = [model.codes(kept.tokens(row)).detach().numpy() for row in range(4)]
    expected = sweeps.sweep(type(kept)(kept.indices, kept.shapes, coded))
    found = json.loads((tmp_path / "out" / "sweep.json").read_text())["curve"]
    np.testing.assert_allclose([row["score"] for row in found], expected.best, atol=1e-4)


def test_too_few_places_to_choose_from_are_told_before_anything_is_trained(png_folder, tmp_path, counts):
    with pytest.raises(UserError, match="12 places are too few to choose from 2 to 20"):
        segment(settings(png_folder / "sub", tmp_path / "out", classes="auto", image_size=24), silent)
    assert counts["training"] == 0
