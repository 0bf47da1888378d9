"""What was read last is not read again, within a bound."""

import pickle

import numpy as np

from densessl.data.sources.recent import Recent


class Reads:
    """Arrays of 100 bytes, and a list of those asked for."""

    def __init__(self):
        self.asked = []

    def __call__(self, index):
        self.asked.append(index)
        return np.full(100, index, np.uint8)


def test_the_last_array_is_kept_whatever_its_size():
    reads = Reads()
    recent = Recent(reads)
    assert [recent(index)[0] for index in (3, 3, 4, 4, 3)] == [3, 3, 4, 4, 3]
    assert reads.asked == [3, 4, 3]


def test_what_was_used_for_longest_makes_room():
    reads = Reads()
    recent = Recent(reads, 250)
    for index in (0, 1, 0, 2, 0, 1):
        recent(index)
    assert reads.asked == [0, 1, 2, 1]


def test_a_worker_begins_with_an_empty_memory():
    recent = Recent(np.ones, 1000)
    recent(2)
    assert len(pickle.dumps(recent)) < 300
