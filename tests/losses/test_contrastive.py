"""NT-Xent, SupCon's and MoCo's loss are their papers' formulas, and never make the large matrix."""

from __future__ import annotations

import math

import pytest
import torch

from densessl.losses import common, in_batch_nce, info_nce, nt_xent, sup_con
from tests.losses.slow import assert_equal, batch, cosine, cross_entropy, memory_of, value_and_gradients


def nt_xent_by_loops(z_a: torch.Tensor, z_b: torch.Tensor, temperature: float) -> torch.Tensor:
    z, n = [*z_a, *z_b], len(z_a)
    total = 0.0
    for i in range(2 * n):
        logits = [cosine(z[i], z[j]) / temperature for j in range(2 * n) if j != i]
        total = total + cross_entropy(logits, cosine(z[i], z[(i + n) % (2 * n)]) / temperature)
    return total / (2 * n)


def info_nce_by_loops(query, key, queue, temperature: float) -> torch.Tensor:
    total = 0.0
    for q, k in zip(query, key, strict=True):
        positive = cosine(q, k) / temperature
        negatives = [(q * each).sum() / (q * q).sum().sqrt() / temperature for each in queue]
        total = total + cross_entropy([positive, *negatives], positive)
    return total / len(query)


def sup_con_by_loops(z_a, z_b, labels: list[int], temperature: float) -> torch.Tensor:
    """L_out: the mean over the positives stands outside the logarithm."""
    z, y, total = [*z_a, *z_b], [*labels, *labels], 0.0
    for i in range(len(z)):
        others = [j for j in range(len(z)) if j != i]
        logits = {j: cosine(z[i], z[j]) / temperature for j in others}
        positives = [j for j in others if y[j] == y[i]]
        terms = [cross_entropy(list(logits.values()), logits[p]) for p in positives]
        total = total + sum(terms) / len(positives)
    return total / len(z)


@pytest.mark.parametrize("temperature", [1.0, 0.1, 0.01, 0.001])
@pytest.mark.parametrize("n", [2, 7])
def test_nt_xent_equals_the_formula(n, temperature, monkeypatch):
    monkeypatch.setattr(common, "CPU_TILE", 4**2)  # 14 rows: three tiles of 4 and one of 2
    z_a, z_b = batch(n, 5), batch(n, 5, seed=4)  # not so alike that the loss vanishes
    assert_equal(lambda a, b: nt_xent(a, b, temperature), lambda a, b: nt_xent_by_loops(a, b, temperature), z_a, z_b)


@pytest.mark.parametrize("tile", [1, 3**2, 16**2, 33**2, 66**2])
@pytest.mark.parametrize("temperature", [0.2, 0.005])
def test_nt_xent_does_not_depend_on_the_tiles(tile, temperature, monkeypatch):
    monkeypatch.setattr(common, "CPU_TILE", tile)

    def dense(a, b):
        z = torch.nn.functional.normalize(torch.cat([a, b]), dim=1)
        logits = (z @ z.T / temperature).fill_diagonal_(-math.inf)
        return torch.nn.functional.cross_entropy(logits, torch.arange(66).roll(33))

    assert_equal(lambda a, b: nt_xent(a, b, temperature), dense, batch(33, 8), batch(33, 8, seed=1))


def test_nt_xent_of_one_pair_has_nothing_to_learn():
    for temperature in (0.5, 0.005):
        for result in value_and_gradients(
            lambda a, b, t=temperature: nt_xent(a, b, t), batch(1, 5), batch(1, 5, seed=1)
        ):
            assert float(result.abs().max()) <= 1e-12


def test_nt_xent_worked_by_hand():
    n, temperature = 6, 0.5
    same, apart = torch.ones(n, 8, dtype=torch.float64), torch.eye(n, dtype=torch.float64)
    assert float(nt_xent(same, same, temperature)) == pytest.approx(math.log(2 * n - 1), rel=1e-12)
    # Both views of an image alike (cosine 1) and at right angles with the 2N - 2 of the others (cosine 0).
    by_hand = math.log(math.exp(1 / temperature) + 2 * n - 2) - 1 / temperature
    assert float(nt_xent(apart, 3 * apart, temperature)) == pytest.approx(by_hand, rel=1e-12)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_nt_xent_survives_a_small_temperature_with_views_that_point_apart(dtype):
    # Every other vector is opposite: exp(-1 / T) = exp(-200) is 0 in float32, and its logarithm must not be taken.
    z = torch.tensor([[1.0, 0.0]], dtype=dtype)
    for result in value_and_gradients(lambda a, b: nt_xent(a, b, 0.005), z, -z):
        assert float(result.abs().max()) <= 1e-4
    # Two images, each with its own view opposite and the other image alike: the loss is 2 / T.
    value, *gradients = value_and_gradients(lambda a, b: nt_xent(a, b, 0.005), z.repeat(2, 1), -z.repeat(2, 1))
    assert float(value) == pytest.approx(400, rel=1e-6)
    assert all(torch.isfinite(each).all() for each in gradients)


def test_nt_xent_is_blind_to_order_sides_and_lengths():
    a, b = batch(9, 4), batch(9, 4, seed=1)
    order, lengths = torch.arange(9).roll(2).flip(0), torch.linspace(0.1, 10, 9, dtype=torch.float64)[:, None]
    expected = float(nt_xent(a, b, 0.1))
    for other in ((a[order], b[order]), (b, a), (a * lengths, b / lengths)):
        assert float(nt_xent(*other, 0.1)) == pytest.approx(expected, rel=1e-12)
    assert float(nt_xent(a, b[order], 0.1)) != pytest.approx(expected, rel=1e-3)


@pytest.mark.parametrize("temperature", [1.0, 0.1, 0.01, 0.001])
@pytest.mark.parametrize("labels", [[0, 1, 2, 3, 4], [5, 5, 5, 5, 5], [0, 1, 0, -7, 0], [9, 9, 2**40, 2**40, 1]])
def test_sup_con_equals_the_formula(labels, temperature, monkeypatch):
    monkeypatch.setattr(common, "CPU_TILE", 4**2)  # 10 rows: two tiles of 4 and one of 2
    z_a, z_b = batch(5, 6), batch(5, 6, seed=4)
    assert_equal(
        lambda a, b: sup_con(a, b, torch.tensor(labels), temperature),
        lambda a, b: sup_con_by_loops(a, b, labels, temperature),
        z_a,
        z_b,
    )


def test_sup_con_with_a_label_for_each_image_is_nt_xent():
    z_a, z_b = batch(9, 4), batch(9, 4, seed=1)
    assert_equal(
        lambda a, b: sup_con(a, b, torch.arange(9), 0.1), lambda a, b: nt_xent(a, b, 0.1), z_a, z_b, rtol=1e-12
    )


def test_sup_con_worked_by_hand():
    n, temperature = 6, 0.5
    labels = torch.tensor([0, 0, 0, 1, 1, 2])
    same = torch.ones(n, 8, dtype=torch.float64)
    assert float(sup_con(same, same, labels, temperature)) == pytest.approx(math.log(2 * n - 1), rel=1e-12)
    # A direction for each class: 5, 3 and 1 positives at cosine 1, all others at 0.
    apart = torch.eye(8, dtype=torch.float64)[labels]
    by_hand = 0.0
    for images, positives in ((3, 5), (2, 3), (1, 1)):
        whole = positives * math.exp(1 / temperature) + 2 * n - 1 - positives
        by_hand += images / n * (math.log(whole) - 1 / temperature)
    assert float(sup_con(apart, 2 * apart, labels, temperature)) == pytest.approx(by_hand, rel=1e-12)


def test_sup_con_takes_the_mean_outside_the_logarithm():
    """With positives that differ, the mean inside is smaller (L_in, by Jensen); it is what some copies compute."""
    z_a, z_b, labels = batch(4, 6), batch(4, 6, seed=1), torch.tensor([0, 0, 1, 1])
    z, y = torch.nn.functional.normalize(torch.cat([z_a, z_b]), dim=1), labels.repeat(2)
    logits = (z @ z.T / 0.1).fill_diagonal_(-math.inf)
    positive = (y[:, None] == y).fill_diagonal_(False)
    inside = -((logits.softmax(1) * positive).sum(1) / positive.sum(1)).log().mean()
    assert float(sup_con(z_a, z_b, labels, 0.1)) > float(inside) + 0.1


def test_sup_con_is_blind_to_order_names_of_classes_and_lengths():
    a, b, labels = batch(9, 4), batch(9, 4, seed=1), torch.arange(9) % 4
    order, lengths = torch.arange(9).roll(2).flip(0), torch.linspace(0.1, 10, 9, dtype=torch.float64)[:, None]
    expected = float(sup_con(a, b, labels, 0.1))
    for other in ((a[order], b[order], labels[order]), (b, a, labels), (a * lengths, b / lengths, 100 - 7 * labels)):
        assert float(sup_con(*other, 0.1)) == pytest.approx(expected, rel=1e-12)
    assert float(sup_con(a, b, labels[order], 0.1)) != pytest.approx(expected, rel=1e-3)


@pytest.mark.parametrize("temperature", [1.0, 0.07, 0.001])
@pytest.mark.parametrize("n, k", [(1, 1), (2, 150), (5, 64)])
def test_info_nce_equals_the_formula(n, k, temperature, monkeypatch):
    monkeypatch.setattr(common, "CPU_TILE", 1)  # 64 columns, the least: 64, 64 and 22 of 150
    query, key, queue = batch(n, 5), batch(n, 5, seed=1), batch(k, 5, seed=2)
    assert_equal(
        lambda q: info_nce(q, key, queue, temperature), lambda q: info_nce_by_loops(q, key, queue, temperature), query
    )


def in_batch_nce_by_loops(query, keys, offset: int, temperature: float) -> torch.Tensor:
    total = 0.0
    for i, q in enumerate(query):
        logits = [cosine(q, key) / temperature for key in keys]
        total = total + cross_entropy(logits, logits[offset + i])
    return 2 * temperature * total / len(query)


@pytest.mark.parametrize("n, m, offset", [(6, 6, 0), (5, 15, 5), (1, 200, 130)])
@pytest.mark.parametrize("temperature", [1.0, 0.2, 0.005])
def test_in_batch_nce_equals_the_formula(n, m, offset, temperature, monkeypatch):
    monkeypatch.setattr(common, "CPU_TILE", 1)  # 64 columns at a time
    query, keys = batch(n, 5), 3 * batch(m, 5, seed=1)
    assert_equal(
        lambda q: in_batch_nce(q, keys, offset, temperature),
        lambda q: in_batch_nce_by_loops(q, keys, offset, temperature),
        query,
    )


def test_in_batch_nce_worked_by_hand():
    axes = torch.eye(4)
    by_hand = 2 * 0.2 * math.log1p(3 * math.exp(-1 / 0.2))
    assert float(in_batch_nce(axes, 5 * axes, 0, 0.2)) == pytest.approx(by_hand, rel=1e-5)
    assert float(in_batch_nce(axes, axes[:1].repeat(9, 1), 5, 1.0)) == pytest.approx(2 * math.log(9), rel=1e-6)


def test_in_batch_nce_leaves_the_keys_alone_and_never_makes_the_matrix():
    keys = batch(6, 5).requires_grad_()
    in_batch_nce(batch(3, 5, seed=1).requires_grad_(), keys, 3, 0.2).backward()
    assert keys.grad is None
    n, d, m = 256, 16, 65536
    query, keys = batch(n, d, dtype=torch.float32), batch(m, d, seed=1, dtype=torch.float32)
    kept, largest = memory_of(lambda q: in_batch_nce(q, keys, 7 * n, 0.2), query)
    # The keys themselves are kept, a view of them for the positives.
    assert kept < 0.01 * 4 * n * m + 4 * m * d
    assert largest <= max(common.CPU_TILE, m * d)


def test_info_nce_worked_by_hand():
    axes, k = torch.eye(4), 9
    same = axes[:1].repeat(k, 1)
    assert float(info_nce(axes[:1], axes[:1], same, 0.07)) == pytest.approx(math.log(k + 1), rel=1e-6)
    # The key is the query's own direction and the queue at right angles with it.
    by_hand = math.log1p(k * math.exp(-1 / 0.2))
    assert float(info_nce(axes[:1], 7 * axes[:1], axes[1:2].repeat(k, 1), 0.2)) == pytest.approx(by_hand, rel=1e-5)
    # One entry of the queue is opposite, at a temperature where exp(-1 / T) is 0 in float32.
    assert float(info_nce(axes[:1], -axes[:1], -axes[:1], 0.005)) == pytest.approx(math.log(2), rel=1e-5)


def test_info_nce_leaves_key_and_queue_alone_and_lets_the_queue_move_on():
    query, key, queue = batch(3, 5).requires_grad_(), batch(3, 5, seed=1).requires_grad_(), batch(8, 5, seed=2)
    expected = torch.autograd.grad(info_nce(query, key, queue, 0.1), query)[0]
    loss = info_nce(query, key, queue.requires_grad_(), 0.1)
    with torch.no_grad():
        queue[:3] = 0
    loss.backward()
    assert key.grad is None and queue.grad is None
    assert torch.equal(query.grad, expected)


def test_info_nce_takes_a_queue_of_another_type_and_of_any_length():
    query, key = batch(3, 5), batch(3, 5, seed=1)
    queue = batch(40, 5, seed=2).float()
    assert info_nce(query, key, queue, 0.1).dtype == torch.float64
    assert float(info_nce(query, key, queue, 0.1)) == pytest.approx(float(info_nce(query, key, queue.double(), 0.1)))
    long = value_and_gradients(lambda q: info_nce(q, key.float(), 1e4 * queue, 0.01), query.float())
    assert all(torch.isfinite(each).all() for each in long)


@pytest.mark.parametrize("tile", [512**2, common.CPU_TILE])
@pytest.mark.parametrize("temperature", [0.1, 0.005])
def test_nt_xent_never_makes_the_matrix(temperature, tile, monkeypatch):
    monkeypatch.setattr(common, "CPU_TILE", tile)
    n, d = 2048, 32
    dense = (2 * n) ** 2
    z_a, z_b = batch(n, d, dtype=torch.float32), batch(n, d, seed=1, dtype=torch.float32)
    kept, largest = memory_of(lambda a, b: nt_xent(a, b, temperature), z_a, z_b)
    assert kept < 0.05 * 4 * dense
    assert largest == 2 * tile <= dense / 2  # a tile and its spare


def test_sup_con_never_makes_the_matrix(monkeypatch):
    monkeypatch.setattr(common, "CPU_TILE", 512**2)
    n, d = 2048, 32
    z_a, z_b = batch(n, d, dtype=torch.float32), batch(n, d, seed=1, dtype=torch.float32)
    for labels in (torch.arange(n), torch.zeros(n, dtype=torch.int64)):
        kept, largest = memory_of(lambda a, b, y=labels: sup_con(a, b, y, 0.1), z_a, z_b)
        assert kept < 0.05 * 4 * (2 * n) ** 2
        assert largest == 2 * 512**2


def test_info_nce_never_makes_all_logits():
    n, d, k = 64, 16, 65536
    query, key, queue = (batch(rows, d, seed=rows, dtype=torch.float32) for rows in (n, n, k))
    kept, largest = memory_of(lambda q: info_nce(q, key, queue, 0.1), query)
    assert kept < 0.01 * 4 * n * k
    # The queue itself is the largest tensor that is seen: as a view, which costs nothing.
    assert largest <= max(common.CPU_TILE, k * d)


def test_nt_xent_agrees_with_lightly():
    theirs = pytest.importorskip("lightly.loss").NTXentLoss(temperature=0.2)
    assert_equal(lambda a, b: nt_xent(a, b, 0.2), theirs, batch(12, 8), batch(12, 8, seed=1))


def test_info_nce_agrees_with_lightly():
    theirs = pytest.importorskip("lightly.loss").NTXentLoss(temperature=0.2, memory_bank_size=(64, 8))
    query, key = (batch(12, 8, seed=seed, dtype=torch.float32) for seed in (0, 1))
    queue = theirs.memory_bank.bank.clone()
    assert_equal(lambda q: info_nce(q, key, queue, 0.2), lambda q: theirs(q, key), query, rtol=1e-5)
