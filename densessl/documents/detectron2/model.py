"""The detectors of the recipes: detectron2's R-CNN on a backbone of ours, with weights from any of their files."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from detectron2.modeling import Backbone
from detectron2.modeling.meta_arch import GeneralizedRCNN
from omegaconf import OmegaConf
from torch import nn

from densessl.documents.detectron2.backbones import pixels
from densessl.documents.detectron2.weights import load_weights


def page_rcnn(
    backbone: Backbone,
    proposal_generator: nn.Module,
    roi_heads: nn.Module,
    weights: str | None = None,
    twin: Mapping[str, Any] | None = None,
) -> GeneralizedRCNN:
    """A detector that sees RGB in [0, 255], normalised as its backbone wants it.

    This is the one place where detectron2 is told so; its default would be BGR and the means of Caffe's networks.
    weights: a file of `load_weights` to begin with; what it leaves as it is, is logged. twin: what `twin.thin` says of
    the detector without detectron2 that is the same.
    """
    mean, std = pixels(backbone)
    model = GeneralizedRCNN(
        backbone=backbone,
        proposal_generator=proposal_generator,
        roi_heads=roi_heads,
        pixel_mean=mean,
        pixel_std=std,
        input_format="RGB",
    )
    model.twin = None if twin is None else plain(twin)
    if weights:
        for sentence in load_weights(model, weights):
            logging.getLogger("detectron2").info(sentence)
    return model


def plain(settings: Any) -> Any:
    """Settings of OmegaConf as dicts and lists."""
    return OmegaConf.to_container(settings, resolve=True) if OmegaConf.is_config(settings) else settings
