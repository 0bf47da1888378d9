"""What captions and footnotes belong to."""

from __future__ import annotations

import re
from collections.abc import Sequence

from densessl.documents.parsing.layout.lines import em, gap
from densessl.documents.parsing.model import Block, Box

FAR = 0.12  # of the page's height, that a caption is from its table or figure at most
WRONG = 3.0  # times as far away a figure counts for a caption that says "Table"
NOTE = re.compile(r"\(?(\d{1,3}|[a-z](?=[\s).])|[*†‡§¶#]+)")
TABLE = re.compile(r"\W*tab|\W*таб|\W*πίν", re.IGNORECASE)
FIGURE = re.compile(r"\W*(fig|abb|rys|рис|εικ|σχ|image|photo|chart|scheme)", re.IGNORECASE)


def link(blocks: Sequence[Block], height: float) -> None:
    """Say of each caption which table or figure it is of, and of each footnote which block refers to it."""
    _captions([block for block in blocks if block.type == "caption"], blocks, height)
    for note in blocks:
        if note.type == "footnote":
            note.of = _referring(note, blocks)


def _captions(captions: Sequence[Block], blocks: Sequence[Block], height: float) -> None:
    """The closest pair first; each table or figure has one caption, unless there are more captions than these."""
    shown = [block for block in blocks if block.type in ("table", "figure")]
    pairs = sorted(
        (distance * (WRONG if _mismatch(caption, other) else 1), first, second)
        for first, caption in enumerate(captions)
        for second, other in enumerate(shown)
        if (distance := _distance(caption.bbox, other.bbox)) <= FAR * height
    )
    taken: set[int] = set()
    for _, first, second in pairs:
        if captions[first].of is None and second not in taken:
            captions[first].of = shown[second].id
            taken.add(second)
    for _, first, second in pairs:
        if captions[first].of is None:
            captions[first].of = shown[second].id


def _mismatch(caption: Block, other: Block) -> bool:
    named = TABLE if other.type == "figure" else FIGURE
    return bool(named.match(caption.text))


def _distance(a: Box, b: Box) -> float:
    """Points between two boxes that are beside or above each other; far more when neither."""
    across, down = gap(a, b, 0), gap(a, b, 1)
    if across < 0:
        return max(down, 0.0)
    return across + 1.0 if down < 0 else across + down + 72.0


def _referring(note: Block, blocks: Sequence[Block]) -> str | None:
    """The block with a raised word that is the note's mark, or the nearest table above it that has the mark."""
    found = NOTE.match(note.text)
    if not found:
        return None
    mark = found.group(1)
    others = [block for block in blocks if block.type not in ("footnote", "page_header", "page_footer", "formula")]
    raised = [block for block in others if any(_raised(line, mark) for line in block.lines)]
    if raised:
        return raised[0].id
    glued = re.compile(rf"[^\W\d_][.,;:!?)\"'”»]*{re.escape(mark)}[.,;:)]?$")
    ending = [block for block in others if any(glued.search(word.text) for line in block.lines for word in line.words)]
    return ending[0].id if len(ending) == 1 and not mark.isalpha() else None


def _raised(line, mark: str) -> bool:
    size = em(line)
    for word in line.words[1:]:
        own = word.size or word.bbox[3] - word.bbox[1]
        if word.text.strip("[](),.;") == mark and own < 0.85 * size:
            return True
    return False
