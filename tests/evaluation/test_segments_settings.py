"""The protocol of segments: its settings, recipes and mistakes; which classes a folder has."""

from __future__ import annotations

import dataclasses
import inspect
import re
import shutil

import cv2
import numpy as np
import pytest
from omegaconf import OmegaConf

from densessl.config import build, read_yaml, recipes
from densessl.data.synthetic import CLASSES
from densessl.errors import UserError
from densessl.evaluation import evaluate
from densessl.evaluation.finetune import FinetuneProtocol
from densessl.evaluation.knn import KnnConfig
from densessl.evaluation.labelled import open_sets
from densessl.evaluation.linear import LinearConfig
from densessl.evaluation.segments import SegmentsConfig
from densessl.segmentation.features import remade
from densessl.segmentation.sets import open_labelled
from tests.evaluation.judging import judge


@pytest.mark.parametrize("crops", ["whole", "five"])
def test_limit_counts_images_and_the_record_says_how_many_were_used(data, monkeypatch, crops):
    used = []
    extracted = remade.extract
    monkeypatch.setattr(remade, "extract", lambda *given, **more: used.append(given[2]) or extracted(*given, **more))
    record = judge(data, "methods=[kmeans]", "refine=[none]", "seeds=1", "limit=2", f"crops={crops}")
    judged, learned = used
    assert len(judged) == 2 and len({each // 5 if crops == "five" else each for each in learned}) == 2
    assert len(learned) == (10 if crops == "five" else 2)
    said = "2 of the 6 images, drawn by seed 0, of train" + (", five crops of each" if crops == "five" else "")
    assert record["data"]["learned from"] == f"{said}, without their labels"
    assert record["data"]["judged"] == f"2 of the 6 images, drawn by seed 0, of val, {len(CLASSES)} classes"


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ("judge=[official,none]", "judge=.*honest, official"),
        ("crops=six", "crops=six is not one of: whole, five"),
        ("methods=[kmean]", "give one or more of kmeans, stego, linear"),
        ("refine=[]", "give one or more of none, crf, guided"),
        (
            "refine=crf,none",
            "refine=\\['crf,none'\\]: give one or more of none, crf, guided, such as refine=\\[none,crf\\]",
        ),
        ("seeds=0", "seeds=0 is neither how many runs, such as 3, nor a list of seeds, such as \\[0,1,2\\]"),
        ("seeds=several", "seeds=several is neither"),
        ("seeds=[]", "seeds=\\[\\] is neither"),
        ("seeds=[0,-1]", "nor a list of seeds"),
        ("seeds=[1,1]", "names a seed twice"),
        ("split=test", "test"),
        ("layers=3", "layers=3"),
        ("classes=1", "classes=1"),
        ("panel=[100]", "pictures=FOLDER"),
    ],
)
def test_mistakes_are_sentences(data, setting, words):
    with pytest.raises(UserError, match=words):
        judge(data, setting)


def test_a_tile_that_does_not_fit_the_backbone_is_called_a_tile(data):
    for tile in (7, 33):
        with pytest.raises(UserError, match=f"^tile={tile} is no multiple of the 16 pixels of the backbone's stride"):
            judge(data, f"tile={tile}", backbone="box")


def test_one_word_is_a_list_of_one_and_seeds_are_a_number_or_a_list(data):
    few = ("methods=kmeans", "image_size=32")
    listed = judge(data, "refine=[none]", "seeds=[4]", *few)
    assert listed["settings"]["methods"] == ["kmeans"] and listed["figures"].keys() >= {"kmeans", "features"}
    assert judge(data, "refine=none", "seeds=1", "seed=4", *few)["figures"]["kmeans"] == listed["figures"]["kmeans"]
    several = judge(data, "refine=none", "seeds=[4,7]", *few)["figures"]["kmeans"]
    one = (judge(data, "refine=none", f"seeds=[{seed}]", *few)["figures"]["kmeans"]["miou"] for seed in (4, 7))
    assert several["miou"] == pytest.approx(sum(one) / 2)


def test_a_spec_that_is_no_set_is_a_sentence(tmp_path):
    with pytest.raises(UserError, match="NAME:FOLDER"):
        evaluate("colour", "segments", str(tmp_path))


@pytest.mark.parametrize("name", recipes("evaluate"))
def test_the_papers_recipes_are_settings_of_the_protocol(name):
    config = build(SegmentsConfig, OmegaConf.create({"backbone": "colour", "data": "x"}), read_yaml(name, "evaluate"))
    assert config.steps == 5000 and config.judge == ["honest", "official"] and config.stego.clusters == "probe"
    assert config.window == 1 and config.stego.centre is False
    assert config.classes == (3 if "potsdam" in name else 27) and config.stego.pointwise and config.stego.zero_clamp


def test_a_recipe_is_overruled(data):
    settings = [
        "classes=8",
        "steps=3",
        "judge=[honest]",
        "methods=[kmeans]",
        "refine=[none]",
        "seeds=1",
        "image_size=32",
    ]
    record = evaluate("colour", "segments", f"folder:{data}", [*settings, "devices=cpu"], "stego-potsdam3-vits8")
    assert record["settings"]["stego"]["neg_inter_shift"] == 0.46 and record["settings"]["steps"] == 3


@pytest.fixture
def uneven(data, tmp_path):
    """The same scenes without names of classes; the last class is in train alone."""
    root = tmp_path / "uneven"
    shutil.copytree(data, root)
    (root / "classes.txt").unlink()
    for path in (root / "labels" / "val").iterdir():
        labels = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
        cv2.imwrite(str(path), np.where(labels == len(CLASSES) - 1, 255, labels))
    return root


def test_classes_that_nobody_named_are_counted_over_both_parts(uneven):
    for split, count in (("train", len(CLASSES)), ("val", len(CLASSES) - 1)):
        assert len(open_labelled(f"folder:{uneven}", split).classes) == count
    record = judge(uneven, "methods=[linear]", "refine=[none]", "seeds=1", "image_size=32")
    assert f"{len(CLASSES)} classes" in record["data"]["judged"]
    assert 0 < record["figures"]["linear probe of features"]["miou"] <= (len(CLASSES) - 1) / len(CLASSES)


def test_a_stray_value_is_spoken_of_and_noted(uneven, capsys):
    (path,) = (uneven / "labels" / "val").glob("101.png")
    labels = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    labels[10, 3] = 200
    cv2.imwrite(str(path), labels)
    maps = [cv2.imread(str(each), cv2.IMREAD_UNCHANGED) for each in sorted((uneven / "labels").rglob("*.png"))]
    lost = sum(int((each[4:] == 255).sum()) for each in maps)
    settings = ("methods=[kmeans]", "refine=[none]", "seeds=1", "image_size=32")
    record = judge(uneven, *settings)
    (note,) = record["notes"]
    assert note.startswith("The label maps of uneven hold 0 to 7, 200, and each of these 9 values counts as a class: ")
    assert f"where 200 (1 of {12 * 60 * 80 - lost:,} labelled pixels, first in {path}) is none" in note
    assert "give ignore=[200,255]" in note
    assert note in capsys.readouterr().err and f"{len(CLASSES) + 1} classes" in record["data"]["judged"]
    mended = judge(uneven, *settings, "ignore=[200,255]")
    assert "notes" not in mended and f"{len(CLASSES)} classes" in mended["data"]["judged"]


def test_the_value_of_no_class_can_be_told(data, tmp_path):
    shutil.copytree(data, tmp_path / "other")
    for path in (tmp_path / "other" / "labels").rglob("*.png"):
        labels = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
        cv2.imwrite(str(path), np.where(labels == 255, 99, labels))
    settings = ("methods=[kmeans]", "refine=[none]", "seeds=1", "image_size=32")
    with pytest.raises(UserError, match="0.png holds 99 at column 0 of row 0, which is no class of other"):
        judge(tmp_path / "other", *settings)
    assert judge(tmp_path / "other", *settings, "ignore=99")["figures"] == judge(data, *settings)["figures"]


def test_cocostuffs_list_is_made_once_and_kept_in_the_users_cache(tmp_path, cache_folder):
    for folder in ("images", "annotations"):
        (tmp_path / folder / "val2017").mkdir(parents=True)
    cv2.imwrite(str(tmp_path / "images" / "val2017" / "a.jpg"), np.zeros((360, 360, 3), np.uint8))
    cv2.imwrite(str(tmp_path / "annotations" / "val2017" / "a.png"), np.full((360, 360), 154, np.uint8))
    config = SegmentsConfig(backbone="colour", data=f"cocostuff27:{tmp_path}", methods=[])
    said = []
    for _ in range(2):
        _, test = open_sets(config, lambda *each: said.append(each))
        assert len(test) == 1 and len(said) == 1
    assert [path.suffix for path in cache_folder.iterdir()] == [".txt"]


def test_a_stride_that_does_not_fit_the_official_squares_is_refused_before_any_features(data, tmp_path, monkeypatch):
    from densessl.backbones import create_backbone, save_backbone

    network = create_backbone("vit_tiny_patch16_224", 28, {"patch_size": 14, "depth": 1})
    save_backbone(network, tmp_path / "run", {"method": "none"})
    monkeypatch.setattr(remade, "extract", lambda *given, **more: pytest.fail("features were read"))
    with pytest.raises(UserError, match="judge=official shows 320 px, which a stride of 14 does not divide"):
        judge(data, "judge=[honest,official]", backbone=str(tmp_path / "run"))


def test_a_recipe_that_is_laid_over_another_resolves_to_what_it_was_written_out(tmp_path):
    """The settings of the official config's comments, and of the author's answers."""
    common = {"methods": ["kmeans", "stego", "linear"], "judge": ["honest", "official"], "refine": ["none", "crf"]}
    common |= {"inputs": "square", "image_size": 224, "positions": "official", "window": 1, "steps": 5000, "lr": 5e-4}
    names = ("dim", "neg_inter_weight", "pos_inter_weight", "pos_intra_weight")
    names += ("neg_inter_shift", "pos_inter_shift", "pos_intra_shift")
    city = (0.9059, 0.5775, 1.0, 0.3136, 0.1755, 0.4583)
    written = {
        "stego-cocostuff27-vits8": ("five", 27, 16, (70, 0.63, 0.25, 0.67, 0.66, 0.02, 0.08)),
        "stego-cocostuff27-vitb8": ("five", 27, 32, (90, 0.1538, 1.0, 0.1, 1.0, 0.2, 0.12)),
        "stego-cityscapes27-vits8": ("five", 27, 16, (70, *city)),
        "stego-cityscapes27-vitb8": ("five", 27, 32, (100, *city)),
        "stego-potsdam3-vits8": ("whole", 3, 16, (70, 0.63, 0.25, 0.67, 0.46, 0.02, 0.08)),
        "stego-potsdam3-vitb8": ("whole", 3, 16, (70, 0.63, 0.25, 0.67, 0.46, 0.02, 0.08)),
    }
    assert written.keys() == recipes("evaluate").keys()
    for name, (crops, classes, batch_size, stego) in written.items():
        expected = common | {"crops": crops, "classes": classes, "batch_size": batch_size}
        expected |= {"keep_size": 40} if name == "stego-cityscapes27-vitb8" else {}
        expected["stego"] = {"centre": False, "clusters": "probe"} | dict(zip(names, stego, strict=True))
        assert OmegaConf.to_container(read_yaml(name, "evaluate")) == expected


def test_a_linear_probe_is_not_asked_what_it_was_told(data):
    flat = ("learn_split=val", "refine=[none]", "seeds=1")
    with pytest.raises(UserError, match="are the same images: a linear probe would be told what it is asked"):
        judge(data, "methods=[kmeans,linear]", *flat)
    notes = judge(data, "methods=[kmeans]", *flat)["notes"]
    assert any("segments were learned from what is judged" in note for note in notes)


def test_a_base_lies_beside_its_recipe_or_is_one_that_is_shipped(tmp_path):
    (tmp_path / "own.yaml").write_text("base: stego-cocostuff27-vits8\nstego: {dim: 7}")
    (tmp_path / "mine.yaml").write_text("base: own.yaml\nsteps: 3")
    read = read_yaml(tmp_path / "mine.yaml", "evaluate")
    assert read.steps == 3 and read.stego.dim == 7 and read.stego.neg_inter_shift == 0.66 and "base" not in read
    (tmp_path / "own.yaml").write_text("base: mine.yaml")
    with pytest.raises(UserError, match="own.yaml is its own base, by way of base=.*mine.yaml: name another"):
        read_yaml(tmp_path / "mine.yaml", "evaluate")
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "config.yaml").write_text("base: .")
    with pytest.raises(UserError, match="config.yaml is its own base"):
        read_yaml(tmp_path / "run", "evaluate")
    (tmp_path / "own.yaml").write_text("base: nothing.yaml")
    with pytest.raises(UserError, match="There is no recipe '.*nothing.yaml'"):
        read_yaml(tmp_path / "mine.yaml", "evaluate")


@pytest.mark.parametrize("config", [KnnConfig, LinearConfig, FinetuneProtocol, SegmentsConfig])
def test_each_setting_of_a_protocol_is_described(config):
    text = "\n".join(inspect.getdoc(each) or "" for each in config.__mro__ if dataclasses.is_dataclass(each))
    described = {name for names in re.findall(r"((?:\w+, )*\w+):", text) for name in names.split(", ")}
    assert {field.name for field in dataclasses.fields(config)} <= described
