import pytest

from densessl.documents.parsing.layout.text import counted, is_marker, joined, marker_of, number_of, vocabulary
from densessl.documents.parsing.model import Line
from tests.documents.parsing.setting import line


def lines(*texts):
    return [Line(line(text, 0, 12 * row), (0, 12 * row, 100, 12 * row + 10)) for row, text in enumerate(texts)]


@pytest.mark.parametrize(
    "above, below, text",
    [
        ("an exam-", "ple of it", "an example of it"),
        ("an exam\u00ad", "ple", "an example"),
        ("a self-", "supervised one", "a self-supervised one"),
        ("state-of-the-", "art methods", "state-of-the-art methods"),
        ("Jean-", "Paul", "Jean-Paul"),
        ("from 2019-", "2021 on", "from 2019-2021 on"),
        ("pre-", "and postwar", "pre- and postwar"),
        ("Vor-", "und Nachteile", "Vor- und Nachteile"),
        ("1990\u2013", "1995", "1990\u20131995"),
        ("this - ", "that", "this - that"),
        ("see http://a.org/b-", "c.html", "see http://a.org/b-c.html"),
        ("漢字", "仮名", "漢字仮名"),
        ("one", "two", "one two"),
    ],
)
def test_what_a_line_divides_is_joined(above, below, text):
    assert joined(lines(above, below)) == text


def test_a_hyphen_stays_or_goes_as_elsewhere_on_the_page():
    assert joined(lines("a data-", "driven one"), {"data-driven"}) == "a data-driven one"
    assert joined(lines("a self-", "ish one"), {"selfish"}) == "a selfish one"


def test_the_vocabulary_leaves_out_what_may_be_divided():
    assert vocabulary(lines("The «data-driven», self-")) == {"the", "data-driven"}


@pytest.mark.parametrize(
    "text, marker", [("• one", "•"), ("2. two", "2."), ("(a) x", "(a)"), ("iv) x", "iv)"), ("[12] A", "[12]")]
)
def test_markers_of_items(text, marker):
    assert marker_of(text) == marker and is_marker(marker)


@pytest.mark.parametrize("text", ["one", "1.5 times", "2019 was", "-5 degrees", "a man", "e.g. this"])
def test_what_is_no_marker(text):
    assert marker_of(text) is None


@pytest.mark.parametrize(
    "text, number",
    [("1.2 Method", "1.2"), ("3. Results", "3"), ("B.1 Proofs", "B.1"), ("Chapter 4 End", "4"), ("A man", None)],
)
def test_numbers_of_headings(text, number):
    assert number_of(text) == number


@pytest.mark.parametrize("number, value", [("12", 12), ("iv", 4), ("XIX", 19), ("ill", None), ("vx", None), ("", None)])
def test_what_numbers_count(number, value):
    assert counted(number) == value
