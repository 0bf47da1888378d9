"""From a detector's regions and a page's words to blocks in reading order.

Every word is in exactly one block: that of the region that has its centre, or of one beside it on its line, or one that
is made for the words that no region has.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence

import numpy as np

from densessl.documents.parsing.layout.claims import NOBODY, claimed, listed, unlisted
from densessl.documents.parsing.layout.lines import boxed, em, gap, lines_of, union
from densessl.documents.parsing.layout.links import link
from densessl.documents.parsing.layout.listings import written
from densessl.documents.parsing.layout.missed import (
    SCATTERED,
    SMALLER,
    body_size,
    clusters,
    continued,
    guessed,
)
from densessl.documents.parsing.layout.notes import one_by_one
from densessl.documents.parsing.layout.order import by_columns, gutters
from densessl.documents.parsing.layout.paragraphs import (
    RUNNING,
    SIZES,
    grouped,
    is_bold,
    is_italic,
    is_numbered,
    items,
    letters,
    paragraphs,
)
from densessl.documents.parsing.layout.pieces import LISTED, Piece, beyond_the_rest, by_surroundings
from densessl.documents.parsing.layout.regions import DRAWN, Region, held, owners, parted, settled, type_of
from densessl.documents.parsing.layout.text import joined, vocabulary
from densessl.documents.parsing.layout.together import ticked_together, whole_headings
from densessl.documents.parsing.layout.turned import AXIS, ordered, parts
from densessl.documents.parsing.model import FURNITURE, Block, Line, Word

__all__ = ["Region", "blocks_of", "type_of"]

HEADED = 2  # lines that a heading within a text has at most
APART = 3.0  # ems between words of a text that are of one line


def blocks_of(
    regions: Sequence[Region], words: Sequence[Word], width: float, height: float, page: int, turn: int = 0
) -> list[Block]:
    """The blocks of a page in reading order, with ids such as "p3b7" on page 3.

    regions: in any order, with doubles. words: in any order; without any, regions are all that is known. width, height:
    of the page, in points. Boxes of texts are those of their words. Levels of headings are not told yet, and entries of
    contents all have the first: that takes the whole document. What is turned is put together in the view of the page
    in which it is upright. turn: of the view that the page lies in.
    """
    body, regions = body_size(words), settled(regions, words)
    views, made, seen, known = [], [], [], set()
    for view, own, inner in parts(regions, words, width, height):
        lines = lines_of(inner)
        known |= vocabulary(lines)
        views.append(view)
        seen.append(own)
        made.append(_pieces_of(own, inner, lines, view.size[1], body))
    if turn % 2 == 0:
        beyond_the_rest(views, made)
    units = [ticked_together(pieces, own) for pieces, own in zip(made, seen, strict=True)]
    kinds = [[unit[0].type for unit in part] for part in units]
    boxes = [[union(piece.bbox for piece in unit) for unit in part] for part in units]
    order = ordered(list(zip(views, boxes, kinds, strict=True)))
    placed = [(views[part], piece) for part, place in order for piece in units[part][place]]
    blocks = [
        view.back.block(_block(f"p{page}b{number}", piece, known)) for number, (view, piece) in enumerate(placed, 1)
    ]
    link(blocks, height)
    return blocks


def _pieces_of(
    regions: list[Region], words: Sequence[Word], lines: Sequence[Line], height: float, body: float
) -> list[Piece]:
    """What a page consists of, or a part of it that is upright in a view. lines: of the words. height: of the page
    there. body: the page's `body_size`."""
    between = gutters([region.bbox for region in regions if region.type not in FURNITURE])
    owner, holds = np.array(owners(regions, words, lines, between), int), held(regions, words)
    contents, none = listed(regions, words, lines, owner)
    code, gone = claimed(regions, words, unlisted(lines, words, owner), owner, body)
    gone |= none
    having = _parts(lines, {id(word): each for word, each in zip(words, owner.tolist(), strict=True)})
    pieces = [Piece("code", rows, boxed(rows), region) for rows, region in code]
    entries = [Piece("list_item", each.lines, each.bbox, region, entry=each) for each, region in contents]
    for place, region in enumerate(regions):
        own = [words[each] for each in np.flatnonzero(owner == place)]
        if own:
            lost = bool((holds[place] & (owner != place) & (owner != NOBODY)).any())
            pieces += _pieces(region, own, having[place], lost)
        elif place not in gone and (region.type in DRAWN or not holds[place].any()):
            pieces.append(Piece(region.type, [], region.bbox, region))
    missed = _unlabelled(_cut(having[NOBODY], between), pieces, body)
    pieces += _missed(missed, pieces, entries, body, height)
    pieces = by_surroundings(pieces, between, body, height)
    return [*whole_headings(one_by_one(pieces, body, height)), *entries]


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


def _pieces(region: Region, words: list[Word], parts: list[Line], lost: bool) -> list[Piece]:
    """lost: words that the region has are another's, so that what is left need not be in one piece."""
    if region.type in DRAWN:
        return [Piece(region.type, parts, union([region.bbox, boxed(parts)]), region)]
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


def _divided(kind: str, lines: list[Line], region: Region | None) -> list[Piece]:
    """Items of a list and paragraphs of a text, each by itself."""
    if kind not in LISTED:
        return [Piece(kind, lines, boxed(lines), region)]
    pieces = []
    for marker, part in items(lines, listed=kind == "list_item"):
        if marker:
            pieces.append(Piece("list_item", part, boxed(part), region, marker))
        elif kind == "text":
            parts = paragraphs(part)
            pieces += [Piece(_headed(each, parts), each, boxed(each), region) for each in parts]
        else:
            pieces.append(Piece(kind, part, boxed(part), region))
    return pieces


def _headed(part: Sequence[Line], parts: Sequence[list[Line]]) -> str:
    """What a part of a text is: a heading where it is short and no sentence, and bold, numbered or larger than others,
    or in italics above them."""
    bold = all(map(is_bold, part)) and not all(is_bold(line) for each in parts for line in each)
    bold |= part is not parts[-1] and (all(map(is_italic, part)) or len(part) == 1 and is_numbered(part[0]))
    running = [em(line) for each in parts for line in each if letters(line) >= RUNNING]
    larger = em(part[0]) > SIZES * min(running, default=math.inf)
    text = part[-1].text.rstrip()
    says = letters(part[0]) > sum(map(str.isdigit, part[0].text))
    short = len(part) <= HEADED and text[-1:].isalnum() and says
    return "heading" if short and (bold or larger) else "text"


def _missed(lines: list[Line], pieces: list[Piece], entries: list[Piece], body: float, height: float) -> list[Piece]:
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
    tops = [piece.bbox[1] for piece in (*pieces, *entries) if piece.type != "page_header"]
    bottoms = [piece.bbox[3] for piece in (*pieces, *entries) if piece.type != "page_footer"]
    highest, lowest = min(tops, default=math.inf), max(bottoms, default=-math.inf)
    scattered, rest = clusters(rest, body)
    found = [Piece(kind, group, boxed(group)) for kind, group in scattered]
    for group in rest:
        box = boxed(group)
        kind = guessed(group, body, height, outermost=box[3] <= highest or box[1] >= lowest)
        found += _divided("text", group, None) if kind in LISTED else [Piece(kind, group, box)]
    return found


def _unlabelled(lines: list[Line], pieces: Sequence[Piece], body: float) -> list[Line]:
    """Lines that no region has, but for small ones of few letters beside a figure, such as the numbers of its axes, and
    those that run up or down there: they are the figure's."""
    figures = [piece for piece in pieces if piece.type == "figure"]
    rest = []
    for line in lines:
        reach = AXIS * em(line)
        short = sum(len(word.text) for word in line.words) <= SCATTERED and em(line) <= SMALLER * body
        near = (each for each in figures if all(gap(line.bbox, each.bbox, axis) <= reach for axis in (0, 1)))
        figure = next(near, None) if short or line.turn else None
        if figure is None:
            rest.append(line)
        else:
            figure.lines = [*figure.lines, line]
            figure.bbox = union([figure.bbox, line.bbox])
    return rest


def columns_first(lines: Sequence[Line]) -> list[Line]:
    """Lines of a block in reading order: column by column, should it have several."""
    if len(lines) < 2:
        return list(lines)
    if all(
        below.bbox[1] >= (above.bbox[1] + above.bbox[3]) / 2 for above, below in zip(lines, lines[1:], strict=False)
    ):
        return list(lines)
    return [lines[place] for place in by_columns([line.bbox for line in lines])]


def _block(name: str, piece: Piece, known: set[str]) -> Block:
    region = piece.region
    if piece.entry is not None:
        text = piece.entry.text(known)
    elif piece.type == "code":
        text = written(piece.lines)
    elif piece.type == "table":
        text = "\n".join(line.text for line in piece.lines)
    else:
        text = joined(piece.lines, known)
    if piece.marker:
        text = text.removeprefix(piece.marker).lstrip()
    about = {"label": region.label, "score": region.score, "second": region.second} if region else {}
    if piece.entry is not None:
        about["level"] = 1
    return Block(name, piece.type, piece.bbox, text=text, lines=piece.lines, marker=piece.marker, **about)
