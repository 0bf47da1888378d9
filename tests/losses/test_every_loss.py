"""What holds for every loss: precision, degenerate vectors, gradients, the names of mistakes."""

from __future__ import annotations

import math

import pytest
import torch

from densessl.losses import (
    barlow_twins,
    byol,
    code_prediction,
    common,
    cpc,
    dino,
    distill,
    ibot_patches,
    in_batch_nce,
    info_nce,
    kl_to_uniform,
    logit_laplace,
    masked_reconstruction,
    nce,
    negative_cosine,
    nt_xent,
    pirl_nce,
    sinkhorn,
    sup_con,
    swapped_prediction,
    vicreg,
)
from tests.losses.slow import batch, value_and_gradients

PAIRS = torch.tensor([[True, True, False], [False, True, False], [True, True, False]])  # five of three views' patches
# Plain operations, which can be differentiated as often as one likes.
PLAIN = ("byol", "distill", "kl_to_uniform", "logit_laplace", "masked_reconstruction", "negative_cosine")


def every_loss(dtype: torch.dtype, temperature: float = 0.1):
    """Name, loss of one tensor (5, 6), and that tensor."""
    other, queue = batch(5, 6, seed=1, dtype=dtype), batch(70, 6, seed=2, dtype=dtype)
    third, center = batch(5, 6, seed=3, dtype=dtype), batch(6, seed=4, dtype=dtype)
    codes = sinkhorn(third, 0.5, 3).to(torch.promote_types(dtype, torch.float32))
    table = {
        "nt_xent": lambda z: nt_xent(z, other, temperature),
        "sup_con": lambda z: sup_con(z, other, torch.tensor([0, 1, 0, 0, 2]), temperature),
        "info_nce": lambda z: info_nce(z, other, queue, temperature),
        "in_batch_nce": lambda z: in_batch_nce(z, queue, 3, temperature),
        "ibot_patches": lambda z: ibot_patches(z, other, PAIRS, center, temperature, temperature / 2),
        "masked_reconstruction": lambda z: masked_reconstruction(
            z[:, None], third[:, None], torch.arange(5)[:, None] > 1
        ),
        "pirl_nce": lambda z: pirl_nce(z, other, queue, temperature, 100),
        "cpc": lambda z: cpc(z, torch.cat([z * 0.5, queue]), torch.arange(5)),
        "logit_laplace": lambda z: logit_laplace(z, other, third.sigmoid()),
        "kl_to_uniform": kl_to_uniform,
        "distill": lambda z: distill(z, other, max(temperature, 0.1)),
        "nce": lambda z: nce(z, other, queue, temperature, 1000, 8.0),
        "vicreg": lambda z: vicreg(z, other),
        "barlow_twins": lambda z: barlow_twins(z, other),
        "negative_cosine": lambda z: negative_cosine(z, other),
        "byol": lambda z: byol(z, other),
        "dino": lambda z: dino([z, other, z * 0.5], [other, third], center, temperature, temperature / 2),
        "code_prediction": lambda z: code_prediction([z, other, z * 0.5], [codes, codes.flip(1)], temperature),
    }
    return [(name, loss, batch(5, 6, dtype=dtype)) for name, loss in table.items()]


@pytest.mark.parametrize("temperature", [0.5, 0.001])
def test_gradients_pass_gradcheck(temperature, monkeypatch):
    monkeypatch.setattr(common, "CPU_TILE", 4**2)
    for name, loss, z in every_loss(torch.float64, temperature):
        # The loss bends too sharply at the small temperature for steps of 1e-6.
        step = 1e-6 if temperature > 0.1 else 1e-8
        assert torch.autograd.gradcheck(loss, z.requires_grad_(), eps=step, rtol=1e-3, atol=1e-4), name


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_inputs_are_computed_in_float32(dtype):
    for (name, loss, z), (_, exact, _) in zip(every_loss(dtype), every_loss(torch.float64), strict=True):
        value, gradient = value_and_gradients(loss, z)
        assert value.dtype == torch.float32 and gradient.dtype == dtype, name
        wide, wide_gradient = value_and_gradients(exact, z.double())
        # What the other arguments lose by rounding is all the difference.
        assert float(value) == pytest.approx(float(wide), rel=0.02, abs=0.02), name
        assert float((gradient - wide_gradient).abs().max()) < 0.05 * float(wide_gradient.abs().max()), name


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("temperature", [0.5, 0.01])
def test_degenerate_embeddings_give_finite_values_and_gradients(dtype, temperature):
    one = torch.ones(4, 6, dtype=dtype)
    tiny = one * torch.finfo(dtype).tiny
    cases = {"zeros": one * 0, "identical": one, "tiny": tiny, "large": one * 6e4, "opposite": -one}
    for case, z in cases.items():
        z[-1] = one[0]
        jobs = [
            lambda z: nt_xent(z, one, temperature),
            lambda z: nt_xent(z, z, temperature),
            lambda z: sup_con(z, one, torch.tensor([0, 0, 1, 2]), temperature),
            lambda z: sup_con(z, z, torch.zeros(4, dtype=torch.int64), temperature),
            lambda z: info_nce(z, one, one, temperature),
            lambda z: in_batch_nce(z, one, 0, temperature),
            lambda z: ibot_patches(z, one, PAIRS[[0, 2]], one[0], temperature, temperature),
            lambda z: masked_reconstruction(z[:, None], z[:, None], one[:, :1]),
            lambda z: pirl_nce(z, one, one / 6**0.5, temperature, 9),
            lambda z: logit_laplace(z, one, one / 2),
            kl_to_uniform,
            lambda z: distill(z, one, temperature),
            lambda z: nce(z, one, one, temperature, 10),
            lambda z: barlow_twins(z, one),
            lambda z: barlow_twins(z, z),
            lambda z: barlow_twins(z.T, one.T),
            lambda z: byol(z, one),
            lambda z: dino([z, one, z], [z, one], one[0], temperature, temperature),
            lambda z: swapped_prediction(z, one, temperature, temperature, 3),
        ]
        if (case, dtype) != ("large", torch.float16):  # whose true gradient, of cubes, float16 cannot hold
            jobs += [lambda z: vicreg(z, one), lambda z: vicreg(z, z), lambda z: vicreg(z.T, one.T)]
        for job in jobs:
            assert all(torch.isfinite(each).all() for each in value_and_gradients(job, z)), case


def test_zero_vectors_have_cosine_0_and_no_gradient():
    zeros, other, labels = torch.zeros(3, 4), batch(3, 4, dtype=torch.float32), torch.tensor([0, 1, 0])
    for loss in (
        lambda z: nt_xent(z, other, 0.1),
        lambda z: sup_con(z, other, labels, 0.1),
        lambda z: byol(z, other),
        lambda z: info_nce(z, other, other, 0.1),
        lambda z: in_batch_nce(z, other, 0, 0.1),
        lambda z: pirl_nce(z, other, other, 0.1, 9),
    ):
        assert float(value_and_gradients(loss, zeros)[1].abs().max()) == 0
    assert float(byol(zeros, other)) == 2


def test_large_logits_in_float16():
    student = [torch.tensor([[6e4, -6e4, 0.0]], dtype=torch.float16)] * 2
    value = dino(student, student, torch.zeros(3), 0.1, 0.04)
    assert float(value) == 0
    assert float(dino(student, [-each for each in student], torch.zeros(3), 0.1, 0.04)) == pytest.approx(
        1.2e6, rel=1e-3
    )


def test_autocast_changes_nothing():
    for name, loss, z in every_loss(torch.float32):
        expected = value_and_gradients(loss, z)
        with torch.autocast("cpu", torch.bfloat16):
            found = value_and_gradients(loss, z)
        assert all(torch.equal(a, b) for a, b in zip(found, expected, strict=True)), name


def test_second_derivatives_are_refused():
    for name, loss, z in every_loss(torch.float64):
        if name in PLAIN:
            continue
        (gradient,) = torch.autograd.grad(loss(z.requires_grad_()), z, create_graph=True)
        with pytest.raises(RuntimeError, match="once_differentiable"):
            gradient.sum().backward()


MASK = torch.tensor([[True, False, True, False], [False, False, True, True]])


A, B, QUEUE, CENTER = batch(3, 4), batch(2, 4), batch(9, 4), batch(4)
MISTAKES = {
    r"nt_xent needs two batches of one shape .* z_a is \(3, 4\) and z_b \(2, 4\)": lambda: nt_xent(A, B, 0.1),
    "N of 1 or more": lambda: nt_xent(A[:0], A[:0], 0.1),
    "byol needs two": lambda: byol(A, B),
    "negative_cosine needs two": lambda: negative_cosine(A[0], A[0]),
    r"vicreg needs two batches of one shape .* z_a is \(3, 4\) and z_b \(2, 4\)": lambda: vicreg(A, B),
    "barlow_twins needs two": lambda: barlow_twins(A, B),
    "vicreg needs 2 rows or more": lambda: vicreg(A[:1], A[:1]),
    "barlow_twins needs 2 rows or more": lambda: barlow_twins(A[:1], A[:1]),
    "epsilon must be above 0; it is 0": lambda: vicreg(A, A, epsilon=0),
    "sup_con needs two": lambda: sup_con(A, B, torch.zeros(3), 0.1),
    r"label of each of the 3 rows; they are \(2,\) int64": lambda: sup_con(A, A, torch.zeros(2).long(), 0.1),
    r"label of each of the 3 rows; they are \(3,\) float32": lambda: sup_con(A, A, torch.zeros(3), 0.1),
    "temperature must be above 0; it is inf": lambda: sup_con(A, A, torch.zeros(3).long(), math.inf),
    "info_nce needs two": lambda: info_nce(A, B, QUEUE, 0.1),
    r"keys \(M, D\); query is \(3, 4\) and keys \(4, 9\)": lambda: in_batch_nce(A, QUEUE.T, 0, 0.1),
    "a key for each query from offset 7 on": lambda: in_batch_nce(A, QUEUE, 7, 0.1),
    r"student and teacher and a center \(K,\); they are": lambda: ibot_patches(A, B, A > 0, CENTER, 0.1, 0.04),
    r"with 3 true, .* torch.bool \(2, 4\) with 4": lambda: ibot_patches(A, A, MASK, CENTER, 0.1, 0.04),
    "a mask .* of bool with 3 true": lambda: ibot_patches(A, A, MASK.float(), CENTER, 0.1, 0.04),
    r"target \(N, P, V\) and a mask \(N, P\); they are": lambda: masked_reconstruction(A[None], A[None], B),
    "patches of 2 values": lambda: masked_reconstruction(A[..., None], A[..., None], A),
    "partition must be above 0; it is 0": lambda: pirl_nce(A, A, QUEUE, 0.1, 9, 0),
    r"cpc needs .* positive \(2,\)": lambda: cpc(A, QUEUE, torch.zeros(2).long()),
    r"target \(4, 9\)": lambda: cpc(A, QUEUE.T, torch.zeros(3).long()),
    r"three tensors of one shape, not \(\(3, 4\), \(3, 4\), \(2, 4\)\)": lambda: logit_laplace(A, A, B),
    r"logits \(B, K, ...\); they are \(4,\)": lambda: kl_to_uniform(CENTER),
    "distill needs two": lambda: distill(A, B, 1.0),
    "temperature must be above 0; it is -3": lambda: distill(A, A, -3),
    "nce needs two": lambda: nce(A, B, QUEUE, 0.1, 9),
    r"nce needs negatives \(K, 4\) .* they are \(4, 9\)": lambda: nce(A, A, QUEUE.T, 0.1, 9),
    "data_size must be 1 or more; it is -1": lambda: nce(A, A, QUEUE, 0.1, -1),
    r"nce needs groups of shapes \[\(3,\), \(9,\)\]": lambda: nce(A, A, QUEUE, 0.1, 9, 0.0, (A[:, 0], A[:, 0])),
    "info_nce needs groups": lambda: info_nce(A, A, QUEUE, 0.1, (A[:, 0], A[:, 0])),
    r"needs a queue \(K, 4\) .* it is \(4, 9\)": lambda: info_nce(A, A, QUEUE.T, 0.1),
    r"it is \(0, 4\)": lambda: info_nce(A, A, QUEUE[:0], 0.1),
    "temperature must be above 0; it is 0": lambda: nt_xent(A, A, 0),
    "temperature must be above 0; it is -1": lambda: info_nce(A, A, QUEUE, -1),
    "temperature must be above 0; it is nan": lambda: nt_xent(A, A, math.nan),
    "student_temperature must be": lambda: dino([A, A], [A], CENTER, 0, 0.04),
    "teacher_temperature must be": lambda: dino([A, A], [A], CENTER, 0.1, 0),
    "it got 1 and 1": lambda: dino([A], [A], CENTER, 0.1, 0.04),
    "it got 2 and 3": lambda: dino([A, A], [A, A, A], CENTER, 0.1, 0.04),
    "it got 2 and 0": lambda: dino([A, A], [], CENTER, 0.1, 0.04),
    r"one shape .* \[\(2, 4\), \(3, 4\)\]": lambda: dino([A, B], [A], CENTER, 0.1, 0.04),
    r"swapped_prediction needs two .* scores_b \(2, 4\)": lambda: swapped_prediction(A, B, 0.1, 0.05, 3),
    "temperature must be above 0; it is -0.1": lambda: swapped_prediction(A, A, -0.1, 0.05, 3),
    "epsilon must be above 0; it is -1": lambda: sinkhorn(A, -1, 3),
    r"sinkhorn needs scores \(N, K\) .* \(0, 4\)": lambda: sinkhorn(A[:0], 0.05, 3),
    "1 iteration or more; it got 0": lambda: sinkhorn(A, 0.05, 0),
    "code_prediction needs scores of 2 .* it got 1 and 1": lambda: code_prediction([A], [A], 0.1),
    "code_prediction needs scores .* it got 2 and 3": lambda: code_prediction([A, A], [A, A, A], 0.1),
    r"scores and codes of one shape .* \[\(2, 4\), \(3, 4\)\]": lambda: code_prediction([A, A], [B], 0.1),
    r"center \(4,\) .* it is \(3, 4\)": lambda: dino([A, A], [A], A, 0.1, 0.04),
}


@pytest.mark.parametrize(("sentence", "call"), MISTAKES.items(), ids=[sentence[:40] for sentence in MISTAKES])
def test_a_mistake_is_named(sentence, call):
    with pytest.raises(ValueError, match=sentence):
        call()


@pytest.mark.parametrize(
    "loss",
    [
        lambda z, w: nt_xent(z, w, 0.1),
        lambda z, w: sup_con(z, w, torch.arange(4), 0.1),
        lambda z, w: info_nce(z, w, w, 0.1),
        lambda z, w: in_batch_nce(z, w, 0, 0.1),
        lambda z, w: pirl_nce(z, w, w, 0.1, 9),
        lambda z, w: cpc(z, w, torch.arange(4)),
        lambda z, w: distill(z, w, 1.0),
        byol,
        vicreg,
        barlow_twins,
        lambda z, w: swapped_prediction(z, w, 0.1, 0.05, 3),
    ],
)
def test_nan_is_never_hidden(loss):
    broken = torch.randn(4, 8)
    broken[1, 2] = float("nan")
    assert torch.isnan(loss(broken, torch.randn(4, 8)))
