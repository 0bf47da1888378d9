"""The document that the application offers to parse: two pages of columns, a list, a table, a chart and a footnote."""

from __future__ import annotations

from pathlib import Path

from reportlab.graphics.charts.barcharts import HorizontalBarChart
from reportlab.graphics.shapes import Drawing
from reportlab.lib.colors import HexColor
from reportlab.lib.enums import TA_JUSTIFY
from reportlab.lib.pagesizes import A4
from reportlab.lib.styles import ParagraphStyle
from reportlab.pdfgen.canvas import Canvas
from reportlab.platypus import (
    BaseDocTemplate,
    Flowable,
    Frame,
    FrameBreak,
    NextPageTemplate,
    PageTemplate,
    Paragraph,
    Spacer,
    Table,
)

MARGIN, GAP = 56, 20  # points
INK, GREY = HexColor("#1f2a33"), HexColor("#6b7680")
TITLE = "How a page becomes text"
BODY = ParagraphStyle("body", fontName="Times-Roman", fontSize=10, leading=12.6, alignment=TA_JUSTIFY, spaceAfter=6)
HEADING = ParagraphStyle("heading", fontName="Helvetica-Bold", fontSize=12, leading=15, spaceBefore=6, spaceAfter=4)
LARGE = ParagraphStyle("title", fontName="Helvetica-Bold", fontSize=21, leading=26, textColor=INK)
CAPTION = ParagraphStyle("caption", fontName="Times-Italic", fontSize=9, leading=11, spaceBefore=4, spaceAfter=10)
ITEM = ParagraphStyle("item", parent=BODY, leftIndent=14, bulletIndent=2)
SMALL = ParagraphStyle("small", fontName="Times-Roman", fontSize=8, leading=10)

SEEN = (
    "A program that reads a page meets it twice. First it looks at the page as a picture, small enough that letters "
    "are a grey tissue, and asks where things are: a block of text here, a table there, a drawing with a line of "
    "small print below it. A detector answers with boxes, each with a class and a probability."
)
WORDS = (
    "Then it asks what the words are. A document that was made on a computer has them: each letter is drawn by a "
    "command that says which letter it is and where it stands. A scanned page has none, and an engine for optical "
    "character recognition has to read it as people do, from its looks."
)
ORDER = (
    "Boxes and words together are not yet a text. Which column comes first? Does a heading that stands over both "
    "columns end what is above it? The answer is found by cutting the page along its white: first into strips from "
    "top to bottom, then each strip into columns, and so on until every piece is a single block."
)
TABLES = (
    "Tables are read once more by themselves. Lines that are drawn show where cells end; where there are none, the "
    "gaps between words do, since what belongs to a column begins or ends at the same place in each row."
)
STEPS = (
    "find blocks of text, tables and figures,",
    "find the words,",
    "give each word to its block,",
    "put blocks in order.",
)
ROWS = (
    ("Source of words", "Needs", "Time a page"),
    ("text layer of a PDF", "nothing", "hundredths of a second"),
    ("Tesseract", "a program", "about a second"),
    ("RapidOCR", "the extra ocr", "several seconds"),
)
NOTE = "<super>1</super> Footnotes belong to the page that they stand on, and are told from its text."


def write_example(path: Path) -> None:
    """Write it as a PDF."""
    width, height = A4
    column = (width - 2 * MARGIN - GAP) / 2
    top = Frame(MARGIN, height - 130, width - 2 * MARGIN, 60, id="top", leftPadding=0, rightPadding=0)
    below, whole = height - 215, height - 145
    first = [Frame(x, 70, column, below, leftPadding=0, rightPadding=0) for x in (MARGIN, MARGIN + column + GAP)]
    second = Frame(MARGIN, 70, width - 2 * MARGIN, whole, leftPadding=0, rightPadding=0)
    document = BaseDocTemplate(str(path), pagesize=A4, title=TITLE, author="densessl", invariant=True)
    document.addPageTemplates(
        [
            PageTemplate("first", [top, *first], onPage=_furniture),
            PageTemplate("second", [second], onPage=_furniture),
        ]
    )
    document.build(_story(column, width - 2 * MARGIN))


def _story(column: float, whole: float) -> list[Flowable]:
    steps = [Paragraph(text, ITEM, bulletText=f"{number}.") for number, text in enumerate(STEPS, 1)]
    return [
        Paragraph(TITLE, LARGE),
        FrameBreak(),
        Paragraph("1 What is seen", HEADING),
        Paragraph(SEEN, BODY),
        Paragraph("2 What is said", HEADING),
        Paragraph(WORDS, BODY),
        Paragraph("Four steps lead from a page to its text:", BODY),
        *steps,
        FrameBreak(),
        NextPageTemplate("second"),
        _chart(column),
        Paragraph("Figure 1. Letters that were read wrongly on two clean pages, in per cent.", CAPTION),
        Paragraph("3 What comes first", HEADING),
        Paragraph(ORDER + "<super>1</super>", BODY),
        Spacer(1, 30),
        Paragraph(NOTE, SMALL),
        FrameBreak(),
        Paragraph("4 Tables", HEADING),
        Paragraph(TABLES, BODY),
        Paragraph("Table 1. Where the words of a page come from.", CAPTION),
        _table(whole),
    ]


def _chart(width: float) -> Drawing:
    drawing, chart = Drawing(width, 130), HorizontalBarChart()
    chart.x, chart.y, chart.width, chart.height = 62, 22, width - 80, 100
    chart.data = [(0.8, 4.8)]
    chart.categoryAxis.categoryNames = ["RapidOCR", "Tesseract"]
    chart.valueAxis.valueMin, chart.valueAxis.valueMax, chart.valueAxis.valueStep = 0, 6, 2
    chart.bars[0].fillColor, chart.bars[0].strokeColor = HexColor("#0f7ba8"), None
    for axis in (chart.categoryAxis, chart.valueAxis):
        axis.labels.fontSize, axis.labels.fontName = 8, "Helvetica"
    drawing.add(chart)
    return drawing


def _table(width: float) -> Table:
    line = ("LINEBELOW", (0, 0), (-1, 0), 0.6, INK)
    rims = [("LINEABOVE", (0, 0), (-1, 0), 1, INK), ("LINEBELOW", (0, -1), (-1, -1), 1, INK)]
    head = ("FONTNAME", (0, 0), (-1, 0), "Helvetica-Bold")
    return Table(ROWS, [0.4 * width, 0.25 * width, 0.35 * width], style=[line, *rims, head])


def _furniture(canvas: Canvas, document: BaseDocTemplate) -> None:
    width, height = A4
    canvas.setFont("Helvetica", 8)
    canvas.setFillColor(GREY)
    canvas.drawString(MARGIN, height - 40, "densessl, an example")
    canvas.drawCentredString(width / 2, 36, str(document.page))
