"""The losses of VICReg and Barlow Twins are their papers' formulas, and make no matrix larger than their inputs."""

from __future__ import annotations

import pytest
import torch

from densessl.losses import barlow_twins, vicreg
from tests.losses.slow import assert_equal, batch, memory_of, value_and_gradients

# More rows than dimensions, fewer, and as many: the two sides of the Gram matrix.
SHAPES = [(9, 4), (4, 9), (6, 6), (2, 3)]


def moments(z: torch.Tensor) -> tuple[list, list]:
    """Column means and centred columns of (N, D), element by element."""
    n = len(z)
    columns = [[z[i, j] for i in range(n)] for j in range(z.shape[1])]
    means = [sum(column) / n for column in columns]
    return means, [[each - mean for each in column] for column, mean in zip(columns, means, strict=True)]


def vicreg_by_loops(z_a, z_b, invariance=25.0, variance=25.0, covariance=1.0, gamma=1.0, epsilon=1e-4):
    n, d = z_a.shape
    total = invariance * sum((z_a[i, j] - z_b[i, j]) ** 2 for i in range(n) for j in range(d)) / (n * d)
    for z in (z_a, z_b):
        _, centred = moments(z)
        c = [[sum(u * v for u, v in zip(a, b, strict=True)) / (n - 1) for b in centred] for a in centred]
        hinge = sum(torch.clamp(gamma - (c[j][j] + epsilon).sqrt(), min=0) for j in range(d)) / d
        others = sum(c[i][j] ** 2 for i in range(d) for j in range(d) if i != j)
        total = total + variance * hinge / 2 + covariance * others / d
    return total


def barlow_by_loops(z_a, z_b, redundancy: float = 0.0051):
    n, d = z_a.shape
    normed = []
    for z in (z_a, z_b):
        _, centred = moments(z)
        normed.append([[u / (sum(v * v for v in column) / n + 1e-5).sqrt() for u in column] for column in centred])
    c = [[sum(u * v for u, v in zip(a, b, strict=True)) / n for b in normed[1]] for a in normed[0]]
    others = sum(c[i][j] ** 2 for i in range(d) for j in range(d) if i != j)
    return sum((1 - c[i][i]) ** 2 for i in range(d)) + redundancy * others


@pytest.mark.parametrize(("n", "d"), SHAPES)
@pytest.mark.parametrize("scale", [0.3, 3.0])  # below the hinge and above it
def test_vicreg_equals_the_formula(n, d, scale):
    z_a, z_b = scale * batch(n, d) + 2, scale * batch(n, d, seed=1) - 1
    assert_equal(vicreg, vicreg_by_loops, z_a, z_b)


def test_each_weight_of_vicreg_goes_with_its_term():
    z_a, z_b = 0.5 * batch(5, 8), 0.5 * batch(5, 8, seed=1)
    for weights in ((1, 0, 0, 1.5, 1e-2), (0, 1, 0, 1.5, 1e-2), (0, 0, 1, 1.5, 1e-2), (3, 5, 7, 0.4, 1e-3)):
        assert_equal(
            lambda a, b, w=weights: vicreg(a, b, *w), lambda a, b, w=weights: vicreg_by_loops(a, b, *w), z_a, z_b
        )


@pytest.mark.parametrize(("n", "d"), SHAPES)
@pytest.mark.parametrize("redundancy", [0.0051, 1.0])
def test_barlow_twins_equals_the_formula(n, d, redundancy):
    z_a, z_b = 3 * batch(n, d) + 2, 0.5 * batch(n, d, seed=1) - 1
    # Two rows normalise to 1 and -1 whatever they are, and what is left of the gradient is the epsilon's doing.
    assert_equal(
        lambda a, b: barlow_twins(a, b, redundancy),
        lambda a, b: barlow_by_loops(a, b, redundancy),
        z_a,
        z_b,
        rtol=1e-10 if n > 2 else 1e-6,
    )


def test_vicreg_worked_by_hand():
    # Two rows, 1 and -1 in each of two dimensions: variance 2, covariance 2, squared difference 4 against its negative.
    z = torch.tensor([[1.0, 1.0], [-1.0, -1.0]], dtype=torch.float64)
    assert float(vicreg(z, z)) == pytest.approx(2 * (2 * 2**2) / 2)
    assert float(vicreg(z, -z)) == pytest.approx(25 * 4 + 8)
    same = torch.ones(5, 3, dtype=torch.float64)
    assert float(vicreg(same, same)) == pytest.approx(25 * (1 - 0.01))


def test_barlow_twins_worked_by_hand():
    # The columns of a Hadamard matrix without its first are centred and at right angles to each other.
    z = torch.tensor([[1, 1, 1], [-1, 1, -1], [1, -1, -1], [-1, -1, 1]], dtype=torch.float64)
    assert float(barlow_twins(z, 5 * z + 7)) == pytest.approx(0, abs=1e-9)
    assert float(barlow_twins(z, -z)) == pytest.approx(3 * 2**2, rel=1e-4)
    # A shift of the columns puts all the ones beside the diagonal.
    assert float(barlow_twins(z, z.roll(1, 1), 0.5)) == pytest.approx(3 + 0.5 * 3, rel=1e-4)


def test_both_are_blind_to_the_order_of_images_and_of_dimensions_and_to_which_view_is_which():
    z_a, z_b = batch(7, 9), batch(7, 9, seed=1)
    rows, columns = torch.randperm(7), torch.randperm(9)
    for loss in (vicreg, barlow_twins):
        expected = float(loss(z_a, z_b))
        for a, b in ((z_a[rows], z_b[rows]), (z_a[:, columns], z_b[:, columns]), (z_b, z_a)):
            assert float(loss(a, b)) == pytest.approx(expected, rel=1e-12)
        assert float(loss(z_a, z_b[rows.roll(1)])) != pytest.approx(expected, rel=1e-3)


def test_barlow_twins_normalises_each_view_by_itself():
    """Scale and shift of one view's dimensions change nothing; lightly normalised both views together until 1.5.18."""
    z_a, z_b = batch(20, 6), batch(20, 6, seed=1)
    scale, shift = torch.linspace(1, 50, 6, dtype=torch.float64), torch.linspace(-9, 9, 6, dtype=torch.float64)
    assert float(barlow_twins(z_a, z_b * scale + shift)) == pytest.approx(float(barlow_twins(z_a, z_b)), rel=1e-4)


@pytest.mark.parametrize("loss", [vicreg, barlow_twins])
def test_neither_makes_the_matrix_of_dimensions(loss):
    n, d = 16, 2048
    z_a, z_b = batch(n, d, dtype=torch.float32), batch(n, d, seed=1, dtype=torch.float32)
    kept, largest = memory_of(loss, z_a, z_b)
    assert largest == n * d
    assert kept <= 4 * (4 * n * d + 6 * d + 2 * n * n + 64)


def test_many_rows_make_no_matrix_of_rows():
    z_a, z_b = batch(2048, 16, dtype=torch.float32), batch(2048, 16, seed=1, dtype=torch.float32)
    for loss in (vicreg, barlow_twins):
        assert memory_of(loss, z_a, z_b)[1] == 2048 * 16


@pytest.mark.parametrize("loss", [vicreg, barlow_twins])
def test_a_copy_of_the_view_in_float32_loses_nothing_but_rounding(loss):
    """Both sides subtract the diagonal's part from the whole, which must not eat up the difference."""
    for n, d in ((64, 1024), (1000, 1001), (1024, 64)):
        z_a = batch(n, d)
        z_b = z_a + 0.01 * batch(n, d, seed=1)
        exact = value_and_gradients(loss, z_a, z_b)
        rough = value_and_gradients(loss, z_a.float(), z_b.float())
        for wide, narrow in zip(exact, rough, strict=True):
            assert float((wide - narrow).abs().max()) < 2e-4 * float(wide.abs().max())


@pytest.mark.parametrize(("n", "d"), [(12, 8), (8, 12)])
def test_both_agree_with_lightly(n, d):
    theirs = pytest.importorskip("lightly.loss")
    z_a, z_b = 0.4 * batch(n, d), 0.4 * batch(n, d, seed=1)
    assert_equal(vicreg, theirs.VICRegLoss(), z_a, z_b)
    assert_equal(lambda a, b: barlow_twins(a, b, 0.005), theirs.BarlowTwinsLoss(0.005), z_a, z_b)
