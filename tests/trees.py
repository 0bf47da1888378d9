"""Small data sets on disk, for tests to lay out as their publishers do."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass
class Folder:
    """Files below a root; a name's folders are made with it."""

    root: Path

    def __str__(self) -> str:
        return str(self.root)

    def path(self, name: str) -> Path:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        return path
