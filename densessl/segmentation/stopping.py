"""How a signal ends a run of `segment`: with a sentence, and after the picture under way once pictures are written."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from densessl.errors import RunStopped


@contextmanager
def terminable(sentence: str) -> Iterator[None]:
    """Within it SIGTERM ends the run at once, with this sentence; Ctrl-C does as ever."""

    def end(number: int, frame: object) -> None:
        raise RunStopped(sentence, number)

    with _handling({signal.SIGTERM: end}):
        yield


class Stop:
    """Within it SIGTERM and Ctrl-C are noted, for `heed` to obey; a second Ctrl-C ends the run at once."""

    def __init__(self) -> None:
        self.asked: signal.Signals | None = None

    @contextmanager
    def listening(self) -> Iterator[Stop]:
        with _handling({signal.SIGTERM: self._ask, signal.SIGINT: self._ask}):
            yield self

    def _ask(self, number: int, frame: object) -> None:
        self.asked = signal.Signals(number)
        signal.signal(signal.SIGINT, signal.default_int_handler)

    def is_asked(self) -> bool:
        return self.asked is not None

    def heed(self, where: str) -> None:
        """Raise `RunStopped` when a signal has asked for it; called where nothing is half done."""
        if self.asked is not None:
            raise RunStopped(
                f"{self.asked.name} ended the run {where}; the same command goes on from there.", self.asked
            )


@contextmanager
def _handling(handlers: dict) -> Iterator[None]:
    """Take signals over and give them back; Python lets the main thread alone do so."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, handler) for number, handler in handlers.items()}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
