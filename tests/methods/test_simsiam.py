"""What SimSiam's paper and its official code say and the suite cannot know."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from densessl.backbones import create_backbone
from densessl.data.views import ViewSpec
from densessl.errors import UserError
from densessl.methods import methods
from densessl.methods.simsiam import SimSiamConfig
from densessl.training.config import OptimizerConfig
from densessl.training.optimizer import Schedule, create_optimizer
from tests.methods.conftest import batch_for, build


def double(method: nn.Module) -> tuple[nn.Module, dict]:
    batch = batch_for(method)
    return method.double(), batch | {"views": [view.double() for view in batch["views"]]}


def by_hand(method: nn.Module, batch: dict, stop: bool = True) -> torch.Tensor:
    """Algorithm 1: both sides' network sees both views, one after the other."""
    z = [method.projector(method.backbone(view)) for view in batch["views"]]
    p = [method.predictor(each) for each in z]
    targets = [each.detach() for each in z] if stop else z
    return -(F.cosine_similarity(p[0], targets[1]).mean() + F.cosine_similarity(p[1], targets[0]).mean()) / 2


def gradients(method: nn.Module, loss: torch.Tensor) -> dict[str, torch.Tensor]:
    found = torch.autograd.grad(loss, list(method.parameters()))
    return dict(zip(dict(method.named_parameters()), found, strict=True))


def test_the_loss_and_its_gradients_are_algorithm_1s_and_stop_at_the_targets():
    method, batch = double(build("simsiam"))
    loss, expected = method(batch).loss, by_hand(method, batch)
    assert float(loss.detach()) == pytest.approx(float(expected.detach()), rel=1e-12)
    found, wanted = gradients(method, loss), gradients(method, expected)
    for name, gradient in found.items():
        torch.testing.assert_close(gradient, wanted[name], rtol=1e-9, atol=1e-12, msg=name)
    flowing = gradients(method, by_hand(method, batch, stop=False))
    first = "projector.0.weight"
    assert float((found[first] - flowing[first]).norm()) > 0.1 * float(found[first].norm())
    last = "predictor.3.weight"  # behind the stop nothing changes
    torch.testing.assert_close(found[last], flowing[last], rtol=1e-9, atol=1e-12)


def test_views_that_are_the_same_reach_minus_1_when_the_predictor_is_the_identity():
    method = build("simsiam")
    method.predictor = nn.Identity()
    view = batch_for(method)["views"][0]
    assert float(method({"views": [view, view]}).loss.detach()) == pytest.approx(-1, abs=1e-5)


@pytest.mark.parametrize("layers", [2, 3])
def test_the_heads_are_the_papers(layers):
    method = build("simsiam", projector_layers=layers)
    linear = [part for part in method.projector if isinstance(part, nn.Linear)]
    assert len(linear) == layers and all(part.bias is None for part in linear)
    norms = [part for part in method.projector if isinstance(part, nn.BatchNorm1d)]
    assert [norm.affine for norm in norms] == [True] * (layers - 1) + [False]
    assert isinstance(method.projector[-1], nn.BatchNorm1d)
    kinds = [type(part) for part in method.predictor]
    assert kinds == [nn.Linear, nn.BatchNorm1d, nn.ReLU, nn.Linear]
    assert method.predictor[0].bias is None and method.predictor[3].bias is not None
    assert method.predictor[0].out_features == method.config.bottleneck


def test_residual_blocks_begin_as_the_identity():
    """`zero_init_residual` of the official code; timm does it by itself."""
    model = create_backbone("resnet18", 32).model
    blocks = [block for stage in range(1, 5) for block in getattr(model, f"layer{stage}")]
    assert len(blocks) == 8 and not any(block.bn2.weight.any() for block in blocks)


@pytest.mark.parametrize("fixed", [True, False])
@pytest.mark.parametrize("decay_all", [True, False])
def test_the_predictors_rate_stays_at_the_peak(fixed, decay_all):
    method = build("simsiam", fixed_predictor_rate=fixed)
    config = OptimizerConfig(weight_decay=0.1, decay_all=decay_all, warmup_epochs=0)
    schedule = Schedule(config, lr=0.05, batch_size=512, total_steps=100, steps_per_epoch=10)
    optimizer = create_optimizer(method, config, schedule.peak)
    schedule.apply(optimizer, 50)
    groups = {id(p): group for group in optimizer.param_groups for p in group["params"]}
    assert len(groups) == len(list(method.parameters()))
    for name, parameter in method.named_parameters():
        group = groups[id(parameter)]
        assert group["lr"] == pytest.approx(0.1 if fixed and name.startswith("predictor") else 0.05), name
        assert group["weight_decay"] == (0.1 if decay_all or parameter.ndim > 1 else 0), name


def test_the_defaults_are_the_papers():
    config = SimSiamConfig()
    assert (config.projector_layers, config.hidden, config.dim, config.bottleneck) == (3, 2048, 2048, 512)
    assert config.fixed_predictor_rate
    assert config.view == methods()["moco"].config().view  # "the default augmentation recipe from MoCo v2"


def test_mistakes_name_their_key():
    for changes, words in (({"projector_layers": 0}, "projector_layers=0"), ({"view": ViewSpec(count=3)}, "count=3")):
        with pytest.raises(UserError, match=f"simsiam.*{words}"):
            SimSiamConfig(**changes)
