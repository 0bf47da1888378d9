"""How far a run is: a bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import TextIO

Report = Callable[[str, int, int, str], None]


class Progress:
    """Called as `progress(stage, done, total, note)`; what it prints goes to `stream` (standard error).

    On a terminal one bar per stage with the remaining time; otherwise a line at most every `seconds`, and at the end
    of each stage.
    """

    def __init__(self, stream: TextIO | None = None, seconds: float = 10.0) -> None:
        self.stream = stream or sys.stderr
        self.seconds = seconds
        self.stage, self.begun, self.said, self.bar = "", 0.0, 0.0, None

    def __call__(self, stage: str, done: int, total: int, note: str = "") -> None:
        now = time.monotonic()
        if stage != self.stage:
            self.close()
            self.stage, self.begun, self.said = stage, now, now
        if self.stream.isatty():
            self._bar(done, total, note)
        elif done >= total or now - self.said >= self.seconds:
            self.said = now
            left = (now - self.begun) / max(done, 1) * (total - done)
            remaining = f", {left:.0f} s left" if done < total else f" in {now - self.begun:.1f} s"
            print(f"{stage}: {done}/{total}{remaining}{', ' + note if note else ''}", file=self.stream, flush=True)
        if done >= total:
            self.close()

    def close(self) -> None:
        """End the bar of the stage under way."""
        if self.bar is not None:
            self.bar.close()
        self.bar, self.stage = None, ""

    def _bar(self, done: int, total: int, note: str) -> None:
        from tqdm import tqdm

        if self.bar is None:
            self.bar = tqdm(total=total, desc=self.stage, file=self.stream, dynamic_ncols=True)
        self.bar.set_postfix_str(note, refresh=False)
        self.bar.update(done - self.bar.n)


def silent(stage: str, done: int, total: int, note: str = "") -> None:
    """Print nothing."""
