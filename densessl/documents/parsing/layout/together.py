"""Which pieces of a page are one: the lines of a heading; and which are read as one: items to be ticked in rows."""

from __future__ import annotations

from collections.abc import Sequence

from densessl.documents.parsing.layout.lines import boxed, em, gap, overlap
from densessl.documents.parsing.layout.missed import CROWDED, LARGER
from densessl.documents.parsing.layout.order import gutters
from densessl.documents.parsing.layout.paragraphs import ENDS, is_bold
from densessl.documents.parsing.layout.pieces import LISTED, Piece
from densessl.documents.parsing.layout.regions import Region, parted
from densessl.documents.parsing.layout.text import BOXES, marker_of, number_of
from densessl.documents.parsing.model import FURNITURE

BELOW = 2.0  # ems of space between rows of items to be ticked, at most
HEADINGS = ("title", "heading")
TOGETHER = 0.6  # ems of space between the lines of a heading, at most
SHORT = 2  # lines of what may be one with others, at most
EQUAL = 1.04  # the sizes of its lines differ by this factor at most
EDGES = 0.5  # ems by which their left edges, right edges or middles may differ


def ticked_together(pieces: Sequence[Piece], regions: Sequence[Region]) -> list[list[Piece]]:
    """All pieces, those together, row by row, that are read as one: items to be ticked that stand in rows and columns,
    but not over a gutter of the page. regions: of the page, which tell its gutters."""
    boxes = [piece for piece in pieces if piece.marker and piece.marker in BOXES]
    if not 1 < len(boxes) <= CROWDED:
        return [[piece] for piece in pieces]
    between = gutters([region.bbox for region in regions if region.type not in FURNITURE])
    groups: list[list[Piece]] = []
    for piece in sorted(boxes, key=lambda each: (each.bbox[1], each.bbox[0])):
        near = [group for group in groups if any(_is_beside(each, piece, between) for each in group)]
        groups = [group for group in groups if not any(group is each for each in near)]
        groups.append([*(each for group in near for each in group), piece])
    found = [_row_by_row(group) for group in groups if len(group) > 1 and len(_rows(group)) < len(group)]
    taken = {id(piece) for group in found for piece in group}
    return found + [[piece] for piece in pieces if id(piece) not in taken]


def _row_by_row(group: Sequence[Piece]) -> list[Piece]:
    return [piece for row in _rows(group) for piece in sorted(row, key=lambda each: each.bbox[0])]


def _rows(group: Sequence[Piece]) -> list[list[Piece]]:
    rows: list[list[Piece]] = []
    for piece in sorted(group, key=lambda each: each.bbox[1]):
        if rows and overlap(rows[-1][0].bbox, piece.bbox) > 0.5:
            rows[-1].append(piece)
        else:
            rows.append([piece])
    return rows


def _is_beside(a: Piece, b: Piece, between: Sequence[tuple[float, float]]) -> bool:
    if overlap(a.bbox, b.bbox) > 0.5:
        return not parted(*sorted((a.bbox, b.bbox)), between)
    return gap(a.bbox, b.bbox, 0) < 0 and gap(a.bbox, b.bbox, 1) <= BELOW * em(a.lines[0])


def whole_headings(pieces: Sequence[Piece]) -> list[Piece]:
    """The same, with the lines of a heading in one piece that the detector saw one by one: they are as large and as
    bold, close to each other and aligned, and no number begins the lower one. One line may be taken for a text, if no
    other text of the page is nearly as large."""
    texts = [(max(map(em, piece.lines)), piece) for piece in pieces if piece.type in LISTED and piece.lines]
    texts.sort(key=lambda each: -each[0])
    short = [piece for piece in pieces if piece.type in (*HEADINGS, "text") and 0 < len(piece.lines) <= SHORT]
    open_: list[Piece] = []  # those that what follows may go on with
    gone = set()
    for piece in sorted(short, key=lambda each: each.bbox[1]):
        open_ = [each for each in open_ if _is_near(each, piece)][-CROWDED:]
        upper = next((each for each in open_ if _is_one_heading(each, piece, texts)), None)
        if upper is None:
            open_.append(piece)
            continue
        if "text" in (upper.type, piece.type):
            texts = [each for each in texts if each[1] is not upper and each[1] is not piece]
        upper.type = "title" if "title" in (upper.type, piece.type) else "heading"
        upper.lines = [*upper.lines, *piece.lines]
        upper.bbox = boxed(upper.lines)
        gone.add(id(piece))
    return [piece for piece in pieces if id(piece) not in gone]


def _is_near(upper: Piece, lower: Piece) -> bool:
    """Whether a piece can be a line of the heading above it, and those that begin lower too."""
    above = upper.lines[-1]
    return len(upper.lines) <= SHORT and lower.bbox[1] - above.bbox[3] <= TOGETHER * em(above)


def _is_one_heading(upper: Piece, lower: Piece, texts: Sequence[tuple[float, Piece]]) -> bool:
    """texts: of the page, the largest first, with their sizes."""
    if not {upper.type, lower.type} & set(HEADINGS):
        return False
    above, below = upper.lines[-1], lower.lines[0]
    if below.bbox[1] <= above.bbox[1]:
        return False
    size, other = em(above), em(below)
    if max(size, other) > EQUAL * min(size, other) or is_bold(above) != is_bold(below):
        return False
    begins = number_of(below.text) or marker_of(below.text)
    if begins or above.text.rstrip().endswith(tuple(ENDS)) or not -size / 2 <= gap(above.bbox, below.bbox, 1):
        return False
    if below.bbox[1] < above.bbox[1] + size / 2 or gap(above.bbox, below.bbox, 1) > TOGETHER * size:
        return False
    (x0, _, x1, _), (left, _, right, _) = above.bbox, below.bbox
    if min(abs(x0 - left), abs(x1 - right), abs(x0 + x1 - left - right) / 2) > EDGES * size:
        return False
    largest = next((each for each, text in texts if text is not upper and text is not lower), 0.0)
    return size >= LARGER * largest or {upper.type, lower.type} <= set(HEADINGS)
