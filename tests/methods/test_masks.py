"""Blockwise masks, against the algorithm written as one loop per image."""

from __future__ import annotations

import math
import random

import pytest
import torch

from densessl.methods.masks import blockwise_masks, random_numbers


def slow_mask(count: float, height: int, width: int, smallest: int, rng: random.Random) -> list[list[int]]:
    mask, masked, failures = [[0] * width for _ in range(height)], 0, 0
    while masked < count and failures < 10:
        area = rng.uniform(smallest, count - masked)
        aspect = math.exp(rng.uniform(math.log(0.3), math.log(1 / 0.3)))
        a, b = round(math.sqrt(area * aspect)), round(math.sqrt(area / aspect))
        failures += 1
        if a >= height or b >= width:
            continue
        top, left = rng.randint(0, height - a), rng.randint(0, width - b)
        places = [(i, j) for i in range(top, top + a) for j in range(left, left + b) if not mask[i][j]]
        if 0 < len(places) <= count - masked:
            for i, j in places:
                mask[i][j] = 1
            masked, failures = masked + len(places), 0
    return mask


@pytest.mark.parametrize(("grid", "count", "smallest"), [((14, 14), 75, None), ((8, 12), 30.5, 6), ((4, 4), 6, None)])
def test_masks_are_distributed_as_the_algorithm_says(grid, count, smallest):
    torch.manual_seed(0)
    n, rng = 3000, random.Random(0)
    found = blockwise_masks(torch.full((n,), count), grid, smallest).float()
    expected = torch.tensor([slow_mask(count, *grid, smallest or (min(grid) // 3) ** 2, rng) for _ in range(n)]).float()
    assert float(found.sum((1, 2)).mean()) == pytest.approx(float(expected.sum((1, 2)).mean()), rel=0.02)
    # How often each place is masked, and how often it is masked with its neighbours: whole blocks, not single patches.
    for picture in (lambda m: m, lambda m: m[:, 1:] * m[:, :-1], lambda m: m[:, :, 1:] * m[:, :, :-1]):
        torch.testing.assert_close(picture(found).mean(0), picture(expected).mean(0), rtol=0, atol=0.06)
    quantiles = torch.tensor([0.01, 0.1, 0.5])
    assert (found.sum((1, 2)).quantile(quantiles) - expected.sum((1, 2)).quantile(quantiles)).abs().max() <= 2


def test_no_mask_has_more_than_its_own_count():
    torch.manual_seed(0)
    counts = torch.arange(60).float()
    masked = blockwise_masks(counts, (14, 14)).sum((1, 2))
    assert torch.equal(counts, torch.arange(60).float())  # left as it was
    assert masked[0] == 0 and (masked <= counts).all() and (masked[16:] > 0.5 * counts[16:]).all()


def test_the_seed_says_all_and_a_call_takes_one_number():
    torch.manual_seed(3)
    first = blockwise_masks(torch.full((5,), 40), (14, 14))
    after = torch.rand(())
    torch.manual_seed(3)
    assert torch.equal(blockwise_masks(torch.full((5,), 40), (14, 14)), first)
    assert torch.equal(torch.rand(()), after)
    torch.manual_seed(3)
    random_numbers(7, 5)
    assert torch.equal(torch.rand(()), after)


def test_random_numbers_are_uniform_and_differ_from_call_to_call():
    torch.manual_seed(0)
    one, two = random_numbers(4, 1000), random_numbers(4, 1000)
    assert one.shape == (4, 1000) and one.min() >= 0 and one.max() < 1 and not torch.equal(one, two)
    assert float(one.mean()) == pytest.approx(0.5, abs=0.02) and float(one.var()) == pytest.approx(1 / 12, abs=0.005)
