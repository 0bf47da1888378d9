"""What a protocol of segments shows."""

from __future__ import annotations

from itertools import combinations, pairwise

import numpy as np

from densessl.evaluation.panels import spread


def test_what_is_shown_of_a_film_is_spread_over_it():
    assert spread(range(101), 4) == [0, 33, 66, 99]
    # Of a drawn few, neighbours are alike: of 7, 8, 9 and of 50, 51 one each.
    assert spread([0, 7, 8, 9, 50, 51, 100], 4) == [0, 9, 50, 100]
    assert spread([3, 4], 4) == [3, 4] and spread([5], 4) == [5]


def test_no_other_choice_of_pictures_has_its_nearest_two_farther_apart():
    random = np.random.default_rng(0)
    for _ in range(30):
        numbers = sorted(random.choice(60, 9, replace=False).tolist())
        found = spread(numbers, 4)
        best = max(min(b - a for a, b in pairwise(each)) for each in combinations(numbers, 4))
        assert len(found) == 4 and set(found) <= set(numbers)
        assert min(b - a for a, b in pairwise(found)) == best
