"""PDFs that tests draw, and their words."""

from __future__ import annotations

from pathlib import Path

import pypdfium2
from reportlab.pdfgen.canvas import Canvas

from densessl.data.pages import pdf
from densessl.documents.parsing.words import layer
from tests.data import documents

SIZE = 400, 300
LINES = ["The quick brown fox", "jumps over 12 lazy dogs,", "gypsy (quietly) and jolly."]


def drawn(path: Path, draw, size=SIZE, **settings) -> Path:
    canvas = Canvas(str(path), pagesize=size, invariant=True, **settings)
    draw(canvas)
    canvas.save()
    return path


def lines(canvas: Canvas) -> None:
    canvas.setFont("Helvetica", 14)
    for place, text in enumerate(LINES):
        canvas.drawString(40, 240 - 24 * place, text)


def changed(path: Path, change) -> Path:
    """The document with its first page changed."""
    document = pypdfium2.PdfDocument(path)
    change(document[0])
    document.save(str(path))
    return path


def read(path: Path) -> list[str]:
    return [word[0] for word in pdf.text(str(path), 0).words]


def by_text(path: Path):
    return {word.text: word for word in layer(pdf.text(str(path), 0))}


def encoded(
    codes: bytes, meanings: dict[int, str] | None, content: bytes = b"BT /F 20 Tf 50 700 Td (%b) Tj ET"
) -> bytes:
    """A page of a font whose codes mean what its table ToUnicode says, or nothing without one."""
    rows = "".join(f"<{code:02X}> <{text.encode('utf-16-be').hex()}>\n" for code, text in (meanings or {}).items())
    table = (
        "/CIDInit /ProcSet findresource begin 12 dict begin begincmap /CMapName /A def /CMapType 2 def\n"
        f"1 begincodespacerange <00> <FF> endcodespacerange\n{len(meanings or {})} beginbfchar\n{rows}endbfchar\n"
        "endcmap end end"
    )
    glyph = documents.stream(b"600 0 0 0 500 700 d1 0 0 500 700 re f")
    names = b" ".join(b"%d/g%d" % (code, code) for code in sorted(set(codes)))
    procedures = b" ".join(b"/g%d 5 0 R" % code for code in sorted(set(codes)))
    widths = b" ".join([b"600"] * 256)
    font = (
        b"<</Type/Font/Subtype/Type3/FontBBox[0 0 600 700]/FontMatrix[.001 0 0 .001 0 0]/FirstChar 0/LastChar 255"
        b"/Widths[%b]/CharProcs<<%b>>/Encoding<</Type/Encoding/Differences[%b]>>/Resources<<>>%b>>"
    ) % (widths, procedures, names, b"/ToUnicode 7 0 R" if meanings is not None else b"")
    escaped = b"".join(b"\\%03o" % code for code in codes)
    return documents.page(
        content % escaped, resources=b"/Font<</F 6 0 R>>", more=(glyph, font, documents.stream(table.encode()))
    )
