"""One file of weights for the detector on torchvision's parts and for its twin in detectron2."""

from __future__ import annotations

import pytest
import torch
from safetensors.torch import load_file

pytest.importorskip("detectron2", reason="detectron2 is not installed; .ci/run brings it")

from detectron2.config import LazyCall as L
from detectron2.config import instantiate
from detectron2.structures import ImageList

from densessl.backbones import create_backbone
from densessl.documents.detection import Detector, DetectorConfig, save_detector
from densessl.documents.detectron2.backbones import page_backbone
from densessl.documents.detectron2.twin import detector_of, thin, to_detectron2
from densessl.documents.detectron2.weights import load_weights
from densessl.errors import UserError
from tests.documents.detection.conftest import HEADS, NETWORK

VIT = {"embed_dim": 32, "depth": 2, "num_heads": 2}
KINDS = {
    "faster-stages": ("resnet18", NETWORK, {"head": "faster"}),
    "cascade-stages": ("resnet18", NETWORK, {"head": "cascade", "finest": 4, "coarsest": 32}),
    "mask-simple": ("vit_tiny_patch16_224", VIT, {"head": "faster", "masks": True}),
    "cascade-mask-simple": ("vit_tiny_patch16_224", VIT, {"head": "cascade", "masks": True}),
}


@pytest.fixture(params=KINDS, scope="module")
def pair(request, tmp_path_factory) -> tuple[Detector, torch.nn.Module]:
    """A detector with weights that tell objects apart, and its twin, which has them from the detector's file."""
    name, options, settings = KINDS[request.param]
    settings = HEADS | {"score": 0.0} | settings
    torch.manual_seed(0)
    detector = Detector(create_backbone(name, 224, options), DetectorConfig(**settings), ["text", "table"], 128).eval()
    for part in (detector.proposals, detector.objects):
        for each in part.parameters():
            torch.nn.init.normal_(each, std=0.1)
    path = save_detector(detector, tmp_path_factory.mktemp("twin"), {})
    config = thin(2, L(page_backbone)(spec=name, options=options), image_size=128, **settings)
    torch.manual_seed(1)
    model = instantiate(config).eval()
    assert load_weights(model, path) == []
    return detector, model


@pytest.fixture(scope="module")
def image() -> torch.Tensor:
    return torch.randint(0, 256, (3, 128, 96), generator=torch.Generator().manual_seed(2), dtype=torch.uint8)


@torch.inference_mode()
def test_anchors_scores_and_deltas_of_proposals_are_the_same(pair, image):
    detector, model = pair
    maps = detector.neck(detector.backbone.feature_maps(detector.backbone.normalise(image[None]), detector.neck.layers))
    theirs = model.backbone(model.preprocess_image([{"image": image}]).tensor)
    for one, other in zip(maps, theirs.values(), strict=True):
        torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-4)
    scores, deltas = model.proposal_generator.rpn_head(list(theirs.values()))
    for each, score, delta in zip(maps, scores, deltas, strict=True):
        hidden = detector.proposals.conv(each).relu()
        torch.testing.assert_close(detector.proposals.objectness(hidden), score, atol=1e-4, rtol=1e-4)
        torch.testing.assert_close(detector.proposals.deltas(hidden), delta, atol=1e-4, rtol=1e-4)
    (boxes,), _ = detector.proposals(maps, [(128, 96)], None)
    (found,), _ = model.proposal_generator(ImageList(image[None], [(128, 96)]), theirs)
    assert len(boxes) > 5
    torch.testing.assert_close(boxes, found.proposal_boxes.tensor, atol=1e-3, rtol=1e-4)


@torch.inference_mode()
def test_both_find_the_same_boxes_classes_scores_and_masks(pair, image):
    detector, model = pair
    (mine,) = detector(detector.backbone.normalise(image[None]), [(128, 96)])
    (theirs,) = model.inference([{"image": image}], do_postprocess=False)
    assert len(mine.boxes) > 5
    torch.testing.assert_close(mine.scores, theirs.scores, atol=1e-4, rtol=0)
    torch.testing.assert_close(mine.boxes, theirs.pred_boxes.tensor, atol=1e-2, rtol=1e-4)
    assert torch.equal(mine.classes, theirs.pred_classes)
    if detector.config.masks:
        torch.testing.assert_close(mine.masks, theirs.pred_masks[:, 0], atol=1e-3, rtol=0)


def test_a_model_of_detectron2_goes_back_to_the_very_file(pair, tmp_path):
    detector, model = pair
    again = detector_of(model, ["text", "table"])
    first, second = (
        load_file(save_detector(each, tmp_path / name, {})) for each, name in ((detector, "a"), (again, "b"))
    )
    assert first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)
    assert again.image_size == 128 and again.config == detector.config


def test_every_tensor_has_a_name_of_its_own(pair):
    detector, model = pair
    state = detector.state_dict()
    assert set(to_detectron2(state, detector.config.finest)) == set(model.state_dict())


def test_weights_of_another_head_are_told_by_name(pair, tmp_path):
    detector, _ = pair
    path = save_detector(detector, tmp_path, {})
    other = {"faster": "cascade", "cascade": "faster"}[detector.config.head]
    backbone = detector.backbone
    spec = L(page_backbone)(spec=backbone.architecture, options=VIT if "vit" in backbone.architecture else NETWORK)
    strides = {"finest": detector.config.finest, "coarsest": detector.config.coarsest}
    model = instantiate(thin(2, spec, image_size=128, **HEADS, **strides, head=other))
    with pytest.raises(UserError, match=r"lacks .* of its tensors \(.*roi_heads\.box_head"):
        load_weights(model, path)
