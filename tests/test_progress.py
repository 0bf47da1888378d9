"""Remaining time, from the first step or from the middle of a stage."""

from __future__ import annotations

import io

import pytest

from densessl.progress import Progress


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def clock(monkeypatch) -> list[float]:
    """The time in seconds, to be set."""
    now = [100.0]
    monkeypatch.setattr("densessl.progress.time.monotonic", lambda: now[0])
    return now


def lines(clock: list[float], steps: list[tuple[float, int]], total: int) -> list[str]:
    stream = io.StringIO()
    progress = Progress(stream, seconds=0)
    for second, done in steps:
        clock[0] = 100.0 + second
        progress("Training", done, total, "loss 1")
    return stream.getvalue().splitlines()


def test_the_remaining_time_is_that_of_the_steps_done_here(clock):
    assert lines(clock, [(0, 1), (2, 11), (10, 51), (20, 101)], 101) == [
        "Training: 1/101, loss 1",
        "Training: 11/101, 18 s left, loss 1",
        "Training: 51/101, 10 s left, loss 1",
        "Training: 101/101 in 20.0 s, loss 1",
    ]


def test_a_stage_that_goes_on_in_the_middle_does_not_count_what_was_done_before(clock):
    assert lines(clock, [(0, 5001), (10, 5101)], 10_000)[1] == "Training: 5101/10000, 490 s left, loss 1"


def test_the_next_stage_begins_anew(clock):
    stream = io.StringIO()
    progress = Progress(stream, seconds=0)
    progress("Reading", 7, 7)
    for second, done in ((10, 0), (14, 2)):
        clock[0] = 100.0 + second
        progress("Training", done, 4)
    assert stream.getvalue().splitlines()[-1] == "Training: 2/4, 4 s left"


def test_a_bar_that_goes_on_in_the_middle_starts_there():
    progress = Progress(Terminal())
    progress("Training", 5001, 10_000)
    assert (progress.bar.initial, progress.bar.n, progress.bar.total) == (5001, 5001, 10_000)
    progress("Training", 5003, 10_000)
    assert progress.bar.n == 5003
    progress.close()
