"""What a detector learns and finds, and the file it is kept in."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from densessl.backbones import create_backbone
from densessl.documents.detection import Detector, DetectorConfig, load_detector, save_detector
from densessl.documents.detection.objects import masks_on_boxes, partial_cross_entropy
from densessl.errors import UserError
from tests.documents.detection.conftest import HEADS, small_detector


def target(known: list[bool], boxes: list | None = None, classes: list | None = None) -> dict:
    return {
        "boxes": torch.tensor(boxes or []).float().reshape(-1, 4),
        "classes": torch.tensor(classes or [], dtype=torch.int64),
        "known": torch.tensor(known),
        "aside": torch.zeros(0, 4),
    }


def gradients(detector: Detector, page: dict) -> dict[str, torch.Tensor]:
    detector.zero_grad()
    sum(detector(torch.randn(1, 3, 64, 64), [(64, 48)], [page]).values()).backward()
    return {name: each.grad for name, each in detector.named_parameters() if each.grad is not None}


def test_the_loss_of_labels_that_are_all_known_is_the_cross_entropy():
    scores, classes = torch.randn(20, 4), torch.randint(0, 4, (20,))
    found = partial_cross_entropy(scores, classes, torch.ones(20, 3, dtype=torch.bool))
    torch.testing.assert_close(found, torch.nn.functional.cross_entropy(scores, classes, reduction="none"))


def test_of_a_region_without_an_object_only_what_is_known_is_learned():
    scores = torch.randn(1, 4, dtype=torch.float64)
    shares = scores.softmax(1)[0]
    # The second class is unknown on the page: the region may show it, or nothing.
    found = partial_cross_entropy(scores, torch.tensor([3]), torch.tensor([[True, False, True]]))
    assert float(found) == pytest.approx(-math.log(shares[3] + shares[1]))


def test_a_region_that_surely_shows_an_unknown_class_gives_no_gradient():
    scores = torch.tensor([[-40.0, 40.0, 0.0]], requires_grad=True)
    partial_cross_entropy(scores, torch.tensor([2]), torch.tensor([[True, False]])).backward()
    assert scores.grad.abs().max() < 1e-6
    scores.grad = None
    partial_cross_entropy(scores, torch.tensor([2]), torch.tensor([[True, True]])).backward()
    assert scores.grad.abs().max() > 0.9


@pytest.mark.parametrize("head", ["faster", "cascade"])
def test_a_page_on_which_no_class_is_labelled_teaches_nothing(head):
    found = gradients(small_detector(head=head), target([False, False]))
    assert all(not each.any() for each in found.values())


def test_a_page_without_objects_teaches_that_there_is_nothing():
    found = gradients(small_detector(), target([True, True]))
    assert found["proposals.objectness.weight"].any() and found["objects.boxes.0.score.weight"].any()


def test_anchors_beside_objects_are_left_out_where_a_class_is_unknown():
    table = {"boxes": [[8, 8, 40, 40]], "classes": [1]}
    partly, wholly = (
        gradients(small_detector(anchors=4096), target(known, **table))["proposals.objectness.bias"]
        for known in ([False, True], [True, True])
    )
    # All that counts is an object: scores are pushed up, and never down.
    assert (partly <= 0).all() and partly.sum() < 0 < wholly.sum()


def test_masks_are_asked_for_only_where_there_is_a_head_for_them():
    page = target([True, True], [[8, 8, 40, 40]], [1])
    assert not any(name.startswith("objects.masks") for name in gradients(small_detector(), page))
    page["masks"] = torch.ones(1, 64, 64, dtype=torch.uint8)
    found = gradients(small_detector(masks=True), page)
    assert found["objects.masks.0.weight"].any()


def test_a_mask_is_seen_through_its_box():
    mask = torch.zeros(2, 40, 40, dtype=torch.uint8)
    mask[1, 10:20, 10:30] = 1
    (seen,) = masks_on_boxes(mask, torch.tensor([[10.0, 10.0, 30.0, 30.0]]), torch.tensor([1]), 4)
    assert seen.tolist() == [[1] * 4, [1] * 4, [0] * 4, [0] * 4]


@pytest.mark.parametrize("name", ["resnet18", "vit_tiny_patch16_224"])
def test_maps_have_the_strides_that_were_asked_for(name):
    options = {"embed_dim": 32, "depth": 2, "num_heads": 2} if "vit" in name else {}
    detector = Detector(create_backbone(name, 64, options), DetectorConfig(**HEADS), ["text"], 64)
    maps = detector.neck(detector.backbone.feature_maps(torch.randn(1, 3, 160, 96), detector.neck.layers))
    assert [each.shape[1:] for each in maps] == [
        (16, math.ceil(160 / stride), math.ceil(96 / stride)) for stride in (8, 16, 32, 64, 128)
    ]


def test_boxes_are_in_the_pixels_of_the_page_that_was_given():
    found = small_detector(score=0.0).eval().find(np.full((400, 300, 3), 255, np.uint8))
    assert len(found.boxes) and (found.boxes >= 0).all()
    assert found.boxes[:, 2].max() <= 300 + 1e-3 and 200 < found.boxes[:, 3].max() <= 400 + 1e-3


def test_layers_of_the_backbone_learn_slower_the_further_they_are_from_its_end():
    detector = small_detector()
    groups = detector.parameter_groups(0.5)
    rates = {id(each): group.get("lr_scale", 1.0) for group in groups for each in group["params"]}
    assert len(rates) == sum(1 for _ in detector.parameters())
    model = detector.backbone.model
    assert rates[id(model.conv1.weight)] < rates[id(model.layer1[0].conv1.weight)] < 1
    assert rates[id(model.layer1[0].conv1.weight)] < rates[id(model.layer4[0].conv1.weight)]
    assert rates[id(detector.proposals.conv.weight)] == 1
    plain = {id(each) for group in groups if group.get("weight_decay") == 0 for each in group["params"]}
    assert plain == {id(each) for each in detector.parameters() if each.ndim <= 1}


def test_positions_and_class_token_of_a_transformer_do_not_decay():
    vit = create_backbone("vit_tiny_patch16_224", 64, {"embed_dim": 32, "depth": 2, "num_heads": 2})
    model = vit.model
    groups = Detector(vit, DetectorConfig(**HEADS), ["text"], 64).parameter_groups(0.5)
    plain = {id(each) for group in groups if group.get("weight_decay") == 0 for each in group["params"]}
    assert {id(model.pos_embed), id(model.cls_token)} < plain and id(model.blocks[0].mlp.fc1.weight) not in plain


def test_a_saved_detector_finds_the_same(tmp_path):
    detector, page = small_detector(score=0.0, masks=True).eval(), np.full((80, 60, 3), 200, np.uint8)
    save_detector(detector, tmp_path, {})
    again = load_detector(tmp_path)
    assert again.classes == ["text", "table"]
    assert torch.equal(again.find(page).boxes, detector.find(page).boxes)
    assert torch.equal(again.find(page).masks, detector.find(page).masks)


def test_a_file_that_is_no_detector_is_told_so(tmp_path):
    with pytest.raises(UserError, match="There is no detector"):
        load_detector(tmp_path)
    path = save_detector(small_detector(), tmp_path, {})
    tensors = load_file(path)
    save_file(tensors, path)
    with pytest.raises(UserError, match="describes no detector"):
        load_detector(path)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"head": "fast"}, "did you mean 'faster'"),
        ({"finest": 12}, "no stride"),
        ({"finest": 64, "coarsest": 8}, "must be below"),
        ({"ratios": [0.0]}, "above 0"),
        ({"score": 1.5}, "from 0 to 1"),
    ],
)
def test_settings_that_cannot_be_are_told(options, sentence):
    with pytest.raises(UserError, match=sentence):
        DetectorConfig(**options)


def test_a_stride_that_no_map_can_have_is_told():
    with pytest.raises(UserError, match="detector.finest"):
        Detector(create_backbone("resnet18", 64, {"stem": "small"}), DetectorConfig(finest=64), ["text"], 64)


def test_the_runner_up_of_an_object_is_the_most_probable_of_the_other_classes():
    detector = small_detector(("text", "table", "figure"), score=0.3)
    boxes = torch.tensor([[0.0, 0, 10, 10], [30, 30, 50, 50], [5, 5, 5, 9]])
    shares = torch.tensor([[0.6, 0.1, 0.2, 0.1], [0.35, 0.45, 0.0, 0.2], [0.9, 0.1, 0.0, 0.0]])
    found = detector.objects._kept(boxes, shares)
    rows = zip(
        found.classes.tolist(), found.scores.tolist(), *(each.tolist() for each in found.runners_up), strict=True
    )
    rounded = [(kind, round(score, 2), other, round(of_other, 2)) for kind, score, other, of_other in rows]
    # The second box is found as either of two classes; the third is no box.
    assert rounded == [(0, 0.6, 2, 0.2), (1, 0.45, 0, 0.35), (0, 0.35, 1, 0.45)]


def test_a_detector_of_one_class_has_no_runner_up():
    box, shares = torch.tensor([[0.0, 0, 10, 10]]), torch.tensor([[0.7, 0.3]])
    found = small_detector(("table",)).objects._kept(box, shares)
    assert found.runners_up[1].tolist() == [0.0]
