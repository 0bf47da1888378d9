"""Tables of tokens that take no memory: they lie in a file that stays open, and are read when they are asked for."""

from __future__ import annotations

import io
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from densessl.errors import RunStopped, UserError


@dataclass(frozen=True, eq=False)
class Table:
    """(h * w, C) float32, or whatever else has this shape, at a place of a file; `np.asarray` reads it.

    Mapped files would count as memory of the process once read, as much as is read of them.
    """

    file: io.BufferedIOBase
    offset: int
    shape: tuple[int, ...]
    dtype: str = "float32"

    def __array__(self, dtype=None, copy=None) -> np.ndarray:
        table = np.empty(self.shape, dtype=self.dtype)
        self.file.seek(self.offset)
        if self.file.readinto(memoryview(table).cast("B")) != table.nbytes:
            raise RunStopped("The file that holds the features was cut short while they were read: start again.")
        return table if dtype is None else table.astype(dtype)


class Holder:
    """Keeps tables in memory up to `memory` bytes, and beyond it in a file that vanishes with the process.

    spill: the folder of that file; None for the system's own. held: bytes in memory.
    """

    def __init__(self, spill: str | Path | None, memory: int) -> None:
        self.spill, self.memory, self.held, self.file = spill, memory, 0, None

    def hold(self, table: np.ndarray) -> np.ndarray | Table:
        """The table, or where it lies now. Raises `UserError` when it cannot be stored."""
        if self.held + table.nbytes <= self.memory:
            self.held += table.nbytes
            return table
        try:
            if self.file is None:
                if self.spill is not None:
                    Path(self.spill).mkdir(parents=True, exist_ok=True)
                self.file = tempfile.TemporaryFile(dir=self.spill, prefix="densessl-features-")  # noqa: SIM115
            offset = self.file.seek(0, io.SEEK_END)
            self.file.write(table.data)
            self.file.flush()
        except OSError as error:
            reason = (error.strerror or str(error)).lower()
            raise UserError(
                f"The features could not be kept in {self.spill or tempfile.gettempdir()}: {reason}. Free some space, "
                "or have fewer of them kept with keep_size=1 (GB)."
            ) from error
        return Table(self.file, offset, table.shape, table.dtype.name)

    def mark(self) -> tuple[int, int]:
        """What is held so far, in memory and in the file, to come back to."""
        return self.held, 0 if self.file is None else self.file.seek(0, io.SEEK_END)

    def forget(self, mark: tuple[int, int]) -> None:
        """Let go of what was held since the mark, which is kept elsewhere now."""
        self.held, size = mark
        if self.file is not None:
            self.file.truncate(size)
