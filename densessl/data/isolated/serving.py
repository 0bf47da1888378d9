"""The side that works: requests answered one by one, within limits.

A request is one message of JSON, [seconds, what, *arguments]; an answer is one, {"found": ...} or {"reason": ...}.
Pixels are written into memory that both processes share. A request that takes more than `seconds` of processor time
ends the process by SIGPROF, whatever a library is doing there: processor time, so that a busy machine ends none.
"""

from __future__ import annotations

import json
import mmap
import os
import signal
from collections.abc import Callable
from multiprocessing.connection import Connection

READY = b"ready"


class Canvas:
    """Memory that is a file's, and so that of every process which has it open."""

    def __init__(self, file: int) -> None:
        self._file, self._map = file, b""

    def room(self, length: int) -> mmap.mmap:
        """So many bytes of it, or more."""
        if length > len(self._map):
            if os.fstat(self._file).st_size < length:
                os.ftruncate(self._file, length)
            self._map = mmap.mmap(self._file, length)
        return self._map


def serve(begin: Callable[[], object], reason: Callable[[Exception], str | None]) -> None:
    """Answer requests from standard input on standard output until there are no more.

    begin: makes the object whose methods are asked for, after whatever libraries print goes to the standard error.
    reason: what to answer in the place of an error, None for one that is to end the process.
    """
    requests, answers = Connection(os.dup(0), writable=False), Connection(os.dup(1), readable=False)
    os.dup2(2, 1)
    served = begin()
    answers.send_bytes(READY)
    while True:
        try:
            seconds, what, *about = json.loads(requests.recv_bytes())
        except (EOFError, OSError):  # whoever asked has ended
            return
        signal.setitimer(signal.ITIMER_PROF, seconds)
        try:
            answer = {"found": getattr(served, what)(*about)}
        except Exception as error:
            answer = {"reason": reason(error)}
            if answer["reason"] is None:
                raise
        signal.setitimer(signal.ITIMER_PROF, 0)
        answers.send_bytes(json.dumps(answer | {"resident": _resident()}).encode())


def limit(memory: int) -> None:
    """See that this process ends where a request takes too long, has no more address space than so many bytes, and
    leaves no core. Where a system knows no such limits there are none."""
    signal.signal(signal.SIGPROF, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGPROF])
    try:
        import resource

        for kind, most in ((resource.RLIMIT_AS, memory), (resource.RLIMIT_CORE, 0)):
            _, hard = resource.getrlimit(kind)
            resource.setrlimit(kind, (most if hard == resource.RLIM_INFINITY else min(most, hard), hard))
    except (ImportError, ValueError, OSError):
        pass


def _resident() -> int:
    """Bytes of memory that the process has now; 0 where the system does not tell."""
    try:
        with open("/proc/self/statm", "rb") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGESIZE")
    except (OSError, ValueError, IndexError):
        return 0
