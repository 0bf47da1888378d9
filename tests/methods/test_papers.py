"""What each paper says and the suite cannot know: which views, which moments, which parts move how."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from timm.layers import DropPath
from torch import nn

from densessl.backbones import create_backbone
from densessl.methods import methods
from densessl.methods.parts import Queue, cosine_ramp, in_parts, momentum_copy, move_towards
from densessl.training.config import resolve
from tests.methods.conftest import batch_for, build, one_step, progress


def test_simclr_is_the_formula_on_the_projections_of_both_views():
    method = build("simclr").double()
    batch = batch_for(method)
    batch["views"] = [view.double() for view in batch["views"]]
    z = F.normalize(method.projector(method.backbone(torch.cat(batch["views"]))), dim=1)
    n, total = 8, 0.0
    for i in range(2 * n):
        j = (i + n) % (2 * n)
        others = [torch.exp(z[i] @ z[k] / method.config.temperature) for k in range(2 * n) if k != i]
        total = total - torch.log(torch.exp(z[i] @ z[j] / method.config.temperature) / sum(others))
    assert float(method(batch).loss) == pytest.approx(float(total) / (2 * n), rel=1e-9)


def test_moco_moves_its_key_encoder_before_the_keys_and_enqueues_after_the_loss():
    method = build("moco", momentum=0.5, batch_norm_splits=1)
    with torch.no_grad():
        for parameter in method.query.parameters():
            parameter.add_(0.1)
    source = [parameter.clone() for parameter in method.query.parameters()]
    before = [parameter.clone() for parameter in method.key.parameters()]
    method.before_step(progress())
    for old, new, theirs in zip(before, method.key.parameters(), source, strict=True):
        torch.testing.assert_close(new, 0.5 * old + 0.5 * theirs)
    batch, old_queue = batch_for(method, 4), method.queue.keys.clone()
    x_q, x_k = batch["views"]
    with torch.no_grad():
        # In training mode a batch norm of one part gives the same however the keys are dealt.
        q = F.normalize(method.query(x_q), dim=1)
        k = F.normalize(method.key(x_k), dim=1)
        logits = torch.cat([(q * k).sum(1, keepdim=True), q @ old_queue.T], dim=1) / method.config.temperature
        expected = F.cross_entropy(logits, torch.zeros(4, dtype=torch.long))
    assert float(method(batch).loss.detach()) == pytest.approx(float(expected), rel=1e-4)
    torch.testing.assert_close(method.queue.keys[:4], k, rtol=1e-4, atol=1e-5)
    assert torch.equal(method.queue.keys[4:], old_queue[4:]) and int(method.queue.position) == 4


def test_moco_v1_is_a_recipe_with_a_linear_head_and_without_blur():
    config = resolve("moco-v1", ["data=."]).moco
    assert (config.temperature, config.momentum, config.queue, config.symmetric) == (0.07, 0.999, 65536, False)
    view = config.view
    assert (view.brightness, view.contrast, view.saturation, view.hue) == (0.4, 0.4, 0.4, 0.4)
    assert (view.jitter, view.grey, view.blur, view.scale) == (1.0, 0.2, 0.0, (0.2, 1.0))
    method = build("moco", hidden=config.hidden)
    assert [type(layer) for layer in method.projector] == [nn.Linear]


def test_a_key_belongs_to_its_query_however_batch_norm_was_dealt():
    """With one network, one part and equal views, query and key are the same vector: the shuffle is undone."""
    method = build("moco", batch_norm_splits=1)
    x = batch_for(method, 6)["views"][0]
    _, keys, h, _ = method.contrast(x, x)
    torch.testing.assert_close(keys, F.normalize(method.projector(h), dim=1).detach(), rtol=1e-4, atol=1e-5)


def test_the_queue_drops_the_oldest_keys_and_wraps_anywhere():
    queue = Queue(5, 2)
    rows = torch.arange(14.0).reshape(7, 2)
    queue.push(rows[:3])
    queue.push(rows[3:7])
    assert sorted(queue.keys[:, 0].tolist()) == [4.0, 6.0, 8.0, 10.0, 12.0] and int(queue.position) == 2
    queue.push(rows)  # more than it holds: the last five stay
    assert sorted(queue.keys[:, 0].tolist()) == [4.0, 6.0, 8.0, 10.0, 12.0]
    assert set(Queue(5, 2).state_dict()) == {"keys", "position"}


def test_the_queue_is_at_most_half_of_the_data():
    assert len(build("moco", data_size=10).queue.keys) == 5


def test_parts_give_batch_norm_the_statistics_of_each_part_and_move_it_at_the_same_pace():
    x = torch.randn(12, 3, dtype=torch.float64) * 2 + 1
    for asked, parts in ((4, 4), (8, 6)):  # two images a part at least
        norm = nn.BatchNorm1d(3).double()
        found = in_parts(norm, x, asked)
        for part, chunk in zip(found.chunk(parts), x.chunk(parts), strict=True):
            expected = (chunk - chunk.mean(0)) / (chunk.var(0, correction=0) + norm.eps).sqrt()
            torch.testing.assert_close(part, expected)
        whole = torch.stack([chunk.mean(0) for chunk in x.chunk(parts)]).mean(0)
        torch.testing.assert_close(norm.running_mean, 0.1 * whole, rtol=0.1, atol=0.02)
        assert norm.momentum == 0.1


def test_byol_is_the_sum_over_both_assignments_and_moves_its_target_after_the_step():
    method = build("byol", momentum=0.9)
    batch = batch_for(method)
    v, w = batch["views"]
    with torch.no_grad():
        cosine = F.cosine_similarity(method.predictor(method.online(v)), method.target(w))
        other = F.cosine_similarity(method.predictor(method.online(w)), method.target(v))
    assert float(method(batch).loss) == pytest.approx(float((4 - 2 * cosine - 2 * other).mean()), rel=1e-4)
    optimizer = torch.optim.SGD([p for p in method.parameters() if p.requires_grad], lr=0.1)
    before = [parameter.clone() for parameter in method.target.parameters()]
    one_step(method, optimizer, batch, progress(0))
    for old, new, online in zip(before, method.target.parameters(), method.online.parameters(), strict=True):
        torch.testing.assert_close(new, 0.9 * old + 0.1 * online.detach())


def test_byol_ends_with_a_target_that_stands_still():
    assert cosine_ramp(0.996, 1.0, 0.0) == pytest.approx(0.996) and cosine_ramp(0.996, 1.0, 1.0) == 1.0
    # tau = 1 - (1 - base) (cos(pi k / K) + 1) / 2, as in appendix J.
    assert cosine_ramp(0.99, 1.0, 0.3) == pytest.approx(1 - 0.01 * (math.cos(math.pi * 0.3) + 1) / 2)


def test_momentum_moves_parameters_and_leaves_buffers():
    module = nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3))
    copy = momentum_copy(module)
    with torch.no_grad():
        module[0].weight.add_(1)
        module[1].running_mean.add_(5)
    move_towards(copy, module, 0.75)
    torch.testing.assert_close(copy[0].weight, module[0].weight - 0.75)
    assert not copy[1].running_mean.any() and copy.training and not any(p.requires_grad for p in copy.parameters())


def test_dino_pairs_every_student_view_with_the_other_teacher_views():
    method = build("dino")
    method.before_step(progress())
    batch, k = batch_for(method), method.config.prototypes
    method.center.uniform_(-0.1, 0.1)
    center = method.center.clone()
    with torch.no_grad():
        teacher = method.teacher_head(method.backbone(torch.cat(batch["views"][:2]))).chunk(2)
        student = [*method.student_head(method.student_backbone(torch.cat(batch["views"][:2]))).chunk(2)]
        local = method.student_backbone(torch.cat(batch["views"][2:]))
        student += method.student_head(local).chunk(2)
        total, pairs = 0.0, 0
        for i, t in enumerate(teacher):
            p = F.softmax((t - center) / method.teacher_temperature, dim=1)
            for j, s in enumerate(student):
                if i != j:
                    total, pairs = total - (p * F.log_softmax(s / 0.1, dim=1)).sum(1).mean(), pairs + 1
    assert pairs == 6
    assert float(method(batch).loss.detach()) == pytest.approx(float(total / pairs), rel=1e-4)
    torch.testing.assert_close(method.center, 0.9 * center + 0.1 * torch.cat(teacher).mean(0))
    assert method.center.shape == (k,)


def test_dinos_prototypes_stand_still_in_the_first_epoch_even_under_weight_decay():
    method = build("dino")
    weights = method.student_head.prototypes.weight
    optimizer = torch.optim.AdamW([p for p in method.parameters() if p.requires_grad], lr=0.1, weight_decay=0.5)
    before = weights.detach().clone()
    one_step(method, optimizer, batch_for(method), progress(step=9))
    assert torch.equal(weights, before)
    one_step(method, optimizer, batch_for(method), progress(step=10))
    assert not torch.equal(weights, before)


def test_dinos_teacher_temperature_warms_up_over_a_part_of_the_run():
    method = build("dino", warmup_epochs=2)
    found = []
    for step in (0, 10, 20, 90):
        method.before_step(progress(step))
        found.append(method.teacher_temperature)
    assert found == pytest.approx([0.04, 0.055, 0.07, 0.07])


def test_dino_exports_the_teacher_and_drops_paths_in_the_student_alone():
    method = build("dino", "vit")
    assert not any(parameter.requires_grad for parameter in method.backbone.parameters())
    one_step(method, torch.optim.SGD(method.student_backbone.parameters(), lr=1.0), batch_for(method), progress(20))
    student, teacher = (next(each.parameters()) for each in (method.student_backbone, method.backbone))
    assert float((student - teacher).abs().max()) > 0
    local = method.views[-1]
    assert local.size % method.backbone.stride == 0 and local.count == 2
    backbone = create_backbone("vit_tiny_patch16_224", 32, {"depth": 2, "patch_size": 8, "drop_path_rate": 0.3})
    paths = [
        [float(part.drop_prob) for part in network.modules() if isinstance(part, DropPath)]
        for network in (backbone, momentum_copy(backbone))
    ]
    assert max(paths[0]) == pytest.approx(0.3) and not any(paths[1]) and len(paths[0]) == len(paths[1])


DEFAULTS = {
    # SimCLR table 5 and model_util.py; MoCo section 4.1 and v2; BYOL appendix J; DINO section 3.1 and main_dino.py.
    "simclr": {"temperature": 0.1, "dim": 128},
    "moco": {"temperature": 0.2, "momentum": 0.999, "queue": 65536, "dim": 128, "hidden": 2048, "symmetric": False},
    "byol": {"momentum": 0.996, "hidden": 4096, "dim": 256},
    "dino": {
        "prototypes": 65536,
        "hidden": 2048,
        "bottleneck": 256,
        "student_temperature": 0.1,
        "teacher_temperature_start": 0.04,
        "teacher_temperature": 0.07,
        "warmup_epochs": 30,
        "momentum": 0.996,
        "center_momentum": 0.9,
        "frozen_epochs": 1,
        "local_crops": 8,
    },
}
VIEWS = {
    ("simclr", "view"): {
        "scale": (0.08, 1.0),
        "brightness": 0.8,
        "hue": 0.2,
        "grey": 0.2,
        "blur": 0.5,
        "solarize": 0.0,
    },
    ("moco", "view"): {"scale": (0.2, 1.0), "brightness": 0.4, "saturation": 0.4, "hue": 0.1, "blur": 0.5},
    ("byol", "view_a"): {"brightness": 0.4, "saturation": 0.2, "hue": 0.1, "blur": 1.0, "solarize": 0.0},
    ("byol", "view_b"): {"brightness": 0.4, "saturation": 0.2, "hue": 0.1, "blur": 0.1, "solarize": 0.2},
    ("dino", "global_a"): {"scale": (0.4, 1.0), "blur": 1.0, "solarize": 0.0, "saturation": 0.2},
    ("dino", "global_b"): {"scale": (0.4, 1.0), "blur": 0.1, "solarize": 0.2},
    ("dino", "local"): {"scale": (0.05, 0.4), "blur": 0.5, "solarize": 0.0},
}


@pytest.mark.parametrize("name", list(DEFAULTS))
def test_the_defaults_are_the_papers(name):
    config = methods()[name].config()
    assert {key: getattr(config, key) for key in DEFAULTS[name]} == DEFAULTS[name]


@pytest.mark.parametrize(("name", "view"), list(VIEWS))
def test_the_views_are_the_papers(name, view):
    spec = getattr(methods()[name].config(), view)
    assert {key: getattr(spec, key) for key in VIEWS[name, view]} == VIEWS[name, view]


@pytest.mark.parametrize(
    ("name", "level"), [("simclr", math.log(15)), ("moco", math.log(13)), ("byol", 4.0), ("dino", math.log(24))]
)
def test_the_chance_level_is_the_loss_when_nothing_can_be_told_apart(name, level):
    """All cosines equal: ln of the count of candidates; for BYOL, 2 - 2 cos of orthogonal vectors, twice."""
    assert build(name).chance(8) == pytest.approx(level)
