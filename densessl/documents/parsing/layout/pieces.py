"""What pieces of a page are, and which of them are one, by what else is on the page."""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass

from densessl.documents.parsing.layout.contents import Entry
from densessl.documents.parsing.layout.lines import boxed, em, gap, on_its_side, union
from densessl.documents.parsing.layout.missed import CAPTION, CROWDED, EDGE, NOTE, SMALLER
from densessl.documents.parsing.layout.paragraphs import SIZES, is_bullet, items
from densessl.documents.parsing.layout.regions import HOLDERS, Region, parted
from densessl.documents.parsing.layout.text import marker_of
from densessl.documents.parsing.model import Box, Line, Word
from densessl.documents.parsing.views import View

LISTED = ("text", "list_item")
NEAR = 2.5  # ems between a table or figure and a text that is its caption
MARK = re.compile(r"\d{1,3}|[*\u2020\u2021\u00a7\u00b6]{1,3}")  # of a footnote
RAISED = 0.85  # of a word's size, which a raised mark before it has at most
NUMBER = re.compile(r"[(\[]\d{1,3}([.\u2013-]\d{1,3}){0,2}[a-z]?[)\]]")  # of a formula


@dataclass(eq=False)
class Piece:
    """A block that has no place in the order yet."""

    type: str
    lines: list[Line]
    bbox: Box
    region: Region | None = None
    marker: str | None = None
    entry: Entry | None = None  # of contents


def by_surroundings(
    pieces: Sequence[Piece], between: Sequence[tuple[float, float]], body: float, height: float
) -> list[Piece]:
    """The pieces of a page, some of them changed or put to others. between: its gutters. body: its `body_size`."""
    pieces = _numbered_formulas(pieces, between)
    _away_from_the_edge(pieces, body, height)
    _at_the_side(pieces)
    pieces = _noted(pieces, body, height)
    _introductions(pieces, body)
    _unmarked(pieces)
    _captions(pieces)
    _counted(pieces)
    return pieces


def _numbered_formulas(pieces: Sequence[Piece], between: Sequence[tuple[float, float]]) -> list[Piece]:
    """The same, numbers of formulas put to the formula on their line and in their column."""
    formulas = [piece for piece in pieces if piece.type == "formula"]
    gone = set()
    for piece in pieces if formulas else ():
        if len(piece.lines) != 1 or not NUMBER.fullmatch(piece.lines[0].text):
            continue
        others = (each for each in formulas if each is not piece and id(each) not in gone)
        formula = next((each for each in others if _beside(each, piece, between)), None)
        if formula is not None:
            formula.lines = [*formula.lines, *piece.lines]
            formula.bbox = union([formula.bbox, piece.bbox])
            gone.add(id(piece))
    return [piece for piece in pieces if id(piece) not in gone]


def _beside(formula: Piece, number: Piece, between: Sequence[tuple[float, float]]) -> bool:
    if gap(formula.bbox, number.bbox, 1) >= 0 or gap(formula.bbox, number.bbox, 0) < 0:
        return False
    return not parted(*sorted((formula.bbox, number.bbox)), between)


def _away_from_the_edge(pieces: Sequence[Piece], body: float, height: float) -> None:
    """What the detector takes for a header or footer in the middle of a page is a footnote or a text."""
    for piece in pieces:
        footer = piece.type == "page_footer" and piece.bbox[3] < (1 - 2 * EDGE) * height
        header = piece.type == "page_header" and piece.bbox[1] > 2 * EDGE * height
        if (footer or header) and piece.lines:
            note = footer and em(piece.lines[0]) <= body and NOTE.match(piece.lines[0].text)
            piece.type = "footnote" if note else "text"


def _at_the_side(pieces: Sequence[Piece]) -> None:
    """What stands on its side beyond everything else is a running header: a thumb index, the stamp of an archive."""
    turned = [piece for piece in pieces if piece.lines and all(map(on_its_side, piece.lines))]
    known = set(map(id, turned))
    rest = [piece.bbox for piece in pieces if id(piece) not in known]
    for piece in turned:
        if len(piece.lines) > 2 or not rest:  # a text, or all there is
            continue
        if all(piece.bbox[0] >= box[2] for box in rest) or all(piece.bbox[2] <= box[0] for box in rest):
            piece.type = "page_header"


def beyond_the_rest(views: Sequence[View], made: Sequence[list[Piece]]) -> None:
    """The same, of lines that run up or down a page without any text or table that does. made: of each view."""
    shown = [[view.back.box(piece.bbox) for piece in pieces] for view, pieces in zip(views, made, strict=True)]
    for number, (view, pieces) in enumerate(zip(views, made, strict=True)):
        rest = [box for other, boxes in enumerate(shown) if other != number for box in boxes]
        if view.turn % 2 == 0 or not rest or any(len(piece.lines) > 2 for piece in pieces):
            continue
        left, right = min(box[0] for box in rest), max(box[2] for box in rest)
        for piece, box in zip(pieces, shown[number], strict=True):
            if box[2] <= left or box[0] >= right:
                piece.type = "page_header"


def _noted(pieces: Sequence[Piece], body: float, height: float) -> list[Piece]:
    """The same, raised marks put to the notes that they stand before; small texts in the lower half of a page that
    begin with one are footnotes."""
    texts = [piece for piece in pieces if piece.type in ("text", "list_item", "footnote") and piece.lines]
    marks, gone = [piece for piece in pieces if _mark(piece)], set()
    for piece in marks if len(marks) <= CROWDED else ():
        mark = _mark(piece)  # none of one that has got a mark itself meanwhile
        others = (each for each in texts if mark and each is not piece and id(each) not in gone)
        note = next((each for each in others if _is_mark_of(mark, each)), None)
        if note is not None:
            words = [mark, *note.lines[0].words]
            note.lines[0] = Line(words, union(word.bbox for word in words))
            note.bbox = boxed(note.lines)
            gone.add(id(piece))
    rest = [piece for piece in pieces if id(piece) not in gone]
    for piece in rest:
        small = piece.lines and em(piece.lines[-1]) <= SMALLER * body and piece.bbox[1] > height / 2
        if small and piece.type in LISTED and is_raised(*piece.lines[0].words[:2]):
            piece.type, piece.marker = "footnote", None
    return rest


def _mark(piece: Piece) -> Word | None:
    """What a piece consists of, if it is no more than what can be the mark of a note."""
    words = piece.lines[0].words if len(piece.lines) == 1 else []
    return words[0] if len(words) == 1 and MARK.fullmatch(words[0].text) else None


def _is_mark_of(mark: Word, note: Piece) -> bool:
    first = note.lines[0]
    if first.bbox[0] < mark.bbox[2] or not is_raised(mark, first.words[0]):
        return False
    middle = (mark.bbox[1] + mark.bbox[3]) / 2
    return first.bbox[1] - em(first) / 2 <= middle <= first.bbox[3] and first.bbox[0] - mark.bbox[2] <= em(first)


def is_raised(mark: Word, word: Word | None = None) -> bool:
    """Whether a number or sign is smaller than the word that it stands before, and its foot higher."""
    if word is None or not MARK.fullmatch(mark.text) or not mark.size or not word.size:
        return False
    return mark.size <= RAISED * word.size and mark.bbox[3] < word.bbox[3]


def _introductions(pieces: Sequence[Piece], body: float) -> None:
    """A heading that looks like the text around it and ends with a colon or comma, or begins with a small letter, leads
    to what follows: a text. One that begins with a bullet is an item of a list."""
    for piece in pieces:
        if piece.type != "heading" or not piece.lines:
            continue
        marker = marker_of(piece.lines[0].text)
        if marker and is_bullet(marker):
            piece.type, piece.marker = "list_item", marker
        elif piece.lines[-1].text.rstrip().endswith((":", ",", ";")) or piece.lines[0].text[:1].islower():
            words = [word for line in piece.lines for word in line.words]
            if not any(word.bold for word in words) and em(piece.lines[0]) <= SIZES * body:
                piece.type = "text"


def _counted(pieces: Sequence[Piece]) -> None:
    """Texts that begin with markers which count on from one to the other, or from items, are items of a list."""
    begun = [piece for piece in pieces if piece.type in LISTED and piece.lines]
    texts = [piece for piece in begun if marker_of(piece.lines[0].text)]
    texts.sort(key=lambda piece: piece.bbox[1])
    starts = {id(part[0]): marker for marker, part in items([each.lines[0] for each in texts], listed=False) if marker}
    for piece in texts:
        if id(piece.lines[0]) in starts:
            piece.type, piece.marker = "list_item", starts[id(piece.lines[0])]


def _unmarked(pieces: Sequence[Piece]) -> None:
    """What the detector takes for an item is a text unless a mark begins it, or it stands at the edge of others that
    have one or are of several lines, and is not indented as paragraphs are."""
    listed = [piece for piece in pieces if piece.type == "list_item" and piece.lines]
    edges = sorted(edge for piece in listed if _is_sure(piece) for edge in _edges(piece))
    for piece in listed:
        if piece.marker:
            continue
        first, reach = piece.lines[0].bbox[0], em(piece.lines[0]) / 2
        near = bisect_right(edges, first + reach) - bisect_left(edges, first - reach)
        own = sum(abs(edge - first) <= reach for edge in _edges(piece)) if _is_sure(piece) else 0
        if _is_indented(piece) or near <= own:
            piece.type = "text"


def _is_sure(item: Piece) -> bool:
    return bool(item.marker) or len(item.lines) > 1 and not _is_indented(item)


def _is_indented(piece: Piece) -> bool:
    first, *rest = (line.bbox[0] for line in piece.lines)
    return bool(rest) and first > min(rest) + em(piece.lines[0]) / 2


def _edges(item: Piece) -> tuple[float, float]:
    """Where an item begins, and where its text does behind a mark that is a word by itself."""
    words = item.lines[0].words
    return item.bbox[0], words[min(1, len(words) - 1)].bbox[0]


def _captions(pieces: Sequence[Piece]) -> None:
    """Headings and texts of few lines that begin as captions do, beside a table or figure, are captions."""
    shown = [piece.bbox for piece in pieces if piece.type in HOLDERS]
    for piece in pieces:
        if piece.type in ("heading", "text") and 0 < len(piece.lines) <= 4 and CAPTION.match(piece.lines[0].text):
            reach = NEAR * em(piece.lines[0])
            if any(gap(piece.bbox, box, 0) <= 0 and gap(piece.bbox, box, 1) <= reach for box in shown):
                piece.type = "caption"
