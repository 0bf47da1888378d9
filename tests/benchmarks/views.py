"""Views per second, ours over lightly's, in one process: `python tests/benchmarks/views.py`.

Both make SimCLR's two views of the same images in turns, round by round, so that whatever else the machine does falls
on both; the figures are medians over the rounds, the ratio the median of the rounds' ratios. Lightly's
views are normalised float tensors and ours uint8, since ours are normalised as a batch; the last row, "decode to step",
counts that too: JPEG bytes to a normalised float batch, through a DataLoader with two workers.
"""

from __future__ import annotations

import statistics
import time
import warnings
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from io import BytesIO
from pathlib import Path

import cv2
import numpy as np
import torch
from PIL import Image
from torch.utils.data import DataLoader, Dataset

from densessl.data.augment import render
from densessl.data.dataset import ViewDataset, collate, worker_init
from densessl.data.views import ViewSpec, draw, generator

PHOTOS = Path(__file__).parents[2].parent / "shared" / "data" / "photos"
ROUNDS = 9
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
Job = Callable[[], int]  # makes views and returns how many


def main() -> None:
    """Print the table."""
    warnings.filterwarnings("ignore")
    cv2.setNumThreads(0)
    torch.set_num_threads(1)
    photos = photographs(16, (500, 375))
    tiny = [cv2.resize(photo, (32, 32), interpolation=cv2.INTER_AREA) for photo in photos] * 4
    print(f"{'':34s}{'lightly':>12s}{'densessl':>12s}{'ratio':>8s}")
    for size, images in ((224, photos), (32, tiny)):
        for threads in (1, 2):
            with Threads(threads) as pool:
                title = f"{size} px, {threads} thread{'s' * (threads > 1)}, views/s"
                compare(title, lightly_views(images, size, pool), our_views(images, size, pool))
    loaders = decode_to_step(photos * 32)
    compare("decode to uint8 batch, images/s", *(partial(run_epoch, loader) for loader in loaders), rounds=5)
    normalise = Normalise()
    jobs = (partial(run_epoch, loaders[0]), partial(run_epoch, loaders[1], normalise))
    compare("decode to step, images/s", *jobs, rounds=5)


def compare(title: str, theirs: Job, ours: Job, rounds: int = ROUNDS) -> None:
    """Run both in turns and print a row."""
    theirs(), ours()
    rates = [(rate(theirs), rate(ours)) for _ in range(rounds)]
    middle = [statistics.median(column) for column in zip(*rates, strict=True)]
    ratio = statistics.median(b / a for a, b in rates)
    print(f"{title:34s}{middle[0]:12,.0f}{middle[1]:12,.0f}{ratio:8.1f}", flush=True)


def rate(job: Job) -> float:
    """What the job makes per second."""
    start = time.perf_counter()
    return job() / (time.perf_counter() - start)


def our_views(images: Sequence[np.ndarray], size: int, pool: Threads) -> Job:
    """Two views of every image by OpenCV; repeated, since they are soon made."""
    spec = ViewSpec() if size > 32 else ViewSpec(blur=0.0)
    work = list(images) * (4 if size > 32 else 16)

    def pair(index: int) -> list[np.ndarray]:
        image, rng = work[index], generator(0, 0, index)
        return [render(image, draw(spec, *image.shape[:2], rng, size), size) for _ in range(2)]

    return lambda: pool.pairs(pair, len(work))


def lightly_views(images: Sequence[np.ndarray], size: int, pool: Threads) -> Job:
    """Two views of every image by lightly's transform, with no blur at 32 px, as lightly's CIFAR examples have it."""
    from lightly.transforms import SimCLRTransform

    transform = SimCLRTransform(input_size=size, gaussian_blur=0.5 if size > 32 else 0.0)
    work = [Image.fromarray(image) for image in images]
    return lambda: pool.pairs(lambda index: transform(work[index]), len(work))


class Threads:
    """A pool that makes things in as many equal shares as it has threads, for a future per image would cost more."""

    def __init__(self, count: int) -> None:
        self.count, self.pool = count, ThreadPoolExecutor(count)

    def __enter__(self) -> Threads:
        return self

    def __exit__(self, *error: object) -> None:
        self.pool.shutdown()

    def pairs(self, make: Callable[[int], object], count: int) -> int:
        """Call `make` with 0 to count - 1; returns the count of views, two a call."""

        def share(first: int) -> None:
            for index in range(first, count, self.count):
                make(index)

        list(self.pool.map(share, range(self.count)))
        return 2 * count


class JpegSource:
    """Encoded photographs in memory, decoded by OpenCV."""

    def __init__(self, files: Sequence[np.ndarray]) -> None:
        self.files = files

    def __len__(self) -> int:
        return len(self.files)

    def read(self, index: int) -> np.ndarray:
        return cv2.cvtColor(cv2.imdecode(self.files[index], cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)

    def name(self, index: int) -> str:
        return str(index)

    def label(self, index: int) -> None:
        return None


class LightlyDataset(Dataset):
    """The same files, decoded by PIL and handed to lightly's transform."""

    def __init__(self, files: Sequence[np.ndarray]) -> None:
        from lightly.transforms import SimCLRTransform

        self.files, self.transform = files, SimCLRTransform()

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> list[torch.Tensor]:
        return self.transform(Image.open(BytesIO(self.files[index].tobytes())).convert("RGB"))


def decode_to_step(photos: Sequence[np.ndarray]) -> tuple[DataLoader, DataLoader]:
    """Lightly's loader and ours: the same JPEG files, batches of 64, two workers."""
    files = [cv2.imencode(".jpg", photo[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 90])[1] for photo in photos]
    options = {"batch_size": 64, "num_workers": 2, "persistent_workers": True, "worker_init_fn": worker_init}
    keys = [(0, index) for index in range(len(files))]
    dataset = ViewDataset(JpegSource(files), [ViewSpec(count=2)], 224, seed=0)
    return DataLoader(LightlyDataset(files), **options), DataLoader(
        dataset, sampler=keys, collate_fn=collate, **options
    )


def run_epoch(loader: DataLoader, then: Callable[[dict], object] = lambda batch: None) -> int:
    """Take every batch, call `then` with it, and return the count of images."""
    for batch in loader:
        then(batch)
    return len(loader.dataset)


class Normalise:
    """uint8 views to normalised float32, into memory that is used again: fresh pages would cost as much as the work."""

    def __init__(self) -> None:
        self.scale = torch.tensor(STD).mul(255).reciprocal().view(1, 3, 1, 1)
        self.shift = torch.tensor(MEAN).div(torch.tensor(STD)).view(1, 3, 1, 1)
        self.memory: dict[tuple[int, ...], torch.Tensor] = {}

    def __call__(self, batch: dict) -> list[torch.Tensor]:
        return [self._view((place, *view.shape), view) for place, view in enumerate(batch["views"])]

    def _view(self, key: tuple[int, ...], view: torch.Tensor) -> torch.Tensor:
        if key not in self.memory:
            self.memory[key] = torch.empty_like(view, dtype=torch.float32)
        return self.memory[key].copy_(view).mul_(self.scale).sub_(self.shift)


def photographs(count: int, size: tuple[int, int]) -> list[np.ndarray]:
    """RGB pictures (H, W, 3) of (width, height) `size`: the photographs at hand, or smooth noise without them."""
    paths = sorted(PHOTOS.glob("*.jpg"))
    if len(paths) >= count:
        paths = paths[:: len(paths) // count][:count]
        return [cv2.resize(cv2.cvtColor(cv2.imread(str(path)), cv2.COLOR_BGR2RGB), size) for path in paths]
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 256, (count, 12, 16, 3), dtype=np.uint8)
    return [cv2.resize(picture, size, interpolation=cv2.INTER_CUBIC) for picture in noise]


if __name__ == "__main__":
    main()
