"""Pages are kept apart by document, and documents are told by runs of numbers or by the size of pages."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from densessl.documents.splits import by_runs, by_size, split_by_document
from densessl.errors import UserError

from .conftest import made


def library(seed=0, documents=25):
    """Documents of 1 to 12 pages in turn, one or two objects a page."""
    random = np.random.default_rng(seed)
    names = [f"book {each}" for each in range(documents) for _ in range(random.integers(1, 13))]
    rows = [
        (page, int(random.integers(0, 2)), 0, 0, 9, 9)
        for page in range(len(names))
        for _ in range(random.integers(1, 3))
    ]
    return replace(made(rows, count=len(names)), documents=tuple(names))


@pytest.mark.parametrize("seed", range(5))
def test_no_document_is_in_both_parts_and_every_page_is_in_one(seed):
    pages = library()
    rest, apart = split_by_document(pages, 0.25, seed)
    assert not set(rest.documents) & set(apart.documents)
    names = [part.source.name(index) for part in (rest, apart) for index in range(len(part))]
    assert sorted(names) == sorted(pages.source.name(index) for index in range(len(pages)))
    assert len(rest.objects) + len(apart.objects) == len(pages.objects)
    assert len(apart) / len(pages) == pytest.approx(0.25, abs=0.06)


def test_classes_are_kept_in_proportion_and_the_seed_decides():
    pages = library()
    shares = []
    for seed in range(5):
        _, apart = split_by_document(pages, 0.25, seed)
        found = np.bincount(apart.objects.classes, minlength=2) / np.bincount(pages.objects.classes)
        shares.append(found)
    assert np.allclose(shares, 0.25, atol=0.1)
    again = [split_by_document(pages, 0.25, 3)[1].documents for _ in range(2)]
    assert again[0] == again[1] != split_by_document(pages, 0.25, 4)[1].documents


def test_a_page_of_no_known_document_is_one_of_its_own():
    rest, apart = split_by_document(made([], count=10), 0.3)
    assert (len(rest), len(apart)) == (7, 3)
    assert [len(part) for part in split_by_document(made([], count=2), 0.01)] == [1, 1]


def test_one_document_cannot_be_split():
    pages = replace(made([], count=3), documents=("book",) * 3)
    with pytest.raises(UserError, match="has 1 documents"):
        split_by_document(pages, 0.5)
    with pytest.raises(UserError, match="between 0 and 1"):
        split_by_document(pages, 1.0)


def test_runs_of_numbers_are_documents_and_one_missing_page_does_not_break_them():
    names = ["p-0007.png", "p-0001.png", "p-0003.png", "p-0010.png", "p-0002.png", "p-0011.png"]
    found = by_runs(made([], count=6, names=names)).documents
    assert found == ("from 7", "from 1", "from 1", "from 10", "from 1", "from 10")
    with pytest.raises(UserError, match="cover.png has no number"):
        by_runs(made([], count=1, names=["cover.png"]))


def test_pages_of_one_size_are_one_document_upright_or_not():
    pages = made([], count=5)
    sizes = np.array([[794, 1123], [816, 1056], [1123, 795], [1054, 816], [797, 1126]])
    found = by_size(replace(pages, sizes=sizes)).documents
    assert found[0] == found[2] and found[1] == found[3] and len(set(found)) == 3
