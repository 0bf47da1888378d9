"""What MoCo v3's paper says and the suite cannot know: heads by kind of network, who moves when, what stands still."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from densessl.backbones import create_backbone
from densessl.errors import UserError
from densessl.methods import methods
from densessl.methods.parts import cosine_ramp
from tests.methods.conftest import NETWORKS, batch_for, build, config_of, one_step, progress

BOTH = pytest.mark.parametrize("network", list(NETWORKS))


@BOTH
def test_the_loss_is_algorithm_1(network):
    method = build("mocov3", network).double()
    x_1, x_2 = (view.double() for view in batch_for(method)["views"])
    q = [F.normalize(method.predictor(method.projector(method.backbone(x))), dim=1) for x in (x_1, x_2)]
    k = [F.normalize(method.key(x), dim=1) for x in (x_1, x_2)]
    tau = method.config.temperature
    expected = sum(2 * tau * F.cross_entropy(q[a] @ k[b].T / tau, torch.arange(8)) for a, b in ((0, 1), (1, 0)))
    assert float(method({"views": [x_1, x_2]}).loss.detach()) == pytest.approx(float(expected.detach()), rel=1e-9)
    assert method.chance(8) == pytest.approx(4 * tau * math.log(8))


@pytest.mark.parametrize(
    ("network", "projector", "predictor"), [("resnet", "LNRLn", "LNRL"), ("vit", "LNRLNRLn", "LNRLn")]
)
def test_heads_are_those_of_the_kind_of_network(network, projector, predictor):
    """L: linear, without bias. N: batch norm, n: without weights. R: ReLU."""
    method = build("mocov3", network)

    def letter(layer: nn.Module) -> str:
        assert getattr(layer, "bias", None) is None or isinstance(layer, nn.BatchNorm1d)
        if isinstance(layer, nn.BatchNorm1d):
            return "N" if layer.affine else "n"
        return {nn.Linear: "L", nn.ReLU: "R"}[type(layer)]

    assert "".join(map(letter, method.projector)) == projector
    assert "".join(map(letter, method.predictor)) == predictor
    assert [layer.out_features for layer in method.predictor if isinstance(layer, nn.Linear)] == [16, 8]


@BOTH
def test_keys_come_from_an_encoder_that_moved_before_them(network):
    method = build("mocov3", network, momentum=0.5)
    optimizer = torch.optim.SGD([each for each in method.parameters() if each.requires_grad], lr=0.5)
    one_step(method, optimizer, batch_for(method), progress(0))
    old = [each.clone() for each in method.key.parameters()]
    theirs = [each.detach().clone() for each in method.query.parameters()]
    method.before_step(progress(50, 100))
    m = cosine_ramp(0.5, 1.0, 0.5)
    assert m == 0.75
    for before, now, source in zip(old, method.key.parameters(), theirs, strict=True):
        torch.testing.assert_close(now, m * before + (1 - m) * source)
    # The optimizer's step leaves them where the keys were computed.
    keys = [each.clone() for each in method.key.parameters()]
    method(batch_for(method)).loss.backward()
    optimizer.step()
    assert not hasattr(method, "after_step")
    assert all(torch.equal(a, b) for a, b in zip(keys, method.key.parameters(), strict=True))


def test_the_predictor_has_no_copy():
    method = build("mocov3", "resnet")
    assert len(list(method.key.parameters())) == len(list(method.backbone.parameters())) + len(
        list(method.projector.parameters())
    )


@BOTH
def test_gradients_reach_the_queries_of_both_views_and_no_key(network):
    method = build("mocov3", network)
    views = [view.requires_grad_() for view in batch_for(method)["views"]]
    method({"views": views}).loss.backward()
    assert all(view.grad is not None and view.grad.abs().max() > 0 for view in views)
    assert all(each.grad is None for each in method.key.parameters())


def test_the_keys_own_statistics_are_their_own():
    """Parameters alone move by momentum; batch norm's running statistics come from the keys' own forward passes."""
    method = build("mocov3", "resnet")
    method.before_step(progress(0))
    before = method.key[0].model.bn1.running_mean.clone()
    method(batch_for(method))
    assert method.key.training and not torch.equal(method.key[0].model.bn1.running_mean, before)


def test_a_vit_begins_and_stands_as_the_paper_has_it():
    backbone = create_backbone("vit_tiny_patch16_224", 32)
    method = methods()["mocov3"].cls(backbone, config_of(methods()["mocov3"]), 64)
    model = method.backbone.model
    assert not model.patch_embed.proj.weight.requires_grad and not model.patch_embed.proj.bias.requires_grad
    assert not model.pos_embed.requires_grad and float(model.pos_embed[0, 0].abs().max()) == 0
    assert float(model.patch_embed.proj.bias.abs().max()) == 0
    patch = model.patch_embed.proj.weight.flatten(1)
    qkv = model.blocks[0].attn.qkv.weight.detach()
    for weight in (patch, model.blocks[0].mlp.fc1.weight.detach(), *qkv.chunk(3)):
        bound = math.sqrt(6 / sum(weight.shape))
        assert 0.98 * bound < float(weight.abs().max()) <= bound
    assert float(model.cls_token.detach().abs().max()) < 1e-4
    free = config_of(methods()["mocov3"], frozen_patches=False)
    method = methods()["mocov3"].cls(create_backbone("vit_tiny_patch16_224", 32), free, 64)
    assert method.backbone.model.patch_embed.proj.weight.requires_grad


def test_a_backbone_that_was_loaded_keeps_its_weights():
    backbone = create_backbone("vit_tiny_patch16_224", 32, {"embed_dim": 24, "depth": 1, "num_heads": 2})
    backbone.fresh = False
    before = {key: value.clone() for key, value in backbone.state_dict().items()}
    method = methods()["mocov3"].cls(backbone, config_of(methods()["mocov3"]), 64)
    assert all(torch.equal(value, before[key]) for key, value in method.backbone.state_dict().items())


def test_views_are_byols():
    a, b = methods()["mocov3"].config().view_a, methods()["mocov3"].config().view_b
    assert (a.blur, a.solarize, b.blur, b.solarize) == (1.0, 0.0, 0.1, 0.2)
    assert (a.brightness, a.contrast, a.saturation, a.hue, a.grey) == (0.4, 0.4, 0.2, 0.1, 0.2)


def test_what_cannot_be_is_told():
    for wrong in ({"temperature": 0}, {"momentum": 1.5}):
        with pytest.raises(UserError, match=rf"mocov3\.{next(iter(wrong))}="):
            config_of(methods()["mocov3"], **wrong)
