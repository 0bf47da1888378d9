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


NOTES = ["7 a note that says a little more.", "8 another one that goes on", "on a second line.", "9 a third."]


def notes(rows, size: float, top: float, label: str = "Text"):
    text, words = column(PROSE, 50, 100), column(rows, 50, top, size, 1.2 * size)
    return parsed([region(text), region(words, label)], [*text, *words])[1:]


@pytest.mark.parametrize("label, kind", [("Text", "text"), ("Footnote", "footnote")])
def test_notes_of_one_region_are_parted_before_each_number_that_counts_on(label, kind):
    found = [(block.type, block.text) for block in notes(NOTES, 7, 600, label)]
    assert found == [(kind, text) for text in (NOTES[0], " ".join(NOTES[1:3]), NOTES[3])]


def test_a_number_that_does_not_count_on_or_stands_within_a_sentence_begins_no_note():
    assert len(notes(["7 a note of the year", "8 before", "12 more."], 7, 600)) == 1


@pytest.mark.parametrize("size, top", [(12, 600), (7, 200)])
def test_large_texts_and_those_in_the_upper_half_have_no_notes(size, top):
    assert len(notes(NOTES, size, top)) == 1


@pytest.mark.parametrize("label", ["Text", "Footnote"])
def test_two_marks_beside_each_other_join_the_same_note(label):
    (first,), (second,), (word,) = line("1", 105, 599, 3), line("2", 110, 600, 5), line("word", 116, 600, 9)
    (note,) = parsed([region([each], label, by=0.5) for each in (first, second, word)], [first, second, word])
    assert note.text == "1 2 word"
