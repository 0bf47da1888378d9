"""Data sets of document pages with objects on them, or with a kind for each page.

`open_pages("publaynet:data/publaynet", "val")` opens one; a module describes each set or family of sets.
"""

from densessl.documents.sets.ctdar import Cell, MarkedTable, read_tables
from densessl.documents.sets.registry import KIND_SETS, PAGE_SETS, open_kinds, open_pages

__all__ = ["KIND_SETS", "PAGE_SETS", "Cell", "MarkedTable", "open_kinds", "open_pages", "read_tables"]
