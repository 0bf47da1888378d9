"""Batches of views in an order that depends on the seed alone, from any step on."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
from numpy.random import Generator, Philox
from torch.utils.data import DataLoader, Sampler

from densessl.data.dataset import ViewDataset, collate, worker_init


class EpochSampler(Sampler):
    """Keys (epoch, index) of the batches that this process takes, from the step on at which the run stands.

    Each epoch is an order (a permutation, unless `draw_order` draws another) from (seed, epoch), cut into steps of
    `batch_size`, each step into `accumulate` parts and each part into equal shares of the processes. What is left over
    of an epoch is dropped.

    step: called when an epoch begins; the number of steps done.
    begin: called with the epoch before its order is drawn, unless it goes on from its midst.
    draw_order: of the method or the source, where not any order will do.
    """

    def __init__(
        self,
        size: int,
        batch_size: int,
        seed: int,
        step: Callable[[], int],
        accumulate: int = 1,
        rank: int = 0,
        world: int = 1,
        begin: Callable[[int], None] = lambda epoch: None,
        draw_order: Callable[[Generator], np.ndarray] | None = None,
    ) -> None:
        self.size, self.batch_size, self.seed, self.step = size, batch_size, seed, step
        self.accumulate, self.rank, self.world = accumulate, rank, world
        self.begin, self.draw_order = begin, draw_order

    @property
    def steps_per_epoch(self) -> int:
        return self.size // self.batch_size

    def __len__(self) -> int:
        """Batches of a whole epoch, accumulated parts counted."""
        return self.steps_per_epoch * self.accumulate

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        epoch, done = divmod(self.step(), self.steps_per_epoch)
        # Here and not in a hook of the loop: the workers ask for the first batches before the epoch's hooks run.
        if not done:
            self.begin(epoch)
        order = self.order(epoch)
        share = self.batch_size // (self.accumulate * self.world)
        for step in range(done, self.steps_per_epoch):
            for part in range(self.accumulate):
                start = step * self.batch_size + (part * self.world + self.rank) * share
                yield [(epoch, int(index)) for index in order[start : start + share]]

    def order(self, epoch: int) -> np.ndarray:
        # The views' streams have counters from 2^128 on for indices from 1; this key is none of theirs.
        rng = Generator(Philox(key=(self.seed & (2**64 - 1)) | epoch << 64, counter=2**255))
        return self.draw_order(rng) if self.draw_order else rng.permutation(self.size)


def create_loader(dataset: ViewDataset, sampler: EpochSampler, workers: int, pin: bool) -> DataLoader:
    """A loader whose workers outlive the epochs."""
    return DataLoader(
        dataset,
        batch_sampler=sampler,
        num_workers=workers,
        collate_fn=collate,
        worker_init_fn=worker_init,
        persistent_workers=workers > 0,
        pin_memory=pin,
    )
