"""Arrays that were read last are not read again."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from threading import Lock

import numpy as np


class Recent:
    """`read` with a memory of what it gave last, by number; not when pickled, so that each worker has its own.

    limit: bytes of arrays that are kept; the last one is, whatever its size.
    """

    def __init__(self, read: Callable[[int], np.ndarray], limit: int = 0) -> None:
        self._read, self._limit = read, limit
        self._kept: OrderedDict[int, np.ndarray] = OrderedDict()
        self._bytes, self._lock = 0, Lock()

    def __call__(self, index: int) -> np.ndarray:
        with self._lock:
            if index in self._kept:
                self._kept.move_to_end(index)
                return self._kept[index]
        array = self._read(index)
        with self._lock:
            self._bytes += 0 if index in self._kept else array.nbytes
            self._kept[index] = array
            while self._bytes > self._limit and len(self._kept) > 1:
                self._bytes -= self._kept.popitem(last=False)[1].nbytes
        return array

    def __reduce__(self):
        return Recent, (self._read, self._limit)
