"""The process in which PDFium runs, and what it answers.

PDFium is a library in C++ that reads whatever strangers wrote: it can crash, or go on for hours, and neither can be
stopped from within the process that called it. So it runs in this one, which `densessl.data.pages.pdf` starts, asks
and replaces. It imports nothing but the standard library and pypdfium2, so that it starts in a tenth of a second.

How it is asked, and ended where a page takes too long, stands in `densessl.data.isolated.serving`; one that takes more
memory than `MEMORY` ends it too.
"""

from __future__ import annotations

import ctypes
import math
import os
import stat
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress

from densessl.data.isolated import serving
from densessl.data.isolated.serving import Canvas, limit
from densessl.data.pages import words

MEMORY = 1 << 30  # bytes of address space
OPENED = 16  # documents that stay open
MOST_PAGES = 100_000  # of one document; one that claims more is a lie, or a page tree that multiplies itself
DPI = 300  # of a small page, which is not blown up to the longest side
NARROWEST = 8  # pixels
ANNOTATIONS = 1_000  # of a page that are looked at
NO_PASSWORD, OTHER_PASSWORD = "it needs a password", "its password is another one"


class Refused(Exception):
    """What cannot be read; its text is one short reason, such as "it needs a password"."""


def serve(shared: int) -> None:
    """Answer requests until there are no more; shared: the number of an open file, whose memory gets the pixels."""
    limit(MEMORY)
    serving.serve(lambda: Documents(Canvas(shared)), lambda error: str(error) if isinstance(error, Refused) else None)


class Documents:
    """The documents that were asked for last, open."""

    def __init__(self, canvas: Canvas) -> None:
        self._canvas = canvas
        self._open: OrderedDict[tuple, object] = OrderedDict()

    def pages(self, path: str, password: str | None) -> dict:
        """{"claimed": pages that the document says it has, "missing": the numbers of those that are not there}.

        No page is rendered, and of its contents nothing is read.
        """
        import pypdfium2.raw as pdfium

        document = self._document(path, password)
        claimed, size = len(document), pdfium.FS_SIZEF()
        if claimed < 1:
            raise Refused("it has no pages")
        if claimed > MOST_PAGES:
            raise Refused(f"it claims {claimed:,} pages, more than the {MOST_PAGES:,} that are read of one document")
        missing = [page for page in range(claimed) if not pdfium.FPDF_GetPageSizeByIndexF(document, page, size)]
        if len(missing) == claimed:
            raise Refused(f"none of the {claimed} pages that it claims is there")
        return {"claimed": claimed, "missing": missing}

    def shape(self, path: str, password: str | None, number: int, side: int) -> dict:
        """{"points": (width, height) of a page, "pixels": (width, height) as it is rendered}."""
        import pypdfium2.raw as pdfium

        size = pdfium.FS_SIZEF()
        if not pdfium.FPDF_GetPageSizeByIndexF(self._document(path, password), number, size):
            raise Refused("the page cannot be loaded")
        points = size.width, size.height
        return {"points": points, "pixels": shape(*points, side)}

    def render(self, path: str, password: str | None, number: int, side: int) -> tuple[int, int]:
        """(height, width) of a page that it draws, RGB row by row, with its annotations and what was filled in."""
        import pypdfium2.raw as pdfium

        document = self._document(path, password)
        with self._page(document, number) as page:
            width, height = shape(*page.get_size(), side)
            length = width * height * 3
            pixels = (ctypes.c_ubyte * length).from_buffer(self._canvas.room(length))
            bitmap = pdfium.FPDFBitmap_CreateEx(width, height, pdfium.FPDFBitmap_BGR, pixels, width * 3)
            pdfium.FPDFBitmap_FillRect(bitmap, 0, 0, width, height, 0xFFFFFFFF)
            where = bitmap, page, 0, 0, width, height, 0, pdfium.FPDF_ANNOT | pdfium.FPDF_REVERSE_BYTE_ORDER
            pdfium.FPDF_RenderPageBitmap(*where)
            if document.formenv:
                pdfium.FPDF_FFLDraw(document.formenv, *where)
            pdfium.FPDFBitmap_Destroy(bitmap)
        return height, width

    def text(self, path: str, password: str | None, number: int) -> dict:
        """The words of a page, as `words.read` has them, those that were filled in or noted on it too."""
        import pypdfium2.raw as pdfium

        document = self._document(path, password)
        with self._page(document, number) as page:
            if not _written_on(page):
                return words.read(page)
        # PDFium finds letters in the contents of a page alone. Of a document of its own, for pages are not drawn after
        # their annotations have become contents.
        with closing(_opened(path, password, os.stat(path).st_size)) as document:
            with self._page(document, number) as page:
                pdfium.FPDFPage_Flatten(page, pdfium.FLAT_NORMALDISPLAY)
            with self._page(document, number) as page:
                return words.read(page)

    @contextmanager
    def _page(self, document, number: int) -> Iterator:
        import pypdfium2

        try:
            page = document.get_page(number)
        except pypdfium2.PdfiumError:
            raise Refused("the page cannot be loaded") from None
        with closing(page):
            yield page

    def _document(self, path: str, password: str | None):
        try:
            about = os.stat(path)
            if not stat.S_ISREG(about.st_mode):  # opening a named pipe would wait for ever
                raise Refused("it is not a file")
        except OSError as error:
            raise Refused((error.strerror or str(error)).lower()) from None
        key = path, password, about.st_mtime_ns, about.st_size
        if key not in self._open:
            self._open[key] = _opened(path, password, about.st_size)
        self._open.move_to_end(key)
        while len(self._open) > OPENED:
            self._open.popitem(last=False)[1].close()
        return self._open[key]


def _written_on(page) -> bool:
    """Whether the first `ANNOTATIONS` of a page are of a kind that shows words."""
    import pypdfium2.raw as pdfium

    kinds = (pdfium.FPDF_ANNOT_WIDGET, pdfium.FPDF_ANNOT_FREETEXT, pdfium.FPDF_ANNOT_STAMP)
    for place in range(min(pdfium.FPDFPage_GetAnnotCount(page), ANNOTATIONS)):
        annotation = pdfium.FPDFPage_GetAnnot(page, place)
        kind = pdfium.FPDFAnnot_GetSubtype(annotation)
        pdfium.FPDFPage_CloseAnnot(annotation)
        if kind in kinds:
            return True
    return False


def shape(width: float, height: float, side: int) -> tuple[int, int]:
    """(width, height) in pixels of a page of so many points, whose longest side is `side` px or, at most, `DPI`."""
    if not (math.isfinite(width) and math.isfinite(height) and min(width, height) > 0):
        raise Refused(f"the page is {width:g} x {height:g} points, which is no size")
    scale = min(side / max(width, height), DPI / 72)
    pixels = round(width * scale), round(height * scale)
    if min(pixels) < NARROWEST:
        raise Refused(f"the page is {width:g} x {height:g} points, too narrow to show anything")
    return pixels


def _opened(path: str, password: str | None, size: int):
    import pypdfium2
    import pypdfium2.raw as pdfium

    # By its bytes, which need not be a name in any encoding, and in a file that PDFium reads piece by piece.
    handle = pdfium.FPDF_LoadDocument(os.fsencode(path), None)
    asked = not handle and password is not None and pdfium.FPDF_GetLastError() == pdfium.FPDF_ERR_PASSWORD
    if asked:  # in UTF-8; where that does not open it PDFium tries Latin-1
        handle = pdfium.FPDF_LoadDocument(os.fsencode(path), password.encode("utf-8", "surrogateescape"))
    if not handle:
        raise Refused(_reason(path, size, pdfium.FPDF_GetLastError(), asked))
    document = pypdfium2.PdfDocument(handle)
    with suppress(pypdfium2.PdfiumError):  # else it is shown without what was filled in
        document.init_forms()
    return document


def _reason(path: str, size: int, code: int, asked: bool) -> str:
    import pypdfium2.raw as pdfium

    if not size:
        return "it is empty"
    if code == pdfium.FPDF_ERR_PASSWORD:
        return OTHER_PASSWORD if asked else NO_PASSWORD
    if code == pdfium.FPDF_ERR_SECURITY:
        return "it is encrypted in a way that PDFium does not know"
    try:
        with open(path, "rb") as file:
            return "it is damaged" if b"%PDF-" in file.read(1024) else "it is not a PDF"
    except OSError as error:
        return (error.strerror or str(error)).lower()
