"""The correspondence loss equals the formulas of the paper and of the official code, written out slowly."""

from __future__ import annotations

from itertools import product

import pytest
import torch
import torch.nn.functional as F

from densessl.segmentation.correspondence import correspondence_loss, feature_correspondence


def maps(seed: int = 0) -> list[torch.Tensor]:
    """f, g, s, t with other sizes on either side, so that a swapped axis would show."""
    generator = torch.Generator().manual_seed(seed)
    shapes = [(3, 5, 2, 3), (3, 5, 4, 2), (3, 6, 2, 3), (3, 6, 4, 2)]
    return [torch.randn(shape, generator=generator, dtype=torch.float64) for shape in shapes]


def cosines_by_loops(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    batch, _, height, width = a.shape
    rows, columns = b.shape[2:]
    values = []
    for n, h, w, i, j in product(range(batch), range(height), range(width), range(rows), range(columns)):
        u, v = a[n, :, h, w], b[n, :, i, j]
        values.append((u * v).sum() / ((u * u).sum().sqrt() * (v * v).sum().sqrt()))
    return torch.stack(values).view(batch, height, width, rows, columns)


def loss_by_loops(f, g, s, t, shift: float, pointwise: bool, zero_clamp: bool, stabilize: bool) -> torch.Tensor:
    target, codes = cosines_by_loops(f, g).detach(), cosines_by_loops(s, t)
    if pointwise:
        batch_mean = target.mean()
        centred = torch.empty_like(target)
        for n, h, w in product(*map(range, target.shape[:3])):
            centred[n, h, w] = target[n, h, w] - target[n, h, w].mean()
        target = centred - centred.mean() + batch_mean
    values = []
    for place in product(*map(range, codes.shape)):
        value = codes[place]
        if zero_clamp and value < 0:
            value = value * 0
        if stabilize and value > 0.8:
            value = value * 0 + 0.8
        values.append(-value * (target[place] - shift))
    return torch.stack(values).view(codes.shape)


def test_feature_correspondence_is_the_cosine_of_every_pair_of_places():
    f, g, _, _ = maps()
    assert feature_correspondence(f, g).shape == (3, 2, 3, 4, 2)
    torch.testing.assert_close(feature_correspondence(f, g), cosines_by_loops(f, g), rtol=0, atol=1e-14)


def test_a_vector_of_zeros_corresponds_to_nothing():
    f, g, _, _ = maps()
    f[0, :, 1, 2] = 0
    found = feature_correspondence(f, g)
    assert torch.isfinite(found).all()
    assert (found[0, 1, 2] == 0).all()


@pytest.mark.parametrize("pointwise", [False, True])
@pytest.mark.parametrize("zero_clamp", [False, True])
@pytest.mark.parametrize("stabilize", [False, True])
def test_loss_and_gradients_equal_the_formula_written_out(pointwise, zero_clamp, stabilize):
    f, g, s, t = maps()
    # Codes nearly alike in places, so that the clamp at 0.8 has something to do.
    t[:, :, 0, 0] = s[:, :, 0, 0] + 0.1 * t[:, :, 0, 0]
    flags = {"pointwise": pointwise, "zero_clamp": zero_clamp, "stabilize": stabilize}
    weights = torch.randn(3, 2, 3, 4, 2, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    results = []
    for function in (correspondence_loss, loss_by_loops):
        codes = s.clone().requires_grad_(), t.clone().requires_grad_()
        loss = function(f, g, *codes, 0.12, **flags)
        results.append((loss.detach(), *torch.autograd.grad((loss * weights).sum(), codes)))
    assert results[0][0].shape == (3, 2, 3, 4, 2)
    assert (cosines_by_loops(s, t) > 0.8).any() and (cosines_by_loops(s, t) < 0).any()
    for ours, slow in zip(*results, strict=True):
        torch.testing.assert_close(ours, slow, rtol=0, atol=1e-12)


def test_each_flag_changes_the_loss():
    f, g, s, t = maps()
    t[:, :, 0, 0] = s[:, :, 0, 0]
    losses = {
        flags: float(correspondence_loss(f, g, s, t, 0.1, *flags).mean()) for flags in product([False, True], repeat=3)
    }
    assert len(set(losses.values())) == 8


def test_no_gradient_reaches_the_features():
    f, g, s, t = (each.requires_grad_() for each in maps())
    correspondence_loss(f, g, s, t, 0.1).mean().backward()
    assert f.grad is None and g.grad is None
    assert s.grad.abs().sum() > 0 and t.grad.abs().sum() > 0


def test_centring_keeps_the_mean_of_the_batch_so_that_pictures_depend_on_each_other():
    f, g, s, t = maps()
    together = correspondence_loss(f, g, s, t, 0.1)[:1]
    alone = correspondence_loss(f[:1], g[:1], s[:1], t[:1], 0.1)
    assert not torch.allclose(together, alone)
    without = {"pointwise": False}
    torch.testing.assert_close(
        correspondence_loss(f, g, s, t, 0.1, **without)[:1],
        correspondence_loss(f[:1], g[:1], s[:1], t[:1], 0.1, **without),
    )


def test_codes_that_equal_the_features_are_rewarded_and_bfloat16_agrees():
    f, g, _, _ = maps()
    good = correspondence_loss(f, g, f, g, 0.0, pointwise=False).mean()
    bad = correspondence_loss(f, g, f, -g, 0.0, pointwise=False).mean()
    assert good < bad
    small = correspondence_loss(*(each.bfloat16() for each in (f, g, f, g)), 0.0, pointwise=False).double().mean()
    assert abs(small - good) < 0.02
    assert F.cosine_similarity(f[0, :, 0, 0], g[0, :, 0, 0], dim=0) == pytest.approx(
        float(feature_correspondence(f, g)[0, 0, 0, 0, 0])
    )
