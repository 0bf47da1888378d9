"""From the document model to files: JSON, Markdown, HTML, COCO, hOCR 1.2, ALTO 4.4 and PAGE 2019-07-15.

    with WRITERS["md"](folder / "report.md", document) as write:
        for page in pages:
            write(page)

A writer never holds more than the page it is given, and leaves its file whole or not at all. What a document of several
pages is in each: one file, but for PAGE, whose schema has one page a file: there it is a folder, `NAME.page/p0001.xml`.
"""

from densessl.documents.parsing.writers import alto, coco, hocr, markdown, native, pagexml, webpage  # noqa: F401
from densessl.documents.parsing.writers.base import WRITERS, Options, Writer
from densessl.documents.parsing.writers.native import read

__all__ = ["WRITERS", "Options", "Writer", "read"]
