"""From documents to their contents: layout, words, reading order, tables; JSON, Markdown, HTML and others of that.

`model` has what a document consists of; everything else makes it (`run` step by step) or writes it (`writers`).
"""

from densessl.documents.parsing.config import ParseConfig
from densessl.documents.parsing.run import Summary, parse

__all__ = ["ParseConfig", "Summary", "parse"]
