"""The application served in this process, for tests that talk to it, and a document to parse."""

from __future__ import annotations

from pathlib import Path

from reportlab.lib.pagesizes import A4
from reportlab.pdfgen.canvas import Canvas
from reportlab.platypus import Table, TableStyle

from densessl.apps.config import AppConfig
from densessl.apps.run import Application

SCRIPT = "<img src=x onerror='window.harmed = true'><script>window.harmed = true</script>"
ROWS = [["lake", "area", "depth"], ["Baikal", "31,722", "1,642"], ["Tana", "2,156", "15"], ["<b>x</b>", "1", "2"]]
LINES = [("GRID", (0, 0), (-1, -1), 0.7, "black"), ("FONTNAME", (0, 0), (-1, 0), "Helvetica-Bold")]


def start(**settings: object) -> Application:
    """On a free port of this machine."""
    return Application(AppConfig(**{"devices": "cpu", "backbone": "box", "open_seconds": 20} | settings))


def lakes(path: Path) -> Path:
    """A document of two pages: a heading, paragraphs of which one is a script, a table with lines, the number below."""
    canvas = Canvas(str(path), pagesize=A4)
    for number in (1, 2):
        canvas.setFont("Helvetica-Bold", 22)
        canvas.drawString(75, 755, "On lakes")
        canvas.setFont("Times-Roman", 11)
        for line in range(6):
            canvas.drawString(75, 715 - 14 * line, f"Water lies in hollows that ice has left, on page {number}.")
        for line in range(4):
            canvas.drawString(75, 610 - 14 * line, SCRIPT)
        table = Table(ROWS, colWidths=120, rowHeights=22)
        table.setStyle(TableStyle(LINES))
        table.wrapOn(canvas, 400, 200)
        table.drawOn(canvas, 110, 430)
        canvas.drawString(290, 40, str(number))
        canvas.showPage()
    canvas.save()
    return path
