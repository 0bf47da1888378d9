"""Several pictures at a time, each by one thread: torch's own threads would share out every small operation."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import torch

MOST = 8  # pictures at a time, each with its memory
Item, Result = TypeVar("Item"), TypeVar("Result")


def threads_of(device: torch.device | str = "cpu") -> int:
    """How many pictures are worked on at a time: as many as torch has threads, on a GPU one."""
    return min(MOST, torch.get_num_threads()) if torch.device(device).type == "cpu" else 1


def spread(
    act: Callable[[Item], Result],
    items: Iterable[Item],
    threads: int,
    stopped: Callable[[], bool] = lambda: False,
) -> Iterator[Result]:
    """What `act` makes of each item, in order, by so many threads; each counts as one to torch.

    Items are drawn in the calling thread, none before it is needed. stopped: once it says so no more are begun, and
    those that are under way are ended. With one thread all is done in the calling one. Threads that begin meanwhile
    count as one to torch too, later ones as they did before.
    """
    if threads == 1:
        for item in items:
            yield act(item)
            if stopped():
                return
        return
    pending, before = deque(), torch.get_num_threads()
    try:
        with ThreadPoolExecutor(threads, initializer=torch.set_num_threads, initargs=(1,)) as pool:
            try:
                for item in items:
                    pending.append(pool.submit(act, item))
                    if len(pending) > threads:
                        yield pending.popleft().result()
                    if stopped():
                        break
                while pending:
                    yield pending.popleft().result()
            finally:
                for each in pending:
                    each.cancel()
    finally:
        torch.set_num_threads(before)  # what a thread sets is what all that begin after it have
