"""Objectives that keep embeddings apart by their statistics over the batch: VICReg, Barlow Twins."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from densessl.losses.common import check, check_pair, first_derivative_only, no_autocast

BATCH_NORM_EPSILON = 1e-5  # of torch's batch norm, which Barlow Twins' official code normalises with


def vicreg(
    z_a: Tensor,
    z_b: Tensor,
    invariance: float = 25.0,
    variance: float = 25.0,
    covariance: float = 1.0,
    gamma: float = 1.0,
    epsilon: float = 1e-4,
) -> Tensor:
    """VICReg's loss (arXiv 2105.04906, equation 6), scaled as in the official code (`main_vicreg.py`).

    z_a, z_b: (N, D), row i of both from the same image, N of 2 or more, not normalised. The three weights go with
        - the squared difference, mean over N and D (the paper's equation 5 sums over D);
        - max(0, gamma - sqrt(variance + epsilon)), mean over D and the two views;
        - the squares of the covariance beside its diagonal, summed, divided by D, both views added.
    Variances and covariances are over N - 1. Embeddings that are all the same: variance * (gamma - sqrt(epsilon)).
    """
    _check_statistics("vicreg", z_a, z_b)
    check(epsilon > 0, f"The epsilon must be above 0; it is {epsilon}.")
    count, dim = z_a.shape
    with no_autocast(z_a):
        a, b = _wide(z_a), _wide(z_b)
        loss = invariance * F.mse_loss(a, b)
        for z in (a, b):
            squares, others = _Moments.apply(z)
            deviation = (squares / (count - 1) + epsilon).sqrt()
            loss = loss + variance / 2 * F.relu(gamma - deviation).mean()
            loss = loss + covariance / (dim * (count - 1) ** 2) * others
        return loss


def barlow_twins(z_a: Tensor, z_b: Tensor, redundancy: float = 0.0051) -> Tensor:
    """Barlow Twins' loss (arXiv 2103.03230, equation 1): the views' cross-correlation should be the identity.

    z_a, z_b: (N, D), row i of both from the same image, N of 2 or more; each dimension of each view is normalised here
    over the batch, as batch norm does it. The sum of (1 - c_ii)^2 and, weighted by `redundancy`, of the other c_ij^2.
    Views that have nothing to do with each other: D (1 + 1 / (N - 1)) + redundancy D (D - 1) / (N - 1) in the mean.
    """
    _check_statistics("barlow_twins", z_a, z_b)
    with no_autocast(z_a):
        a, b = (F.batch_norm(_wide(z), None, None, training=True, eps=BATCH_NORM_EPSILON) for z in (z_a, z_b))
        diagonal, others = _CrossMoments.apply(a, b)
        count = len(z_a)
        return (1 - diagonal / count).square().sum() + redundancy / count**2 * others


class _Moments(torch.autograd.Function):
    """z (N, D), centred here -> the diagonal of z^T z (D,), and the sum of squares beside it.

    |z^T z| = |z z^T| (Frobenius), so the smaller of the two is made: neither has more elements than z.
    """

    @staticmethod
    def forward(ctx, z: Tensor) -> tuple[Tensor, Tensor]:
        z = z - z.mean(0)
        squares = torch.linalg.vector_norm(z, dim=0).square_()
        if z.shape[0] < z.shape[1]:
            gram = z @ z.T
            # Rounding alone could take the difference below 0.
            others = (_dot(gram, gram) - squares.square().sum()).clamp_min_(0)
        else:
            gram = (z.T @ z).fill_diagonal_(0)
            others = _dot(gram, gram)
        ctx.save_for_backward(z, gram, squares)
        return squares, others

    @staticmethod
    @first_derivative_only
    def backward(ctx, of_squares: Tensor, of_others: Tensor) -> Tensor:
        """2 z diag(g_s) + 4 g_o z (z^T z without its diagonal). Its columns have mean 0, as centring asks."""
        z, gram, squares = ctx.saved_tensors
        # The thread that runs this may be under autocast again.
        with no_autocast(z):
            if z.shape[0] < z.shape[1]:
                result = z * (2 * of_squares - 4 * of_others * squares)
                return result.addmm_(gram * (4 * of_others), z)
            return (z * (2 * of_squares)).addmm_(z, gram * (4 * of_others))


class _CrossMoments(torch.autograd.Function):
    """a, b (N, D) -> the diagonal of a^T b (D,), and the sum of squares beside it.

    |a^T b|^2 is the sum of the elements of (a a^T) * (b b^T), so with N below D the two N x N matrices are made.
    """

    @staticmethod
    def forward(ctx, a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
        diagonal = torch.linalg.vecdot(a, b, dim=0)
        if a.shape[0] < a.shape[1]:
            grams = a @ a.T, b @ b.T
            others = (_dot(*grams) - diagonal.square().sum()).clamp_min_(0)
        else:
            grams = ((a.T @ b).fill_diagonal_(0),)
            others = _dot(grams[0], grams[0])
        ctx.save_for_backward(a, b, diagonal, *grams)
        return diagonal, others

    @staticmethod
    @first_derivative_only
    def backward(ctx, of_diagonal: Tensor, of_others: Tensor) -> tuple[Tensor, Tensor]:
        """For a: b diag(g_d) + 2 g_o b (b^T a without its diagonal); for b the same with a and b exchanged."""
        a, b, diagonal, *grams = ctx.saved_tensors
        with no_autocast(a):
            if len(grams) == 2:
                of_a, of_b = (gram * (2 * of_others) for gram in grams)
                weight = of_diagonal - 2 * of_others * diagonal
                return (b * weight).addmm_(of_b, a), (a * weight).addmm_(of_a, b)
            cross = grams[0] * (2 * of_others)
            return (b * of_diagonal).addmm_(b, cross.T), (a * of_diagonal).addmm_(a, cross)


def _dot(a: Tensor, b: Tensor) -> Tensor:
    return torch.dot(a.flatten(), b.flatten())


def _wide(z: Tensor) -> Tensor:
    return z.to(torch.promote_types(z.dtype, torch.float32))


def _check_statistics(loss: str, a: Tensor, b: Tensor) -> None:
    check_pair(loss, "z_a", a, "z_b", b)
    check(len(a) > 1, f"{loss} needs 2 rows or more, since it compares statistics over the batch; it got 1.")
