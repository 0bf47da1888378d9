"""What every protocol leaves: a record of its figures and of all that they depend on."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from densessl.environment import environment
from densessl.evaluation.tables import tables
from densessl.files import write_text


def surroundings() -> dict[str, Any]:
    """The part of a record that is alike for every protocol: command, hardware, versions."""
    found = environment()
    return {"command": found.pop("command"), "environment": found}


def write_record(record: dict[str, Any], path: str | Path) -> None:
    """Write a record as JSON, whole or not at all; NaN becomes null."""
    write_text(path, json.dumps(_plain(record), indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def describe(record: dict[str, Any]) -> str:
    """A record for a terminal: a line per setting, sections indented, the figures last, where one looks.

    Those of single classes, which are many, are left to the file.
    """
    figures = {key: record[key] for key in ("figures", "baselines") if key in record}
    others = {key: value for key, value in record.items() if key not in (*figures, "per_class")}
    if record.get("protocol") == "segments":
        return "\n".join([*_lines(others, 0), "", *tables(record)])
    return "\n".join(_lines(others | figures, 0))


def _lines(section: dict[str, Any], depth: int) -> Iterator[str]:
    width = max((len(key) for key, value in section.items() if not isinstance(value, dict)), default=0)
    for key, value in section.items():
        title = key.replace("_", " ")
        if isinstance(value, dict):
            yield f"{'  ' * depth}{title}"
            yield from _lines(value, depth + 1)
        else:
            yield f"{'  ' * depth}{title:<{width}}  {_text(value)}"


def _text(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, (list, tuple)):
        return ", ".join(map(_text, value)) or "-"
    return str(value)


def _plain(value: Any) -> Any:
    """Numbers of numpy and torch, paths and tuples as what JSON knows."""
    if isinstance(value, dict):
        return {str(key): _plain(each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(each) for each in value]
    if hasattr(value, "tolist"):
        return _plain(value.tolist())
    if isinstance(value, float):
        return value if value == value and abs(value) != float("inf") else None
    return value if value is None or isinstance(value, (bool, int, str)) else str(value)
