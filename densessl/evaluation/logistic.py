"""Multinomial logistic regression to convergence, by L-BFGS over all rows at once.

    min over W, b of  mean -log softmax(W x + b)[y] + decay / 2 |W|^2

scikit-learn's LogisticRegression with C = 1 / (N decay): the bias does not decay. Computed in float64, a few rows at a
time, on the device where the rows lie.

The search runs in coordinates in which the objective bends about alike in all directions: each weight times the square
root of decay + variance of its column * (1 - 1 / C) / C. Among columns of mean 0 without correlation (`decorrelated`)
that is the bend at W = 0; where classes overlap it takes 10 to 20 evaluations instead of 30 to 100 and more.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

ROWS = 8192  # that are held in float64 at a time
ROUGH = 1e-4  # the same where decays are compared
TOLERANCE = 1e-7  # largest entry of the gradient, in the coordinates of the search, at which it ends
HISTORY = 20


@dataclass
class Logistic:
    """weights: (D + 1, C) float64, the bias last. converged: whether the gradient is within the tolerance."""

    weights: Tensor
    decay: float
    converged: bool
    evaluations: int

    def scores(self, x: Tensor) -> Tensor:
        """(M, D) -> (M, C) float64."""
        return torch.cat([_scores(rows, self.weights) for rows in x.split(ROWS)])


def fit(
    x: Tensor,
    labels: Tensor,
    classes: int,
    decay: float,
    start: Tensor | None = None,
    iterations: int = 500,
    rough: bool = False,
) -> Logistic:
    """The regression of labels (N,) of 0 to classes - 1 on x (N, D); start: weights to begin with, else zeros.

    rough: with products in the type of x and to `ROUGH` alone, in a fraction of the time, for a choice among decays.
    """
    dtype, tolerance = (x.dtype, ROUGH) if rough else (torch.float64, TOLERANCE)
    weights = x.new_zeros(x.shape[1] + 1, classes, dtype=torch.float64) if start is None else start.clone()
    bend = (1 - 1 / classes) / classes
    unit = (bend * torch.cat([_variances(x) + decay / bend, weights.new_ones(1)])).rsqrt()[:, None]
    place = (weights / unit).requires_grad_()
    search = torch.optim.LBFGS(
        [place],
        max_iter=iterations,
        max_eval=2 * iterations,
        tolerance_grad=tolerance,
        tolerance_change=1e-9 if rough else 0.0,
        history_size=HISTORY,
        line_search_fn="strong_wolfe",
    )
    evaluations = 0

    def objective() -> Tensor:
        nonlocal evaluations
        evaluations += 1
        loss, gradient = loss_and_gradient(place.detach() * unit, x, labels, decay, dtype)
        place.grad = gradient * unit
        return loss

    search.step(objective)
    weights = place.detach() * unit
    # Not place.grad: the line search may have looked further than it went.
    gradient = loss_and_gradient(weights, x, labels, decay, dtype)[1] * unit
    return Logistic(weights, decay, float(gradient.abs().max()) <= tolerance, evaluations)


def decorrelated(x: Tensor) -> tuple[Tensor, Tensor]:
    """x (N, D) turned so that its columns have no correlation, in the type of x, and the rotation (D, D) float64."""
    centre, gram = x.double().mean(0), x.new_zeros(x.shape[1], x.shape[1], dtype=torch.float64)
    for rows in x.split(ROWS):
        rows = rows.double() - centre
        gram.addmm_(rows.T, rows)
    rotation = torch.linalg.eigh(gram).eigenvectors
    return torch.cat([(rows.double() @ rotation).to(x.dtype) for rows in x.split(ROWS)]), rotation


def loss_and_gradient(
    weights: Tensor, x: Tensor, labels: Tensor, decay: float, dtype: torch.dtype = torch.float64
) -> tuple[Tensor, Tensor]:
    """The objective at weights (D + 1, C) float64, and its gradient; dtype: of the products."""
    loss, gradient = weights.new_zeros(()), torch.zeros_like(weights)
    narrow = weights.to(dtype)
    for rows, wanted in zip(x.split(ROWS), labels.split(ROWS), strict=True):
        rows = rows.to(dtype)
        log_p = _scores(rows, narrow).log_softmax(1)
        loss -= log_p.gather(1, wanted[:, None]).sum(dtype=torch.float64)
        difference = log_p.exp_()
        difference[torch.arange(len(rows), device=rows.device), wanted] -= 1
        gradient[:-1] += rows.T @ difference
        gradient[-1] += difference.sum(0, dtype=torch.float64)
    loss, gradient = loss / len(x), gradient / len(x)
    gradient[:-1] += decay * weights[:-1]
    return loss + decay / 2 * weights[:-1].square().sum(), gradient


def _scores(rows: Tensor, weights: Tensor) -> Tensor:
    return torch.addmm(weights[-1], rows.to(weights.dtype), weights[:-1])


def _variances(x: Tensor) -> Tensor:
    """(D,) float64 of the columns."""
    mean = sum(rows.double().sum(0) for rows in x.split(ROWS)) / len(x)
    return sum((rows.double() - mean).square().sum(0) for rows in x.split(ROWS)) / len(x)
