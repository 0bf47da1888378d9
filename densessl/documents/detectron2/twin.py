"""A detector of `densessl detect` as a model of detectron2, and one file of weights for both.

`thin` is the architecture of `densessl.documents.detection` out of detectron2's parts, Faster, Mask or Cascade R-CNN:
flat anchors, thin heads, boxes that do not depend on the class. Both find the same in the same image, as far as its
sides are multiples of the backbone's strides; others are filled up with white there and with the mean colour here.
Other recipes of `configs/detectron2` (DiT's neck, boxes for each class, heads of stock width, C4) have no twin.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import torch
from detectron2.config import LazyCall as L
from detectron2.layers import ShapeSpec
from detectron2.modeling.anchor_generator import DefaultAnchorGenerator
from detectron2.modeling.box_regression import Box2BoxTransform
from detectron2.modeling.matcher import Matcher
from detectron2.modeling.poolers import ROIPooler
from detectron2.modeling.proposal_generator import RPN, StandardRPNHead
from detectron2.modeling.roi_heads import (
    CascadeROIHeads,
    FastRCNNConvFCHead,
    FastRCNNOutputLayers,
    MaskRCNNConvUpsampleHead,
    StandardROIHeads,
)
from torch import Tensor, nn

from densessl.backbones import Backbone
from densessl.backbones.saved import describe, rebuild
from densessl.documents.detection import objects, proposals
from densessl.documents.detection.config import DetectorConfig
from densessl.documents.detection.detector import Detector

State = dict[str, Tensor]


def thin(classes: Any, backbone: Any, image_size: int, **settings: Any) -> Any:
    """The model of a LazyConfig file. classes: how many. backbone: a `page_backbone`, whose strides and channels are
    set here. image_size: pixels of a page's longest side, at which the twin is to see it. settings: of
    `DetectorConfig`."""
    from densessl.documents.detectron2.model import page_rcnn

    config = DetectorConfig(**settings)
    backbone.update(finest=config.finest, coarsest=config.coarsest, channels=config.channels)
    names = [f"p{stride.bit_length() - 1}" for stride in config.strides]
    return L(page_rcnn)(
        backbone=backbone,
        proposal_generator=_proposals(config, names),
        roi_heads=_heads(config, names, classes),
        weights=None,
        twin={"image_size": image_size, **settings},
    )


def to_detectron2(state: State, finest: int) -> State:
    """The names of a `Detector`'s tensors as those of its twin in detectron2. finest: of its strides."""
    bottom = "backbone.bottom_up." if any(name.startswith("neck.fpn.") for name in state) else "backbone."
    stages = len({name.split(".")[2] for name in state if name.startswith("objects.boxes.")})
    return {_twin_name(name, bottom, finest, stages): value for name, value in state.items()}


def detector_of(model: nn.Module, classes: Sequence[str]) -> Detector | None:
    """The detector of `densessl detect` with the weights of a model of detectron2, on the CPU; None where that has no
    twin. classes: their names."""
    if model.twin is None:
        return None
    settings = dict(model.twin)
    size, config = settings.pop("image_size"), DetectorConfig(**settings)
    backbone = next(part for part in model.modules() if isinstance(part, Backbone))
    detector = Detector(rebuild(describe(backbone), backbone.architecture), config, classes, size)
    state, names = model.state_dict(), list(detector.state_dict())
    twins = to_detectron2(dict.fromkeys(names, torch.empty(0)), config.finest)
    detector.load_state_dict({name: state[twin].cpu() for name, twin in zip(names, twins, strict=True)})
    return detector.eval()


def _twin_name(name: str, bottom: str, finest: int, stages: int) -> str:
    part, _, rest = name.partition(".")
    if part == "backbone":
        return f"{bottom}backbone.{rest}"
    if found := re.match(r"fpn\.(inner|layer)_blocks\.(\d+)\.0\.(.*)", rest if part == "neck" else ""):
        kind = {"inner": "lateral", "layer": "output"}[found[1]]
        return f"backbone.fpn_{kind}{finest.bit_length() - 1 + int(found[2])}.{found[3]}"
    if part == "neck":
        return f"backbone.neck.{rest}"
    if part == "proposals":
        names = {"conv": "conv", "objectness": "objectness_logits", "deltas": "anchor_deltas"}
        layer, _, kind = rest.partition(".")
        return f"proposal_generator.rpn_head.{names[layer]}.{kind}"
    group, place, layer, *kind = rest.split(".")
    if group == "boxes":
        number = f".{place}" if stages > 1 else ""
        whose = "box_head" if layer.startswith("fc") else "box_predictor"
        layer = {"score": "cls_score", "deltas": "bbox_pred"}.get(layer, layer)
        return f"roi_heads.{whose}{number}.{layer}.{kind[0]}"
    masks = {"0": "mask_fcn1", "2": "mask_fcn2", "4": "deconv", "6": "predictor"}
    return f"roi_heads.mask_head.{masks[place]}.{layer}"


def _proposals(config: DetectorConfig, names: list[str]) -> Any:
    return L(RPN)(
        in_features=names,
        head=L(StandardRPNHead)(in_channels=config.channels, num_anchors=len(config.sides) * len(config.ratios)),
        anchor_generator=L(DefaultAnchorGenerator)(
            sizes=[[side * stride for side in config.sides] for stride in config.strides],
            aspect_ratios=list(config.ratios),
            strides=config.strides,
            offset=0.0,
        ),
        anchor_matcher=L(Matcher)(
            thresholds=[proposals.LOW, proposals.HIGH], labels=[0, -1, 1], allow_low_quality_matches=True
        ),
        box2box_transform=L(Box2BoxTransform)(weights=proposals.PLAIN),
        batch_size_per_image=config.anchors,
        positive_fraction=proposals.POSITIVE,
        pre_nms_topk=(2 * config.train_proposals, 2 * config.proposals),
        post_nms_topk=(config.train_proposals, config.proposals),
        nms_thresh=proposals.OVERLAP,
        min_box_size=1.0,
        smooth_l1_beta=proposals.BETA,
    )


def _heads(config: DetectorConfig, names: list[str], classes: Any) -> Any:
    stages = objects.CASCADE if config.head == "cascade" else objects.FASTER
    boxes = [_box_head(config) for _ in stages]
    predictors = [_box_predictor(config, weights) for _, weights in stages]
    matchers = [
        L(Matcher)(thresholds=[overlap], labels=[0, 1], allow_low_quality_matches=False) for overlap, _ in stages
    ]
    shared = {
        "num_classes": classes,
        "batch_size_per_image": config.samples,
        "positive_fraction": objects.POSITIVE,
        "box_in_features": names,
        "box_pooler": _pooler(config, objects.PLACES),
    }
    if config.masks:
        shared["mask_in_features"], shared["mask_pooler"] = names, _pooler(config, objects.MASK_PLACES)
        shared["mask_head"] = L(MaskRCNNConvUpsampleHead)(
            input_shape=ShapeSpec(channels=config.channels, height=objects.MASK_PLACES, width=objects.MASK_PLACES),
            num_classes="${..num_classes}",
            conv_dims=[config.channels] * 3,
        )
    if config.head == "cascade":
        return L(CascadeROIHeads)(box_heads=boxes, box_predictors=predictors, proposal_matchers=matchers, **shared)
    predictors[0].num_classes = "${..num_classes}"
    return L(StandardROIHeads)(box_head=boxes[0], box_predictor=predictors[0], proposal_matcher=matchers[0], **shared)


def _pooler(config: DetectorConfig, size: int) -> Any:
    scales = [1 / stride for stride in config.strides]
    return L(ROIPooler)(output_size=size, scales=scales, sampling_ratio=2, pooler_type="ROIAlignV2")


def _box_head(config: DetectorConfig) -> Any:
    shape = ShapeSpec(channels=config.channels, height=objects.PLACES, width=objects.PLACES)
    return L(FastRCNNConvFCHead)(input_shape=shape, conv_dims=[], fc_dims=[config.hidden] * 2)


def _box_predictor(config: DetectorConfig, weights: tuple[float, ...]) -> Any:
    return L(FastRCNNOutputLayers)(
        input_shape=ShapeSpec(channels=config.hidden),
        box2box_transform=L(Box2BoxTransform)(weights=list(weights)),
        num_classes="${...num_classes}",
        cls_agnostic_bbox_reg=True,
        test_score_thresh=config.score,
        test_nms_thresh=config.overlap,
        test_topk_per_image=config.most,
    )
