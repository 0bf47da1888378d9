"""Which images of a source have labels, and which of those are used."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.random import Generator, Philox

from densessl.data.sources import Source, Subset, open_source
from densessl.documents.sets.registry import KIND_SETS, open_kinds
from densessl.errors import UserError


def opened(data: Any, split: str | None = None, page_side: int | None = None) -> Source:
    """The images of `open_source`, or of a set of pages that are each of one kind, such as rvlcdip:FOLDER."""
    if isinstance(data, str) and data.partition(":")[0] in KIND_SETS:
        return open_kinds(data, split)
    return open_source(data, split, page_side)


def labels_of(source: Source) -> np.ndarray:
    """(N,) int64 classes of all images, -1 for those without a label."""
    labels = (source.label(index) for index in range(len(source)))
    return np.array([-1 if label is None else label for label in labels], np.int64)


def balanced(labels: np.ndarray, share: float, seed: int) -> np.ndarray:
    """Sorted indices of a share of the labels (N,), equally many of each class; -1 is none.

    Of each class share * labels / classes, one at least, and all of one that has fewer; a share of 1 is all of them.
    With the same seed a smaller share is part of a larger one.
    """
    known = np.flatnonzero(labels >= 0)
    if share == 1:
        return known
    classes = np.unique(labels[known])
    each = max(1, round(share * len(known) / len(classes)))
    rng = Generator(Philox(key=seed & (2**64 - 1)))
    drawn = [rng.permutation(np.flatnonzero(labels == label))[:each] for label in classes]
    return np.sort(np.concatenate(drawn))


def labelled_part(source: Source, share: float, seed: int, data: Any) -> tuple[Subset, list[str]]:
    """The images of `source` that are learned from, and the names of the classes.

    Classes without names are called by their numbers. Raises `UserError` when there are fewer than two classes.
    """
    labels = labels_of(source)
    if not (labels >= 0).any():
        noted = "".join(f" {note}" for note in source.notes)
        raise UserError(
            f"None of the {len(source)} images in {data} has a label: sort those that you know into a folder per "
            f"class, or write a labels.csv with the columns name and class into the folder.{noted}"
        )
    chosen = balanced(labels, share, seed)
    if len(np.unique(labels[chosen])) < 2:
        raise UserError(f"The labelled images in {data} are of one class only: a classifier needs two or more.")
    classes = source.classes or [str(number) for number in range(int(labels.max()) + 1)]
    return Subset(source, chosen), list(classes)


def matched(source: Source, classes: list[str]) -> np.ndarray:
    """(N,) labels of `source` as numbers of `classes`, by name where both have names; -1 for others and for none."""
    labels = labels_of(source)
    names = source.classes or [str(number) for number in range(int(labels.max(initial=-1)) + 1)]
    number = {name: place for place, name in enumerate(classes)}
    table = np.array([number.get(name, -1) for name in names] + [-1], np.int64)
    return table[labels]
