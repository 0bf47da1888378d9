"""Generated pages with exact labels: articles, reports, accounts, books, laws, forms, invoices, slides and more.

Drawn by reportlab and rendered by pypdfium2. Labels come from pixels: each page is drawn once more with every element
in a colour of its own, and every pixel with ink is proved to have an owner. Conventions are PubLayNet's (captions,
authors and footnotes are text; headers, footers and formulas have no label; a list is one box; a table is without its
caption) and, as finer labels of the same pages, DocLayNet's.
"""

from densessl.data.synthetic.pages.make import PagesConfig
from densessl.data.synthetic.pages.run import write_pages

__all__ = ["PagesConfig", "write_pages"]
