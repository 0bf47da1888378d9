"""What a run needs to be killed and to go on: pages that it has not learned from yet, files that are whole."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from detectron2.checkpoint import DetectionCheckpointer
from detectron2.config import instantiate
from detectron2.data.samplers import TrainingSampler
from omegaconf import DictConfig
from torch.utils.data import Sampler

from densessl.files import write_text, writing


def pages_from(step: int, loader: DictConfig, seed: int) -> Iterable[list[dict[str, Any]]]:
    """The batches of a recipe's `dataloader.train` from a step on, the same as if it had gone on all the time.

    That holds as far as all pages are wider than high or none is: detectron2 fills batches of either kind apart, and
    the few pages that waited for others of their kind are passed over. seed: of the order, where the recipe has no
    sampler of its own.
    """
    parts = {name: instantiate(each) for name, each in loader.items()}
    sampler = parts.get("sampler") or TrainingSampler(len(parts["dataset"]), seed=seed)
    return instantiate({**parts, "sampler": Onward(sampler, step * parts["total_batch_size"])})


class Onward(Sampler):
    """The pages of another sampler behind the first `passed` ones."""

    def __init__(self, sampler: Iterable[int], passed: int) -> None:
        self.sampler, self.passed = sampler, passed

    def __iter__(self) -> Iterator[int]:
        return islice(iter(self.sampler), self.passed, None)


class WholeFiles(DetectionCheckpointer):
    """Checkpoints that are written whole or not at all, as is the file that names the last one."""

    def save(self, name: str, **more: Any) -> None:
        if not self.save_dir or not self.save_to_disk:
            return
        path = Path(self.save_dir) / f"{name}.pth"
        state = {key: each.state_dict() for key, each in {"model": self.model, **self.checkpointables}.items()}
        with writing(path) as temporary:
            torch.save({**state, **more}, temporary)
        self.tag_last_checkpoint(path.name)

    def tag_last_checkpoint(self, last_filename_basename: str) -> None:
        write_text(Path(self.save_dir) / "last_checkpoint", last_filename_basename)
