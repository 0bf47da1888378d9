"""Words as a typesetter would put them, for tests."""

from __future__ import annotations

import math
import random
from dataclasses import replace

from densessl.documents.parsing.model import Word

LETTER = 0.5  # of the size: a letter's width
SPACE = 0.25


def line(text: str, x: float, y: float, size: float = 10.0, space: float = SPACE, **about) -> list[Word]:
    """The words of a line that begins at x and whose top is y."""
    words = []
    for word in text.split():
        end = x + LETTER * size * len(word)
        words.append(Word(word, (x, y, end, y + size), size, **about))
        x = end + space * size
    return words


def column(texts: list[str], x: float, y: float, size: float = 10.0, pitch: float = 12.0, **about) -> list[Word]:
    return [word for row, text in enumerate(texts) for word in line(text, x, y + pitch * row, size, **about)]


def turned(words: list[Word], degrees: float) -> list[Word]:
    """About the page's corner; each word's box stays upright around its turned centre."""
    sin, cos = math.sin(math.radians(degrees)), math.cos(math.radians(degrees))
    result = []
    for word in words:
        x, y = (word.bbox[0] + word.bbox[2]) / 2, (word.bbox[1] + word.bbox[3]) / 2
        width, height = word.bbox[2] - word.bbox[0], word.bbox[3] - word.bbox[1]
        height += abs(sin) * width
        x, y = cos * x - sin * y, sin * x + cos * y
        result.append(replace(word, bbox=(x - width / 2, y - height / 2, x + width / 2, y + height / 2)))
    return result


def shuffled(things: list, seed: int = 0) -> list:
    return random.Random(seed).sample(things, len(things))


PROSE = [
    "the quick brown fox jumps over the lazy dog and",
    "runs far away to see what lies behind the hill",
    "where nobody has been before it came along that",
    "winding road which leads from here to the river",
    "and back again by another way in the same night",
]
