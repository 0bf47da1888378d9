"""The one place that loads networks, and runs them for all who wait at a time, on a GPU where there is one.

There pictures and pages of several users go through together, in half precision; on a CPU one by one, since each takes
all threads and batches gain nothing.
"""

from __future__ import annotations

import copy
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from densessl.apps.batches import WAIT, Advance, Batches, Network
from densessl.apps.config import AppConfig
from densessl.backbones.load import BOX
from densessl.backbones.saved import WEIGHTS
from densessl.documents.detection.detector import Detector, load_detector
from densessl.documents.detection.objects import Found
from densessl.hardware import cores
from densessl.segmentation import Extractor, SegmentConfig, extractor_of
from densessl.segmentation.checks import device_of

PAGES = 8  # that go through a detector at a time on a GPU


class SharedDetector:
    """A detector that all use, a page at a time as they see it; a `Finder` of `densessl.documents.parsing`."""

    def __init__(self, detector: Detector, device: str, batches: Batches) -> None:
        self.classes, self._batches = detector.classes, batches
        gpu = device == "cuda"

        def found(pages: list[np.ndarray]) -> list[Found]:
            with torch.autocast(device, torch.bfloat16, enabled=gpu):
                return detector.find_all(pages)

        self._network = Network(found, PAGES if gpu else 1)

    def find(self, page: np.ndarray) -> Found:
        """As of `Detector`."""
        return self._batches(self._network, [page])[0]


class Engine:
    """Feature maps of pictures and the detector of documents, for any number of threads. `close` ends its thread."""

    def __init__(self, config: AppConfig) -> None:
        self.config, self.device = config, device_of(config.devices)
        self.precision = "bf16" if self.device == "cuda" else "32"
        self._extractors: OrderedDict[tuple[str, int | None], dict[int, tuple[Extractor, Network]]] = OrderedDict()
        self._detector: SharedDetector | None = None
        self._loading, self._batches = threading.Lock(), Batches()
        self.cores = cores()
        self._places = threading.Semaphore(self.cores)

    @property
    def description(self) -> str:
        """What it runs on, for people to read."""
        if self.device == "cuda":
            return f"{torch.cuda.get_device_name()} in half precision"
        return f"the CPU, {self.cores} core{'' if self.cores == 1 else 's'}"

    def load(self, spec: str) -> None:
        """Have the network of a backbone ready; raises `UserError` when it cannot be loaded."""
        self._extractor(spec, 3)

    def detector(self) -> SharedDetector:
        """The detector of documents, which stays loaded; raises `UserError` when it cannot be loaded."""
        with self._loading:
            if self._detector is None:
                name = self.config.detector
                place = BOX if name == "box" else Path(name).expanduser()
                self._detector = SharedDetector(load_detector(place).to(self.device), self.device, self._batches)
            return self._detector

    def maps(
        self,
        images: Sequence[np.ndarray],
        spec: str,
        window: int = 3,
        advance: Advance = lambda done: None,
    ) -> list[Tensor]:
        """The feature maps (C, h, w) float32 of pictures (H, W, 3) uint8 RGB, on the CPU; advance: as of `Batches`."""
        extractor, network = self._extractor(spec, window)
        return self._batches(network, [extractor.frame.show(each) for each in images], advance)

    @contextmanager
    def turn(self, wait: Callable[[], None] = lambda: None) -> Iterator[None]:
        """A share of the processor for work beside networks, such as k-means: as many at a time as there are cores.

        wait: called twice a second until it is there; what it raises ends the wait.
        """
        while not self._places.acquire(timeout=WAIT):
            wait()
        try:
            yield
        finally:
            self._places.release()

    def close(self) -> None:
        """End the thread; whoever waits gets an error."""
        self._batches.close()

    def _extractor(self, spec: str, window: int) -> tuple[Extractor, Network]:
        """Of those that are kept; a file that was written anew, as runs that go on do, is another one."""
        with self._loading:
            key = spec, _written(spec)
            kept = self._extractors.setdefault(key, {})
            if not kept:
                settings = SegmentConfig(
                    data="", out="", backbone=spec, window=window, devices=self.config.devices, precision=self.precision
                )
                try:
                    extractor = extractor_of(settings)[0]
                except BaseException:
                    del self._extractors[key]
                    raise
                kept[window] = extractor, Network(extractor, extractor.batch_size)
            if window not in kept:  # the same network, whose maps are averaged otherwise
                extractor = copy.copy(next(iter(kept.values()))[0])
                extractor.window = window
                kept[window] = extractor, Network(extractor, extractor.batch_size)
            self._extractors.move_to_end(key)
            while len(self._extractors) > self.config.models:
                self._extractors.popitem(last=False)
            return kept[window]


def _written(spec: str) -> int | None:
    """When the file of a backbone was written last; None for what is no file."""
    place = Path(spec).expanduser()
    try:
        return (place / WEIGHTS if place.is_dir() else place).stat().st_mtime_ns
    except OSError:
        return None
