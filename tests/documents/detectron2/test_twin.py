"""One file of weights for the detector on torchvision's parts and for its twin in detectron2."""

from __future__ import annotations

from dataclasses import asdict, replace

import pytest
import torch
from safetensors.torch import load_file

pytest.importorskip("detectron2", reason="detectron2 is not installed; .ci/run brings it")

from detectron2.config import LazyCall as L
from detectron2.config import instantiate
from detectron2.structures import BitMasks, Boxes, ImageList, Instances
from detectron2.utils.events import EventStorage

from densessl.backbones import create_backbone
from densessl.documents.detection import Detector, DetectorConfig, save_detector
from densessl.documents.detectron2.backbones import page_backbone
from densessl.documents.detectron2.learning import parameter_groups
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


def test_losses_and_what_they_ask_of_the_maps_are_the_same(pair, image):
    """Of all anchors and all proposals, so that neither draws a share of them."""
    detector, model = pair
    everything = replace(detector.config, anchors=10**6, samples=4000)
    twin = instantiate(thin(2, _backbone(detector), image_size=128, **asdict(everything)))
    twin.load_state_dict(model.state_dict())
    mine = Detector(detector.backbone, everything, ["text", "table"], 128)
    mine.load_state_dict(detector.state_dict())
    mine.train(), twin.train()
    # Large objects, so that neither has too many proposals that fit them.
    boxes, classes = torch.tensor([[5.0, 5, 60, 70], [30, 60, 90, 120]]), torch.tensor([0, 1])
    shapes = torch.zeros(2, 128, 96, dtype=torch.uint8)
    for shape, (x0, y0, x1, y1) in zip(shapes, boxes.long().tolist(), strict=True):
        shape[y0:y1, x0:x1] = 1
    target = {"boxes": boxes, "classes": classes, "known": torch.tensor([True, True]), "aside": torch.zeros(0, 4)}
    truth = Instances((128, 96), gt_boxes=Boxes(boxes), gt_classes=classes)
    if everything.masks:
        target["masks"], truth.gt_masks = shapes, BitMasks(shapes.bool())
    with torch.no_grad():
        seen = mine.neck(mine.backbone.feature_maps(mine.backbone.normalise(image[None]), mine.neck.layers))
    maps = [each.clone().requires_grad_() for each in seen]
    proposals, losses = mine.proposals(maps, [(128, 96)], [target])
    losses = losses | mine.objects.losses(maps, proposals, [(128, 96)], [target])
    theirs = {
        name: each.clone().requires_grad_() for name, each in zip(twin.backbone.output_shape(), seen, strict=True)
    }
    images = ImageList(torch.zeros(1, 3, 128, 96), [(128, 96)])
    with EventStorage():
        _, others = twin.proposal_generator(images, theirs, [truth])
        given = Instances(
            (128, 96), proposal_boxes=Boxes(proposals[0]), objectness_logits=torch.ones(len(proposals[0]))
        )
        others |= twin.roi_heads(images, theirs, [given], [truth])[1]
    assert sum(losses.values()).item() == pytest.approx(sum(others.values()).item(), rel=1e-4)
    parts = {"objectness": "loss_rpn_cls", "proposals": "loss_rpn_loc", "masks": "loss_mask"}
    for name in parts.keys() & losses.keys():
        assert losses[name].item() == pytest.approx(others[parts[name]].item(), rel=1e-4)
    one = torch.autograd.grad(sum(losses.values()), maps, allow_unused=True)
    other = torch.autograd.grad(sum(others.values()), list(theirs.values()), allow_unused=True)
    for each, its in zip(one, other, strict=True):
        torch.testing.assert_close(each, its, rtol=1e-3, atol=1e-5 * float(its.abs().max()) + 1e-7)


def test_each_parameter_has_the_same_rate_and_decays_alike_in_both(pair):
    detector, model = pair
    one, other = {}, {}
    for groups, found in ((detector.parameter_groups(0.5), one), (parameter_groups(model, 1.0, 0.5), other)):
        for group in groups:
            told = group.get("lr", group.get("lr_scale", 1.0)), group.get("weight_decay") != 0
            found |= {id(each): told for each in group["params"]}
    twins, own = dict(model.named_parameters()), dict(detector.named_parameters())
    names = zip(own, to_detectron2(own, detector.config.finest), strict=True)
    assert {name: one[id(own[name])] for name in own} == {name: other[id(twins[its])] for name, its in names}
    assert len({rate for rate, _ in one.values()}) > 3


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
    spec = _backbone(detector)
    strides = {"finest": detector.config.finest, "coarsest": detector.config.coarsest}
    model = instantiate(thin(2, spec, image_size=128, **HEADS, **strides, head=other))
    with pytest.raises(UserError, match=r"lacks .* of its tensors \(.*roi_heads\.box_head"):
        load_weights(model, path)


def _backbone(detector: Detector):
    name = detector.backbone.architecture
    return L(page_backbone)(spec=name, options=VIT if "vit" in name else NETWORK)
