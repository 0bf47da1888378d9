"""Runs of `densessl detect train` and `eval`: from pages to a detector, killed and gone on with, refused in words."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from densessl.config import recipes
from densessl.documents import open_pages
from densessl.documents.detection import DetectConfig, evaluate, load_detector, train
from densessl.documents.detection.config import resolve
from densessl.documents.detection.evaluate import whole_mask
from densessl.documents.detection.examples import PageDataset, target_of
from densessl.documents.detection.objects import Found
from densessl.documents.detection.sets import open_sets, training_pages
from densessl.errors import UserError
from densessl.training.callbacks import Checkpoints
from tests.documents.detection.conftest import SMALL, write_set


def settings(pages: Path, out: Path, *more: str) -> list[str]:
    return [f"data=coco:{pages}", f"out={out}", "steps=4", *SMALL, *more]


def run(pages: Path, out: Path, *more: str) -> Path:
    return train("quick", settings(pages, out, *more), say=lambda sentence: None)


@pytest.fixture(scope="module")
def finished(pages_folder, tmp_path_factory) -> Path:
    return run(pages_folder, tmp_path_factory.mktemp("run") / "run", "detector.head=cascade")


def test_a_run_leaves_a_detector_figures_and_pictures(finished):
    assert load_detector(finished).classes == ["text", "table"]
    rows = list(csv.DictReader((finished / "metrics.csv").open()))
    assert [row["step"] for row in rows] == ["1", "2", "3", "4"]
    assert {"loss", "objectness", "class_2"} <= set(rows[0])
    assert (finished / "pictures" / "pages.png").is_file() and (finished / "backbone.safetensors").is_file()


def test_a_run_that_was_stopped_ends_with_the_same_weights_bit_for_bit(finished, pages_folder, tmp_path, monkeypatch):
    class Cut(Exception):
        pass

    save = Checkpoints.save

    def save_and_die(self, trainer, module, name):
        save(self, trainer, module, name)
        raise Cut

    again = (pages_folder, tmp_path / "again", "detector.head=cascade", "checkpoint_minutes=0")
    monkeypatch.setattr(Checkpoints, "save", save_and_die)
    for _ in range(2):  # one step each
        with pytest.raises(Cut):
            run(*again)
    monkeypatch.undo()
    run(*again)
    whole, parts = load_file(finished / "detector.safetensors"), load_file(tmp_path / "again" / "detector.safetensors")
    assert whole.keys() == parts.keys()
    assert all(torch.equal(whole[name], parts[name]) for name in whole)


def test_a_finished_run_is_left_alone_and_one_of_other_settings_is_refused(finished, pages_folder):
    before = (finished / "detector.safetensors").stat().st_mtime_ns
    run(pages_folder, finished, "detector.head=cascade")
    assert (finished / "detector.safetensors").stat().st_mtime_ns == before
    with pytest.raises(UserError, match=r"detector\.head: cascade, now faster"):
        run(pages_folder, finished)


def test_all_that_is_wrong_with_the_data_is_told_before_anything_starts(tmp_path):
    first, second = write_set(tmp_path / "first"), write_set(tmp_path / "second")
    for folder, key, value in ((first, "category_id", 9), (second, "image_id", 77)):
        content = json.loads((folder / "annotations.json").read_text())
        content["annotations"][0][key] = value
        (folder / "annotations.json").write_text(json.dumps(content))
    (first / "images" / "2.png").unlink()
    with pytest.raises(UserError) as error:
        train("quick", [f"data=[coco:{first},coco:{second}]", f"out={tmp_path / 'run'}", *SMALL])
    for each in ("category 9", "2.png", "image 77"):
        assert each in str(error.value)
    assert not (tmp_path / "run").exists()


def test_a_class_that_a_set_does_not_mark_is_unknown_there(pages_folder, tmp_path):
    tables = write_set(tmp_path / "tables")
    content = json.loads((tables / "annotations.json").read_text())
    content["categories"] = [{"id": 2, "name": "grid"}]
    content["annotations"] = [each for each in content["annotations"] if each["category_id"] == 2]
    (tables / "annotations.json").write_text(json.dumps(content))
    config = DetectConfig(data="", names={"grid": "table"})
    pages = open_sets([f"coco:{pages_folder}", f"coco:{tables}"], None, config)
    assert pages.classes == ("text", "table") and len(pages) == 8
    assert target_of(pages, 0, (80, 60), False)["known"].tolist() == [True, True]
    assert target_of(pages, 7, (80, 60), False)["known"].tolist() == [False, True]


def test_objects_lie_where_the_page_shows_them_and_are_never_mirrored(pages_folder):
    pages = open_pages(f"coco:{pages_folder}", masks=True)
    config = resolve("quick", [f"data=coco:{pages_folder}", "detector.masks=true", "image_size=160", "light=0"])
    item = PageDataset(pages, config, None)[3, 1]
    page, target = item["page"], item["target"]
    (table,) = target["boxes"][target["classes"] == 1].round().int().tolist()
    dark = np.argwhere(page[..., 0] < 75)
    expected = [dark[:, 1].min(), dark[:, 0].min(), dark[:, 1].max() + 1, dark[:, 0].max() + 1]
    assert np.abs(np.array(table) - expected).max() <= 2
    mask = target["masks"][target["classes"] == 1][0].numpy() > 0
    assert (mask & (page[..., 0] < 75)).sum() / (mask | (page[..., 0] < 75)).sum() > 0.85


def test_eval_prints_and_writes_figures(finished, pages_folder):
    text = evaluate(finished, [f"val=coco:{pages_folder}", f"out={finished}"])
    record = json.loads((finished / "evaluation.json").read_text())
    assert set(record["boxes"]["classes"]) == {"text", "table"} and set(record["tables"]) == {"published", "fixed"}
    assert "AP of boxes on 4 pages" in text and "Weighted F1" in text


def test_pages_kept_apart_are_not_learned_from(pages_folder, tmp_path):
    out = run(pages_folder, tmp_path / "run", "val_share=0.25", "steps=1")
    assert json.loads((out / "data.json").read_text())["images"] == 3
    assert json.loads((out / "evaluation.json").read_text())["pages"] == 1


@pytest.mark.parametrize("name", sorted(recipes("detect")))
def test_every_recipe_is_a_config(name):
    assert resolve(name, ["data=publaynet:somewhere"]).out == f"runs/{name}"


@pytest.mark.parametrize(
    ("override", "sentence"),
    [
        ("scales=[1.0,0.5]", "the smaller one first"),
        ("val_share=1", "val_share=1"),
        ("layer_decay=0", "layer_decay=0"),
        ("tile=64", "tile="),
        ("detector.heads=cascade", r"did you mean 'detector\.head'"),
        ("method=dino", "recipe of dino"),
    ],
)
def test_settings_that_cannot_be_are_told(override, sentence):
    with pytest.raises(UserError, match=sentence):
        resolve("quick", ["data=coco:somewhere", override])


def test_a_class_that_no_page_labels_is_refused_and_so_is_a_name_that_no_set_has(pages_folder):
    def opened(judging=False, **settings):
        return open_sets(f"coco:{pages_folder}", None, DetectConfig(data="", **settings), judging=judging)

    with pytest.raises(UserError, match="No page of .* has labels of tabel: give the classes"):
        opened(classes=["text", "tabel"])
    assert opened(judging=True, classes=["text", "tabel"]).labelled.any(axis=0).tolist() == [True, False]
    with pytest.raises(UserError, match="names= speaks of tabel, a class of none of the sets"):
        opened(names={"tabel": "table"})


def test_pages_of_unknown_documents_are_told_apart_by_what_was_asked_for(pages_folder):
    settings = [f"data=coco:{pages_folder}", "out=somewhere", "val_share=0.25", "steps=1", *SMALL]
    _, apart = training_pages(resolve("quick", settings))
    assert "Of 4 of the pages nobody says what document they are from" in apart.notes[-1]
    # They are numbered from 1 to 4 and of one size: one document by either.
    for how in ("runs", "size"):
        with pytest.raises(UserError, match="has 1 documents"):
            training_pages(resolve("quick", [*settings, f"documents={how}"]))
    with pytest.raises(UserError, match="documents=sizes is not one of: runs, size; did you mean 'size'"):
        resolve("quick", [*settings, "documents=sizes"])


def test_eval_takes_pages_by_name_in_the_place_of_a_share_and_as_many_as_it_is_told(pages_folder, tmp_path):
    out = run(pages_folder, tmp_path / "run", "val_share=0.25", "steps=1")
    assert "on 4 pages" in evaluate(out, [f"val=coco:{pages_folder}"])
    assert "on 2 pages" in evaluate(out, [f"val=coco:{pages_folder}", "limit=2"])
    with pytest.raises(UserError, match="nothing"):
        evaluate(out, ["val=nothing"])


def test_a_mask_is_pasted_by_the_centres_of_pixels():
    shape = torch.zeros(1, 28, 28)
    shape[0, :, 14:] = 1
    box = torch.tensor([[10.0, 5.4, 30, 13.6]])
    found = Found(box, torch.tensor([0]), torch.tensor([1.0]), shape)
    whole = whole_mask(found, 0, (20, 40))
    assert np.argwhere(whole).min(axis=0).tolist() == [5, 20] and np.argwhere(whole).max(axis=0).tolist() == [13, 29]
    full = Found(box, torch.tensor([0]), torch.tensor([1.0]), torch.ones(1, 28, 28))
    assert whole_mask(full, 0, (20, 40)).sum() == 20 * 9
    assert whole_mask(full, 0, (4, 8)).sum() == 0
