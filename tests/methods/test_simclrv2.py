"""SimCLRv2: SimCLR's loss with the memory's keys as further negatives, a deeper head, selective kernels."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from densessl.backbones import create_backbone
from densessl.methods import methods
from densessl.training.config import resolve
from tests.methods.conftest import batch_for, build, one_step, progress


def expected_loss(method: nn.Module, views: list[torch.Tensor], memory: torch.Tensor) -> float:
    """The formula, anchor by anchor; without a memory the anchors are held against each other."""
    tau, n = method.config.temperature, len(views[0])
    with torch.no_grad():
        z = F.normalize(method.projector(method.backbone(torch.cat(views))), dim=1)
        keys = F.normalize(method.key(torch.cat(views)), dim=1) if method.config.queue else z
        total = 0.0
        for i in range(2 * n):
            positive = z[i] @ keys[(i + n) % (2 * n)] / tau
            others = [z[i] @ keys[k] / tau for k in range(2 * n) if k % n != i % n]
            remembered = [z[i] @ key / tau for key in memory]
            total += float(torch.stack([positive, *others, *remembered]).logsumexp(0) - positive)
    return total / (2 * n)


def test_it_is_the_formula_with_and_without_a_memory():
    for queue in (12, 0):
        method = build("simclrv2", queue=queue).double()
        if queue:
            perturb(method.key)
        views = [view.double() for view in batch_for(method, 6)["views"]]
        memory = method.queue.keys.clone() if queue else torch.empty(0, method.config.dim, dtype=torch.float64)
        expected = expected_loss(method, views, memory)
        assert float(method({"views": views}).loss.detach()) == pytest.approx(expected, rel=1e-9)


def perturb(network: nn.Module) -> None:
    """So that it is not the network that it was copied from."""
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))


def test_the_memorys_encoder_moves_before_the_keys_are_made_and_they_enter_after_the_loss():
    method = build("simclrv2", momentum=0.5)
    perturb(method.online)
    source = [parameter.clone() for parameter in method.online.parameters()]
    before = [parameter.clone() for parameter in method.key.parameters()]
    method.before_step(progress())
    for old, new, theirs in zip(before, method.key.parameters(), source, strict=True):
        torch.testing.assert_close(new, 0.5 * old + 0.5 * theirs)
    batch, memory = batch_for(method, 4), method.queue.keys.clone()
    with torch.no_grad():
        keys = F.normalize(method.key(torch.cat(batch["views"])), dim=1)[4:]
    loss = float(method(batch).loss.detach())
    assert loss == pytest.approx(expected_loss(method, batch["views"], memory), rel=1e-4)
    torch.testing.assert_close(method.queue.keys[:4], keys, rtol=1e-4, atol=1e-5)
    assert torch.equal(method.queue.keys[4:], memory[4:]) and int(method.queue.position) == 4


def test_no_gradient_reaches_the_memory_or_its_encoder():
    method = build("simclrv2")
    method(batch_for(method)).loss.backward()
    assert all(parameter.grad is None and not parameter.requires_grad for parameter in method.key.parameters())
    assert not method.queue.keys.requires_grad


def test_without_a_memory_there_is_no_second_network():
    method = build("simclrv2", queue=0)
    assert not hasattr(method, "key") and not hasattr(method, "queue")
    assert method.chance(8) == pytest.approx(math.log(15))
    assert build("simclrv2").chance(8) == pytest.approx(math.log(15 + 12))
    assert len(build("simclrv2", data_size=10).queue.keys) == 5


def test_the_head_has_three_layers_with_batch_norm_after_each_and_no_shift_at_the_end():
    method = build("simclrv2")
    kinds = [type(layer).__name__ for layer in method.projector]
    assert kinds == ["Linear", "BatchNorm1d", "ReLU"] * 2 + ["Linear", "BatchNorm1d"]
    assert all(layer.bias is None for layer in method.projector if isinstance(layer, nn.Linear))
    widths = [layer.out_features for layer in method.projector if isinstance(layer, nn.Linear)]
    assert widths == [16, 16, 8]
    optimizer = torch.optim.SGD([each for each in method.parameters() if each.requires_grad], lr=0.5)
    for seed in range(2):
        one_step(method, optimizer, batch_for(method, seed=seed), progress(seed))
    assert not method.projector[-1].bias.any() and method.projector[1].bias.any()


def test_the_defaults_and_views_are_the_papers():
    config = methods()["simclrv2"].config()
    found = (config.temperature, config.layers, config.dim, config.queue, config.momentum)
    assert found == (0.1, 3, 128, 65536, 0.999)
    assert (config.view.scale, config.view.brightness, config.view.hue, config.view.blur) == ((0.08, 1), 0.8, 0.2, 0.5)
    recipe = resolve("simclrv2", ["data=x"])
    # 0.1 times the square root of the batch.
    assert recipe.lr * math.sqrt(recipe.batch_size / 256) == pytest.approx(6.4)
    assert recipe.optimizer.warmup_epochs == 0.05 * recipe.epochs


def test_the_recipes_network_has_the_official_selective_kernels_and_resnet_ds_stem():
    recipe = resolve("simclrv2", ["data=x"])
    model = create_backbone(recipe.backbone, recipe.image_size, recipe.backbone_options).model
    # 35 M weights are what table 1 states for ResNet-50 with selective kernels.
    assert sum(each.numel() for each in model.parameters()) / 1e6 == pytest.approx(35.2, abs=0.1)
    assert [each.kernel_size for each in model.conv1 if isinstance(each, nn.Conv2d)] == [(3, 3)] * 3
    assert isinstance(model.layer2[0].downsample[0], nn.AvgPool2d)
    for stage, width in ((model.layer1, 64), (model.layer4, 512)):
        kernel = stage[0].conv2
        assert [(path.conv.in_channels, path.conv.kernel_size) for path in kernel.paths] == [(width, (3, 3))] * 2
        assert [path.conv.dilation for path in kernel.paths] == [(1, 1)] * 2
        assert kernel.attn.fc_reduce.out_channels == 32 and not stage[0].conv3.bn.weight.any()
