"""`densessl detect predict`: pictures, PDFs and broken files to one COCO file and overlays."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import pytest
from reportlab.pdfgen.canvas import Canvas

from densessl import cli
from densessl.documents import open_pages, read_detections
from densessl.documents.detection import predict, save_detector
from densessl.documents.matching import counts
from densessl.errors import UserError
from tests.documents.detection.conftest import small_detector


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Path:
    """Of random weights, so that with score=0 it finds something everywhere."""
    return save_detector(small_detector(masks=True, most=5), tmp_path_factory.mktemp("model"), {})


@pytest.fixture
def inputs(tmp_path, pages_folder) -> Path:
    """A picture, a broken one, and a PDF of two pages of 200 x 300 points, below a folder."""
    folder = tmp_path / "in"
    (folder / "sub").mkdir(parents=True)
    (folder / "sub" / "1.png").write_bytes((pages_folder / "images" / "1.png").read_bytes())
    (folder / "broken.png").write_text("no picture")
    canvas = Canvas(str(folder / "report.pdf"), pagesize=(200, 300))
    for number in (1, 2):
        canvas.drawString(20, 200, f"Page {number}")
        canvas.showPage()
    canvas.save()
    return folder


def test_pages_of_pdfs_pictures_and_broken_files(model, inputs, tmp_path):
    out = tmp_path / "out"
    said = predict([str(inputs)], out, model, ["score=0", "page_side=120"])
    content = json.loads((out / "detections.json").read_text())
    pages = {each["file_name"]: each for each in content["images"]}
    assert sorted(pages) == ["report.pdf/p0001.png", "report.pdf/p0002.png", "sub/1.png"]
    second = pages["report.pdf/p0002.png"]
    assert (second["page"], second["width"], second["height"]) == (2, 80, 120)
    assert second["document"] == "report.pdf" and second["dpi"] == pytest.approx(72 * 120 / 300)
    assert (pages["sub/1.png"]["width"], pages["sub/1.png"]["page"]) == (60, 1) and "dpi" not in pages["sub/1.png"]
    assert [each["name"] for each in content["categories"]] == ["text", "table"]
    sizes = {each["id"]: (each["width"], each["height"]) for each in content["images"]}
    assert content["annotations"] and all(0 <= each["score"] <= 1 for each in content["annotations"])
    for each in content["annotations"]:
        x, y, wide, high = each["bbox"]
        width, height = sizes[each["image_id"]]
        assert 0 <= x <= x + wide <= width + 0.02 and 0 <= y <= y + high <= height + 0.02
        assert each["segmentation"]["size"] == [height, width]
    assert cv2.imread(str(out / "overlays" / "report.pdf" / "p0002.jpg")) is not None
    assert (out / "unreadable.txt").read_text().startswith("broken.png\t") and "1 pages cannot be read" in said


def test_what_is_written_is_read_back_for_evaluation(model, pages_folder, tmp_path):
    predict([str(pages_folder / "images")], tmp_path, model, ["score=0", "overlays=false"])
    pages = open_pages(f"coco:{pages_folder}")
    found = read_detections(tmp_path / "detections.json", pages, masks=True)
    assert len(found) == len(json.loads((tmp_path / "detections.json").read_text())["annotations"])


def test_only_missing_pages_are_looked_at_again(model, inputs, tmp_path):
    out, again = tmp_path / "out", ([str(inputs)], tmp_path / "out", model)
    predict(*again, ["score=0"])
    before = (out / "detections.json").read_bytes()
    kept, gone = out / "overlays" / "sub" / "1.jpg", out / "overlays" / "report.pdf" / "p0001.jpg"
    time = kept.stat().st_mtime_ns
    gone.unlink()
    assert "2 pages were done already" in predict(*again, ["score=0"])
    assert gone.is_file() and kept.stat().st_mtime_ns == time
    assert (out / "detections.json").read_bytes() == before
    # Other settings, other detections: nothing of the run before is kept.
    assert "done already" not in predict(*again, ["score=0.9"])
    assert json.loads((out / "detections.json").read_text())["annotations"] == []


def test_nothing_but_broken_files_is_a_sentence(model, tmp_path):
    (tmp_path / "broken.png").write_text("no picture")
    with pytest.raises(UserError, match=r"None of the 1 pages can be read: broken\.png .*; mend or replace them\.$"):
        predict([str(tmp_path / "broken.png")], tmp_path / "out", model)


def test_weights_by_themselves_are_for_recipes_of_detectron2(model, pages_folder, tmp_path):
    with pytest.raises(UserError, match="give the file as --model"):
        predict([str(pages_folder / "images")], tmp_path / "out", model, ["weights=some.pth"])


def test_the_detector_in_the_box_finds_what_is_on_generated_pages(tmp_path, monkeypatch):
    made, found = tmp_path / "made", tmp_path / "found"
    commands = (
        ["pages", "--out", made, "--count", 4, "--seed", 5, "kinds=[accounts,report]", "degrade=0", "workers=1"],
        ["detect", "predict", made / "images", "--out", found],
    )
    for command in commands:
        monkeypatch.setattr("sys.argv", ["densessl", *map(str, command)])
        with pytest.raises(SystemExit, match="0"):
            cli.main()
    pages = open_pages(str(made / "doclaynet.json"))
    half = counts(pages, read_detections(found / "detections.json", pages))
    assert half.recall > 0.3 and half.precision > 0.3
