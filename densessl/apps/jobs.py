"""Requests that can be stopped: by whoever asked, and when they take too long."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from densessl.errors import UserError

Tell = Callable[[float, str], None]  # share that is done, from 0 to 1, and what is being done


FAILED = "Something went wrong in the application. What it was stands in its log."


class Stopped(UserError):
    """A request that its user stopped."""


class Late(UserError):
    """A request that takes more time than it may."""


class Job:
    """One request. Called with what is done, it tells that, and raises where the request is to end.

    seconds: that it may take. tell: who hears of its progress.
    """

    def __init__(self, seconds: float, tell: Tell = lambda share, what: None) -> None:
        self.seconds, self.tell, self.begun = seconds, tell, time.monotonic()
        self._stop = threading.Event()

    def __call__(self, share: float, what: str) -> None:
        """Raises `Stopped`, or `Late` when the time is over."""
        if self._stop.is_set():
            raise Stopped("Stopped.")
        if time.monotonic() - self.begun > self.seconds:
            raise Late(
                f"This takes more than the {self.seconds:g} s that a request may take here: give less at a time."
            )
        self.tell(min(1.0, share), what)

    def stop(self) -> None:
        """Have it end when it next tells of its progress."""
        self._stop.set()


class Jobs:
    """The requests under way of each page that is open in a browser, by kind."""

    def __init__(self) -> None:
        self._jobs: dict[tuple[str, str], list[Job]] = {}
        self._lock = threading.Lock()

    @contextmanager
    def running(self, page: str, kind: str, job: Job) -> Iterator[Job]:
        """Have a job be stopped by the name of its page and its kind."""
        key = page, kind
        with self._lock:
            self._jobs.setdefault(key, []).append(job)
        try:
            yield job
        finally:
            with self._lock:
                self._jobs[key].remove(job)
                if not self._jobs[key]:
                    del self._jobs[key]

    def stop(self, page: str, kind: str | None = None) -> int:
        """Stop all of a kind of a page, or all of the page; how many there were."""
        with self._lock:
            keys = [key for key in self._jobs if key[0] == page and kind in (None, key[1])]
            jobs = [job for key in keys for job in self._jobs[key]]
        for job in jobs:
            job.stop()
        return len(jobs)
