"""One thread that runs networks, for all who wait at a time.

Requests put inputs in; the thread takes them out, the next one of each request in turn, so that a request with many
keeps nobody waiting, and as many of the same network at a time as that takes in one go.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any

import numpy as np

WAIT = 0.5  # seconds after which somebody who waits looks whether they may wait still

Advance = Callable[[int], None]


@dataclass(frozen=True, eq=False)
class Network:
    """call: makes of pictures (H, W, 3) uint8 RGB as many results. most: pictures that it is given at a time."""

    call: Callable[[list[np.ndarray]], Sequence[Any]]
    most: int


@dataclass(eq=False)
class _Request:
    network: Network
    left: deque[tuple[np.ndarray, Future]] = field(default_factory=deque)


class Batches:
    """`batches(network, images, advance)`, for any number of threads. `close` ends its own."""

    def __init__(self) -> None:
        self._changed, self._ended = threading.Condition(), False
        self._requests: deque[_Request] = deque()
        self._thread = threading.Thread(target=self._run, name="networks", daemon=True)
        self._thread.start()

    def __call__(
        self, network: Network, images: Sequence[np.ndarray], advance: Advance = lambda done: None
    ) -> list[Any]:
        """What the network makes of each.

        advance: called with the number that is done, and twice a second meanwhile; what it raises takes back what is
        not done yet. An error of the network is raised for those whose pictures were in the batch.
        """
        request, futures = _Request(network), [Future() for _ in images]
        request.left.extend(zip(images, futures, strict=True))
        with self._changed:
            if self._ended:
                raise RuntimeError("The thread that runs networks has ended.")
            self._requests.append(request)
            self._changed.notify()
        try:
            return [_awaited(future, number, advance) for number, future in enumerate(futures)]
        except BaseException:
            with self._changed:
                request.left.clear()
            raise

    def close(self) -> None:
        """End the thread; whoever waits gets `CancelledError`."""
        with self._changed:
            self._ended = True
            for request in self._requests:
                for _, future in request.left:
                    future.cancel()
            self._changed.notify()
        self._thread.join()

    def _run(self) -> None:
        while (taken := self._take()) is not None:
            network, images, futures = taken
            try:
                found = list(zip(futures, network.call(images), strict=True))
            except BaseException as error:  # whoever asked is to have it, and this thread goes on
                for future in futures:
                    future.set_exception(error)
                continue
            for future, each in found:
                future.set_result(each)

    def _take(self) -> tuple[Network, list[np.ndarray], list[Future]] | None:
        """The next pictures of one network, from each request in turn; None at the end."""
        with self._changed:
            while True:
                self._requests = deque(each for each in self._requests if each.left)
                if self._ended:
                    return None
                if self._requests:
                    break
                self._changed.wait()
            network = self._requests[0].network
            taken: list[tuple[np.ndarray, Future]] = []
            while len(taken) < network.most:
                same = [each for each in self._requests if each.network is network and each.left]
                if not same:
                    break
                for request in same[: network.most - len(taken)]:
                    taken.append(request.left.popleft())
                    self._requests.remove(request)
                    self._requests.append(request)
            return network, [image for image, _ in taken], [future for _, future in taken]


def _awaited(future: Future, done: int, advance: Advance) -> Any:
    while True:
        try:
            found = future.result(WAIT)
        except TimeoutError:
            if not future.done():
                advance(done)
                continue
            found = future.result()  # it came in this very moment, or this error is the network's own
        advance(done + 1)
        return found
