"""The side that asks: a process that works for this one, and ends with it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from multiprocessing.connection import Connection
from typing import Any, BinaryIO

import numpy as np

from densessl.data.isolated.serving import READY, Canvas

LOOK = 0.5  # seconds between two looks whether an answer is waited for still


class NotStarted(Exception):
    """Its text is the last line that the process said."""


class Isolated:
    """A process that runs `serving.serve`; raises `NotStarted`.

    call: a statement that does so, such as "from a import serve; serve({shared})", with the number of the file whose
    memory gets pixels for {shared}. wait: seconds for it to begin. more: of its environment. apart: whether Ctrl-C in
    the terminal is kept from it.
    """

    def __init__(self, call: str, wait: float, more: Mapping[str, str] | None = None, apart: bool = False) -> None:
        paths = os.pathsep.join(path or os.getcwd() for path in sys.path)
        self._shared = _memory()
        shared = self._shared.fileno()
        self._canvas = Canvas(shared)
        with tempfile.TemporaryFile() as complaints, _blocked(signal.SIGINT, signal.SIGTERM):
            self.process = subprocess.Popen(
                [sys.executable, "-c", call.format(shared=shared)],
                pass_fds=[shared],
                env={**os.environ, **(more or {}), "PYTHONPATH": paths, "PYTHONSAFEPATH": "1"},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=complaints,
                bufsize=0,  # nothing that a forked process could send again
                start_new_session=apart,
            )
            self._requests = Connection(os.dup(self.process.stdin.fileno()), readable=False)
            self._answers = Connection(os.dup(self.process.stdout.fileno()), writable=False)
            self.process.stdin.close()
            self.process.stdout.close()
            try:
                ready = self._answers.poll(wait) and self._answers.recv_bytes() == READY
            except (EOFError, OSError):
                ready = False
            if not ready:
                self.end(kill=True)
                complaints.seek(0)
                last = complaints.read().decode("utf-8", "replace").strip().splitlines()[-1:]
                raise NotStarted("".join(last) or "it says nothing")

    @property
    def ended(self) -> bool:
        """Whether it is gone."""
        return self.process.poll() is not None

    def ask(self, request: Sequence[Any], wait: float, meanwhile: Callable[[], None] = lambda: None) -> dict[str, Any]:
        """The answer; raises `EOFError` or `OSError` when the process has died, `TimeoutError` after `wait` seconds.

        meanwhile: called twice a second; what it raises leaves the process at work, of no use to others.
        """
        self._requests.send_bytes(json.dumps(list(request)).encode())
        end = time.monotonic() + wait
        while not self._answers.poll(min(LOOK, max(0.0, end - time.monotonic()))):
            if time.monotonic() >= end:
                raise TimeoutError
            meanwhile()
        return json.loads(self._answers.recv_bytes())

    def pixels(self, height: int, width: int) -> np.ndarray:
        """A copy of what it drew last, (height, width, 3) uint8."""
        length = height * width * 3
        return np.frombuffer(self._canvas.room(length), np.uint8, length).reshape(height, width, 3).copy()

    def end(self, kill: bool = False) -> int:
        """End it, and say how it ended: as `subprocess` has it, the negative number of a signal.

        kill: it is not waited for where it does not end by itself, having nobody to answer any more.
        """
        self._requests.close()
        self._answers.close()
        self._shared.close()
        try:
            return self.process.wait(0.2 if kill else 1)
        except subprocess.TimeoutExpired:
            self.process.kill()
            return self.process.wait()


@contextmanager
def _blocked(*signals: signal.Signals) -> Iterator[None]:
    """Signals that wait, and never reach a process that is started meanwhile: a terminal sends them to all."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, signals)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _memory() -> BinaryIO:
    """A file that lies in memory, where the system has such a thing."""
    if hasattr(os, "memfd_create"):
        return os.fdopen(os.memfd_create("pixels"), "r+b")
    return tempfile.TemporaryFile()
