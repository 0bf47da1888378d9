"""The losses of SimSiam, BYOL and DINO are their papers' formulas."""

from __future__ import annotations

import math

import pytest
import torch

from densessl.losses import byol, common, dino, distill, ibot_patches, negative_cosine
from tests.losses.slow import assert_equal, batch, cosine, memory_of, value_and_gradients


def dino_by_loops(student, teacher, center, student_temperature: float, teacher_temperature: float) -> torch.Tensor:
    total, pairs = 0.0 * sum(view.sum() for view in student), 0  # so that every view has a gradient
    for t, teacher_view in enumerate(teacher):
        for s, student_view in enumerate(student):
            if s == t:
                continue
            pairs += 1
            for said, logits in zip(teacher_view, student_view, strict=True):
                wanted = ((said - center) / teacher_temperature).softmax(0)
                log_p = (logits / student_temperature).log_softmax(0)
                total = total - sum(q * p for q, p in zip(wanted, log_p, strict=True))
    return total / (pairs * len(student[0]))


def test_negative_cosine_and_byol_equal_their_formulas_and_leave_the_target_alone():
    p, z = batch(6, 5), batch(6, 5, seed=1)
    formula = lambda p: sum(cosine(u, v) for u, v in zip(p, z, strict=True)) / 6  # noqa: E731
    assert_equal(lambda p: negative_cosine(p, z), lambda p: -formula(p), p)
    assert_equal(lambda p: byol(p, z), lambda p: 2 - 2 * formula(p), p)
    z.requires_grad_()
    byol(p.requires_grad_(), z).backward()
    assert z.grad is None and p.grad is not None


def test_negative_cosine_and_byol_worked_by_hand():
    axes = torch.eye(4)
    for target, cos in ((5 * axes, 1), (-axes, -1), (axes.roll(1, 0), 0)):
        assert float(negative_cosine(axes, target)) == -cos
        assert float(byol(axes, target)) == 2 - 2 * cos


@pytest.mark.parametrize("temperature", [0.1, 1.0, 4.0])
def test_distill_equals_the_formula_and_leaves_the_teacher_alone(temperature):
    student, teacher = batch(4, 6), batch(4, 6, seed=1)

    def by_loops(student):
        total = 0.0
        for s, t in zip(student, teacher, strict=True):
            p_student, p_teacher = ([(x / temperature).exp() for x in logits] for logits in (s, t))
            for ours, theirs in zip(p_student, p_teacher, strict=True):
                total = total - theirs / sum(p_teacher) * (ours / sum(p_student)).log()
        return total / 4

    assert_equal(lambda s: distill(s, teacher, temperature), by_loops, student)
    soft = (teacher / temperature).softmax(1)
    assert_equal(
        lambda s: distill(s, teacher, temperature),
        lambda s: torch.nn.functional.cross_entropy(s / temperature, soft),
        student,
    )
    teacher.requires_grad_()
    distill(student.requires_grad_(), teacher, temperature).backward()
    assert teacher.grad is None and student.grad is not None


def test_distill_worked_by_hand():
    nothing, sure = torch.zeros(3, 5), torch.tensor([[50.0, 0, 0, 0, 0]]).repeat(3, 1)
    assert float(distill(nothing, sure, 1.0)) == pytest.approx(math.log(5), rel=1e-6)
    assert float(distill(sure, sure, 1.0)) == pytest.approx(0, abs=1e-6)
    # At its lowest it is the teacher's entropy: two classes of logits 0 and ln 3 have 1/4 and 3/4.
    teacher = torch.tensor([[0.0, math.log(3)]])
    entropy = -(0.25 * math.log(0.25) + 0.75 * math.log(0.75))
    assert float(distill(teacher, teacher, 1.0)) == pytest.approx(entropy, rel=1e-6)


@pytest.mark.parametrize("teachers, students", [(1, 2), (1, 4), (2, 2), (2, 5), (3, 3), (3, 4)])
@pytest.mark.parametrize("tile", [1, 2 * 7, 1000])
def test_dino_equals_the_formula(teachers, students, tile, monkeypatch):
    monkeypatch.setattr(common, "CPU_TILE", 8 * tile)  # one row, two rows and all five rows at a time
    teacher, center = [batch(5, 7, seed=20 + t) for t in range(teachers)], batch(7, seed=40)
    student = [batch(5, 7, seed=s) for s in range(students)]
    assert_equal(
        lambda *views: dino(views, teacher, center, 0.1, 0.04),
        lambda *views: dino_by_loops(views, teacher, center, 0.1, 0.04),
        *student,
    )


def test_dino_worked_by_hand():
    k, n = 12, 3
    flat, center = [torch.zeros(n, k)] * 4, torch.zeros(k)
    assert float(dino(flat, flat[:2], center, 0.1, 0.04)) == pytest.approx(math.log(k), rel=1e-6)
    # A teacher that is sure of entry 0 and a student whose logit of it is 1 above the others.
    sure = [torch.nn.functional.one_hot(torch.zeros(n, dtype=torch.long), k).float() * 100] * 2
    by_hand = math.log(math.exp(1 / 0.5) + k - 1) - 1 / 0.5
    assert float(dino([each / 100 for each in sure], sure, center, 0.5, 0.04)) == pytest.approx(by_hand, rel=1e-6)
    # A centre that takes away all that the teacher says.
    assert float(dino(flat, sure, sure[0][0], 0.5, 0.04)) == pytest.approx(math.log(k), rel=1e-6)


def test_dino_leaves_pairs_of_the_same_view_out():
    teacher, center = [batch(4, 6, seed=20), batch(4, 6, seed=21)], torch.zeros(6, dtype=torch.float64)
    student = [batch(4, 6, seed=s) for s in range(3)]
    gradients = value_and_gradients(lambda *views: dino(views, teacher, center, 0.1, 0.04), *student)[1:]
    teacher[0] = batch(4, 6, seed=30)
    others = value_and_gradients(lambda *views: dino(views, teacher, center, 0.1, 0.04), *student)[1:]
    assert [torch.equal(a, b) for a, b in zip(gradients, others, strict=True)] == [True, False, False]


def test_dino_is_blind_to_order_and_to_what_is_added_to_all_logits():
    teacher, center = [batch(4, 6, seed=20), batch(4, 6, seed=21)], batch(6, seed=22)
    student = [batch(4, 6, seed=s) for s in range(3)]
    expected = float(dino(student, teacher, center, 0.1, 0.04))
    order = torch.randperm(4)
    rows = [[view[order] for view in views] for views in (student, teacher)]
    assert float(dino(*rows, center, 0.1, 0.04)) == pytest.approx(expected, rel=1e-12)
    added = [view + torch.arange(4)[:, None] for view in student]
    assert float(dino(added, [view - 5 for view in teacher], center, 0.1, 0.04)) == pytest.approx(expected, rel=1e-12)


def test_dino_goes_backward_twice_and_lets_the_centre_move_on():
    teacher, center = [batch(4, 6, seed=20), batch(4, 6, seed=21)], batch(6, seed=22)
    student = [batch(4, 6, seed=s).requires_grad_() for s in range(3)]
    loss = dino(student, teacher, center, 0.1, 0.04)
    center.mul_(0.9)
    first = torch.autograd.grad(loss, student, retain_graph=True)
    second = torch.autograd.grad(3 * loss, student)
    for a, b in zip(first, second, strict=True):
        torch.testing.assert_close(3 * a, b, rtol=1e-12, atol=0)


def test_dino_gives_gradients_to_those_views_alone_that_want_them():
    teacher, center = [batch(4, 6, seed=20).requires_grad_(), batch(4, 6, seed=21)], batch(6, seed=22)
    student = [batch(4, 6, seed=s) for s in range(3)]
    student[1].requires_grad_()
    dino(student, teacher, center, 0.1, 0.04).backward()
    assert student[1].grad is not None and student[0].grad is None and teacher[0].grad is None


def test_dino_keeps_nothing_but_its_inputs_and_the_centre():
    n, k = 16, 65536
    student, teacher = [batch(n, k, seed=s, dtype=torch.float32) for s in range(3)], [torch.zeros(n, k)] * 2
    kept, largest = memory_of(lambda *views: dino(views, teacher, torch.zeros(k), 0.1, 0.04), *student)
    assert kept <= 4 * (4 * n * k + k)  # three views, the one tensor that is both teachers, the centre
    assert largest == n * k


def test_dino_agrees_with_lightly():
    theirs = pytest.importorskip("lightly.loss").DINOLoss(output_dim=9, student_temp=0.2, teacher_temp=0.05)
    teacher, student = [batch(4, 9, seed=s) for s in (20, 21)], [batch(4, 9, seed=s) for s in range(5)]
    center = batch(9, seed=40)
    theirs.center = center[None, None].clone()
    ours = value_and_gradients(lambda *views: dino(views, teacher, center, 0.2, 0.05), *student)
    # lightly holds its temperature as float32, which is where it differs.
    for a, b in zip(ours, value_and_gradients(lambda *views: theirs(teacher, list(views)), *student), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-8)


def ibot_patches_by_loops(student, teacher, mask, center, student_temperature: float, teacher_temperature: float):
    total, row = 0.0 * student.sum(), 0
    for view in mask:
        count = int(view.sum())
        for _ in range(count):
            wanted = ((teacher[row] - center) / teacher_temperature).softmax(0)
            log_p = (student[row] / student_temperature).log_softmax(0)
            total = total - sum(q * p for q, p in zip(wanted, log_p, strict=True)) / count
            row += 1
    return total / len(mask)


def hidden_patches() -> torch.Tensor:
    """Of four views: 3, none, 1 and 2 patches."""
    mask = torch.zeros(4, 2, 3, dtype=torch.bool)
    mask[0, 0, :] = mask[2, 1, 1] = mask[3, :, 2] = True
    return mask


@pytest.mark.parametrize("rows", [1, 4, 1000])
def test_ibot_patches_equals_the_formula(rows, monkeypatch):
    monkeypatch.setattr(common, "CPU_TILE", 4 * 7 * rows)
    student, teacher, center = batch(6, 7), batch(6, 7, seed=1), batch(7, seed=2)
    mask = hidden_patches()
    assert_equal(
        lambda s: ibot_patches(s, teacher, mask, center, 0.1, 0.05),
        lambda s: ibot_patches_by_loops(s, teacher, mask, center, 0.1, 0.05),
        student,
    )


def test_ibot_patches_agrees_with_lightly():
    theirs = pytest.importorskip("lightly.loss").IBOTPatchLoss(output_dim=7, student_temp=0.2, teacher_temp=0.05)
    student, teacher, mask = batch(6, 7), batch(6, 7, seed=1), hidden_patches()
    expected = value_and_gradients(lambda s: theirs(teacher, s, mask), student)
    ours = value_and_gradients(lambda s: ibot_patches(s, teacher, mask, torch.zeros(7), 0.2, 0.05), student)
    # lightly holds its temperature as float32, which is where it differs.
    for a, b in zip(ours, expected, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-6, atol=1e-8)


def test_ibot_patches_is_ln_k_at_chance_and_0_where_nothing_is_hidden():
    zeros, nothing = torch.zeros(6, 7), torch.zeros(4, 2, 3, dtype=torch.bool)
    value = ibot_patches(zeros, zeros, hidden_patches(), torch.zeros(7), 0.1, 0.04)
    assert float(value) == pytest.approx(0.75 * math.log(7), rel=1e-6)
    value, gradient = value_and_gradients(
        lambda s: ibot_patches(s, zeros[:0], nothing, torch.zeros(7), 0.1, 0.04), zeros[:0]
    )
    assert float(value) == 0 and gradient.shape == (0, 7)


def test_ibot_patches_goes_backward_twice_leaves_the_teacher_alone_and_lets_the_centre_move_on():
    student, teacher = batch(6, 7).requires_grad_(), batch(6, 7, seed=1).requires_grad_()
    center, mask = batch(7, seed=2).requires_grad_(), hidden_patches()
    expected = torch.autograd.grad(ibot_patches(student, teacher, mask, center, 0.1, 0.05), student)[0]
    loss = ibot_patches(student, teacher, mask, center, 0.1, 0.05)
    with torch.no_grad():
        center += 1
    loss.backward(retain_graph=True)
    assert torch.equal(student.grad, expected) and teacher.grad is None and center.grad is None
    loss.backward()
    torch.testing.assert_close(student.grad, 2 * expected)


def test_ibot_patches_keeps_nothing_but_its_inputs_and_the_centre():
    n, k = 24, 65536
    mask = torch.ones(2, 3, 4, dtype=torch.bool)
    student, teacher = batch(n, k, dtype=torch.float32), batch(n, k, seed=1, dtype=torch.float32)
    kept, largest = memory_of(lambda s: ibot_patches(s, teacher, mask, torch.zeros(k), 0.1, 0.04), student)
    assert kept <= 4 * (2 * n * k + k + n)
    assert largest == n * k
