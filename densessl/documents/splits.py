"""Pages kept apart by document: neighbouring pages look alike, so that a split at random measures memory.

Of two sets that do not tell documents, this was found by looking at their pages. PolEval's (237 pages with DocLayNet's
classes) are numbered in the order of documents, from which others were taken out: `by_runs` finds 18 runs, of which
39 to 75 are two issues of a journal, 1155 to 1210 three acts, and 1423 to 1431 leaflets of one series. cTDaR's modern
training pages are those of some 20 documents, shuffled: `by_size` finds 13 sizes, of which the three commonest, 429 of
600 pages, hold several documents each, and others mostly one. Both keep together what may belong together.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.random import Generator, Philox

from densessl.documents.pages import LabelledPages
from densessl.errors import UserError

DRAWS = 20  # of which the one is taken that keeps classes in proportion best; few, so that seeds differ
_NUMBER = re.compile(r"\d+(?!.*\d)")  # the last number in a name


def split_by_document(pages: LabelledPages, share: float, seed: int = 0) -> tuple[LabelledPages, LabelledPages]:
    """The pages in two parts, no document in both: what is learned from, and about `share` of the pages apart from it.

    A page of no known document is one of its own. Of many ways, drawn by the seed, it is the one that comes nearest to
    `share` in pages and in the objects of each class. Raises `UserError` where there are fewer than two documents.
    """
    if not 0 < share < 1:
        raise UserError(f"A share of {share:g} of the pages cannot be kept apart: give one between 0 and 1.")
    names = [name if name is not None else f"page {index}" for index, name in enumerate(pages.documents)]
    _, group = np.unique(names, return_inverse=True)
    groups = int(group.max(initial=-1)) + 1
    if groups < 2:
        raise UserError(f"{pages.name} has {groups} documents, which cannot be split: give pages of more of them.")
    counted = _counted(pages, group, groups)
    random = Generator(Philox(key=seed & (2**64 - 1)))
    best, chosen = np.inf, np.zeros(groups, bool)
    for _ in range(DRAWS):
        drawn = _drawn(counted[:, 0], share, random)
        apart = counted[drawn].sum(axis=0)
        # The pages count as much as all classes together.
        off = np.abs(apart - share)
        distance = off[0] + off[1:].mean() if counted.shape[1] > 1 else off[0]
        if distance < best:
            best, chosen = distance, drawn
    apart = chosen[group]
    return pages.subset(np.flatnonzero(~apart)), pages.subset(np.flatnonzero(apart))


def by_runs(pages: LabelledPages, gap: int = 2) -> LabelledPages:
    """The pages with a document each: a run of numbers in their names, from one to the next at most `gap` apart.

    For pages that were numbered in the order of documents and of which some were taken out. A run never holds a part of
    a document, if numbers are missing between documents, but may hold several that follow each other.
    """
    numbers = [_number(pages.source.name(index)) for index in range(len(pages))]
    documents: dict[int, str] = {}
    start, before = None, None
    for number in sorted(set(numbers)):
        if before is None or number - before > gap:
            start = number
        documents[number], before = f"from {start}", number
    return replace(pages, documents=tuple(documents[number] for number in numbers))


def by_size(pages: LabelledPages, tolerance: int = 2) -> LabelledPages:
    """The pages with a document each: all that are of one size, upright or not, to within `tolerance` pixels.

    For pages that were shuffled: those of one document share their size, if it has one, but so do several documents.
    """
    sizes = np.sort(pages.sizes, axis=1)
    known: list[np.ndarray] = []  # sizes in the order met; a group keeps the first
    documents = []
    for size in sizes:
        near = next((each for each in known if np.abs(each - size).max() <= tolerance), None)
        if near is None:
            known.append(near := size)
        documents.append(f"{near[0]} x {near[1]}")
    return replace(pages, documents=tuple(documents))


def _number(name: str) -> int:
    found = _NUMBER.search(os.path.splitext(os.path.basename(name))[0])
    if found is None:
        raise UserError(f"{name} has no number in its name, so that runs of pages cannot be told: name them by number.")
    return int(found.group())


def _counted(pages: LabelledPages, group: np.ndarray, groups: int) -> np.ndarray:
    """(groups, 1 + K): the share of all pages that a group holds, and that of the objects of each class there is."""
    counts = np.zeros((groups, 1 + len(pages.classes)))
    np.add.at(counts[:, 0], group, 1)
    np.add.at(counts, (group[pages.objects.page], 1 + pages.objects.classes.astype(np.int64)), 1)
    counts = counts[:, counts.any(axis=0)]
    return counts / counts.sum(axis=0)


def _drawn(pages: Sequence[float], share: float, random: Generator) -> np.ndarray:
    """(groups,) bool: groups in any order, each taken that brings the pages nearer to the share, but never all."""
    taken, total = np.zeros(len(pages), bool), 0.0
    for place in random.permutation(len(pages)):
        if abs(total + pages[place] - share) <= abs(total - share) and taken.sum() < len(pages) - 1:
            taken[place], total = True, total + pages[place]
    if not taken.any():
        taken[int(np.argmin(pages))] = True
    return taken
