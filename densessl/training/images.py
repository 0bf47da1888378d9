"""All images of a run in one pass, for methods that look at them between epochs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np
import torch
from lightning.fabric.utilities import move_data_to_device
from torch import Tensor
from torch.utils.data import DataLoader

from densessl.data.dataset import ViewDataset, collate, render_views, worker_init
from densessl.data.views import ViewSpec
from densessl.distributed import any_process, gather, rank, world_size
from densessl.errors import UserError
from densessl.progress import Report, silent
from densessl.training.module import PretrainModule


class RunImages:
    """The images that `module` trains on; what a method's `epoch_start` is given.

    dataset: of the run; its source, seed and sizes are taken. workers: of the pass, 0 for this process alone.
    report: told how far a pass is. heed: called now and then, and may end the run.
    """

    def __init__(
        self,
        module: PretrainModule,
        dataset: ViewDataset,
        workers: int,
        report: Report = silent,
        heed: Callable[[], None] = lambda: None,
    ) -> None:
        self.module, self.dataset, self.workers, self.report, self.heed = module, dataset, workers, report, heed

    def __len__(self) -> int:
        return len(self.dataset)

    def advance(self, stage: str, done: int, total: int) -> None:
        """See `densessl.methods.registry.Images`."""
        if rank() == 0:
            self.report(stage, done, total, "")
        self.heed()

    @torch.no_grad()
    def vectors(self, network: Callable[[Tensor], Tensor], views: Sequence[ViewSpec]) -> Tensor:
        """See `densessl.methods.registry.Images`; the views are those of the epoch that begins."""
        dataset = ViewDataset(
            self.dataset.source, views, self.dataset.image_size, self.dataset.seed, self.dataset.device_views
        )
        # Every process takes as many rows, the last of them more than once, so that all can be gathered.
        share = -(-len(self) // world_size())
        first = min(rank() * share, len(self) - 1)
        mine = [min(first + place, len(self) - 1) for place in range(share)]
        parts = []
        for batch in self._batches(dataset, mine):
            made = [self.module.prepared(view) for view in render_views(batch, dataset.sizes)["views"]]
            parts.append(torch.stack([network(view).float() for view in made], dim=1))
            self.advance("Looking at all images", sum(map(len, parts)), share)
        rows = gather(torch.cat(parts)).cpu()
        places = torch.cat([torch.arange(share) + min(each * share, len(self) - 1) for each in range(world_size())])
        found = torch.empty(len(self), *rows.shape[1:])
        found[places.clamp_max(len(self) - 1)] = rows
        return found

    def _batches(self, dataset: ViewDataset, indices: Sequence[int]) -> Iterator[dict]:
        epoch = int(self.module.progress_now.epoch)
        size = max(1, self.module.config.batch_size // (world_size() * self.module.config.accumulate))
        # Parts of about equal size: batch norm that is in training mode refuses a last one of a single image.
        count = -(-len(indices) // size)
        parts = np.array_split(indices, count if len(indices) >= 2 * count else max(1, count - 1))
        keys = [[(epoch, int(index)) for index in part] for part in parts]
        loader = DataLoader(
            dataset,
            batch_sampler=keys,
            num_workers=self.workers,
            collate_fn=collate,
            worker_init_fn=worker_init,
        )
        for batch in loader:
            if any_process("failed" in batch):
                raise UserError(batch.get("failed", "Another process could not read its images."))
            yield move_data_to_device(batch, self.module.device)
