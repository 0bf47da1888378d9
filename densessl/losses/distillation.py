"""Objectives without negatives, where a network says what another said: SimSiam, BYOL, DINO, iBOT, distillation."""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce

import torch
from torch import Tensor

from densessl.losses.common import (
    check,
    check_pair,
    check_temperature,
    directions,
    first_derivative_only,
    no_autocast,
    tile_elements,
)


def negative_cosine(prediction: Tensor, target: Tensor) -> Tensor:
    """SimSiam's loss (arXiv 2011.10566, equation 1): minus the cosine of (N, D) and (N, D), mean over N; in [-1, 1].

    No gradient flows into the target.
    """
    check_pair("negative_cosine", "prediction", prediction, "target", target)
    with no_autocast(prediction):
        return -(directions(prediction) * directions(target.detach())).sum(1).mean()


def byol(prediction: Tensor, target: Tensor) -> Tensor:
    """BYOL's loss (arXiv 2006.07733, equation 2) of one direction: 2 - 2 cos of (N, D) and (N, D), mean over N.

    No gradient flows into the target. In [0, 4], and 2 for vectors that have nothing to do with each other.
    """
    check_pair("byol", "prediction", prediction, "target", target)
    return 2 + 2 * negative_cosine(prediction, target)


def distill(student: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    """SimCLRv2's distillation (arXiv 2006.10029, equation 2): the student should say what the teacher says.

    student, teacher: (N, C) logits of the same images. The cross-entropy of softmax(teacher / temperature) and
    softmax(student / temperature), mean over N; no factor makes up for the temperature. No gradient flows into the
    teacher. Chance level: ln(C); at its lowest it is the teacher's own entropy.
    """
    check_pair("distill", "student", student, "teacher", teacher)
    check_temperature("temperature", temperature)
    with no_autocast(student):
        dtype = reduce(torch.promote_types, (student.dtype, teacher.dtype), torch.float32)
        wanted = (teacher.detach().to(dtype) / temperature).softmax(1)
        return -(wanted * (student.to(dtype) / temperature).log_softmax(1)).sum(1).mean()


def dino(
    student: Sequence[Tensor],
    teacher: Sequence[Tensor],
    center: Tensor,
    student_temperature: float,
    teacher_temperature: float,
) -> Tensor:
    """DINO's loss (arXiv 2104.14294, equation 3): the student's other views should say what the teacher says of one.

    student: V tensors (N, K) of logits, one per view; the first U are the views that the teacher saw, in its order.
    teacher: U tensors (N, K) of logits. center: (K,), subtracted from them. Neither gets a gradient, and the centre
        may be moved before the backward pass.

    The cross-entropy of softmax((teacher - center) / teacher_temperature) and softmax(student / student_temperature)
    averaged over the batch and over the U V - U pairs of different views, as in the official code (`main_dino.py`).
    Chance level: ln(K).
    """
    _check_views(student, teacher, center)
    check_temperature("student_temperature", student_temperature)
    check_temperature("teacher_temperature", teacher_temperature)
    with no_autocast(center):
        settings = (len(teacher), student_temperature, teacher_temperature)
        return _CrossViewEntropy.apply(settings, center.detach(), *(view.detach() for view in teacher), *student)


def ibot_patches(
    student: Tensor,
    teacher: Tensor,
    mask: Tensor,
    center: Tensor,
    student_temperature: float,
    teacher_temperature: float,
) -> Tensor:
    """iBOT's loss of patches (arXiv 2111.07832, equation 2): the student should say of a hidden patch what the teacher,
    who sees it, says.

    mask: (B, ...) bool, M of it true: what was hidden in each of B views. student, teacher: (M, K) logits of the hidden
        patches, in the order of mask.nonzero(). center: (K,), subtracted from the teacher's. Neither teacher nor centre
        gets a gradient, and the centre may be moved before the backward pass.

    The cross-entropy of softmax((teacher - center) / teacher_temperature) and softmax(student / student_temperature),
    averaged over the hidden patches of each view, then over all views, those without any at 0, as in the official code
    (`main_ibot.py`). Chance level: ln(K) times the share of views with a mask.
    """
    _check_patches(student, teacher, mask, center)
    check_temperature("student_temperature", student_temperature)
    check_temperature("teacher_temperature", teacher_temperature)
    with no_autocast(center):
        mask = mask.flatten(1)
        hidden = mask.sum(1, keepdim=True).clamp_min(1).to(_widest(student, teacher, center))
        weights = (1 / (len(mask) * hidden)).expand_as(mask)[mask]
        temperatures = (student_temperature, teacher_temperature)
        return _RowEntropy.apply(temperatures, weights, center.detach(), teacher.detach(), student)


class _RowEntropy(torch.autograd.Function):
    """Sum of the rows' cross-entropies by their weights, in one sweep, a few rows at a time."""

    @staticmethod
    def forward(
        ctx, temperatures: tuple[float, float], weights: Tensor, center: Tensor, teacher: Tensor, student: Tensor
    ) -> Tensor:
        ctx.save_for_backward(weights, center.clone(), teacher, student)
        ctx.temperatures, ctx.type = temperatures, student.dtype
        loss, ctx.difference = _row_sweep(temperatures, weights, center, teacher, student, ctx.needs_input_grad[4])
        return loss

    @staticmethod
    @first_derivative_only
    def backward(ctx, gradient: Tensor) -> tuple[Tensor | None, ...]:
        # The first call hands out the forward pass's own memory, as in `_CrossViewEntropy`.
        difference, ctx.difference = ctx.difference, None
        if difference is None:
            difference = _row_sweep(ctx.temperatures, *ctx.saved_tensors, True)[1]
        return None, None, None, None, difference.mul_(gradient).to(ctx.type)


def _row_sweep(
    temperatures: tuple[float, float], weights: Tensor, center: Tensor, teacher: Tensor, student: Tensor, needed: bool
) -> tuple[Tensor, Tensor | None]:
    """The loss and, if needed, its gradient by the student's logits."""
    student_temperature, teacher_temperature = temperatures
    difference = _empty_difference(student) if needed else None
    dtype, loss = weights.dtype, weights.new_zeros(())
    step = max(1, tile_elements(center) // 4 // len(center))
    for rows in (slice(start, start + step) for start in range(0, len(student), step)):
        wanted = ((teacher[rows].to(dtype) - center) / teacher_temperature).softmax(1)
        log_p = (student[rows].to(dtype) / student_temperature).log_softmax(1)
        loss -= torch.dot(weights[rows], (wanted * log_p).sum(1))
        if difference is not None:
            scale = (weights[rows] / student_temperature)[:, None]
            difference[rows] = log_p.exp_().sub_(wanted).mul_(scale)
    return loss, difference


class _CrossViewEntropy(torch.autograd.Function):
    """DINO's mean cross-entropy in one sweep over the batch, a few rows of all views at a time.

    The mean over the teachers that a student's view is compared with is taken before the logarithm is met, so each
    view costs one log-softmax and one product, and the teachers' probabilities are held for these rows alone.
    """

    @staticmethod
    def forward(ctx, settings: tuple[int, float, float], center: Tensor, *logits: Tensor) -> Tensor:
        """settings: the count of teachers, the student's temperature, the teacher's."""
        teachers = settings[0]
        needed = ctx.needs_input_grad[2 + teachers :]
        # Of the centre a copy, because DINO moves it in place before the backward pass.
        ctx.save_for_backward(center.clone(), *logits)
        ctx.settings, ctx.needed, ctx.types = settings, needed, [view.dtype for view in logits[teachers:]]
        loss, ctx.differences = _cross_view_sweep(settings, center, logits, needed)
        return loss

    @staticmethod
    @first_derivative_only
    def backward(ctx, gradient: Tensor) -> tuple[Tensor | None, ...]:
        teachers, temperature, _ = ctx.settings
        # The first call hands out the forward pass's own memory, so that a call after it (retain_graph) sweeps again.
        differences, ctx.differences = ctx.differences, None
        if differences is None:
            center, *logits = ctx.saved_tensors
            differences = _cross_view_sweep(ctx.settings, center, logits, ctx.needed)[1]
        results: list[Tensor | None] = [None] * (2 + teachers)
        for view, difference in enumerate(differences):
            if difference is not None:
                weight = _view_weight(view, teachers, len(differences), len(difference))
                difference = difference.mul_(gradient * (weight / temperature)).to(ctx.types[view])
            results.append(difference)
        return tuple(results)


def _cross_view_sweep(
    settings: tuple[int, float, float], center: Tensor, logits: Sequence[Tensor], needed: Sequence[bool]
) -> tuple[Tensor, list[Tensor | None]]:
    """The loss and, for each student's view whose gradient is needed, its probabilities minus the wanted ones.

    The latter are kept in the type of the view, but in float32 for float16, where most of them would be 0.
    """
    teachers, student_temperature, teacher_temperature = settings
    teacher, student = logits[:teachers], logits[teachers:]
    dtype = _widest(*logits, center)
    differences = [_empty_difference(view) if need else None for view, need in zip(student, needed, strict=True)]
    count, loss = len(student[0]), torch.zeros((), dtype=dtype, device=center.device)
    # About eight arrays of this size are alive at a time.
    step = max(1, tile_elements(center) // 8 // len(center))
    for rows in (slice(start, start + step) for start in range(0, count, step)):
        said = [((view[rows].to(dtype) - center) / teacher_temperature).softmax(1) for view in teacher]
        mean = reduce(torch.add, said) / teachers if len(student) > teachers else None
        for view, difference in enumerate(differences):
            wanted = mean if view >= teachers else _mean_of_others(said, view)
            log_p = (student[view][rows].to(dtype) / student_temperature).log_softmax(1)
            weight = _view_weight(view, teachers, len(student), count)
            loss -= weight * torch.dot(wanted.flatten(), log_p.flatten())
            if difference is not None:
                torch.sub(log_p.exp_(), wanted, out=difference[rows])
    return loss, differences


def _view_weight(view: int, teachers: int, students: int, batch: int) -> float:
    """The weight in the loss of one row of a student's view: its pairs over all pairs and the batch."""
    return (teachers - (view < teachers)) / (teachers * (students - 1) * batch)


def _mean_of_others(said: Sequence[Tensor], view: int) -> Tensor:
    """Mean over the teachers that saw another view; zeros, which have weight 0, when there is none."""
    others = [each for teacher, each in enumerate(said) if teacher != view]
    if not others:
        return torch.zeros_like(said[0])
    return others[0] if len(others) == 1 else reduce(torch.add, others) / len(others)


def _widest(*tensors: Tensor) -> torch.dtype:
    """The type to compute in: float32, or wider where one of them is."""
    return reduce(torch.promote_types, (each.dtype for each in tensors), torch.float32)


def _empty_difference(view: Tensor) -> Tensor:
    return torch.empty(
        view.shape, dtype=torch.float32 if view.dtype == torch.float16 else view.dtype, device=view.device
    )


def _check_patches(student: Tensor, teacher: Tensor, mask: Tensor, center: Tensor) -> None:
    shapes = f"they are {tuple(student.shape)}, {tuple(teacher.shape)} and {tuple(center.shape)}"
    fine = student.ndim == 2 and student.shape == teacher.shape and tuple(center.shape) == tuple(student.shape[1:])
    check(fine, f"ibot_patches needs logits (M, K) of student and teacher and a center (K,); {shapes}.")
    fine = mask.ndim > 1 and mask.dtype == torch.bool and len(mask) > 0 and int(mask.sum()) == len(student)
    what = f"it is {mask.dtype} {tuple(mask.shape)} with {int(mask.sum())}"
    check(fine, f"ibot_patches needs a mask (B, ...) of bool with {len(student)} true, a row of logits each; {what}.")


def _check_views(student: Sequence[Tensor], teacher: Sequence[Tensor], center: Tensor) -> None:
    counts = f"it got {len(student)} and {len(teacher)}"
    fine = len(student) >= max(2, len(teacher)) and len(teacher) > 0
    check(fine, f"dino needs 2 student views or more, of which the teacher saw 1 or more of the first; {counts}.")
    shapes = {tuple(view.shape) for view in (*student, *teacher)}
    shape = tuple(student[0].shape)
    fine = len(shapes) == 1 and len(shape) == 2 and shape[0] > 0
    check(fine, f"dino needs logits of one shape (N, K) for all views; it got {sorted(shapes)}.")
    fine = tuple(center.shape) == shape[1:]
    check(fine, f"dino needs a center {shape[1:]} beside logits {shape}; it is {tuple(center.shape)}.")
