"""labels.csv: the classes of a folder's images in a table beside them."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from densessl.config import nearest
from densessl.errors import UserError

LABELS = "labels.csv"
COLUMNS = ("name", "class")
DELIMITERS = ",;\t"  # spreadsheets write semicolons where the comma belongs to numbers


@dataclass
class LabelTable:
    """words: the class by image, as written; None where no table has our columns. notes: sentences for the user."""

    words: dict[str, str] | None = None
    notes: list[str] = field(default_factory=list)


def read_labels(folder: str | Path, names: Sequence[str]) -> LabelTable:
    """What the labels.csv of a folder says of the images `names`, posix paths relative to the folder.

    The table has the columns name and class; others are ignored, and a row without a class labels nothing. A table
    without these columns belongs to somebody else: it is left alone, and a note says so.
    Raises `UserError` for a table that cannot be read, has a row that is longer than its heading, names an image that
    is not there, or gives one two classes.
    """
    path = os.path.join(folder, LABELS)
    if not os.path.isfile(path):
        return LabelTable()
    columns, rows = _table(path)
    if not set(COLUMNS) <= set(columns):
        found = f"the columns {', '.join(map(repr, columns))}" if any(columns) else "no heading"
        return LabelTable(notes=[f"{path} has {found}, and not name and class: it is left alone."])
    name, word = (columns.index(column) for column in COLUMNS)
    known, words = set(names), {}
    for line, row in rows:
        if any(map(str.strip, row[len(columns) :])):
            raise UserError(
                f"{path} has {len(row)} cells in line {line} where its heading has {len(columns)}: a name or a class "
                'with a comma in it must be in quotes, such as "a, b.jpg".'
            )
        if len(row) <= max(name, word) or not row[word].strip():
            continue
        image, label = row[name].strip().removeprefix("./"), row[word].strip()
        if image not in known:
            raise UserError(
                f"{path} names in line {line} an image {image!r} that is not there{nearest(image, known)} Names are "
                f"paths relative to {folder}."
            )
        if words.setdefault(image, label) != label:
            raise UserError(
                f"{path} gives {image!r} two classes, {words[image]!r} and {label!r}: keep one of the rows."
            )
    return LabelTable(words, _alike(path, words.values()))


def _table(path: str) -> tuple[list[str], list[tuple[int, list[str]]]]:
    """The heading of a CSV file, in small letters, and its other rows, each with the line it ends in."""
    try:
        text = Path(path).read_text(encoding="utf-8-sig")
        heading = text.splitlines()[0] if text else ""
        delimiter = max(DELIMITERS, key=heading.count)
        reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
        rows = [(reader.line_num, row) for row in reader]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"{path} cannot be read as a table: {error}; save it as CSV in UTF-8.") from None
    columns = [column.strip().lower() for column in rows[0][1]] if rows else []
    return columns, rows[1:]


def _alike(path: str, words: Sequence[str]) -> list[str]:
    """A sentence on classes that a slip of the pen may have made two of."""
    seen: dict[str, str] = {}
    for word in sorted(set(words)):
        other = seen.setdefault(" ".join(word.casefold().split()), word)
        if other != word:
            return [f"{path} has the classes {other!r} and {word!r}: they count as two, since their letters differ."]
    return []
