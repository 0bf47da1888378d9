"""One thread for every test: the networks are so small that a second one only waits, and results repeat."""

from __future__ import annotations

import os
import signal

os.environ.setdefault("OMP_NUM_THREADS", "1")

import pytest
import torch

torch.set_num_threads(1)
# A shell that starts the tests in the background lets them ignore Ctrl-C, and with them every command that they start.
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def seeded() -> None:
    """The same random numbers in every run of a test, whichever ran before it."""
    torch.manual_seed(0)
