"""Columns of a table from the gaps that its words leave, as one sees them in the projection of all its lines.

A gap is a stretch of x over which nearly no line has words. What may lie over it are phrases of a few lines: headings
of groups of rows and headers that span columns, which are left out of the count where they lie over two or more
phrases of most other lines, and words that are longer than their column is wide.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np

from densessl.documents.parsing.tables.phrases import Phrase

SAMPLE = 60  # lines that a phrase is compared with
FEW = 0.1  # of all lines may have words over a gap
HEADED = 3  # lines at the top may name groups of columns
SIGNS = frozenset("$€£¥%()[]*†‡+-−–±.,:;|<>=~")


def columns_of(phrases: Sequence[Phrase], low: float, high: float) -> list[float]:
    """Where columns part between low and high (x), by place; none for one column."""
    plain = _plain(phrases)
    if not plain:
        return []
    lines = len({phrase.line for phrase in plain})
    most = max(1, int(FEW * lines)) if lines >= 5 else 0
    edges = sorted({edge for phrase in plain for edge in (phrase.bbox[0], phrase.bbox[2])})
    counts = _counts(plain, edges)
    cores = _with_own(_runs(counts > most, edges), plain)
    cores = _with_sparse(cores, plain)
    cores = _without_signs(cores, plain)
    return [_cut(plain, left[1], right[0]) for left, right in zip(cores[:-1], cores[1:], strict=True)]


def _plain(phrases: Sequence[Phrase]) -> list[Phrase]:
    """Without headings alone on their line, and without those that span what others keep apart."""
    on_line: dict[int, list[Phrase]] = {}
    for phrase in phrases:
        on_line.setdefault(phrase.line, []).append(phrase)
    several = [line for line in on_line.values() if len(line) > 1]
    if not several:
        return list(phrases)
    several = several[:: -(-len(several) // SAMPLE)]
    boxes = np.array([(each.bbox[0], each.bbox[2]) for line in several for each in line])
    start, end = boxes.T
    numbers = np.repeat(np.arange(len(several)), [len(line) for line in several])
    alone = {line[0].line for line in on_line.values() if len(line) == 1}
    kept = []
    for phrase in phrases:
        left, _, right, _ = phrase.bbox
        covered = np.minimum(end, right) - np.maximum(start, left) > 0.5 * (end - start)
        over = int((np.bincount(numbers[covered]) >= 2).sum())
        limit = 0.25 if phrase.line in alone else 0.5
        if over <= limit * len(several) and not (phrase.line in alone and phrase.line == 0 and len(on_line) > 3):
            kept.append(phrase)
    return kept


def _counts(phrases: Sequence[Phrase], edges: list[float]) -> np.ndarray:
    """Of each stretch between two edges, how many lines have words over it."""
    place = {edge: number for number, edge in enumerate(edges)}
    change = np.zeros(len(edges) + 1, np.int64)
    for phrase in phrases:
        change[place[phrase.bbox[0]]] += 1
        change[place[phrase.bbox[2]]] -= 1
    return np.cumsum(change)[: len(edges) - 1]


def _runs(filled: np.ndarray, edges: list[float]) -> list[tuple[float, float]]:
    """Stretches that are filled throughout."""
    runs: list[tuple[float, float]] = []
    for number in np.flatnonzero(filled).tolist():
        low, high = edges[number], edges[number + 1]
        if runs and runs[-1][1] == low:
            runs[-1] = runs[-1][0], high
        else:
            runs.append((low, high))
    return runs


def _with_own(cores: list[tuple[float, float]], plain: Sequence[Phrase]) -> list[tuple[float, float]]:
    """Those that some phrase lies over alone: between two columns others may meet that are too long for theirs, below
    the name of a group of columns."""
    over = [[each for each in cores if phrase.bbox[0] < each[1] and phrase.bbox[2] > each[0]] for phrase in plain]
    top = sorted({phrase.line for phrase in plain})[:HEADED][-1]
    while len(cores) > 1:
        own = {each[0] for each, phrase in zip(over, plain, strict=True) if len(each) == 1 and phrase.line > top}
        named = {each[0] for each in over if len(each) == 1}
        met = {each for several in over if len(several) > 1 for each in several}
        without = [each for each in cores if each not in own and (each in met or each not in named)]
        if not without:
            break
        narrow = min(without, key=lambda each: each[1] - each[0])
        cores = [each for each in cores if each != narrow]
        over = [[each for each in own_cores if each != narrow] for own_cores in over]
    return cores


def _with_sparse(cores: list[tuple[float, float]], plain: Sequence[Phrase]) -> list[tuple[float, float]]:
    """And columns with words in a few rows only: phrases that touch no column, nor anything that reaches into one."""
    inside = [any(phrase.bbox[0] < high and phrase.bbox[2] > low for low, high in cores) for phrase in plain]
    apart = [phrase.bbox for phrase, touches in zip(plain, inside, strict=True) if not touches]
    touching = [phrase.bbox for phrase, touches in zip(plain, inside, strict=True) if touches]
    groups: list[tuple[float, float]] = []
    for left, _, right, _ in sorted(apart):
        if groups and left < groups[-1][1]:
            groups[-1] = groups[-1][0], max(right, groups[-1][1])
        else:
            groups.append((left, right))
    free = [
        (low, high) for low, high in groups if sum(box[0] < high and box[2] > low for box in touching) == 0 or not cores
    ]
    counts = Counter(phrase.line for phrase in plain)
    if max(counts.values()) > 1:  # what stands alone on its line is a heading
        beside = [phrase.bbox for phrase in plain if counts[phrase.line] > 1]
        free = [(low, high) for low, high in free if any(box[0] < high and box[2] > low for box in beside)]
    free = [pair for pair in free if not _names_group(pair, cores, plain)]
    return sorted([*cores, *free])


def _names_group(pair: tuple[float, float], cores: Sequence[tuple[float, float]], plain: Sequence[Phrase]) -> bool:
    """Whether all that stands here is the name of a group of columns: on the first line of the table that has as much
    as this, with the names of most columns on a line below."""
    own = {each.line for each in plain if each.bbox[0] < pair[1] and each.bbox[2] > pair[0]}
    if len(own) != 1 or len(cores) < 2:
        return False
    line = own.pop()

    def filled(number: int) -> int:
        boxes = [each.bbox for each in plain if each.line == number]
        return sum(any(box[0] < high and box[2] > low for box in boxes) for low, high in cores)

    lines = sorted({each.line for each in plain})
    if lines.index(line) >= HEADED:
        return False
    few = 2 * filled(line) <= len(cores) < 2 * max(map(filled, lines[: 2 * HEADED]))
    return few or _over_names(pair, line, cores, plain)


def _over_names(
    pair: tuple[float, float], line: int, cores: Sequence[tuple[float, float]], plain: Sequence[Phrase]
) -> bool:
    """Whether what stands between two columns on a line has the names of both below it: what is no number there, but
    most often is farther down, or is bold there alone."""
    left = max((core for core in cores if core[1] <= pair[0]), default=None)
    right = min((core for core in cores if core[0] >= pair[1]), default=None)
    if left is None or right is None:
        return False
    for low, high in (left, right):
        below = sorted(
            (each for each in plain if each.line > line and each.bbox[0] < high and each.bbox[2] > low),
            key=lambda each: each.line,
        )
        if len(below) < 3 or below[0].number:
            return False
        rest = below[1:]
        words = 2 * sum(each.number for each in rest) > len(rest)
        if not words and not (below[0].bold and not any(each.bold for each in rest)):
            return False
    return True


def _without_signs(cores: list[tuple[float, float]], plain: Sequence[Phrase]) -> list[tuple[float, float]]:
    """A column of nothing but signs, such as $, belongs to that at its right, or left if it is the last."""
    merged: list[tuple[float, float]] = []
    waiting: float | None = None
    for low, high in cores:
        texts = [each.text for each in plain if each.bbox[0] < high and each.bbox[2] > low]
        signs = bool(texts) and all(set(text) <= SIGNS for text in texts) and len({*texts}) <= 2
        dashes = all(set(text) <= set("-–−.+x") for text in texts)
        if signs and not dashes and (low, high) != cores[-1]:
            waiting = low if waiting is None else waiting
            continue
        if signs and not dashes and merged:
            merged[-1] = merged[-1][0], high
            continue
        merged.append((low if waiting is None else waiting, high))
        waiting = None
    return merged


def _cut(phrases: Sequence[Phrase], low: float, high: float) -> float:
    """Where to part two columns: in the middle of the widest stretch between them that fewest phrases lie over."""
    inside = [phrase for phrase in phrases if phrase.bbox[0] < high and phrase.bbox[2] > low]
    edges = sorted({low, high, *(min(high, max(low, each.bbox[side])) for each in inside for side in (0, 2))})
    if len(edges) < 2:
        return (low + high) / 2
    middles = [(left + right) / 2 for left, right in zip(edges[:-1], edges[1:], strict=True)]
    over = [sum(each.bbox[0] < middle < each.bbox[2] for each in inside) for middle in middles]
    best = min(range(len(middles)), key=lambda each: (over[each], edges[each] - edges[each + 1]))
    return middles[best]
