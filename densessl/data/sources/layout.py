"""The folders of a data set as its publisher lays them out, and what to do where they are not so."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from densessl.errors import UserError


@dataclass(frozen=True)
class Layout:
    """root: the folder that the user named. title: of the set. how: where to get it and how to lay it out, as a clause
    that follows a semicolon."""

    root: str
    title: str
    how: str

    def below(self, *folders: str) -> Layout:
        """The layout from the first of these folders that there is, as unpacking leaves one; else the same."""
        found = [os.path.join(self.root, each) for each in folders]
        return next((replace(self, root=each) for each in found if os.path.isdir(each)), self)

    def folder(self, *choices: str) -> str:
        """The first of these folders that there is, by its path below root; raises `UserError` without one."""
        return self._first(os.path.isdir, "folder", choices)

    def file(self, *choices: str) -> str:
        """The first of these files that there is, by its path below root; raises `UserError` without one."""
        return self._first(os.path.isfile, "file", choices)

    def lines(self, *choices: str) -> list[str]:
        """The lines of the first of these text files that there is; raises `UserError` without one."""
        path = self.file(*choices)
        try:
            lines = Path(path).read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise UserError(f"The list {path} cannot be read: {error}; {self.how}.") from None
        return [line.strip() for line in lines if line.strip()]

    def _first(self, exists: Callable[[str], bool], kind: str, choices: Sequence[str]) -> str:
        if not os.path.isdir(self.root):
            raise UserError(f"There is no folder {self.root} of {self.title}; {self.how}.")
        found = [path for path in (os.path.join(self.root, each) for each in choices) if exists(path)]
        if not found:
            missing = " or ".join(choices)
            raise UserError(f"{self.root} is not laid out as {self.title}: there is no {kind} {missing}; {self.how}.")
        return found[0]


def stem(name: str) -> str:
    """A name without its suffix."""
    return os.path.splitext(name)[0]
