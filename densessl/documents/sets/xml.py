"""XML files of annotations, one a page."""

from __future__ import annotations

import math
from xml.etree import ElementTree
from xml.etree.ElementTree import Element

from densessl.documents import problems as kinds
from densessl.documents.problems import Problems


def read_xml(path: str, problems: Problems) -> Element | None:
    """The root of a file; None, and told of, where there is no file or no XML in it."""
    try:
        return ElementTree.parse(path).getroot()
    except FileNotFoundError:
        problems.add(kinds.NO_ANNOTATION, path)
    except (OSError, ElementTree.ParseError, ValueError, LookupError) as error:
        problems.add(kinds.BROKEN_FILE, f"{path}: {error}")
    return None


def number(element: Element | None, path: str) -> float:
    """The number that stands in an element below; NaN without one."""
    text = None if element is None else element.findtext(path)
    try:
        return float(text)
    except (TypeError, ValueError):
        return math.nan
