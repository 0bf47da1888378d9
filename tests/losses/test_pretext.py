"""The losses of PIRL and CPC are their papers' formulas, and never make the large matrix."""

from __future__ import annotations

import math

import pytest
import torch

from densessl.losses import common, cpc, pirl_nce
from tests.losses.slow import assert_equal, batch, cosine, cross_entropy, memory_of, value_and_gradients


def pirl_by_loops(anchor, positive, negatives, temperature: float, data_size: int, partition: float = 1.0):
    noise = partition * len(negatives) / data_size
    total = 0.0
    for a, p in zip(anchor, positive, strict=True):
        e = torch.exp(cosine(a, p) / temperature)
        total = total - torch.log(e / (e + noise))
        for n in negatives:
            e = torch.exp((a * n).sum() / (a * a).sum().sqrt() / temperature)
            total = total - torch.log(noise / (e + noise))
    return total / len(anchor)


def cpc_by_loops(prediction, target, positive):
    total = 0.0
    for p, right in zip(prediction, positive, strict=True):
        logits = [(p * t).sum() for t in target]
        total = total + cross_entropy(logits, logits[right])
    return total / len(prediction)


def unit(*shape: int, seed: int, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    return torch.nn.functional.normalize(batch(*shape, seed=seed, dtype=dtype), dim=1)


@pytest.mark.parametrize(("temperature", "partition"), [(1.0, 1.0), (0.07, 1.0), (0.07, 30.0)])
@pytest.mark.parametrize(("n", "k"), [(1, 1), (2, 150), (5, 64)])
def test_pirl_nce_equals_the_formula(n, k, temperature, partition, monkeypatch):
    monkeypatch.setattr(common, "CPU_TILE", 1)  # 64 columns, the least: 64, 64 and 22 of 150
    anchor, positive, negatives = batch(n, 5), batch(n, 5, seed=1), unit(k, 5, seed=2)
    assert_equal(
        lambda a: pirl_nce(a, positive, negatives, temperature, 1000, partition),
        lambda a: pirl_by_loops(a, positive, negatives, temperature, 1000, partition),
        anchor,
    )


def test_pirl_nce_worked_by_hand():
    axes, k, r = torch.eye(4, dtype=torch.float64), 9, 9 / 36
    apart = axes[1:2].repeat(k, 1)
    chance = math.log1p(r) + k * math.log1p(1 / r)
    assert float(pirl_nce(axes[:1], axes[2:3], apart, 0.07, 36)) == pytest.approx(chance, rel=1e-12)
    # The positive is the anchor's own direction.
    found = math.log1p(r * math.exp(-1 / 0.5)) + k * math.log1p(1 / r)
    assert float(pirl_nce(axes[:1], 7 * axes[:1], apart, 0.5, 36)) == pytest.approx(found, rel=1e-12)
    # A temperature at which exp(1 / T) overflows float32: the loss is 1 / T a negative.
    same = axes[:1].float()
    assert float(pirl_nce(same, same, same, 0.005, 1)) == pytest.approx(200, rel=1e-5)


def test_pirl_nce_takes_a_partition_that_lies_in_a_buffer():
    anchor, positive, negatives = batch(3, 5), batch(3, 5, seed=1), unit(9, 5, seed=2)
    known = float(pirl_nce(anchor, positive, negatives, 0.1, 20, 2.5))
    assert float(pirl_nce(anchor, positive, negatives, 0.1, 20, torch.tensor(2.5))) == pytest.approx(known, rel=1e-12)


def test_pirl_nce_leaves_the_bank_alone_and_lets_it_move_on():
    anchor, bank = batch(3, 5).requires_grad_(), unit(8, 5, seed=2).requires_grad_()
    expected = torch.autograd.grad(pirl_nce(anchor, bank[:3], bank[3:], 0.1, 8), anchor)[0]
    loss = pirl_nce(anchor, bank[:3], bank[3:], 0.1, 8)
    with torch.no_grad():
        bank.zero_()
    loss.backward()
    assert bank.grad is None and torch.equal(anchor.grad, expected)


def test_pirl_nce_never_makes_all_logits(monkeypatch):
    monkeypatch.setattr(common, "CPU_TILE", 256**2)
    n, d, k = 64, 16, 65536
    anchor, positive, negatives = (batch(rows, d, seed=rows, dtype=torch.float32) for rows in (n, n, k))
    kept, largest = memory_of(lambda a: pirl_nce(a, positive, negatives, 0.1, k), anchor)
    assert kept < 0.01 * 4 * n * k
    assert largest == k * d  # the bank itself, as a view


@pytest.mark.parametrize(("m", "n"), [(1, 2), (3, 7), (4, 150)])
@pytest.mark.parametrize("scale", [1.0, 8.0])
@pytest.mark.parametrize("rows", [0, 3])
def test_cpc_equals_the_formula(m, n, rows, scale, monkeypatch):
    monkeypatch.setattr(common, "CPU_TILE", rows * n)  # one row at a time, the least, or three and one
    positive = torch.arange(m) * 2 % n
    prediction, target = scale * batch(m, 5), batch(n, 5, seed=1)
    assert_equal(lambda p, t: cpc(p, t, positive), lambda p, t: cpc_by_loops(p, t, positive), prediction, target)


def test_cpc_of_one_target_has_nothing_to_learn():
    for result in value_and_gradients(lambda p, t: cpc(p, t, torch.zeros(3).long()), batch(3, 5), batch(1, 5)):
        assert float(result.abs().max()) <= 1e-12


def test_cpc_worked_by_hand():
    axes = torch.eye(6, dtype=torch.float64)
    assert float(cpc(0 * axes, axes, torch.arange(6))) == pytest.approx(math.log(6), rel=1e-12)
    by_hand = math.log(math.exp(3) + 5) - 3
    assert float(cpc(3 * axes, axes, torch.arange(6))) == pytest.approx(by_hand, rel=1e-12)
    # The same target may be right for several predictions.
    assert float(cpc(3 * axes[[2, 2]], axes, torch.tensor([2, 2]))) == pytest.approx(by_hand, rel=1e-12)


def test_cpc_is_torchs_cross_entropy_of_large_logits_too():
    prediction, target, positive = 1e3 * batch(9, 4).float(), 1e2 * batch(20, 4, seed=1).float(), torch.arange(9)
    expected = torch.nn.functional.cross_entropy(prediction @ target.T, positive)
    assert float(cpc(prediction, target, positive)) == pytest.approx(float(expected), rel=1e-5)


def test_cpc_never_makes_all_logits(monkeypatch):
    monkeypatch.setattr(common, "CPU_TILE", 256**2)
    m, n, d = 512, 4096, 16
    prediction, target = batch(m, d, dtype=torch.float32), batch(n, d, seed=1, dtype=torch.float32)
    kept, largest = memory_of(lambda p, t: cpc(p, t, torch.arange(m)), prediction, target)
    assert kept <= 4 * (m * d + n * d) and largest <= n * d == 256**2


def test_a_targets_gradient_is_that_of_being_right_and_of_being_a_negative():
    target = batch(4, 3)
    _, _, gradient = value_and_gradients(lambda p, t: cpc(p, t, torch.tensor([1])), batch(1, 3, seed=1), target)
    p = (batch(1, 3, seed=1) @ target.T).softmax(1)[0]
    expected = (p - torch.eye(4, dtype=torch.float64)[1])[:, None] * batch(1, 3, seed=1)
    torch.testing.assert_close(gradient, expected)
