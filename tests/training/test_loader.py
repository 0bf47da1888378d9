"""Each epoch is a permutation of the data; steps, parts and processes cut it without overlap, from any step on."""

from __future__ import annotations

import numpy as np
import pytest

from densessl.training.loader import EpochSampler


def sampler(step: int = 0, **settings: int) -> EpochSampler:
    return EpochSampler(size=50, batch_size=12, seed=3, step=lambda: step, **settings)


def test_an_epoch_shows_each_image_once_and_drops_the_rest():
    batches = list(sampler())
    assert len(batches) == len(sampler()) == 4 and {len(batch) for batch in batches} == {12}
    keys = [key for batch in batches for key in batch]
    assert {epoch for epoch, _ in keys} == {0} and len({index for _, index in keys}) == 48


@pytest.mark.parametrize("step", [1, 3, 4, 9])
def test_from_any_step_on_the_batches_are_those_of_the_whole_run(step):
    epoch, done = divmod(step, 4)
    assert list(sampler(step)) == list(sampler(4 * epoch))[done:]


def test_epochs_and_seeds_differ_and_repeat():
    first, second = (np.array(sampler(step).order(step // 4)) for step in (0, 4))
    other = EpochSampler(size=50, batch_size=12, seed=4, step=lambda: 0).order(0)
    assert not (first == second).all() and not (first == other).all()
    assert (first == sampler().order(0)).all()
    assert sampler().order(10**6).shape == (50,)


def test_processes_and_parts_share_out_each_step():
    whole = list(sampler())
    shares = [list(sampler(accumulate=2, rank=rank, world=3)) for rank in range(3)]
    assert [len(each) for each in shares] == [8, 8, 8]
    for step in range(4):
        pieces = [key for part in range(2) for rank in range(3) for key in shares[rank][2 * step + part]]
        assert pieces == whole[step]


def test_an_epoch_begins_before_its_order_is_drawn_and_not_again_in_its_midst():
    begun = []

    def order(rng: np.random.Generator) -> np.ndarray:
        return np.full(50, 10 * len(begun)) + rng.integers(0, 3, 50)

    each = sampler(4, begin=begun.append, draw_order=order)
    assert {index // 10 for batch in each for _, index in batch} == {1} and begun == [1]
    assert list(sampler(6, begin=begun.append, draw_order=order)) and begun == [1]
