"""From words to lines, by what lies beside what.

A line is a chain: every word is followed by the nearest one to its right that overlaps it in height and whose own
nearest to the left it is. Neighbours are close, so a scan that is turned by 2 degrees does not matter to them; its
slope is taken from the chains, and they are made anew without it. Two words stay apart where a gutter runs between
them: more space than between the other words of their line, with words of other lines beginning below each other on
its right. Lengths are in ems, the size of the letters.
"""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Iterable, Sequence
from statistics import median

import numpy as np

from densessl.documents.parsing.layout.text import is_cjk, is_marker, number_of
from densessl.documents.parsing.model import Box, Line, Word
from densessl.documents.parsing.views import View

REACH = 2.5  # ems between words of a line of a page; a tabulator is more
OVERLAP = 0.45  # of the lower of two words' heights, which a raised figure has with its word
WIDE = 0.6  # ems that a gutter has at least
LOOSE = 1.6  # times as wide as other spaces of its line that a gutter is: those of a justified line are alike
ROWS = 3  # lines that begin below each other beside a gutter
ALIGNED = 0.4  # ems that their beginnings may differ by
NEARBY = 8  # ems above and below in which they are looked for
SMALL = 0.85  # of the size of a line's letters: raised and lowered words are less
STEEPEST = math.tan(math.radians(3))
LEADERS = ".·…_"
CHUNK = 256
LYING = View(0)


def lines_of(words: Sequence[Word], reach: float = REACH) -> list[Line]:
    """The lines of words in any order, each word in exactly one of them; from top to bottom, then left to right.

    Words stand in reading order: from left to right, of scripts that run so from right to left. Those that are turned
    form lines of their own, in the direction in which they run; those that only look so, as nothing tells how they
    run, from bottom to top, those of Chinese and its kin from top to bottom. reach: ems that may lie between two words
    of a line; `math.inf` for words that are known to be of one column.
    """
    lines = []
    for turn in sorted({word.turn for word in words}):
        own = [word for word in words if word.turn == turn]
        if turn == 0:
            side = _on_their_side(own).tolist()
            lines += _vertical([word for word, turned in zip(own, side, strict=True) if turned], reach)
            own = [word for word, turned in zip(own, side, strict=True) if not turned]
        lines += _lying(own, View(turn), reach)
    return in_rows(lines)


def in_rows(lines: Sequence[Line]) -> list[Line]:
    """From top to bottom, those of a band from left to right."""
    return [line for band in banded(lines) for line in sorted(band, key=lambda each: each.bbox[0])]


def banded(lines: Iterable[Line]) -> list[list[Line]]:
    """From top to bottom, together those that overlap the highest of them in height by more than half."""
    bands: list[list[Line]] = []
    for line in sorted(lines, key=lambda each: each.bbox[1] + each.bbox[3]):
        if bands and overlap(bands[-1][0].bbox, line.bbox) > 0.5:
            bands[-1].append(line)
        else:
            bands.append([line])
    return bands


def union(boxes: Iterable[Box]) -> Box:
    """The box around boxes."""
    left, top, right, bottom = zip(*boxes, strict=True)
    return min(left), min(top), max(right), max(bottom)


def boxed(lines: Iterable[Line]) -> Box:
    """The box around lines."""
    return union(line.bbox for line in lines)


def gap(a: Box, b: Box, axis: int) -> float:
    """Points between two boxes across (0) or down (1), below 0 where they overlap there."""
    return max(a[axis], b[axis]) - min(a[axis + 2], b[axis + 2])


def em(line: Line) -> float:
    """The size of most of a line's letters in points; where no word knows it, the height of the words."""
    sizes = [word.size or word.bbox[3] - word.bbox[1] for word in line.words for _ in range(max(1, len(word.text)))]
    return max(median(sizes), 0.1)


def on_its_side(line: Line) -> bool:
    """Whether its letters run up or down the page."""
    if line.turn:
        return line.turn != 2
    width, height = line.bbox[2] - line.bbox[0], line.bbox[3] - line.bbox[1]
    return height > 1.5 * width and sum(len(word.text) for word in line.words) >= 3


def holds(box: Box, other: Box) -> bool:
    """Whether the middle of another box lies in a box."""
    x, y = (other[0] + other[2]) / 2, (other[1] + other[3]) / 2
    return bool(box[0] <= x <= box[2] and box[1] <= y <= box[3])


def overlap(a: Box, b: Box) -> float:
    """What two boxes share of their heights, as a share of the lower one; below 0 where they do not meet."""
    return (min(a[3], b[3]) - max(a[1], b[1])) / max(min(a[3] - a[1], b[3] - b[1]), 0.01)


def _boxes(words: Sequence[Word], view: View = LYING) -> np.ndarray:
    return np.array([view.box(word.bbox) for word in words], float).reshape(-1, 4)


def _sizes(words: Sequence[Word], boxes: np.ndarray) -> np.ndarray:
    """In points. Where they are not known, heights; of a dash or a full stop, that of most words."""
    heights = boxes[:, 3] - boxes[:, 1]
    usual = np.median(heights) if len(heights) else 0.0
    known = np.array([word.size or 0.0 for word in words])
    return np.maximum(np.where(known > 0, known, np.maximum(heights, 0.8 * usual)), 0.1)


def _chains(boxes: np.ndarray, words: Sequence[Word], reach: float) -> list[list[int]]:
    sizes = _sizes(words, boxes)
    chains = _linked(boxes, sizes, words, reach)
    slope = _slope(boxes, chains)
    if abs(slope) > 0.003:
        level = boxes.copy()
        level[:, 1::2] -= slope * (boxes[:, :1] + boxes[:, 2:3]) / 2
        chains = _linked(level, sizes, words, reach)
    return chains


def _linked(boxes: np.ndarray, sizes: np.ndarray, words: Sequence[Word], reach: float) -> list[list[int]]:
    following = _mutual(boxes, sizes, reach)
    chains = _follow(following, len(boxes))
    chains = _bridged(chains, boxes, sizes, reach)
    chains = _raised(chains, boxes, sizes)
    return _cut(chains, boxes, sizes, words)


def _mutual(boxes: np.ndarray, sizes: np.ndarray, reach: float) -> np.ndarray:
    """(n,) the place of what follows each box on its line, -1 for nothing."""
    count, ends = len(boxes), boxes[:, [0, 2]]
    heights = np.maximum(boxes[:, 3] - boxes[:, 1], 0.01)
    middles = ends.mean(1)
    right, left = np.full(count, -1), np.full(count, -1)
    best_left = np.full(count, np.inf)
    for start in range(0, count, CHUNK):
        rows = slice(start, min(start + CHUNK, count))
        gap = ends[None, :, 0] - ends[rows, None, 1]
        larger = np.maximum(sizes[rows, None], sizes[None])
        shared = np.minimum(boxes[rows, None, 3], boxes[None, :, 3]) - np.maximum(
            boxes[rows, None, 1], boxes[None, :, 1]
        )
        shared = shared / np.minimum(heights[rows, None], heights[None])
        fine = (shared >= OVERLAP) & (middles[None] > middles[rows, None]) & (gap > -0.6 * larger)
        fine &= gap <= reach * larger
        cost = np.where(fine, np.maximum(gap, 0) + larger * (1 - np.minimum(shared, 1)), np.inf)
        nearest = cost.argmin(1)
        right[rows] = np.where(np.isfinite(cost[np.arange(len(nearest)), nearest]), nearest, -1)
        up = cost.argmin(0)
        least = cost[up, np.arange(count)]
        better = least < best_left
        left[better], best_left[better] = up[better] + start, least[better]
    places = np.arange(count)
    return np.where((right >= 0) & (left[right] == places), right, -1)


def _follow(following: np.ndarray, count: int) -> list[list[int]]:
    first = np.ones(count, bool)
    first[following[following >= 0]] = False
    chains = []
    for place in np.flatnonzero(first):
        chain = []
        while place >= 0:
            chain.append(int(place))
            place = following[place]
        chains.append(chain)
    return chains


def _bridged(chains: list[list[int]], boxes: np.ndarray, sizes: np.ndarray, reach: float) -> list[list[int]]:
    """Chains that a raised figure ended: they are linked once more at the height of their last and first full word."""
    if len(chains) < 2:
        return chains
    full = [[place for place in chain if sizes[place] >= SMALL * sizes[chain].max()] for chain in chains]
    ends = np.array([(boxes[chain, 0].min(), boxes[chain, 2].max()) for chain in chains])
    lasts, firsts = boxes[[each[-1] for each in full]], boxes[[each[0] for each in full]]
    bands = np.stack(
        [ends[:, 0], np.minimum(lasts[:, 1], firsts[:, 1]), ends[:, 1], np.maximum(lasts[:, 3], firsts[:, 3])], 1
    )
    largest = np.array([sizes[chain].max() for chain in chains])
    following = _mutual(bands, largest, reach)
    return [[place for part in run for place in chains[part]] for run in _follow(following, len(chains))]


def _raised(chains: list[list[int]], boxes: np.ndarray, sizes: np.ndarray) -> list[list[int]]:
    """Single small words that lie on or just behind a line of larger ones, a little high or low, are of it."""
    if len(chains) < 2:
        return chains
    around = np.array([(*boxes[chain, :2].min(0), *boxes[chain, 2:].max(0)) for chain in chains])
    largest = np.array([sizes[chain].max() for chain in chains])
    into: dict[int, int] = {}
    for number, chain in enumerate(chains):
        if len(chain) > 1:
            continue
        box, size = boxes[chain[0]], sizes[chain[0]]
        middle, height = (box[0] + box[2]) / 2, (box[1] + box[3]) / 2
        fine = (size < SMALL * largest) & (middle > around[:, 0]) & (box[0] <= around[:, 2] + 0.3 * largest)
        fine &= (height > around[:, 1] - 0.4 * largest) & (height < around[:, 3] + 0.3 * largest)
        if fine.any():
            away = np.abs(around[:, 1] + 0.3 * largest - height)  # a raised figure stands at the top of its own line
            into[number] = int(np.where(fine, away, np.inf).argmin())
    kept = {number: chain for number, chain in enumerate(chains) if into.get(number) is None or into[number] in into}
    for number, line in into.items():
        if number not in kept:
            kept[line] = sorted([*kept[line], *chains[number]], key=lambda place: boxes[place, 0])
    return list(kept.values())


def _cut(chains: list[list[int]], boxes: np.ndarray, sizes: np.ndarray, words: Sequence[Word]) -> list[list[int]]:
    """Chains, parted where a gutter runs through them."""
    before = np.full(len(boxes), np.inf)  # space to the left of a word on its line
    for chain in chains:
        before[chain[1:]] = boxes[chain[1:], 0] - boxes[chain[:-1], 2]
    beside = np.isfinite(before)
    parted = []
    for chain in chains:
        spaces = before[chain[1:]]
        start = 0
        for place, space in enumerate(spaces, 1):
            smaller = min(sizes[chain[place]], sizes[chain[place - 1]])
            if space < WIDE * smaller or _belongs(chain[start : place + 1], sizes, words):
                continue
            others = np.delete(spaces, place - 1)
            usual = np.median(others) if len(others) else 0.3 * smaller
            if space >= LOOSE * max(usual, 0.2 * smaller) and _gutter(chain[place], boxes, smaller, before, beside):
                parted.append(chain[start:place])
                start = place
        parted.append(chain[start:])
    return parted


def _belongs(chain: list[int], sizes: np.ndarray, words: Sequence[Word]) -> bool:
    """Whether the last of these words goes with those before whatever space there is: an item with its marker, a title
    with its number of the same size, the number of a page with dots that lead to it."""
    *before, word = chain
    text = " ".join(words[place].text for place in before)
    dots = [place for place in (before[-1], word) if not words[place].text.strip(LEADERS)]
    if dots or is_marker(text):
        return True
    return bool(number_of(text)) and len(before) == 1 and abs(sizes[before[0]] - sizes[word]) <= 0.05 * sizes[word]


def _gutter(word: int, boxes: np.ndarray, size: float, before: np.ndarray, beside: np.ndarray) -> bool:
    """Whether lines above and below begin where this word does, some with others to their left, and none between
    reaches over."""
    left, height = boxes[word, 0], (boxes[:, 1] + boxes[:, 3]) / 2
    near = np.abs(height - height[word]) <= NEARBY * size
    begins = near & (np.abs(boxes[:, 0] - left) <= ALIGNED * size) & (before >= WIDE * size)
    over = near & (boxes[:, 0] < left - ALIGNED * size) & (boxes[:, 2] > left - 0.3 * WIDE * size)
    top = height[over & (height < height[word])].max(initial=-np.inf)
    bottom = height[over & (height > height[word])].min(initial=np.inf)
    begins &= (height > top) & (height < bottom)
    return begins.sum() >= ROWS and (begins & beside).sum() >= 2


def _slope(boxes: np.ndarray, chains: list[list[int]]) -> float:
    """How far lines fall on their way to the right, in points a point; 0 when too few are long enough to say."""
    slopes = []
    for chain in chains:
        if len(chain) >= 5:
            x, y = boxes[chain, 0] + boxes[chain, 2], boxes[chain, 1] + boxes[chain, 3]
            x = x - x.mean()
            slopes.append(float((x * y).sum() / max((x * x).sum(), 1e-9)))
    slope = median(slopes) if len(slopes) >= 3 else 0.0
    return slope if abs(slope) <= STEEPEST else 0.0


def _on_their_side(words: Sequence[Word]) -> np.ndarray:
    """(n,) bool. A word of three letters or more that is higher than wide stands on its side; short ones do when they
    are above or below such a one and as wide."""
    boxes = _boxes(words)
    width, height = (boxes[:, 2:] - boxes[:, :2]).T
    letters = np.array([len(word.text) for word in words])
    turned = (letters >= 3) & (height > 1.5 * width)
    for word in np.flatnonzero(turned):
        if words[word].size and (width[word] > 2 * words[word].size or height[word] < 1.3 * words[word].size):
            turned[word] = False
    maybe = ~turned & (letters <= 4) & (width < 2 * height)
    todo = list(np.flatnonzero(turned))
    while todo:
        word = todo.pop()
        shared = np.minimum(boxes[:, 2], boxes[word, 2]) - np.maximum(boxes[:, 0], boxes[word, 0])
        gap = np.maximum(boxes[:, 1], boxes[word, 1]) - np.minimum(boxes[:, 3], boxes[word, 3])
        near = (
            maybe & (shared >= 0.6 * np.minimum(width, width[word])) & (gap <= width[word]) & (gap > -0.3 * width[word])
        )
        near &= (width < 1.5 * width[word]) & (width > 0.3 * width[word])
        maybe &= ~near
        todo += list(np.flatnonzero(near))
        turned |= near
    return turned


def _lying(words: Sequence[Word], view: View, reach: float) -> list[Line]:
    """Lines of words that lie in this view of the page."""
    chains = _chains(_boxes(words, view), words, reach) if words else []
    return [
        Line(_in_order([words[place] for place in chain], view), union(words[place].bbox for place in chain))
        for chain in chains
    ]


def _vertical(words: list[Word], reach: float) -> list[Line]:
    """Lines of words on their side, found as if the page was turned so that they lie."""
    boxes = _boxes(words)[:, [1, 0, 3, 2]]
    chains = _chains(boxes, words, reach) if words else []
    lines = []
    for chain in chains:
        line = sorted((words[place] for place in chain), key=lambda word: word.bbox[1])
        if not is_cjk(line[0].text[:1]):
            line.reverse()
        lines.append(Line(line, union(word.bbox for word in line)))
    return lines


def _in_order(words: Sequence[Word], view: View) -> list[Word]:
    """From left to right, from right to left when most letters are of a script that runs so."""
    line = sorted(words, key=lambda word: view.box(word.bbox)[0])
    letters = [unicodedata.bidirectional(letter) for word in line for letter in word.text]
    leftwards = sum(letter in ("R", "AL") for letter in letters)
    return line[::-1] if leftwards > sum(letter == "L" for letter in letters) else line
