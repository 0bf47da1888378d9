"""Footnotes: where one ends and the next begins."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

from densessl.documents.parsing.layout.lines import boxed, em
from densessl.documents.parsing.layout.paragraphs import ENDS
from densessl.documents.parsing.layout.pieces import Piece, is_raised
from densessl.documents.parsing.layout.text import counted
from densessl.documents.parsing.model import Line

NOTES = ("text", "list_item", "footnote")
ALIGNED = 1.0  # ems by which the marks of notes below each other may differ in place


def one_by_one(pieces: Sequence[Piece], body: float, height: float) -> list[Piece]:
    """The same, texts in the lower half of a page parted before each mark of a note: one that is raised, or that counts
    on from the one before, after the end of a sentence."""
    found = []
    for piece in pieces:
        size = em(piece.lines[-1]) if piece.lines else math.inf
        low = size <= body and piece.bbox[1] > height / 2
        starts = _starts(piece.lines) if low and piece.type in NOTES else []
        if len(starts) < 2:
            found.append(piece)
            continue
        for start, end in zip(starts, [*starts[1:], len(piece.lines)], strict=True):
            own = piece.lines[start:end]
            found.append(replace(piece, lines=own, bbox=boxed(own), marker=piece.marker if start == 0 else None))
    return found


def _starts(lines: Sequence[Line]) -> list[int]:
    """The places of the lines that a note begins with; none where the first does not."""
    starts, last = [], None
    for place, line in enumerate(lines):
        mark = line.words[0]
        value = counted(mark.text) if len(line.words) > 1 and mark.text.isdecimal() else None
        raised = is_raised(*line.words[:2])
        aligned = abs(line.bbox[0] - lines[0].bbox[0]) <= ALIGNED * em(line)
        ended = place == 0 or lines[place - 1].text.rstrip().endswith(tuple(ENDS))
        follows = value is not None and ended and (place == 0 or last is not None and value == last + 1)
        if aligned and (raised or follows):
            starts.append(place)
            last = value
        elif place == 0:
            return []
    return starts
