"""Every word is in exactly one block, whatever words and regions a page has: no page here looks like one that somebody
has set, so that parts of it meet which a document seldom has beside each other."""

from __future__ import annotations

import random
from collections import Counter

import pytest

from densessl.documents.parsing.layout.regions import NAMES
from densessl.documents.parsing.layout.structure import Region, blocks_of
from densessl.documents.parsing.model import Word
from tests.documents.parsing.setting import LETTER

SAID = ["1", "2", "*", "(1)", "(2)", "word", "x=y", "\u2022", "\u2610", "a)", "Title", "...", "1.2", "End.", "f(y);"]
LABELS = [*NAMES, "odd"]
TITLES = ["Intro", "2.1", "Zeta", "contents", "List"]
BETWEEN = ["a", "\u00b4", "12", ".."]  # what stands between columns of entries
SEEDS = range(300)


def scattered(chance: random.Random) -> tuple[list[Region], list[Word]]:
    """Words at few places, many over each other, of all sizes; regions around some of them, and some anywhere."""
    words, regions = [], []
    for _ in range(chance.randint(3, 25)):
        text, size = chance.choice(SAID), chance.choice([3, 5, 8, 10])
        x, y = chance.choice([50, 60, 65, 70, 90, 300]), 420 + 12 * chance.randrange(12) + chance.choice([0, 0, 3])
        box = (x, y, x + LETTER * size * len(text), y + size)
        pitch = LETTER * size if chance.random() < 0.2 else None
        turn = chance.choice([*[0] * 12, 1, 2, 3])
        words.append(Word(text, box, size, bold=chance.random() < 0.3, pitch=pitch, turn=turn))
        if chance.random() < 0.4:
            around = (box[0] - 1, box[1] - 1, box[2] + 1, box[3] + 1)
            regions.append(Region(around, chance.choice(LABELS), chance.random()))
    for _ in range(chance.randint(0, 4)):
        x, y = chance.uniform(0, 300), chance.uniform(380, 550)
        box = (x, y, x + chance.uniform(5, 300), y + chance.uniform(5, 200))
        regions.append(Region(box, chance.choice(LABELS), chance.random()))
    return regions, words


def contents(chance: random.Random) -> tuple[list[Region], list[Word]]:
    """Columns of entries that lack this and that, and something between some of them."""
    words, number = [], 0
    for left in (50 + 180 * place for place in range(chance.randint(1, 3))):
        for row in range(chance.randint(3, 12)):
            number += chance.randint(0, 3)
            y, x = 100 + 14 * row + chance.choice([0, 0, 3]), left + chance.choice([0, 0, 12])
            parts = [(chance.choice(TITLES), x, x + 30, 1.0)]
            parts += [("." * chance.choice([3, 6, 10]), left + 50, left + 140, 0.85)]
            parts += [(str(number), left + 145, left + 153, 0.9)]
            start = left + chance.choice([100, 155, 158, 162, 168])
            parts += [(chance.choice(BETWEEN), start, start + chance.randint(2, 12), 0.3)]
            words += [Word(text, (x0, y, x1, y + 8), 9) for text, x0, x1, share in parts if chance.random() < share]
    box = (40, 90, chance.choice([300, 600]), chance.choice([200, 400]))
    return [Region(box, chance.choice(LABELS), 0.8)] if chance.random() < 0.5 else [], words


def known(word: Word) -> tuple[str, ...]:
    """What a word is known by; what was turned and turned back may be a little off its place."""
    return word.text, *(f"{side:.3f}" for side in word.bbox)


@pytest.mark.parametrize("page", [scattered, contents], ids=lambda page: page.__name__)
def test_each_word_of_a_page_that_nobody_has_set_is_in_exactly_one_block(page):
    for seed in SEEDS:
        regions, words = page(random.Random(seed))
        blocks = blocks_of(regions, words, 600.0, 800.0, 1)
        found = Counter(known(word) for block in blocks for each in block.lines for word in each.words)
        assert found == Counter(map(known, words)), f"seed {seed}"
