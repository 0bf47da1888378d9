"""From a detector's regions and a page's words to blocks in reading order.

Every word is in exactly one block: that of the region that has its centre, or of one beside it on its line, or one that
is made for the words that no region has.
"""

from __future__ import annotations

import math
import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from densessl.documents.parsing.layout.claims import NOBODY, claimed
from densessl.documents.parsing.layout.lines import boxed, em, gap, lines_of, on_its_side, union
from densessl.documents.parsing.layout.links import link
from densessl.documents.parsing.layout.listings import written
from densessl.documents.parsing.layout.missed import (
    CAPTION,
    EDGE,
    NOTE,
    SCATTERED,
    SMALLER,
    body_size,
    clusters,
    continued,
    guessed,
)
from densessl.documents.parsing.layout.order import by_columns, gutters, reading_order
from densessl.documents.parsing.layout.paragraphs import (
    RUNNING,
    SIZES,
    grouped,
    is_bold,
    is_bullet,
    items,
    letters,
    paragraphs,
)
from densessl.documents.parsing.layout.regions import HOLDERS, Region, held, owners, parted, settled, type_of
from densessl.documents.parsing.layout.text import joined, marker_of, vocabulary
from densessl.documents.parsing.model import FURNITURE, Block, Box, Line, Word

__all__ = ["Region", "blocks_of", "type_of"]

DRAWN = (*HOLDERS, "formula", "other")  # more than its words is to be seen of them, so their boxes stay as large
LISTED = ("text", "list_item")
HEADED = 2  # lines that a heading within a text has at most
NEAR = 2.5  # ems between a table or figure and a text that is its caption
AXIS = 4.0  # ems between a figure and what its axes say
APART = 3.0  # ems between words of a text that are of one line
MARK = re.compile(r"\d{1,3}|[*\u2020\u2021\u00a7\u00b6]{1,3}")  # of a footnote
RAISED = 0.85  # of a word's size, which a raised mark before it has at most
NUMBER = re.compile(r"[(\[]\d{1,3}([.\u2013-]\d{1,3}){0,2}[a-z]?[)\]]")  # of a formula


@dataclass(eq=False)
class _Piece:
    """A block that has no place in the order yet."""

    type: str
    lines: list[Line]
    bbox: Box
    region: Region | None = None
    marker: str | None = None


def blocks_of(regions: Sequence[Region], words: Sequence[Word], width: float, height: float, page: int) -> list[Block]:
    """The blocks of a page in reading order, with ids such as "p3b7" on page 3.

    regions: in any order, with doubles. words: in any order; without any, regions are all that is known. width, height:
    of the page, in points. Boxes of texts are those of their words. Levels of headings are not told yet: that takes the
    whole document.
    """
    lines = lines_of(words)
    regions = settled(regions, words)
    between = gutters([region.bbox for region in regions if region.type not in FURNITURE])
    owner, holds = np.array(owners(regions, words, lines, between), int), held(regions, words)
    body = body_size(words)
    code, gone = claimed(regions, words, lines, owner, body)
    parts = _parts(lines, {id(word): each for word, each in zip(words, owner.tolist(), strict=True)})
    pieces = [_Piece("code", rows, boxed(rows), region) for rows, region in code]
    for place, region in enumerate(regions):
        own = [words[each] for each in np.flatnonzero(owner == place)]
        if own:
            lost = bool((holds[place] & (owner != place) & (owner != NOBODY)).any())
            pieces += _pieces(region, own, parts[place], lost)
        elif place not in gone and (region.type in DRAWN or not holds[place].any()):
            pieces.append(_Piece(region.type, [], region.bbox, region))
    pieces += _missed(_unlabelled(_cut(parts[NOBODY], between), pieces, body), pieces, body, height)
    pieces = _numbered_formulas(pieces, between)
    _away_from_the_edge(pieces, body, height)
    _at_the_side(pieces)
    pieces = _noted(pieces, body, height)
    _introductions(pieces, body)
    _unmarked(pieces)
    _captions(pieces)
    _counted(pieces)
    order = reading_order([piece.bbox for piece in pieces], [piece.type for piece in pieces], width)
    known = vocabulary(lines)
    blocks = [_block(f"p{page}b{number}", pieces[place], known) for number, place in enumerate(order, 1)]
    link(blocks, height)
    return blocks


def _parts(lines: Sequence[Line], owner_of: dict[int, int]) -> dict[int, list[Line]]:
    """What each region has of the page's lines, those that no region has at -1."""
    parts: dict[int, list[Line]] = defaultdict(list)
    for line in lines:
        own: dict[int, list[Word]] = defaultdict(list)
        for word in line.words:
            own[owner_of[id(word)]].append(word)
        for place, words in own.items():
            parts[place].append(Line(words, union(word.bbox for word in words)))
    return parts


def _cut(lines: Sequence[Line], between: Sequence[tuple[float, float]]) -> list[Line]:
    """Lines, parted where a gutter runs through them: beside the number of a formula stands the text of the next
    column."""
    found = []
    for line in lines:
        words = [line.words[0]]
        for word in line.words[1:]:
            if parted(words[-1].bbox, word.bbox, between):
                found.append(Line(words, union(each.bbox for each in words)))
                words = []
            words.append(word)
        found.append(Line(words, union(each.bbox for each in words)))
    return found


def _pieces(region: Region, words: list[Word], parts: list[Line], lost: bool) -> list[_Piece]:
    """lost: words that the region has are another's, so that what is left need not be in one piece."""
    if region.type in DRAWN:
        return [_Piece(region.type, parts, union([region.bbox, boxed(parts)]), region)]
    lines = columns_first(lines_of(words, APART if region.type in LISTED else math.inf))
    if region.type in LISTED and (lost or _side_by_side(lines)):
        groups = [columns_first(group) for group in grouped(lines)]
    else:
        groups = [lines]
    return [piece for group in groups for piece in _divided(region.type, group, region)]


def _side_by_side(lines: Sequence[Line]) -> bool:
    """Whether a region is of two columns, with two lines in each that have others beside them."""
    beside = [sum(line.bbox[0] >= other.bbox[2] and _level(line, other) for other in lines) > 0 for line in lines]
    first = [sum(line.bbox[2] <= other.bbox[0] and _level(line, other) for other in lines) > 0 for line in lines]
    return sum(beside) >= 2 and sum(first) >= 2


def _level(line: Line, other: Line) -> bool:
    middle = (line.bbox[1] + line.bbox[3]) / 2
    return other.bbox[1] <= middle <= other.bbox[3]


def _divided(kind: str, lines: list[Line], region: Region | None) -> list[_Piece]:
    """Items of a list and paragraphs of a text, each by itself."""
    if kind not in LISTED:
        return [_Piece(kind, lines, boxed(lines), region)]
    pieces = []
    for marker, part in items(lines, listed=kind == "list_item"):
        if marker:
            pieces.append(_Piece("list_item", part, boxed(part), region, marker))
        elif kind == "text":
            parts = paragraphs(part)
            pieces += [_Piece(_headed(each, parts), each, boxed(each), region) for each in parts]
        else:
            pieces.append(_Piece(kind, part, boxed(part), region))
    return pieces


def _headed(part: Sequence[Line], parts: Sequence[list[Line]]) -> str:
    """What a part of a text is: a heading where it is short and no sentence, and bold or larger than other parts."""
    bold = all(map(is_bold, part)) and not all(is_bold(line) for each in parts for line in each)
    running = [em(line) for each in parts for line in each if letters(line) >= RUNNING]
    larger = em(part[0]) > SIZES * min(running, default=math.inf)
    text = part[-1].text.rstrip()
    says = letters(part[0]) > sum(map(str.isdigit, part[0].text))
    short = len(part) <= HEADED and text[-1:].isalnum() and says
    return "heading" if short and (bold or larger) else "text"


def _missed(lines: list[Line], pieces: list[_Piece], body: float, height: float) -> list[_Piece]:
    """Pieces of the lines that no region has, but for those that a text goes on with, which it takes."""
    texts = [piece for piece in pieces if piece.type in LISTED and piece.lines]
    rest = []
    for group in grouped(lines):
        text = next((each for each in texts if continued(each.lines, group)), None)
        if text is None:
            rest.append(group)
            continue
        text.lines = columns_first([*text.lines, *group])
        text.bbox = boxed(text.lines)
    tops = [piece.bbox[1] for piece in pieces if piece.type != "page_header"]
    bottoms = [piece.bbox[3] for piece in pieces if piece.type != "page_footer"]
    highest, lowest = min(tops, default=math.inf), max(bottoms, default=-math.inf)
    scattered, rest = clusters(rest, body)
    found = [_Piece(kind, group, boxed(group)) for kind, group in scattered]
    for group in rest:
        box = boxed(group)
        kind = guessed(group, body, height, outermost=box[3] <= highest or box[1] >= lowest)
        found += _divided("text", group, None) if kind in LISTED else [_Piece(kind, group, box)]
    return found


def _unlabelled(lines: list[Line], pieces: Sequence[_Piece], body: float) -> list[Line]:
    """Lines that no region has, but for small ones of few letters beside a figure, such as the numbers of its axes:
    they are the figure's."""
    figures = [piece for piece in pieces if piece.type == "figure"]
    rest = []
    for line in lines:
        reach = AXIS * em(line)
        short = sum(len(word.text) for word in line.words) <= SCATTERED and em(line) <= SMALLER * body
        near = (each for each in figures if all(gap(line.bbox, each.bbox, axis) <= reach for axis in (0, 1)))
        figure = next(near, None) if short else None
        if figure is None:
            rest.append(line)
        else:
            figure.lines = [*figure.lines, line]
            figure.bbox = union([figure.bbox, line.bbox])
    return rest


def _numbered_formulas(pieces: Sequence[_Piece], between: Sequence[tuple[float, float]]) -> list[_Piece]:
    """The same, numbers of formulas put to the formula on their line and in their column."""
    rest = []
    for piece in pieces:
        lone = len(piece.lines) == 1 and NUMBER.fullmatch(piece.lines[0].text)
        formula = next((each for each in pieces if lone and _beside(each, piece, between)), None)
        if formula is None:
            rest.append(piece)
            continue
        formula.lines = [*formula.lines, *piece.lines]
        formula.bbox = union([formula.bbox, piece.bbox])
    return rest


def _beside(formula: _Piece, number: _Piece, between: Sequence[tuple[float, float]]) -> bool:
    if formula.type != "formula" or gap(formula.bbox, number.bbox, 1) >= 0 or gap(formula.bbox, number.bbox, 0) < 0:
        return False
    return not parted(*sorted((formula.bbox, number.bbox)), between)


def _away_from_the_edge(pieces: Sequence[_Piece], body: float, height: float) -> None:
    """What the detector takes for a header or footer in the middle of a page is a footnote or a text."""
    for piece in pieces:
        footer = piece.type == "page_footer" and piece.bbox[3] < (1 - 2 * EDGE) * height
        header = piece.type == "page_header" and piece.bbox[1] > 2 * EDGE * height
        if (footer or header) and piece.lines:
            note = footer and em(piece.lines[0]) <= body and NOTE.match(piece.lines[0].text)
            piece.type = "footnote" if note else "text"


def _at_the_side(pieces: Sequence[_Piece]) -> None:
    """What stands on its side beyond everything else is a running header: a thumb index, the stamp of an archive."""
    turned = [piece for piece in pieces if piece.lines and all(map(on_its_side, piece.lines))]
    rest = [piece.bbox for piece in pieces if not any(piece is each for each in turned)]
    for piece in turned:
        if len(piece.lines) > 2 or not rest:  # a text, or all there is
            continue
        if all(piece.bbox[0] >= box[2] for box in rest) or all(piece.bbox[2] <= box[0] for box in rest):
            piece.type = "page_header"


def _noted(pieces: Sequence[_Piece], body: float, height: float) -> list[_Piece]:
    """The same, raised marks put to the notes that they stand before; small texts in the lower half of a page that
    begin with one are footnotes."""
    texts = [piece for piece in pieces if piece.type in ("text", "list_item", "footnote") and piece.lines]
    rest = []
    for piece in pieces:
        mark = piece.lines[0].words[0] if len(piece.lines) == 1 and len(piece.lines[0].words) == 1 else None
        note = next((each for each in texts if mark and piece is not each and _is_mark_of(mark, each)), None)
        if note is None:
            rest.append(piece)
            continue
        words = [mark, *note.lines[0].words]
        note.lines[0] = Line(words, union(word.bbox for word in words))
        note.bbox = boxed(note.lines)
    for piece in rest:
        small = piece.lines and em(piece.lines[-1]) <= SMALLER * body and piece.bbox[1] > height / 2
        if small and piece.type in LISTED and _is_raised(*piece.lines[0].words[:2]):
            piece.type, piece.marker = "footnote", None
    return rest


def _is_mark_of(mark: Word, note: _Piece) -> bool:
    first = note.lines[0]
    middle = (mark.bbox[1] + mark.bbox[3]) / 2
    beside = first.bbox[1] - em(first) / 2 <= middle <= first.bbox[3] and 0 <= first.bbox[0] - mark.bbox[2] <= em(first)
    return beside and _is_raised(mark, first.words[0])


def _is_raised(mark: Word, word: Word | None = None) -> bool:
    """Whether a number or sign is smaller than the word that it stands before, and its foot higher."""
    if word is None or not MARK.fullmatch(mark.text) or not mark.size or not word.size:
        return False
    return mark.size <= RAISED * word.size and mark.bbox[3] < word.bbox[3]


def _introductions(pieces: Sequence[_Piece], body: float) -> None:
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


def _counted(pieces: Sequence[_Piece]) -> None:
    """Texts that begin with markers which count on from one to the other are items of a list."""
    texts = [piece for piece in pieces if piece.type == "text" and piece.lines and marker_of(piece.lines[0].text)]
    texts.sort(key=lambda piece: piece.bbox[1])
    starts = {id(part[0]): marker for marker, part in items([each.lines[0] for each in texts], listed=False) if marker}
    for piece in texts:
        if id(piece.lines[0]) in starts:
            piece.type, piece.marker = "list_item", starts[id(piece.lines[0])]


def _unmarked(pieces: Sequence[_Piece]) -> None:
    """What the detector takes for an item is a text unless a mark begins it, or it stands at the edge of others that
    have one or are of several lines, and is not indented as paragraphs are."""
    listed = [piece for piece in pieces if piece.type == "list_item" and piece.lines]
    plain = [piece for piece in listed if not piece.marker and _is_indented(piece)]
    sure = [piece for piece in listed if piece.marker or len(piece.lines) > 1 and piece not in plain]
    for piece in listed:
        if piece.marker:
            continue
        first, size = piece.lines[0].bbox[0], em(piece.lines[0])
        others = (edge for each in sure if each is not piece for edge in _edges(each))
        if piece in plain or not any(abs(edge - first) <= size / 2 for edge in others):
            piece.type = "text"


def _is_indented(piece: _Piece) -> bool:
    first, *rest = (line.bbox[0] for line in piece.lines)
    return bool(rest) and first > min(rest) + em(piece.lines[0]) / 2


def _edges(item: _Piece) -> tuple[float, float]:
    """Where an item begins, and where its text does behind a mark that is a word by itself."""
    words = item.lines[0].words
    return item.bbox[0], words[min(1, len(words) - 1)].bbox[0]


def _captions(pieces: Sequence[_Piece]) -> None:
    """Headings and texts of few lines that begin as captions do, beside a table or figure, are captions."""
    shown = [piece.bbox for piece in pieces if piece.type in HOLDERS]
    for piece in pieces:
        if piece.type in ("heading", "text") and 0 < len(piece.lines) <= 4 and CAPTION.match(piece.lines[0].text):
            reach = NEAR * em(piece.lines[0])
            if any(gap(piece.bbox, box, 0) <= 0 and gap(piece.bbox, box, 1) <= reach for box in shown):
                piece.type = "caption"


def columns_first(lines: Sequence[Line]) -> list[Line]:
    """Lines of a block in reading order: column by column, should it have several."""
    if len(lines) < 2:
        return list(lines)
    if all(
        below.bbox[1] >= (above.bbox[1] + above.bbox[3]) / 2 for above, below in zip(lines, lines[1:], strict=False)
    ):
        return list(lines)
    return [lines[place] for place in by_columns([line.bbox for line in lines])]


def _block(name: str, piece: _Piece, known: set[str]) -> Block:
    region = piece.region
    if piece.type == "code":
        text = written(piece.lines)
    elif piece.type == "table":
        text = "\n".join(line.text for line in piece.lines)
    else:
        text = joined(piece.lines, known)
    if piece.marker:
        text = text.removeprefix(piece.marker).lstrip()
    about = {"label": region.label, "score": region.score, "second": region.second} if region else {}
    return Block(name, piece.type, piece.bbox, text=text, lines=piece.lines, marker=piece.marker, **about)
