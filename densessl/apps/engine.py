"""The one place that loads networks, and runs backbones, for all who wait at a time, on a GPU where there is one.

Requests put pictures in; one thread takes them out, the next picture of each request in turn, so that one of many
pictures keeps nobody waiting, and as many of the same network at a time as the device takes: on a GPU 32, of several
users, in half precision; on a CPU one, since there a picture takes all threads and batches gain nothing.
"""

from __future__ import annotations

import copy
import threading
from collections import OrderedDict, deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from densessl.apps.config import AppConfig
from densessl.backbones.load import BOX
from densessl.documents.detection.detector import Detector, load_detector
from densessl.hardware import cores
from densessl.segmentation import Extractor, SegmentConfig, extractor_of
from densessl.segmentation.checks import device_of

WAIT = 0.5  # seconds after which somebody who waits looks whether they may wait still


@dataclass
class _Request:
    extractor: Extractor
    left: deque[tuple[np.ndarray, Future]] = field(default_factory=deque)


class Engine:
    """Feature maps of pictures, for any number of threads. `close` ends its thread."""

    def __init__(self, config: AppConfig) -> None:
        self.config, self.device = config, device_of(config.devices)
        self.precision = "bf16" if self.device == "cuda" else "32"
        self._extractors: OrderedDict[str, dict[int, Extractor]] = OrderedDict()
        self._detector: Detector | None = None
        self._loading, self._changed = threading.Lock(), threading.Condition()
        self._requests: deque[_Request] = deque()
        self.cores = cores()
        self._places = threading.Semaphore(self.cores)
        self._ended = False
        self._thread = threading.Thread(target=self._run, name="networks", daemon=True)
        self._thread.start()

    @property
    def description(self) -> str:
        """What it runs on, for people to read."""
        if self.device == "cuda":
            return f"{torch.cuda.get_device_name()} in half precision"
        return f"the CPU, {self.cores} core{'' if self.cores == 1 else 's'}"

    def extractor(self, spec: str, window: int = 3) -> Extractor:
        """The network of a backbone, from those that are kept; raises `UserError` when it cannot be loaded."""
        with self._loading:
            kept = self._extractors.setdefault(spec, {})
            if not kept:
                settings = SegmentConfig(
                    data="", out="", backbone=spec, window=window, devices=self.config.devices, precision=self.precision
                )
                try:
                    kept[window] = extractor_of(settings)[0]
                except BaseException:
                    del self._extractors[spec]
                    raise
            if window not in kept:  # the same network, whose maps are averaged otherwise
                kept[window] = copy.copy(next(iter(kept.values())))
                kept[window].window = window
            self._extractors.move_to_end(spec)
            while len(self._extractors) > self.config.models:
                self._extractors.popitem(last=False)
            return kept[window]

    def detector(self) -> Detector:
        """The detector of documents, which stays loaded; raises `UserError` when it cannot be loaded."""
        with self._loading:
            if self._detector is None:
                name = self.config.detector
                place = BOX if name == "box" else Path(name).expanduser()
                self._detector = load_detector(place).to(self.device)
            return self._detector

    def maps(
        self,
        images: Sequence[np.ndarray],
        spec: str,
        window: int = 3,
        advance: Callable[[int], None] = lambda done: None,
    ) -> list[Tensor]:
        """The feature maps (C, h, w) float32 of pictures (H, W, 3) uint8 RGB, on the CPU.

        advance: called with the number that is done, and twice a second meanwhile; what it raises takes back what is
        not done yet.
        """
        extractor = self.extractor(spec, window)
        request, futures = _Request(extractor), [Future() for _ in images]
        request.left.extend(zip([extractor.frame.show(each) for each in images], futures, strict=True))
        with self._changed:
            self._requests.append(request)
            self._changed.notify()
        try:
            return [_awaited(future, number, advance) for number, future in enumerate(futures)]
        except BaseException:
            with self._changed:
                request.left.clear()
            raise

    @contextmanager
    def turn(self) -> Iterator[None]:
        """A share of the processor for work beside networks, such as k-means: as many at a time as there are cores."""
        with self._places:
            yield

    def close(self) -> None:
        """End the thread; whoever waits gets an error."""
        with self._changed:
            self._ended = True
            for request in self._requests:
                for _, future in request.left:
                    future.cancel()
            self._changed.notify()
        self._thread.join()

    def _run(self) -> None:
        while (taken := self._take()) is not None:
            extractor, images, futures = taken
            try:
                found = extractor(images)
            except BaseException as error:  # whoever asked is to have it, and this thread goes on
                for future in futures:
                    future.set_exception(error)
                continue
            for future, map_ in zip(futures, found, strict=True):
                future.set_result(map_)

    def _take(self) -> tuple[Extractor, list[np.ndarray], list[Future]] | None:
        """The next pictures of one network, from each request in turn; None at the end."""
        with self._changed:
            while True:
                self._requests = deque(each for each in self._requests if each.left)
                if self._ended:
                    return None
                if self._requests:
                    break
                self._changed.wait()
            extractor = self._requests[0].extractor
            taken: list[tuple[np.ndarray, Future]] = []
            while len(taken) < extractor.batch_size:
                same = [each for each in self._requests if each.extractor is extractor and each.left]
                if not same:
                    break
                for request in same[: extractor.batch_size - len(taken)]:
                    taken.append(request.left.popleft())
                    self._requests.remove(request)
                    self._requests.append(request)
            return extractor, [image for image, _ in taken], [future for _, future in taken]


def _awaited(future: Future, done: int, advance: Callable[[int], None]) -> Tensor:
    while True:
        try:
            found = future.result(WAIT)
        except TimeoutError:
            if future.done():
                raise
            advance(done)
            continue
        advance(done + 1)
        return found
