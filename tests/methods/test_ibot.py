"""What iBOT's paper says and the suite cannot know: who sees which patches, what is compared, what moves."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F

from densessl.backbones.tokens import features, normed, patches
from densessl.errors import UserError
from densessl.methods import methods
from densessl.methods.dino import DINOConfig
from tests.methods.conftest import SIZE, batch_for, build, config_of, one_step, progress


def masks_of(method, count: int, seed: int) -> torch.Tensor:
    """The masks (2, count, P) of the two global views of a step with this seed."""
    torch.manual_seed(seed)
    return torch.stack([method.masks(count, (4, 4)).flatten(1) for _ in range(2)])


def forward(method, batch, seed: int = 0):
    torch.manual_seed(seed)
    return method(batch)


def settled(**changes):
    """A method whose centres and teacher are not where they began, and where much is hidden."""
    method = build("ibot", whole=0.3, **changes).double()
    with torch.no_grad():
        for value in (method.center, method.patch_center, *method.student_head.parameters(), method.mask_token):
            value.add_(0.3 * torch.randn(value.shape))
    return method


def doubled(method, count: int = 6) -> dict:
    batch = batch_for(method, count)
    return batch | {"views": [view.double() for view in batch["views"]]}


def test_the_loss_is_that_of_the_paper():
    """Every patch through the heads, every pair of views in a loop, as in Algorithm 1."""
    method = settled(patch_weight=0.7)
    batch, config = doubled(method), method.config
    method.before_step(progress(50))
    center, patch_center = method.center.clone(), method.patch_center.clone()
    masks = masks_of(method, 6, seed=2)
    loss = float(forward(method, batch, seed=2).loss.detach())
    with torch.no_grad():
        said, wanted, cls, count = [], [], 0.0, 0
        for v, view in enumerate(batch["views"]):
            grid = (view.shape[2] // 4, view.shape[3] // 4)
            tokens = patches(method.student_backbone, view)
            if v < 2:
                tokens = torch.where(masks[v, :, :, None], method.mask_token, tokens)
                teacher = normed(method.backbone, features(method.backbone, patches(method.backbone, view), grid))
                wanted.append(method.teacher_head(teacher.flatten(0, 1)).view(6, 17, -1))
            student = normed(method.student_backbone, features(method.student_backbone, tokens, grid))
            said.append(method.student_head(student.flatten(0, 1)).view(6, student.shape[1], -1))
        patch = 0.0
        for u in range(2):
            for v in range(len(said)):
                if u == v:
                    p = ((wanted[u][:, 1:] - patch_center) / method.patch_temperature).softmax(-1)
                    each = -(p * (said[v][:, 1:] / config.student_temperature).log_softmax(-1)).sum(-1)
                    patch += ((each * masks[v]).sum(1) / masks[v].sum(1).clamp(min=1)).mean() / 2
                else:
                    p = ((wanted[u][:, 0] - center) / method.teacher_temperature).softmax(-1)
                    cls += -(p * (said[v][:, 0] / config.student_temperature).log_softmax(-1)).sum(-1).mean()
                    count += 1
    assert count == 6 and masks.any() and not masks.any(2).all()
    assert loss == pytest.approx(float(cls) / count + 0.7 * float(patch), rel=1e-8)
    # The centres follow afterwards: class tokens of both views, and every patch, hidden or not.
    mean = torch.cat(wanted).mean(0)
    torch.testing.assert_close(method.center, 0.9 * center + 0.1 * mean[0])
    torch.testing.assert_close(method.patch_center, 0.9 * patch_center + 0.1 * mean[1:].mean(0))


def test_the_student_sees_nothing_of_hidden_patches_and_the_teacher_all():
    method = settled()
    batch = doubled(method)
    masks = masks_of(method, 6, seed=1)
    seen: dict[str, torch.Tensor] = {}
    method.student_head.register_forward_hook(lambda module, args, output: seen.update(student=args[0]))
    method.backbone.model.norm.register_forward_hook(lambda module, args, output: seen.update(teacher=output))
    forward(method, batch, seed=1)
    before = dict(seen)
    cells = masks.view(2, 6, 4, 4).repeat_interleave(4, 2).repeat_interleave(4, 3)
    for v in range(2):
        batch["views"][v] = batch["views"][v] + cells[v][:, None]
    forward(method, batch, seed=1)
    torch.testing.assert_close(seen["student"], before["student"])
    assert not torch.allclose(seen["teacher"], before["teacher"])
    # Class tokens of two global and two local views, and the hidden patches.
    assert len(seen["student"]) == 4 * 6 + int(masks.sum())


def test_half_of_the_views_hide_nothing_and_the_others_a_tenth_to_a_half():
    method = build("ibot")
    torch.manual_seed(0)
    shares = method.masks(2000, (14, 14)).flatten(1).double().mean(1)
    assert float((shares == 0).double().mean()) == pytest.approx(0.5, abs=0.04)
    some = shares[shares > 0]
    # A mask may stop a little short of its share.
    assert some.min() >= 0.04 and some.max() <= 0.5
    assert float(some.mean()) == pytest.approx(0.3, abs=0.02)
    assert method.chance(8) == pytest.approx(1.5 * math.log(24))


def test_a_student_learns_what_a_teacher_who_stands_still_says_of_what_it_does_not_see():
    method = build("ibot", momentum=1.0, center_momentum=1.0, whole=0.0, local_crops=0)
    batch = batch_for(method, 8)
    optimizer = torch.optim.Adam([each for each in method.parameters() if each.requires_grad], lr=3e-3)
    for step in range(120):
        torch.manual_seed(0)
        one_step(method, optimizer, batch, progress(20))
        if step == 0:
            first = forward(method, batch).metrics
    last = forward(method, batch).metrics
    assert float(last["loss_patch"]) < 0.5 * float(first["loss_patch"])
    assert float(last["loss_cls"]) < 0.5 * float(first["loss_cls"])


@pytest.mark.parametrize("learn_gain", [False, True])
def test_prototypes_get_no_gradient_in_the_first_epoch(learn_gain):
    method = build("ibot", learn_gain=learn_gain)
    for step, frozen in ((9, True), (10, False)):
        forward(method, batch_for(method)).loss.backward()
        method.after_backward(progress(step))
        head = method.student_head
        assert (head.prototypes.weight.grad is None) is frozen and head.mlp[0].weight.grad is not None
        if learn_gain:
            assert (head.gain.grad is None) is frozen
        method.zero_grad()


def test_the_teacher_gets_no_gradient_and_moves_after_the_step():
    method = build("ibot", momentum=0.5, learn_gain=True)
    with torch.no_grad():
        for parameter in method.student_head.parameters():
            parameter.add_(0.1)
    old = [each.clone() for each in method.teacher_head.parameters()]
    forward(method, batch_for(method)).loss.backward()
    assert all(each.grad is None for each in (*method.backbone.parameters(), *method.teacher_head.parameters()))
    assert all(torch.equal(a, b) for a, b in zip(old, method.teacher_head.parameters(), strict=True))
    method.after_step(progress(50, 100))  # momentum 0.75
    pairs = zip(old, method.teacher_head.parameters(), method.student_head.parameters(), strict=True)
    for before, now, student in pairs:
        torch.testing.assert_close(now, 0.75 * before + 0.25 * student.detach())


def test_both_temperatures_warm_up():
    method = build("ibot", warmup_epochs=4, patch_temperature=0.1)
    found = []
    for step in (0, 20, 40, 90):  # of ten steps an epoch
        method.before_step(progress(step, 1000))
        found.append((method.teacher_temperature, method.patch_temperature))
    assert found == [pytest.approx(each) for each in ((0.04, 0.04), (0.055, 0.07), (0.07, 0.1), (0.07, 0.1))]


def test_a_gain_stretches_the_cosines():
    method = build("ibot", learn_gain=True)
    head, h = method.student_head, torch.randn(5, 24)
    cosines = F.normalize(head.mlp(h), dim=1) @ F.normalize(head.prototypes.weight, dim=1).T
    torch.testing.assert_close(head(h), cosines)
    with torch.no_grad():
        head.gain[3] = 2
    torch.testing.assert_close(head(h)[:, 3], 2 * cosines[:, 3])
    assert build("dino").student_head.gain is None and DINOConfig().learn_gain is False


def test_its_views_are_those_of_the_readme():
    views = build("ibot", local_crops=10).views
    assert [(view.count, view.scale) for view in views] == [(1, (0.25, 1.0)), (1, (0.25, 1.0)), (10, (0.05, 0.25))]
    assert [(view.blur, view.solarize) for view in views] == [(1.0, 0.0), (0.1, 0.2), (0.5, 0.0)]


def test_its_pictures_show_what_is_hidden():
    method = build("ibot", whole=0.0).eval()
    x = batch_for(method, 3)["views"][0] * 0.2
    torch.manual_seed(0)
    sheet = method.pictures({"views": [x]}, lambda index: None)["masks"]
    torch.manual_seed(0)
    masks = method.masks(3, (4, 4)).repeat_interleave(4, 1).repeat_interleave(4, 2)
    for row, mask in zip(sheet.rows, masks, strict=True):
        whole, seen = map(torch.from_numpy, row)
        assert whole.shape == (SIZE, SIZE, 3) and torch.equal(whole[~mask], seen[~mask])
        assert not mask.any() or len(seen[mask].unique(dim=0)) == 1


def test_what_cannot_be_is_told():
    wrongs = ({"teacher_temperature": 0}, {"whole": 2}, {"mask_ratio": (0.6, 0.2)}, {"local_crops": -1})
    for wrong in wrongs:
        with pytest.raises(UserError, match=rf"ibot\.{next(iter(wrong))}="):
            config_of(methods()["ibot"], **wrong)
