"""What DeepCluster's paper says: clusters of what, which images are drawn, what begins anew."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from numpy.random import Generator, Philox
from torch import nn

from densessl.backbones import create_backbone
from densessl.methods import deepcluster as module
from densessl.methods import methods
from densessl.methods.deepcluster import MIDDLE, last_relu, without
from densessl.training.config import OptimizerConfig
from densessl.training.optimizer import create_optimizer
from tests.methods.conftest import NETWORKS, SIZE, RandomImages, batch_for, begin_epoch, build, one_step, progress


def small(network: str) -> nn.Module:
    architecture, options = NETWORKS[network]
    return create_backbone(architecture, SIZE, options)


def rng(seed: int = 0) -> Generator:
    return Generator(Philox(key=seed))


def test_the_loss_is_the_cross_entropy_of_the_clusters():
    method = build("deepcluster")
    batch = batch_for(method)
    with torch.no_grad():
        p = F.softmax(method.classifier(method.backbone(batch["views"][0])), dim=1)
        right = p[torch.arange(8), method.assignments[batch["index"]]]
    assert float(method(batch).loss.detach()) == pytest.approx(float(-right.log().mean()), rel=1e-5)


def test_features_are_taken_in_evaluation_mode_without_the_last_relu(monkeypatch):
    method = build("deepcluster")
    taken: dict[str, torch.Tensor] = {}
    monkeypatch.setattr(module, "whitened", lambda features, *rest: taken.setdefault("features", features))
    state = {key: value.clone() for key, value in method.backbone.state_dict().items()}
    begin_epoch(method, progress(10))
    assert float(taken["features"].min()) < 0
    assert all(torch.equal(value, state[key]) for key, value in method.backbone.state_dict().items())
    assert all(part.training for part in method.modules())
    # The ReLU is back for training, and it is all that was missing: of one cell, what is pooled is what it is given.
    x = torch.randn(4, 3, 8, 8)
    method.eval()
    with torch.no_grad():
        with without(method.backbone, method.last_relu):
            bare = method.backbone(x)
        torch.testing.assert_close(method.backbone(x), bare.relu())


@pytest.mark.parametrize(
    ("architecture", "options", "ends"),
    [
        ("resnet18", NETWORKS["resnet"][1], "model.layer4.0.act2"),
        ("resnet50", {"channels": [8, 8, 16, 16], "layers": [1, 1, 1, 1], "stem_width": 8}, "model.layer4.0.act3"),
        ("regnetx_002", {}, "model.s4.b7.act3"),
        ("resnetv2_50", {"channels": [8, 8, 16, 16], "layers": [1, 1, 1, 1], "stem_chs": 8}, "model.norm.act"),
        ("convnext_atto", {}, None),
        ("efficientnet_b0", {}, None),
        ("vit_tiny_patch16_224", NETWORKS["vit"][1], None),
    ],
)
def test_the_last_relu_is_found_where_the_network_ends_in_one(architecture, options, ends):
    found = last_relu(create_backbone(architecture, 32, options))
    assert (found is None) == (ends is None)
    if ends:
        assert found.split(".")[-1] == ends.split(".")[-1] and found.split(".")[1] == ends.split(".")[1]


def test_each_image_is_looked_at_as_the_square_in_its_middle():
    from densessl.data.views import draw, generator

    drawn = draw(MIDDLE, 40, 60, generator(0, 3, 5), 16)
    assert (drawn.x, drawn.y, drawn.width, drawn.height) == (10, 0, 40, 40)
    plain = (drawn.flip, drawn.brightness, drawn.contrast, drawn.saturation, drawn.hue, drawn.grey, drawn.sigma)
    assert plain == (False, 1.0, 1.0, 1.0, 0.0, False, 0.0)


def test_images_are_drawn_so_that_every_cluster_comes_as_often():
    method = build("deepcluster", data_size=64)
    method.assignments.copy_(torch.tensor([0] * 50 + [1] * 10 + [3] * 3 + [7]))
    order = method.draw_order(rng())
    assert len(order) == 64
    counts = np.bincount(method.assignments.numpy()[order], minlength=8)
    assert counts[[0, 1, 3, 7]].tolist() == [16, 16, 16, 16] and counts.sum() == 64
    # No image of a cluster comes again before all others have.
    times = np.bincount(order, minlength=64)
    assert times[:50].max() == 1 and set(times[50:60]) == {1, 2} and set(times[60:63]) == {5, 6} and times[63] == 16
    assert not np.array_equal(order, method.draw_order(rng(1)))
    assert np.array_equal(order, method.draw_order(rng()))


def test_a_number_of_clusters_that_does_not_divide_the_images():
    method = build("deepcluster", data_size=64)
    method.assignments.copy_(torch.arange(64) % 5)
    order = method.draw_order(rng())
    counts = np.bincount(method.assignments.numpy()[order], minlength=5)
    assert len(order) == 64 and counts.sum() == 64 and counts.max() <= 13 and counts.min() >= 12


def test_the_classifier_begins_anew_with_each_clustering_and_forgets_its_momentum():
    method = build("deepcluster", clusters=32, data_size=512)
    optimizer = torch.optim.SGD(method.parameters(), lr=0.5, momentum=0.9)
    one_step(method, optimizer, batch_for(method), progress(0))
    assert method.classifier.bias.any()
    anew = method.epoch_start(progress(10), RandomImages(method, 512))
    assert {id(each) for each in anew} == {id(each) for each in method.classifier.parameters()}
    assert not method.classifier.bias.any()
    assert float(method.classifier.weight.detach().std()) == pytest.approx(0.01, rel=0.1)
    assert abs(float(method.classifier.weight.detach().mean())) < 0.002


def test_each_epoch_clusters_from_another_start():
    """The same network and images; what differs is where k-means begins."""
    method = build("deepcluster")
    before = method.assignments.clone()
    begin_epoch(method, progress(10))
    assert not torch.equal(method.assignments, before)
    assert (torch.bincount(method.assignments, minlength=8) > 0).all()


def test_with_sobel_the_exported_backbone_takes_rgb_and_is_the_one_that_was_trained(tmp_path):
    from densessl.backbones import load_backbone, save_backbone

    method = build("deepcluster")
    assert method.backbone.model.conv1.weight.shape[1] == 2
    one_step(method, torch.optim.SGD(method.parameters(), lr=0.1), batch_for(method), progress(0))
    save_backbone(method.backbone.eval(), tmp_path, {})
    images = torch.randn(2, 3, 16, 16)
    torch.testing.assert_close(load_backbone(tmp_path).eval()(images), method.backbone(images))
    grey = images.mean(1, keepdim=True).expand(-1, 3, -1, -1)
    torch.testing.assert_close(method.backbone(grey), method.backbone(images))
    assert any("edges" in note for note in method.backbone.notes)


def test_without_sobel_it_sees_colours():
    backbone = build("deepcluster", sobel=False).backbone
    assert backbone.model.conv1.weight.shape[1] == 3 and "sobel" not in backbone.options


def test_the_picture_has_a_row_per_cluster_with_the_images_nearest_to_its_centroid():
    method = build("deepcluster")
    sheet = method.pictures({}, lambda index: np.full((4, 4, 3), index, np.uint8))["clusters"]
    assert len(sheet.rows) > 0
    for row, label in zip(sheet.rows, sheet.labels, strict=True):
        shown = [int(cell[0, 0, 0]) for cell in row if cell.min() < 255]
        members = (method.assignments == int(label.split(":")[0])).nonzero().flatten()
        nearest = members[method.distances[members].argsort()][: len(shown)]
        assert method.distances[shown].tolist() == method.distances[nearest].tolist()


def test_there_are_half_as_many_clusters_as_images_at_most():
    method = build("deepcluster", data_size=10)
    assert method.classifier.out_features == 5 and method.chance(8) == pytest.approx(math.log(5))


def test_the_defaults_are_the_papers():
    config = methods()["deepcluster"].config()
    assert (config.clusters, config.whitening, config.iterations, config.sobel) == (10000, 256, 20, True)
    view = config.view
    assert (view.scale, view.flip, view.jitter, view.grey, view.blur) == ((0.08, 1.0), 0.5, 0, 0, 0)


def test_the_classifier_has_no_momentum_and_sees_what_no_dropout_has_touched():
    method = build("deepcluster")
    optimizer = create_optimizer(method, OptimizerConfig(momentum=0.9), 0.1)
    momenta = {id(each): group["momentum"] for group in optimizer.param_groups for each in group["params"]}
    assert {momenta[id(each)] for each in method.classifier.parameters()} == {0.0}
    assert {momenta[id(each)] for each in method.backbone.parameters() if each.requires_grad} == {0.9}
    vgg = create_backbone("vgg11_bn", 32, {"drop_rate": 0.5})
    method = methods()["deepcluster"].cls(vgg, methods()["deepcluster"].config(clusters=4), 40)
    assert [part.p for part in method.backbone.modules() if isinstance(part, nn.Dropout)] == [0.5, 0.0]
