"""The recipes of STEGO's paper run as they stand, on small trees in each set's own layout with a tiny ViT."""

from __future__ import annotations

import re

import numpy as np
import pytest
from omegaconf import OmegaConf
from PIL import Image
from torchvision.transforms import CenterCrop, Compose, InterpolationMode, Resize
from torchvision.transforms.functional import five_crop

from densessl.backbones import create_backbone, save_backbone
from densessl.config import build, read_yaml, recipes
from densessl.errors import UserError
from densessl.evaluation import evaluate
from densessl.evaluation.labelled import learned_images
from densessl.evaluation.segments import SegmentsConfig
from densessl.segmentation.features.transform import Frame
from densessl.segmentation.sets import open_labelled
from tests.segmentation.sets.conftest import Tree

# The paper's figures, accuracy and mIoU in per cent, that a recipe has to name; of potsdam3-vitb8 there is none.
PUBLISHED = {
    "stego-cocostuff27-vits8": ("48.3", "24.5"),
    "stego-cocostuff27-vitb8": ("56.9", "28.2"),
    "stego-cityscapes27-vits8": ("69.8", "17.6"),
    "stego-cityscapes27-vitb8": ("73.2", "21.0"),
    "stego-potsdam3-vits8": ("77.0", "62.6"),
    "stego-potsdam3-vitb8": (),
}
FEW = ["steps=2", "seeds=1", "image_size=32", "refine_size=40", "devices=cpu", "stego.dim=6", "stego.feature_samples=3"]
FEW += ["crf.iterations=1"]


def cocostuff(tree: Tree) -> None:
    for part in ("train2017", "val2017"):
        for name in ("000000000009", "000000000025"):
            tree.image(f"images/{part}/{name}.jpg", 64, 96, seed=int(name))
            tree.map(f"annotations/{part}/{name}.png", np.arange(64 * 96, dtype=np.uint16).reshape(64, 96) % 182)
        tree.text(f"curated/{part}/Coco164kFull_Stuff_Coarse_7.txt", "000000000009", "000000000025")


def cityscapes(tree: Tree) -> None:
    for split, city in (("train", "aachen"), ("val", "lindau")):
        for number in range(2):
            name = f"{split}/{city}/{city}_{number:06}_000019"
            tree.image(f"leftImg8bit/{name}_leftImg8bit.png", 64, 128, seed=number)
            tree.map(f"gtFine/{name}_gtFine_labelIds.png", np.arange(64 * 128, dtype=np.uint8).reshape(64, 128) % 34)


def potsdam(tree: Tree) -> None:
    for name in range(4):
        image = np.random.default_rng(name).integers(0, 256, (40, 40, 4), dtype=np.uint8)
        tree.mat(f"imgs/{name}.mat", img=image)
        tree.mat(f"gt/{name}.mat", gt=np.arange(1600).reshape(40, 40) % 6)
    tree.text("labelled_train.txt", "0", "1")
    tree.text("labelled_test.txt", "2", "3")


TREES = {"cocostuff27": cocostuff, "cityscapes27": cityscapes, "potsdam3": potsdam}


@pytest.fixture
def tree(tmp_path) -> Tree:
    return Tree(tmp_path / "data")


@pytest.fixture(scope="module")
def vit(tmp_path_factory) -> str:
    """A ViT of patch 8, two blocks and 16 channels."""
    folder = tmp_path_factory.mktemp("vit")
    options = {"embed_dim": 16, "depth": 2, "num_heads": 2, "patch_size": 8}
    save_backbone(create_backbone("vit_tiny_patch16_224", 224, options), folder, {})
    return str(folder)


def judged(name: str, tree: Tree, vit: str, *settings: str) -> dict:
    data = name.split("-")[1]
    TREES[data](tree)
    return evaluate(vit, "segments", f"{data}:{tree}", [*FEW, *settings], name)


@pytest.mark.parametrize("name", recipes("evaluate"))
def test_a_recipe_runs_on_its_set_and_judges_both_ways(name, tree, vit):
    record = judged(name, tree, vit)
    titles = [f"{way}: {found}{crf}" for way in ("honest", "official") for crf in ("", ", crf")
              for found in ("kmeans", "stego", "linear probe of stego", "linear probe of features")]  # fmt: skip
    assert all(0 <= record["figures"][title]["miou"] <= 1 for title in titles)
    assert "square in the middle" in record["data"]["learned from"] and "notes" not in record
    assert ("five crops" in record["data"]["learned from"]) == ("potsdam" not in name)


def test_there_is_a_recipe_of_both_networks_for_each_set_and_it_names_the_papers_figures():
    assert set(recipes("evaluate")) == PUBLISHED.keys()
    for name, figures in PUBLISHED.items():
        text = recipe_text(name)
        assert all(f"{figure} %" in text for figure in figures)
        assert re.search(r"Needs, by arithmetic, not measured .* GB of disk", text)


@pytest.mark.parametrize("name", recipes("evaluate"))
def test_the_figures_of_a_recipes_disk_are_those_of_its_arithmetic(name):
    """Tokens of a square of 224 px at patch 8, in float32, of all crops; kept where keep_size allows."""
    given = OmegaConf.create({"backbone": "colour", "data": "x"})
    config = build(SegmentsConfig, given, read_yaml(name, "evaluate"))
    crops = {"cocostuff27": 5 * 49_629, "cityscapes27": 5 * 2975, "potsdam3": 8550 - 855}[name.split("-")[1]]
    gigabytes = crops * (224 // 8) ** 2 * (384 if "vits" in name else 768) * 4 / 1e9
    text = recipe_text(name)
    assert f"{gigabytes:.3g} GB" in text
    assert ("made anew" in text) == (gigabytes > config.keep_size) == ("cocostuff" in name)


def recipe_text(name: str) -> str:
    """Its words, wherever its lines end."""
    return " ".join(recipes("evaluate")[name].read_text(encoding="utf-8").replace("\n# ", " ").split())


def test_figures_are_the_same_where_features_are_made_anew_for_each_step(tmp_path, vit, capsys):
    few = ("judge=[honest]", "refine=[none]", "cache=none")
    found = [
        judged("stego-cityscapes27-vits8", Tree(tmp_path / name), vit, *few, keep)["figures"]
        for name, keep in (("kept", "keep_size=1"), ("made", "keep_size=0"))
    ]
    assert found[0] == found[1]
    assert "10 pictures would take" in capsys.readouterr().err


def test_squares_of_five_crops_are_those_of_the_official_transforms(tree):
    cityscapes(tree)
    train = open_labelled(f"cityscapes27:{tree}", "train")
    learned = learned_images(train, "five", "square", Frame(16, 8))
    transform = Compose([Resize(16, InterpolationMode.NEAREST), CenterCrop(16)])
    image, labels = train.source.read(1), train.labels(1).astype(np.int32)
    crops = zip(five_crop(Image.fromarray(image), (32, 64)), five_crop(Image.fromarray(labels), (32, 64)), strict=True)
    for number, (picture, map_) in enumerate(crops):
        found = learned.source.read(5 + number)
        np.testing.assert_array_equal(found, np.asarray(transform(picture)))
        np.testing.assert_array_equal(Frame(16, 8).show(found), found)
        np.testing.assert_array_equal(learned.labels(5 + number), np.asarray(transform(map_)))


def test_squares_that_the_stride_does_not_divide_are_a_sentence(tree, vit):
    with pytest.raises(UserError, match="inputs=square shows 36 px, which a stride of 8 does not divide"):
        judged("stego-potsdam3-vits8", tree, "colour", "image_size=36", "judge=[honest]", "methods=[kmeans]")
    with pytest.raises(UserError, match="inputs=round is not one of: whole, square"):
        judged("stego-potsdam3-vits8", tree, vit, "inputs=round")


def test_learning_from_other_inputs_than_are_judged_is_noted(tree, vit):
    record = judged("stego-potsdam3-vits8", tree, vit, "inputs=whole", "refine=[none]", "methods=[kmeans]")
    assert any("inputs=square" in note for note in record["notes"])
