"""Recipes of configs/detectron2 with networks and pages so small that they learn within seconds."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

from tests.documents.detection.conftest import write_set

if importlib.util.find_spec("detectron2"):
    import densessl.documents.detectron2  # noqa: F401, which makes it ready before a test imports it

DIT = {
    "embed_dim": 24,
    "depth": 6,
    "num_heads": 2,
    "use_abs_pos_emb": True,
    "use_rel_pos_bias": False,
    "init_values": 0.1,
}
RESNET = {"channels": [16, 16, 16, 16], "layers": [1, 1, 1, 1], "stem_width": 16}
PAGE = 64  # pixels of a page's longest side


@pytest.fixture(scope="session")
def pages_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_set(tmp_path_factory.mktemp("pages") / "set")


def small(recipe: str, pages: Path, out: Path | str = "nowhere", *more: str):
    """A shipped recipe with its overrides -> a config of a small network with thin heads, on a set of small pages."""
    from densessl.documents.detectron2 import run

    config, _ = run.read(recipe, overrides(pages, out, *more))
    return shrink(config)


def overrides(pages: Path, out: Path | str, *more: str) -> list[str]:
    return [
        f"pages.data=coco:{pages}",
        f"pages.val=coco:{pages}",
        "pages.split=null",
        "pages.val_split=null",
        "pages.classes=[text,table]",
        "pages.val_share=0",
        f"train.output_dir={out}",
        "train.device=cpu",
        "train.amp.enabled=false",
        "train.max_iter=2",
        "dataloader.train.total_batch_size=2",
        "dataloader.train.num_workers=0",
        "dataloader.test.num_workers=0",
        f"dataloader.test.mapper.augmentations.0.short_edge_length={PAGE}",
        f"dataloader.test.mapper.augmentations.0.max_size={PAGE}",
        *more,
    ]


def shrink(config):
    """Heads of 16 channels in the place of 1,024; a network as small as its kind allows."""
    from detectron2.layers import ShapeSpec

    model = config.model
    spec = model.backbone.spec
    model.backbone.options = RESNET if spec.startswith("resnet") else DIT
    heads = model.roi_heads
    if "res5" in heads:  # four times as wide as the channels say, since the blocks are bottlenecks
        model.proposal_generator.head.in_channels = 64
        heads.box_predictor.input_shape = ShapeSpec(channels=64, height=1, width=1)
        return config
    boxes = [heads.box_head] if "box_head" in heads else list(heads.get("box_heads", []))
    predictors = [heads.box_predictor] if "box_predictor" in heads else list(heads.box_predictors)
    for box, predictor in zip(boxes, predictors, strict=False):
        box.fc_dims = [16, 16]
        predictor.input_shape = ShapeSpec(channels=16)
    if "mask_head" in heads:
        heads.mask_head.conv_dims = [16, 16]
    return config


SMALL = ("model.backbone.options={channels: [16, 16, 16, 16], layers: [1, 1, 1, 1], stem_width: 16}",)


def silent(sentence: str) -> None:
    pass


def quick(pages: Path, out: Path, *more: str) -> list[str]:
    return overrides(pages, out, *SMALL, *more)
