"""From documents to their contents: layout, words, reading order, tables; JSON, Markdown, HTML and others of that.

`model` has what a document consists of; everything else makes it (`run` step by step) or writes it (`writers`). Public
names are imported when they are first used: settings are checked before torch is there.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

_HOMES = {"Finder": "look", "ParseConfig": "config", "Summary": "run", "parse": "run"}
__all__ = sorted(_HOMES)


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
