"""XML piece by piece, in which no text of a document breaks anything."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from xml.sax.saxutils import escape, quoteattr

from densessl.documents.parsing.writers.base import clean

DECLARATION = '<?xml version="1.0" encoding="UTF-8"?>\n'


def start(name: str, attributes: Mapping[str, Any] | None = None, empty: bool = False) -> str:
    """A start tag, or one that ends itself; attributes that are None are left out."""
    pairs = ((key, value) for key, value in (attributes or {}).items() if value is not None)
    told = "".join(f" {key}={quoteattr(clean(str(value)))}" for key, value in pairs)
    return f"<{name}{told}{'/' if empty else ''}>"


def element(name: str, text: str, attributes: Mapping[str, Any] | None = None) -> str:
    return f"{start(name, attributes)}{content(text)}</{name}>"


def content(text: str) -> str:
    """The text as what stands between tags."""
    return escape(clean(text))
