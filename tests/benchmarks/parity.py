"""Two processes against one, and a killed run against a whole one, as a table: `python tests/benchmarks/parity.py`.

Per method: the largest difference of loss, gradients and buffers between one process and two (gloo, the same global
batch, float64), over the largest entry of each tensor; and how many tensors of the last checkpoint differ, in any bit,
between a run that was killed after step 4, went on from its checkpoint of step 2 (of step 3, where an epoch ends, for
the methods that look at all images when one begins) and ended, and one in one go.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
import tempfile
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
import torch.multiprocessing as mp

sys.path.insert(0, str(Path(__file__).parents[2]))

from densessl.methods import methods
from densessl.training.callbacks import Checkpoints
from tests.methods.test_processes import WORLD, measure, worker
from tests.training.conftest import images_for
from tests.training.test_run import Stop, run, weights


def main() -> None:
    """Print a row per method."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("methods", nargs="*", default=list(methods()))
    names = parser.parse_args().methods
    with tempfile.TemporaryDirectory() as folder:
        pictures = Path(folder) / "pictures"
        write_pictures(pictures)
        two = in_two_processes(names, folder)
        print(f"{'method':14}{'tensors':>9}{'two processes':>16}{'killed run: tensors that differ':>34}")
        for name in names:
            one = measure(name)
            apart = max(difference(two[name][key], value) for key, value in one.items())
            differing, count = killed(name, images_for(name, pictures), Path(folder) / name)
            print(f"{name:14}{len(one):9}{apart:16.1e}{f'{differing} of {count}':>34}", flush=True)


def in_two_processes(names: list[str], folder: str) -> dict[str, dict[str, torch.Tensor]]:
    os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
    mp.spawn(worker, (folder, names), nprocs=WORLD)
    return torch.load(Path(folder) / "found.pt", weights_only=True)


def difference(found: torch.Tensor, expected: torch.Tensor) -> float:
    scale = max(1e-6, float(expected.double().abs().max()))
    return float((found.double() - expected.double()).abs().max()) / scale


def killed(name: str, pictures: Path, out: Path) -> tuple[int, int]:
    """Tensors of the state dict that differ, and how many there are."""
    whole = weights(run(name, pictures, out / "whole", "steps=7"))
    save = Checkpoints.on_train_batch_end

    def die(self, trainer, module, *rest):
        self.seconds = 0 if module.steps_done == 2 else 1e9
        save(self, trainer, module, *rest)
        if module.steps_done == 4:
            raise Stop

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Checkpoints, "on_train_batch_end", die)
        with contextlib.suppress(Stop):
            run(name, pictures, out / "again", "steps=7")
    again = weights(run(name, pictures, out / "again", "steps=7"))
    return sum(not torch.equal(whole[key], again[key]) for key in whole), len(whole)


def write_pictures(folder: Path) -> None:
    folder.mkdir()
    rng = np.random.default_rng(0)
    for index in range(26):
        cv2.imwrite(str(folder / f"{index:02}.png"), rng.integers(0, 256, (40 + index, 60 - index, 3), dtype=np.uint8))


if __name__ == "__main__":
    main()
