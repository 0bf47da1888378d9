"""Footnotes whose marks stand apart from them."""

from __future__ import annotations

import pytest

from tests.documents.parsing.setting import PROSE, column, line
from tests.documents.parsing.test_structure import parsed, region

NOTE = ["a note that says a little more of this than", "the text above it does"]


def page(mark_size: float, note_size: float, top: float, label: str = "Text"):
    """A text that a raised 4 refers to, and a note with its mark a little before and above it."""
    text = column(PROSE, 50, 100) + line("4", 290, 98, 6)
    mark, note = line("4", 44, top - 1, mark_size), column(NOTE, 50, top, note_size)
    return parsed([region(text), region(note, label)], [*text, *mark, *note])


@pytest.mark.parametrize("label", ["Text", "List-item"])
def test_a_mark_joins_its_note_which_is_of_the_text_that_refers_to_it(label):
    text, note = page(5, 8, 600, label)
    assert (note.type, note.text, note.of) == ("footnote", "4 " + " ".join(NOTE), text.id)


@pytest.mark.parametrize("mark_size, note_size, top", [(8, 8, 600), (6, 10, 600), (5, 8, 200)])
def test_a_number_that_is_not_raised_a_large_text_and_one_in_the_upper_half_are_no_notes(mark_size, note_size, top):
    assert not any(block.type == "footnote" for block in page(mark_size, note_size, top))
