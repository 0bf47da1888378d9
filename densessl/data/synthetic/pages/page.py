"""A page as a list of elements, each of which is a list of strokes: what the PDF is drawn from, twice.

Lengths are in points (1/72 inch), places are measured from the page's top left corner, y downwards; the place of a text
is the left end of its baseline. Colours are (r, g, b) in [0, 1].
"""

from __future__ import annotations

from dataclasses import dataclass, field

from densessl.data.synthetic.pages.fonts import width

Colour = tuple[float, float, float]
BLACK, WHITE = (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)

# Names and ids of DocLayNet (arXiv 2206.01062), and the class that PubLayNet (arXiv 1908.07836) would give the element:
# captions and footnotes are text, headings of all levels titles; headers, footers and formulas have none.
DOCLAYNET = (
    "Caption",
    "Footnote",
    "Formula",
    "List-item",
    "Page-footer",
    "Page-header",
    "Picture",
    "Section-header",
    "Table",
    "Text",
    "Title",
)
PUBLAYNET = ("text", "title", "list", "table", "figure")
COARSE = {
    "Caption": "text",
    "Footnote": "text",
    "List-item": "list",
    "Picture": "figure",
    "Section-header": "title",
    "Table": "table",
    "Text": "text",
    "Title": "title",
}
DECORATION = "Decoration"  # rules, bands and backgrounds: inked, but no element of either set of classes


def colour(code: str) -> Colour:
    """`"rrggbb"` -> (r, g, b)."""
    return int(code[0:2], 16) / 255, int(code[2:4], 16) / 255, int(code[4:6], 16) / 255


def tint(base: Colour, share: float) -> Colour:
    """A colour that is this share of `base` and white otherwise."""
    return tuple(1 - share * (1 - part) for part in base)


@dataclass(frozen=True)
class Words:
    """Text in one font. space: added to each blank; factor: on the widths of letters; angle: degrees, anticlockwise."""

    x: float
    y: float
    text: str
    font: str
    size: float
    colour: Colour = BLACK
    space: float = 0.0
    factor: float = 1.0
    angle: float = 0.0


@dataclass(frozen=True)
class Shape:
    """A polygon or, when not `closed`, a line through the points. A `pen` is the colour of the stroke."""

    points: tuple[tuple[float, float], ...]
    fill: Colour | None = None
    pen: Colour | None = None
    thick: float = 0.5
    closed: bool = True
    dash: tuple[float, ...] = ()


@dataclass(frozen=True)
class Disc:
    """A circle, or the sector of it from `start` over `sweep` degrees, anticlockwise."""

    x: float
    y: float
    radius: float
    fill: Colour | None = None
    pen: Colour | None = None
    thick: float = 0.5
    start: float = 0.0
    sweep: float = 360.0


@dataclass(frozen=True)
class Raster:
    """A picture in a rectangle; `source` names it for `pictures.raster`."""

    x: float
    y: float
    width: float
    height: float
    source: tuple


Stroke = Words | Shape | Disc | Raster


def extent(stroke: Stroke) -> tuple[float, float, float, float]:
    """A rectangle (left, top, right, bottom) in points that holds the stroke, of words not much larger."""
    if isinstance(stroke, Words):
        wide = width(stroke.text, stroke.font) * stroke.size * stroke.factor + stroke.space * stroke.text.count(" ")
        if stroke.angle:
            return stroke.x - wide, stroke.y - wide, stroke.x + wide, stroke.y + wide
        return stroke.x - 0.2 * stroke.size, stroke.y - 1.2 * stroke.size, stroke.x + wide, stroke.y + 0.5 * stroke.size
    if isinstance(stroke, Raster):
        return stroke.x, stroke.y, stroke.x + stroke.width, stroke.y + stroke.height
    if isinstance(stroke, Disc):
        reach = stroke.radius + stroke.thick
        return stroke.x - reach, stroke.y - reach, stroke.x + reach, stroke.y + reach
    across, down = zip(*stroke.points, strict=True)
    # A sharp corner of a thick line reaches farther than half of it.
    reach = 2 * stroke.thick if stroke.pen else 0.0
    return min(across) - reach, min(down) - reach, max(across) + reach, max(down) + reach


def box(
    x: float, y: float, width: float, height: float, fill: Colour | None = None, pen: Colour | None = None, thick=0.5
) -> Shape:
    return Shape(((x, y), (x + width, y), (x + width, y + height), (x, y + height)), fill, pen, thick)


def line(x0: float, y0: float, x1: float, y1: float, pen: Colour = BLACK, thick: float = 0.5, dash=()) -> Shape:
    return Shape(((x0, y0), (x1, y1)), None, pen, thick, False, dash)


@dataclass(frozen=True)
class Cell:
    """A cell of a table: rows and columns from and to (both included), its box (x, y, width, height), its text."""

    row: int
    column: int
    last_row: int
    last_column: int
    box: tuple[float, float, float, float]
    text: str
    header: bool


@dataclass
class Element:
    """One thing on a page: a name of `DOCLAYNET` or `DECORATION`, its strokes, what it says.

    group: number of the list that a List-item belongs to. cells: of a Table, with `rows` and `columns`, the lines
    between which they lie, from the first to the last.
    """

    kind: str
    strokes: list[Stroke] = field(default_factory=list)
    text: str = ""
    group: int | None = None
    cells: list[Cell] = field(default_factory=list)
    rows: list[float] = field(default_factory=list)
    columns: list[float] = field(default_factory=list)


@dataclass
class Page:
    """width, height in points; elements in the order in which they are read, which is that of painting, too."""

    width: float
    height: float
    elements: list[Element] = field(default_factory=list)

    def add(self, kind: str, strokes: list[Stroke], text: str = "", **more: object) -> Element:
        element = Element(kind, strokes, text, **more)
        self.elements.append(element)
        return element

    def decorate(self, *strokes: Stroke) -> None:
        """Lay rules or a background; under what is added afterwards."""
        self.elements.append(Element(DECORATION, list(strokes)))
