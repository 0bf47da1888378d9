"""The codes and the loss of SwAV are its paper's formulas, in one process and in two."""

from __future__ import annotations

import math
import os
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp

from densessl.losses import code_prediction, sinkhorn, swapped_prediction
from tests.losses.slow import assert_equal, batch, memory_of


def sinkhorn_by_loops(scores: torch.Tensor, epsilon: float, iterations: int) -> torch.Tensor:
    """Algorithm 1 of the paper's appendix: Q is K x B, its rows come to sum to 1 / K and then its columns to 1 / B."""
    q = (scores / epsilon).exp().T
    q = q / q.sum()
    prototypes, images = q.shape
    for _ in range(iterations):
        for k in range(prototypes):
            q[k] = q[k] / (q[k].sum() * prototypes)
        for b in range(images):
            q[:, b] = q[:, b] / (q[:, b].sum() * images)
    return (q * images).T


def prediction_by_loops(scores, codes, temperature: float) -> torch.Tensor:
    """For each code the mean over the other views, then the mean over codes, as the official code has it."""
    loss = 0.0 * sum(view.sum() for view in scores)  # so that every view has a gradient
    for place, code in enumerate(codes):
        part = 0.0
        for view, logits in enumerate(scores):
            if view != place:
                for q, s in zip(code, logits, strict=True):
                    log_p = (s / temperature).log_softmax(0)
                    part = part - sum(a * b for a, b in zip(q, log_p, strict=True)) / len(logits)
        loss = loss + part / (len(scores) - 1)
    return loss / len(codes)


@pytest.mark.parametrize("iterations", [1, 2, 3, 4, 7])
@pytest.mark.parametrize(("images", "prototypes"), [(5, 7), (9, 4), (1, 3), (3, 1)])
def test_sinkhorn_equals_the_algorithm(iterations, images, prototypes):
    scores = batch(images, prototypes).tanh()
    ours, slow = sinkhorn(scores, 0.05, iterations), sinkhorn_by_loops(scores, 0.05, iterations)
    torch.testing.assert_close(ours, slow, rtol=1e-10, atol=1e-300)


def test_codes_sum_to_1_and_use_every_prototype_alike_in_the_end():
    codes = sinkhorn(batch(12, 4), 0.5, 200)
    torch.testing.assert_close(codes.sum(1), torch.ones(12, dtype=torch.float64))
    torch.testing.assert_close(codes.sum(0), torch.full((4,), 3.0, dtype=torch.float64))


def test_sinkhorn_worked_by_hand():
    # Two images that like the first prototype alike: balance gives each half of both.
    torch.testing.assert_close(sinkhorn(torch.tensor([[1.0, 0.0], [1.0, 0.0]]), 0.1, 3), torch.full((2, 2), 0.5))
    # exp of [[ln 2, 0], [0, 0]]: columns / (3, 2), then rows / (2/3 + 1/2, 1/3 + 1/2).
    found = sinkhorn(torch.tensor([[math.log(2), 0.0], [0.0, 0.0]]), 1.0, 1)
    torch.testing.assert_close(found, torch.tensor([[4 / 7, 3 / 7], [2 / 5, 3 / 5]]))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32])
@pytest.mark.parametrize("epsilon", [0.05, 0.003, 1e-4])
@pytest.mark.parametrize("iterations", [3, 20])
def test_sinkhorn_overflows_at_no_epsilon(dtype, epsilon, iterations):
    """exp(1 / 0.05) is too large for float16 and exp(1 / 0.003) for float32; float64 in the log domain tells right."""
    scores = batch(20, 6, dtype=dtype).tanh()
    scores[:, 3] = -1  # a prototype that nobody is near
    scores[:, 0] = 1  # and one that everybody is nearest to
    codes = sinkhorn(scores, epsilon, iterations)
    assert codes.dtype == torch.float32 and torch.isfinite(codes).all()
    logits = scores.double() / epsilon
    u, v = torch.zeros(20, 1, dtype=torch.float64), torch.zeros(6, dtype=torch.float64)
    for _ in range(iterations):
        v = -(logits + u).logsumexp(0)
        u = -(logits + v).logsumexp(1, keepdim=True)
    # float32 holds scores / epsilon to about 1e-7 of it.
    torch.testing.assert_close(codes.double(), (logits + u + v).exp(), rtol=0, atol=5e-6 / epsilon * 0.05 + 1e-6)


def test_sinkhorn_lets_no_gradient_through_and_leaves_its_input_alone():
    scores = batch(4, 5).requires_grad_()
    before = scores.detach().clone()
    assert not sinkhorn(scores, 0.05, 3).requires_grad and torch.equal(scores.detach(), before)


@pytest.mark.parametrize(("views", "count"), [(2, 1), (2, 2), (4, 2), (3, 3), (5, 1), (4, 3)])
def test_code_prediction_equals_the_formula(views, count):
    scores = [batch(4, 6, seed=view) for view in range(views)]
    codes = [sinkhorn(batch(4, 6, seed=20 + each), 0.5, 3) for each in range(count)]
    assert_equal(
        lambda *views: code_prediction(views, codes, 0.1),
        lambda *views: prediction_by_loops(views, codes, 0.1),
        *scores,
    )


def test_swapped_prediction_is_the_mean_of_both_directions_with_fixed_codes():
    a, b = batch(5, 6).tanh(), batch(5, 6, seed=1).tanh()
    codes = [sinkhorn_by_loops(each, 0.05, 3) for each in (a, b)]
    assert_equal(
        lambda a, b: swapped_prediction(a, b, 0.1, 0.05, 3), lambda a, b: prediction_by_loops([a, b], codes, 0.1), a, b
    )


def test_the_chance_level_is_ln_k():
    flat = torch.zeros(3, 12)
    assert float(swapped_prediction(flat, flat, 0.1, 0.05, 3)) == pytest.approx(math.log(12), rel=1e-6)


def test_images_may_come_in_any_order():
    a, b, order = batch(5, 6).tanh(), batch(5, 6, seed=1).tanh(), torch.randperm(5)
    expected = float(swapped_prediction(a, b, 0.1, 0.05, 3))
    assert float(swapped_prediction(a[order], b[order], 0.1, 0.05, 3)) == pytest.approx(expected, rel=1e-12)


def test_no_gradient_reaches_codes_and_views_that_want_none():
    scores, codes = [batch(4, 6, seed=s) for s in range(3)], [batch(4, 6, seed=9).softmax(1).requires_grad_()]
    scores[1].requires_grad_()
    code_prediction(scores, codes, 0.1).backward()
    assert scores[1].grad is not None and codes[0].grad is None and scores[0].grad is None


def test_nothing_is_kept_but_scores_and_codes():
    n, k = 64, 3000
    a, b = batch(n, k, dtype=torch.float32), batch(n, k, seed=1, dtype=torch.float32)
    kept, largest = memory_of(lambda a, b: swapped_prediction(a, b, 0.1, 0.05, 3), a, b)
    assert kept <= 4 * (4 * n * k + 2 * n) and largest == n * k


def test_swapped_prediction_agrees_with_lightly():
    theirs = pytest.importorskip("lightly.loss").SwaVLoss(temperature=0.2)
    views = [batch(6, 9, seed=s).tanh() for s in range(5)]
    codes = lambda views: [sinkhorn(view, 0.05, 3) for view in views[:2]]  # noqa: E731
    assert_equal(
        lambda *views: code_prediction(views, codes(views), 0.2),
        lambda *views: theirs(list(views[:2]), list(views[2:])).squeeze(),
        *views,
        rtol=1e-9,
    )


def worker(rank: int, folder: str) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2)
    scores = batch(9, 4).tanh()
    # One process holds four images, the other five.
    torch.save(sinkhorn(scores[:4] if rank == 0 else scores[4:], 0.01, 5), Path(folder) / f"{rank}.pt")
    dist.destroy_process_group()


def test_codes_of_two_processes_are_those_of_one(tmp_path):
    os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
    mp.spawn(worker, (str(tmp_path),), nprocs=2)
    found = torch.cat([torch.load(tmp_path / f"{rank}.pt", weights_only=True) for rank in range(2)])
    torch.testing.assert_close(found, sinkhorn(batch(9, 4).tanh(), 0.01, 5), rtol=1e-10, atol=0)
