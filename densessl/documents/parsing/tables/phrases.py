"""Words of a table, straightened, and what they make up: phrases, words of one line that stand together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from densessl.documents.parsing.layout.lines import em, lines_of
from densessl.documents.parsing.model import Word
from densessl.documents.parsing.tables.rules import MOST, Rule, weighted_median

SPACE, WIDEST = 0.48, 0.75  # of a line's height: a wider gap parts two phrases; that of fixed-width letters is wider
BETWEEN = 1.0  # ems between two words that are turned, at most
SAME_LINE = 0.38  # of a line's height: how far the middles of one line's words may be apart


@dataclass
class Phrase:
    """words: their places, from left to right. line: its number, from the top. bbox: in points."""

    words: list[int]
    bbox: tuple[float, float, float, float]
    line: int
    text: str
    first: float  # width of its first word
    bold: bool

    @property
    def middle(self) -> float:
        return (self.bbox[1] + self.bbox[3]) / 2

    @property
    def width(self) -> float:
        return self.bbox[2] - self.bbox[0]

    @property
    def height(self) -> float:
        return self.bbox[3] - self.bbox[1]

    @property
    def number(self) -> bool:
        return is_number(self.text)


def is_number(text: str) -> bool:
    """Whether a text is a figure of some sort, a dash in its place included."""
    plain = text.replace(" ", "")
    if plain in ("-", "–", "—", "−", "."):
        return True
    digits = sum(each.isdigit() for each in plain)
    return digits > 0 and digits >= 0.4 * len(plain) and sum(each.isalpha() for each in plain) <= 0.3 * len(plain)


def laid(words: Sequence[Word]) -> list[Word]:
    """The words of a table, those that run upwards or downwards, as names of columns may, put together line by line."""
    if not any(word.turn for word in words):
        return list(words)
    lines = lines_of([word for word in words if word.turn], BETWEEN)
    return [word for word in words if not word.turn] + [
        Word(line.text, line.bbox, em(line), all(word.bold for word in line.words), turn=line.turn) for line in lines
    ]


def boxes_of(words: Sequence[Word]) -> np.ndarray:
    """(n, 4) float; the corners in order, whatever was given."""
    boxes = np.array([word.bbox for word in words], np.float64).reshape(-1, 4)
    boxes = np.nan_to_num(boxes, nan=0.0, posinf=1e6, neginf=-1e6)
    return np.concatenate([np.minimum(boxes[:, :2], boxes[:, 2:]), np.maximum(boxes[:, :2], boxes[:, 2:])], axis=1)


def usual_height(boxes: np.ndarray) -> float:
    """Of a line of words; 10 where there are none."""
    heights = (boxes[:, 3] - boxes[:, 1])[boxes[:, 3] > boxes[:, 1]] if len(boxes) else np.zeros(0)
    return float(np.percentile(heights, 60)) if len(heights) else 10.0


def words_slope(boxes: np.ndarray) -> float:
    """Of the lines that words stand on: the median over words and their next ones; 0 where too few tell."""
    if len(boxes) < 12:
        return 0.0
    high = usual_height(boxes)
    middle = (boxes[:, 1] + boxes[:, 3]) / 2
    order = np.argsort(middle, kind="stable")
    ranked = middle[order]
    slopes, weights = [], []
    for each in order.tolist():
        low, end = np.searchsorted(ranked, [middle[each] - 0.45 * high, middle[each] + 0.45 * high])
        others = order[low:end][:200]
        ahead = boxes[others, 0] - boxes[each, 2]
        others, ahead = others[(ahead > 0)], ahead[ahead > 0]
        if len(others):
            other = others[ahead.argmin()]
            across = (boxes[other, 0] + boxes[other, 2] - boxes[each, 0] - boxes[each, 2]) / 2
            slopes.append((boxes[other, 3] - boxes[each, 3]) / across)
            weights.append(across)
    if len(slopes) < 10:
        return 0.0
    slope = weighted_median(slopes, weights)
    return slope if abs(slope) < MOST else 0.0


def turned(boxes: np.ndarray, slope: float, middle: tuple[float, float]) -> np.ndarray:
    """Boxes around where their middles are when what has this slope is made level; of their own size."""
    angle = np.arctan(slope)
    centres = (boxes[:, :2] + boxes[:, 2:]) / 2 - middle
    x = centres[:, 0] * np.cos(angle) + centres[:, 1] * np.sin(angle) + middle[0]
    y = -centres[:, 0] * np.sin(angle) + centres[:, 1] * np.cos(angle) + middle[1]
    half = (boxes[:, 2:] - boxes[:, :2]) / 2
    new = np.stack([x, y], axis=1)
    return np.concatenate([new - half, new + half], axis=1)


def phrases_of(words: Sequence[Word], boxes: np.ndarray, upright: Sequence[Rule]) -> list[Phrase]:
    """Line by line from left to right; each word is in one of them. An upright rule parts phrases."""
    found = []
    high = usual_height(boxes)
    lines = [sorted(line, key=lambda each: boxes[each, 0]) for line in _lines(boxes, high)]
    widest = _widest(words, boxes, lines, high)
    for number, line in enumerate(lines):
        group: list[int] = []
        for each in line:
            if group and (
                boxes[each, 0] - max(boxes[other, 2] for other in group[-3:]) > widest
                or _parted(boxes[group[-1]], boxes[each], upright)
            ):
                found.append(_phrase(words, boxes, group, number))
                group = []
            group.append(each)
        found.append(_phrase(words, boxes, group, number))
    return found


def _widest(words: Sequence[Word], boxes: np.ndarray, lines: Sequence[Sequence[int]], high: float) -> float:
    """The widest blank within a phrase, in points, by what is usual between words of letters."""
    blanks = [
        boxes[after, 0] - boxes[before, 2]
        for line in lines
        for before, after in pairwise(line)
        if all(words[each].text[:1].isalpha() for each in (before, after))
    ]
    blanks = [each for each in blanks if 0 < each < WIDEST * high]
    if len(blanks) < 2:
        return SPACE * high
    return float(np.clip(1.25 * np.percentile(blanks, 25), SPACE * high, WIDEST * high))


def _phrase(words: Sequence[Word], boxes: np.ndarray, group: list[int], line: int) -> Phrase:
    own = boxes[group]
    text = " ".join(words[each].text for each in group)
    first = float(own[0, 2] - own[0, 0])
    bbox = (*own[:, :2].min(axis=0).tolist(), *own[:, 2:].max(axis=0).tolist())
    return Phrase(group, bbox, line, text, first, all(words[each].bold for each in group))


def _parted(left: np.ndarray, right: np.ndarray, upright: Sequence[Rule]) -> bool:
    low, high = (left[0] + left[2]) / 2, (right[0] + right[2]) / 2
    top, bottom = min(left[1], right[1]), max(left[3], right[3])
    return any(low < rule.at < high and rule.covers(top, bottom) > 0.5 for rule in upright)


def _lines(boxes: np.ndarray, high: float) -> list[list[int]]:
    """Places of words by line, from the top; small ones, such as raised marks, with the line that is nearest."""
    middle = (boxes[:, 1] + boxes[:, 3]) / 2
    tall = boxes[:, 3] - boxes[:, 1]
    main = np.flatnonzero(tall >= 0.6 * high)
    small = np.flatnonzero(tall < 0.6 * high)
    if not len(main):
        main, small = small, main
    lines: list[list[int]] = []
    centre = -np.inf
    for each in main[np.argsort(middle[main], kind="stable")].tolist():
        if not lines or middle[each] - centre > SAME_LINE * high:
            lines.append([])
            centre = middle[each]
        lines[-1].append(each)
        centre += (middle[each] - centre) / len(lines[-1])
    centres = np.array([np.mean(middle[line]) for line in lines])
    for each in small.tolist():
        nearest = int(np.abs(centres - middle[each]).argmin())
        if abs(centres[nearest] - middle[each]) <= 0.7 * high:
            lines[nearest].append(each)
        else:
            lines.append([each])
    return sorted(lines, key=lambda line: float(np.mean(middle[line])))
