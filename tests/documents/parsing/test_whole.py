import copy

from densessl.documents.parsing.layout.whole import STRINGS, Whole
from densessl.documents.parsing.model import Block, Line, Page
from tests.documents.parsing.setting import line


def block(kind, text, y=300.0, size=10.0, **about):
    words = line(text, 50, y, size)
    box = (50, y, words[-1].bbox[2], y + size)
    return Block(f"b{y}", kind, box, text=text, lines=[Line(words, box)], **about)


def settled(*pages):
    pages = [Page(number, 600, 800, 72, list(blocks)) for number, blocks in enumerate(pages, 1)]
    whole = Whole()
    for page in pages:
        whole.look(copy.deepcopy(page))
    return [whole.settle(page).blocks for page in pages]


def levels(*blocks):
    return [each.level for page in settled(*[[each] for each in blocks]) for each in page]


def test_the_number_of_a_heading_tells_its_level():
    heads = ["1 One", "1.2 Two", "1.2.3 Three", "A.1 More"]
    assert levels(block("title", "A title", size=20), *[block("heading", each) for each in heads]) == [1, 2, 3, 4, 3]


def test_headings_without_a_number_have_the_level_of_numbered_ones_of_their_size():
    numbered = [block("heading", "1 One", size=16), block("heading", "1.1 Two", size=13)]
    plain = [
        block("heading", "Thanks", size=16),
        block("heading", "Notes", size=13.2),
        block("heading", "Note", size=11),
    ]
    assert levels(*numbered, *plain) == [2, 3, 2, 3, 4]


def test_without_any_number_sizes_tell_the_level():
    sizes = [16, 12, 16, 14, 12]
    assert levels(*[block("heading", "Some words", size=size) for size in sizes]) == [2, 4, 2, 3, 4]
    assert levels(block("title", "A title", size=20), block("heading", "Some words", size=16)) == [1, 2]


def test_without_a_title_the_largest_heading_of_the_first_page_is_it():
    first = block("heading", "What it is about", size=20)
    pages = settled([first], [block("heading", "Words", size=14)], [block("heading", "More", size=14)])
    assert [(page[0].type, page[0].level) for page in pages] == [("title", 1), ("heading", 2), ("heading", 2)]


def test_of_titles_the_largest_stays_and_the_others_are_headings():
    kinds = [
        page[0].type for page in settled([block("title", "Great Title", size=20)], [block("title", "Section", size=13)])
    ]
    assert kinds == ["title", "heading"]


def test_a_line_that_each_page_repeats_is_its_header_and_comes_first():
    pages = settled(
        *[[block("text", f"Body {n} of it"), block("text", f"Report of 2019, {n}", y=20)] for n in range(5)]
    )
    assert all([each.type for each in page] == ["page_header", "text"] for page in pages)


def test_headers_of_left_and_right_pages_are_told_although_they_differ():
    heads = ["The whole book", "This one chapter"]
    pages = settled(*[[block("text", heads[n % 2], y=20), block("text", "Body")] for n in range(7)])
    assert all(page[0].type == "page_header" for page in pages)


def test_rising_page_numbers_are_footers_in_figures_and_in_roman_ones():
    roman = ["i", "ii", "iii", "iv", "v"]
    pages = settled(
        *[[block("text", "Body"), block("text", each, y=770)] for each in roman],
        *[[block("text", "Body"), block("list_item", f"- {n} -", y=770)] for n in range(1, 5)],
    )
    assert all([each.type for each in page] == ["text", "page_footer"] for page in pages)


def test_numbers_that_do_not_rise_with_the_pages_are_none():
    pages = settled(*[[block("text", number, y=770)] for number in ("7", "7", "3", "90", "4")])
    assert all(page[0].type == "text" for page in pages)


def test_what_two_pages_share_or_stands_in_the_middle_is_no_furniture():
    pages = settled(
        *[[block("text", "The same here"), block("text", f"{'abcde'[n // 2]} start", y=20)] for n in range(6)]
    )
    assert all([each.type for each in page] == ["text", "text"] for page in pages)


def test_what_is_kept_of_a_long_document_is_bounded():
    whole = Whole()
    for number in range(1, 4 * STRINGS // 10):
        texts = [
            block("text", f"{chr(200 + number % 5000)}{chr(500 + number // 7)} {'xyz'[at]}", y=10 + 12 * at)
            for at in range(3)
        ]
        whole.look(Page(number, 600, 800, 72, texts))
    assert len(whole._runs) <= STRINGS


def test_a_header_that_looked_like_a_list_item_keeps_its_number():
    pages = [
        Page(
            number,
            600,
            800,
            72,
            [block("list_item", "Methods", y=20, marker="3."), block("text", f"Page {number} says.")],
        )
        for number in range(1, 6)
    ]
    whole = Whole()
    for page in pages:
        whole.look(page)
    first = whole.settle(pages[2]).blocks[0]
    assert (first.type, first.marker, first.text) == ("page_header", None, "3. Methods")
