"""One thread for every test: the networks are so small that a second one only waits, and results repeat."""

from __future__ import annotations

import itertools
import os
import signal
import tempfile
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import pytest
import torch

torch.set_num_threads(1)
# No test, fixture or command that one of them starts writes into the user's own cache.
CACHES, NUMBERS = tempfile.TemporaryDirectory(prefix="densessl-tests-"), itertools.count()
os.environ["DENSESSL_CACHE"] = str(Path(CACHES.name, "shared"))
# A shell that starts the tests in the background lets them ignore Ctrl-C, and with them every command that they start.
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def seeded() -> None:
    """The same random numbers in every run of a test, whichever ran before it."""
    torch.manual_seed(0)


@pytest.fixture(autouse=True)
def cache_folder(monkeypatch) -> Path:
    """Where `segment` keeps features in this test alone; not there until something is kept."""
    folder = Path(CACHES.name, f"{os.getpid()}-{next(NUMBERS)}")
    monkeypatch.setenv("DENSESSL_CACHE", str(folder))
    return folder
