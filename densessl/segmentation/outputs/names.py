"""`names.txt`: what the user calls the segments, and which of them are one class.

A line per segment, `3  #6f9b52  12.40 %: tree`, or `3: tree`; the share is for the reader alone. Segments of the same
name are one class, and one without a name is a class of its own. A class takes the colour of its first segment, and
classes are numbered in the order of their first segments.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from densessl.errors import UserError
from densessl.files import write_text
from densessl.segmentation.outputs.overlay import Colour, palette

_LINE = re.compile(r"(?P<index>\S+)(?:\s+(?P<colour>#\S*))?(?:\s+\d+(?:\.\d+)?\s*%)?\s*:(?P<name>.*)")
_HEAD = """\
# Write a name after the colon; segments of the same name become one class. sheets/segment-NN.png shows each of them.
# Then give the same densessl command again: it writes the classes, with nothing learned or segmented anew.
"""


@dataclass(frozen=True)
class Classes:
    """What becomes of the segments 0 to K - 1 of a model.

    names: (K) of the segments, None where there is none. colours: (K) of the segments.
    """

    names: tuple[str | None, ...]
    colours: tuple[Colour, ...]

    @classmethod
    def unnamed(cls, segments: int) -> Classes:
        """Every segment a class of its own, in the colours of the palette."""
        return cls((None,) * segments, palette(segments))

    @classmethod
    def named(cls, names: Sequence[str]) -> Classes:
        """With these names, in the colours of the palette."""
        return cls(tuple(names), palette(len(names)))

    @property
    def given(self) -> bool:
        """Whether any segment has a name, so that masks of the classes are wanted too."""
        return any(self.names)

    @property
    def members(self) -> list[list[int]]:
        """The segments of each class."""
        found: dict[object, list[int]] = {}
        for index, name in enumerate(self.names):
            found.setdefault(index if name is None else name, []).append(index)
        return list(found.values())

    @property
    def class_colours(self) -> list[Colour]:
        return [self.colours[members[0]] for members in self.members]

    @property
    def class_names(self) -> list[str]:
        """The name of each class, "segment 3" where it has none."""
        return [self.names[members[0]] or f"segment {members[0]}" for members in self.members]

    def table(self) -> np.ndarray:
        """(K) the class of each segment, uint8 or, with more than 256 segments, uint16: `table()[labels]` merges."""
        table = np.zeros(len(self.names), dtype=np.uint8 if len(self.names) <= 256 else np.uint16)
        for index, members in enumerate(self.members):
            table[members] = index
        return table


def read_names(path: str | Path, segments: int) -> Classes:
    """Read the names of a model's segments. Raises `UserError` with the number of the first line that is wrong."""
    path = Path(path).expanduser()
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        reason = "it is not UTF-8 text" if isinstance(error, UnicodeDecodeError) else (error.strerror or "").lower()
        raise UserError(
            f"The names cannot be read from {path}: {reason}. Give names=FILE, such as the names.txt of a folder that "
            "`densessl segment` wrote."
        ) from None
    names: list[str | None] = [None] * segments
    colours = list(palette(segments))
    told: dict[int, int] = {}
    for number, line in enumerate(lines, start=1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        index, colour, name = _read_line(line.strip(), segments, f"{path}, line {number}")
        if index in told:
            raise UserError(f"{path}, line {number}: segment {index} stands on line {told[index]} already; remove one.")
        told[index] = number
        names[index] = name
        colours[index] = colour or colours[index]
    _check_alike(names, told, path)
    return Classes(tuple(names), tuple(colours))


def _read_line(line: str, segments: int, where: str) -> tuple[int, Colour | None, str | None]:
    found = _LINE.fullmatch(line)
    if found is None:
        raise UserError(f"{where}: {line[:60]!r} is not of the form 3: name, with a colon before the name.")
    if not found["index"].isascii() or not found["index"].isdecimal() or int(found["index"]) >= segments:
        raise UserError(
            f"{where}: {found['index']} is no segment; the model has {segments}, numbered 0 to {segments - 1}."
        )
    colour = found["colour"]
    if colour and not re.fullmatch("#[0-9a-fA-F]{6}", colour):
        raise UserError(f"{where}: {colour} is no colour; write one as #6f9b52, or leave it out.")
    parsed = tuple(bytes.fromhex(colour[1:])) if colour else None
    return int(found["index"]), parsed, " ".join(found["name"].split()) or None


def _check_alike(names: Sequence[str | None], told: dict[int, int], path: Path) -> None:
    """Names that differ in capitals alone are meant to be the same, and would be two classes."""
    seen: dict[str, int] = {}
    for index, name in enumerate(names):
        if name is None:
            continue
        first = seen.setdefault(name.casefold(), index)
        if names[first] != name:
            raise UserError(
                f"{path}, line {told[index]}: {name!r} is written {names[first]!r} on line {told[first]}; write the "
                "same name alike, or another one."
            )


def has_comments(path: Path) -> bool:
    """Whether a file that can be read has comments which are not our own."""
    lines = path.read_text(encoding="utf-8-sig").splitlines()
    return any(line.lstrip().startswith("#") and line.strip() not in _HEAD.splitlines() for line in lines)


def write_names(path: str | Path, classes: Classes, shares: Sequence[float]) -> None:
    """Write the file for the user to edit, unless one with names or comments, or one that cannot be read, is there."""
    path = Path(path)
    if path.exists():
        try:
            if read_names(path, len(shares)).given or has_comments(path):
                return
        except UserError:
            return
    width = len(str(len(shares) - 1))
    rows = zip(classes.names, classes.colours, shares, strict=True)
    lines = [
        f"{index:{width}}  #{bytes(colour).hex()}  {share:6.2%}".replace("%", " %") + f": {name or ''}".rstrip(" ")
        for index, (name, colour, share) in enumerate(rows)
    ]
    write_text(path, _HEAD + "\n".join(lines) + "\n")
