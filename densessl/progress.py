"""How far a run is: a bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import TextIO

Report = Callable[[str, int, int, str], None]
Say = Callable[[str], None]


class Progress:
    """Called as `progress(stage, done, total, note)`; what it prints goes to `stream` (standard error).

    On a terminal one bar per stage with the remaining time; otherwise a line at most every `seconds`, and at the end
    of each stage. A stage may begin at any number, as after a resume: the rate is that of what was done here.
    """

    def __init__(self, stream: TextIO | None = None, seconds: float = 10.0) -> None:
        self.stream = stream or sys.stderr
        self.seconds = seconds
        self.stage, self.begun, self.said, self.bar = "", 0.0, 0.0, None
        self.first = 0  # how much was done when the stage was first heard of

    def __call__(self, stage: str, done: int, total: int, note: str = "") -> None:
        now = time.monotonic()
        if stage != self.stage:
            self.close()
            self.stage, self.begun, self.said, self.first = stage, now, now, done
        if self.stream.isatty():
            self._bar(done, total, note)
        elif done >= total or now - self.said >= self.seconds:
            self.said = now
            time_ = self._time(now - self.begun, done, total)
            print(f"{stage}: {done}/{total}{time_}{', ' + note if note else ''}", file=self.stream, flush=True)
        if done >= total:
            self.close()

    def close(self) -> None:
        """End the bar of the stage under way."""
        if self.bar is not None:
            self.bar.close()
        self.bar, self.stage = None, ""

    def _time(self, passed: float, done: int, total: int) -> str:
        """The remaining time of a stage, or all of its time at its end; nothing while there is no rate yet."""
        if done >= total:
            return f" in {passed:.1f} s"
        here = done - self.first
        return f", {passed / here * (total - done):.0f} s left" if here > 0 else ""

    def _bar(self, done: int, total: int, note: str) -> None:
        from tqdm import tqdm

        if self.bar is None:
            self.bar = tqdm(total=total, initial=done, desc=self.stage, file=self.stream, dynamic_ncols=True)
        self.bar.set_postfix_str(note, refresh=False)
        self.bar.update(done - self.bar.n)


def silent(stage: str, done: int, total: int, note: str = "") -> None:
    """Print nothing."""


def tell(sentence: str) -> None:
    """Print a sentence to standard error."""
    print(sentence, file=sys.stderr, flush=True)
