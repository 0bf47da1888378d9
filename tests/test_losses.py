"""Every loss equals its paper's formula written out slowly, in value and gradient, and never makes the large matrix."""

from __future__ import annotations

import math

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from densessl import losses
from densessl.losses import byol, dino, info_nce, negative_cosine, nt_xent


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def batch(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


def value_and_gradients(loss, *inputs: torch.Tensor) -> list[torch.Tensor]:
    inputs = [each.detach().clone().requires_grad_() for each in inputs]
    value = loss(*inputs)
    return [value.detach(), *torch.autograd.grad(value, inputs)]


def assert_equal(loss, formula, *inputs: torch.Tensor, rtol: float = 1e-10) -> None:
    """Value and gradients agree; of gradients the largest difference is measured against the largest entry."""
    pairs = zip(value_and_gradients(loss, *inputs), value_and_gradients(formula, *inputs), strict=True)
    for ours, slow in pairs:
        assert ours.dtype == slow.dtype and ours.shape == slow.shape
        assert float((ours - slow).abs().max()) <= rtol * float(slow.abs().max())


def cosine(u: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
    return (u * v).sum() / ((u * u).sum().sqrt() * (v * v).sum().sqrt())


def cross_entropy(logits: list[torch.Tensor], right: torch.Tensor) -> torch.Tensor:
    """-log(exp(right) / sum exp(logits)), with the largest logit taken out of every exp, or float64 would overflow."""
    largest = max(float(each.detach()) for each in logits)
    return sum((each - largest).exp() for each in logits).log() - (right - largest)


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


@pytest.mark.parametrize("temperature", [1.0, 0.1, 0.01, 0.001])
@pytest.mark.parametrize("n", [2, 7])
def test_nt_xent_equals_the_formula(n, temperature, monkeypatch):
    monkeypatch.setattr(losses, "CPU_TILE", 4**2)  # 14 rows: three tiles of 4 and one of 2
    z_a, z_b = batch(n, 5), batch(n, 5, seed=4)  # not so alike that the loss vanishes
    assert_equal(lambda a, b: nt_xent(a, b, temperature), lambda a, b: nt_xent_by_loops(a, b, temperature), z_a, z_b)


@pytest.mark.parametrize("tile", [1, 3**2, 16**2, 33**2, 66**2])
@pytest.mark.parametrize("temperature", [0.2, 0.005])
def test_nt_xent_does_not_depend_on_the_tiles(tile, temperature, monkeypatch):
    monkeypatch.setattr(losses, "CPU_TILE", tile)

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
    order, lengths = torch.randperm(9), torch.linspace(0.1, 10, 9, dtype=torch.float64)[:, None]
    expected = float(nt_xent(a, b, 0.1))
    for other in ((a[order], b[order]), (b, a), (a * lengths, b / lengths)):
        assert float(nt_xent(*other, 0.1)) == pytest.approx(expected, rel=1e-12)
    assert float(nt_xent(a, b[order], 0.1)) != pytest.approx(expected, rel=1e-3)


@pytest.mark.parametrize("temperature", [1.0, 0.07, 0.001])
@pytest.mark.parametrize("n, k", [(1, 1), (2, 150), (5, 64)])
def test_info_nce_equals_the_formula(n, k, temperature, monkeypatch):
    monkeypatch.setattr(losses, "CPU_TILE", 1)  # 64 columns, the least: 64, 64 and 22 of 150
    query, key, queue = batch(n, 5), batch(n, 5, seed=1), batch(k, 5, seed=2)
    assert_equal(
        lambda q: info_nce(q, key, queue, temperature), lambda q: info_nce_by_loops(q, key, queue, temperature), query
    )


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


@pytest.mark.parametrize("teachers, students", [(1, 2), (1, 4), (2, 2), (2, 5), (3, 3), (3, 4)])
@pytest.mark.parametrize("tile", [1, 2 * 7, 1000])
def test_dino_equals_the_formula(teachers, students, tile, monkeypatch):
    monkeypatch.setattr(losses, "CPU_TILE", 8 * tile)  # one row, two rows and all five rows at a time
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


def every_loss(dtype: torch.dtype, temperature: float = 0.1):
    """Name, loss of one tensor (5, 6), and that tensor."""
    other, queue = batch(5, 6, seed=1, dtype=dtype), batch(70, 6, seed=2, dtype=dtype)
    third, center = batch(5, 6, seed=3, dtype=dtype), batch(6, seed=4, dtype=dtype)
    table = {
        "nt_xent": lambda z: nt_xent(z, other, temperature),
        "info_nce": lambda z: info_nce(z, other, queue, temperature),
        "negative_cosine": lambda z: negative_cosine(z, other),
        "byol": lambda z: byol(z, other),
        "dino": lambda z: dino([z, other, z * 0.5], [other, third], center, temperature, temperature / 2),
    }
    return [(name, loss, batch(5, 6, dtype=dtype)) for name, loss in table.items()]


@pytest.mark.parametrize("temperature", [0.5, 0.001])
def test_gradients_pass_gradcheck(temperature, monkeypatch):
    monkeypatch.setattr(losses, "CPU_TILE", 4**2)
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
            lambda z: info_nce(z, one, one, temperature),
            lambda z: byol(z, one),
            lambda z: dino([z, one, z], [z, one], one[0], temperature, temperature),
        ]
        for job in jobs:
            assert all(torch.isfinite(each).all() for each in value_and_gradients(job, z)), case


def test_zero_vectors_have_cosine_0_and_no_gradient():
    zeros, other = torch.zeros(3, 4), batch(3, 4, dtype=torch.float32)
    for loss in (lambda z: nt_xent(z, other, 0.1), lambda z: byol(z, other), lambda z: info_nce(z, other, other, 0.1)):
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
        if name in ("byol", "negative_cosine"):
            continue  # plain operations, which can be differentiated as often as one likes
        (gradient,) = torch.autograd.grad(loss(z.requires_grad_()), z, create_graph=True)
        with pytest.raises(RuntimeError, match="once_differentiable"):
            gradient.sum().backward()


def test_mistakes_are_named():
    a, b, queue, center = batch(3, 4), batch(2, 4), batch(9, 4), batch(4)
    mistakes = {
        r"nt_xent needs two batches of one shape .* z_a is \(3, 4\) and z_b \(2, 4\)": lambda: nt_xent(a, b, 0.1),
        "N of 1 or more": lambda: nt_xent(a[:0], a[:0], 0.1),
        "byol needs two": lambda: byol(a, b),
        "negative_cosine needs two": lambda: negative_cosine(a[0], a[0]),
        "info_nce needs two": lambda: info_nce(a, b, queue, 0.1),
        r"needs a queue \(K, 4\) .* it is \(4, 9\)": lambda: info_nce(a, a, queue.T, 0.1),
        r"it is \(0, 4\)": lambda: info_nce(a, a, queue[:0], 0.1),
        "temperature must be above 0; it is 0": lambda: nt_xent(a, a, 0),
        "temperature must be above 0; it is -1": lambda: info_nce(a, a, queue, -1),
        "temperature must be above 0; it is nan": lambda: nt_xent(a, a, math.nan),
        "student_temperature must be": lambda: dino([a, a], [a], center, 0, 0.04),
        "teacher_temperature must be": lambda: dino([a, a], [a], center, 0.1, 0),
        "it got 1 and 1": lambda: dino([a], [a], center, 0.1, 0.04),
        "it got 2 and 3": lambda: dino([a, a], [a, a, a], center, 0.1, 0.04),
        "it got 2 and 0": lambda: dino([a, a], [], center, 0.1, 0.04),
        r"one shape .* \[\(2, 4\), \(3, 4\)\]": lambda: dino([a, b], [a], center, 0.1, 0.04),
        r"center \(4,\) .* it is \(3, 4\)": lambda: dino([a, a], [a], a, 0.1, 0.04),
    }
    for sentence, call in mistakes.items():
        with pytest.raises(ValueError, match=sentence):
            call()


class LargestTensor(TorchDispatchMode):
    """Elements of the largest tensor that any operation returned."""

    elements = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        result = function(*args, **(kwargs or {}))
        for each in result if isinstance(result, (tuple, list)) else [result]:
            if isinstance(each, torch.Tensor):
                self.elements = max(self.elements, each.numel())
        return result


def memory_of(loss, *inputs: torch.Tensor) -> tuple[int, int]:
    """Bytes kept for the backward pass, and elements of the largest tensor that either pass makes."""
    kept: dict[int, int] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    inputs = [each.detach().clone().requires_grad_() for each in inputs]
    with LargestTensor() as largest, torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        loss(*inputs).backward()
    return sum(kept.values()), largest.elements


@pytest.mark.parametrize("tile", [512**2, losses.CPU_TILE])
@pytest.mark.parametrize("temperature", [0.1, 0.005])
def test_nt_xent_never_makes_the_matrix(temperature, tile, monkeypatch):
    monkeypatch.setattr(losses, "CPU_TILE", tile)
    n, d = 2048, 32
    dense = (2 * n) ** 2
    z_a, z_b = batch(n, d, dtype=torch.float32), batch(n, d, seed=1, dtype=torch.float32)
    kept, largest = memory_of(lambda a, b: nt_xent(a, b, temperature), z_a, z_b)
    assert kept < 0.05 * 4 * dense
    assert largest == 2 * tile <= dense / 2  # a tile and its spare


def test_info_nce_never_makes_all_logits():
    n, d, k = 64, 16, 65536
    query, key, queue = (batch(rows, d, seed=rows, dtype=torch.float32) for rows in (n, n, k))
    kept, largest = memory_of(lambda q: info_nce(q, key, queue, 0.1), query)
    assert kept < 0.01 * 4 * n * k
    # The queue itself is the largest tensor that is seen: as a view, which costs nothing.
    assert largest <= max(losses.CPU_TILE, k * d)


def test_dino_keeps_nothing_but_its_inputs_and_the_centre():
    n, k = 16, 65536
    student, teacher = [batch(n, k, seed=s, dtype=torch.float32) for s in range(3)], [torch.zeros(n, k)] * 2
    kept, largest = memory_of(lambda *views: dino(views, teacher, torch.zeros(k), 0.1, 0.04), *student)
    assert kept <= 4 * (4 * n * k + k)  # three views, the one tensor that is both teachers, the centre
    assert largest == n * k


def test_nt_xent_agrees_with_lightly():
    theirs = pytest.importorskip("lightly.loss").NTXentLoss(temperature=0.2)
    assert_equal(lambda a, b: nt_xent(a, b, 0.2), theirs, batch(12, 8), batch(12, 8, seed=1))


def test_info_nce_agrees_with_lightly():
    theirs = pytest.importorskip("lightly.loss").NTXentLoss(temperature=0.2, memory_bank_size=(64, 8))
    query, key = (batch(12, 8, seed=seed, dtype=torch.float32) for seed in (0, 1))
    queue = theirs.memory_bank.bank.clone()
    assert_equal(lambda q: info_nce(q, key, queue, 0.2), lambda q: theirs(q, key), query, rtol=1e-5)


def test_dino_agrees_with_lightly():
    theirs = pytest.importorskip("lightly.loss").DINOLoss(output_dim=9, student_temp=0.2, teacher_temp=0.05)
    teacher, student = [batch(4, 9, seed=s) for s in (20, 21)], [batch(4, 9, seed=s) for s in range(5)]
    center = batch(9, seed=40)
    theirs.center = center[None, None].clone()
    ours = value_and_gradients(lambda *views: dino(views, teacher, center, 0.2, 0.05), *student)
    # lightly holds its temperature as float32, which is where it differs.
    for a, b in zip(ours, value_and_gradients(lambda *views: theirs(teacher, list(views)), *student), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-8)


@pytest.mark.parametrize("loss", [lambda z, w: nt_xent(z, w, 0.1), lambda z, w: info_nce(z, w, w, 0.1), byol])
def test_nan_is_never_hidden(loss):
    broken = torch.randn(4, 8)
    broken[1, 2] = float("nan")
    assert torch.isnan(loss(broken, torch.randn(4, 8)))
