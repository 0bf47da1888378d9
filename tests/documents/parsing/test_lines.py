import math
from collections import Counter

import pytest

from densessl.documents.parsing.layout.lines import lines_of
from densessl.documents.parsing.model import Word
from tests.documents.parsing.setting import PROSE, column, line, shuffled, turned


def texts(words, **how):
    return [each.text for each in lines_of(shuffled(words), **how)]


def test_no_words_make_no_lines():
    assert lines_of([]) == []


def test_words_in_any_order_become_the_lines_they_were_set_in():
    assert texts(column(PROSE, 50, 100)) == PROSE


@pytest.mark.parametrize("degrees", [-2, -1, 1, 2])
def test_a_turned_scan_has_the_same_lines(degrees):
    words = turned(column(PROSE * 4, 50, 100), degrees)
    assert texts(words) == PROSE * 4


def test_columns_side_by_side_are_never_joined_even_over_a_gutter_of_one_em():
    width = max(word.bbox[2] for word in column(PROSE, 50, 100))
    words = column(PROSE, 50, 100) + column(PROSE[::-1], width + 10, 100)
    assert Counter(texts(words)) == Counter(PROSE + PROSE[::-1])


def test_a_justified_line_with_wide_spaces_stays_one_line():
    words = column(PROSE[:2], 50, 100) + line(PROSE[2], 50, 124, space=0.8) + column(PROSE[3:], 50, 136)
    assert texts(words) == PROSE


def test_raised_figures_and_what_follows_them_stay_on_their_line():
    above = column(PROSE[:1], 50, 88)
    before = line("as was shown", 50, 100)
    end = before[-1].bbox[2]
    raised = Word("12", (end, 98.0, end + 6, 104.0), 6.0)
    low = [
        Word(each.text, (each.bbox[0], 104.5, *each.bbox[2:]), 10.0) for each in line("once more now", end + 8.5, 100)
    ]
    below = column(PROSE[1:2], 50, 112)
    assert texts(above + before + [raised] + low + below) == [PROSE[0], "as was shown 12 once more now", PROSE[1]]


def test_large_and_small_words_share_a_line():
    big = line("LARGE", 50, 94, size=18)
    assert texts(big + line("and small words", big[-1].bbox[2] + 4, 100)) == ["LARGE and small words"]


def test_a_marker_far_from_its_text_is_of_the_line():
    words = [word for row in range(4) for word in line("•", 50, 100 + 12 * row) + line(PROSE[row], 70, 100 + 12 * row)]
    assert texts(words) == [f"• {each}" for each in PROSE[:4]]


def test_words_at_a_tabulator_are_joined_only_when_asked():
    words = line("Total", 50, 100) + line("100", 300, 100)
    assert texts(words) == ["Total", "100"]
    assert texts(words, reach=math.inf) == ["Total 100"]


def test_words_on_their_side_are_read_upwards():
    vertical = [
        Word(text, (20, 500 - 40 * at, 30, 530 - 40 * at), 10.0) for at, text in enumerate(["arXiv:17", "[cs.CV]"])
    ]
    assert sorted(texts(vertical + column(PROSE, 50, 480))) == sorted([*PROSE, "arXiv:17 [cs.CV]"])


def test_hebrew_is_read_from_right_to_left():
    assert texts([Word("שלום", (80, 100, 100, 110), 10.0), Word("עולם", (50, 100, 77, 110), 10.0)]) == ["שלום עולם"]


def test_every_word_is_in_one_line_whatever_lies_where(rng_words):
    found = [id(word) for each in lines_of(rng_words) for word in each.words]
    assert Counter(found) == Counter(map(id, rng_words))
