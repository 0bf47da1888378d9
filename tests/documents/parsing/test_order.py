import itertools

import pytest

from densessl.documents.parsing.layout.order import by_columns, reading_order, tau
from tests.documents.parsing.setting import shuffled

WIDTH, HEIGHT = 600.0, 800.0


def in_order(*blocks):
    """The names of (name, box) in reading order, given in another order; the type is what a name begins with."""
    mixed = shuffled(list(blocks), 1)
    types = [name.split(".")[0] for name, _ in mixed]
    return [mixed[place][0] for place in reading_order([box for _, box in mixed], types, WIDTH)]


def stack(x0, x1, heights, top=100.0, gap=10.0, name="text"):
    blocks = []
    for number, height in enumerate(heights):
        blocks.append((f"{name}.{x0}.{number}", (x0, top, x1, top + height)))
        top += height + gap
    return blocks


def names(blocks):
    return [name for name, _ in blocks]


def test_one_column_is_read_from_top_to_bottom():
    blocks = stack(50, 550, [50, 80, 30, 120])
    assert in_order(*blocks) == names(blocks)


@pytest.mark.parametrize("columns", [[(50, 290), (310, 550)], [(50, 200), (215, 365), (380, 550)]])
def test_columns_are_read_one_by_one_although_their_gaps_meet(columns):
    blocks = [block for left, right in columns for block in stack(left, right, [100, 100, 100])]
    assert in_order(*blocks) == names(blocks)


def test_a_title_and_a_figure_across_the_columns_part_what_is_above_from_what_is_below():
    title = ("title.0", (150, 40, 450, 70))
    upper = [*stack(50, 290, [80, 60]), *stack(310, 550, [60, 80])]
    figure = [("figure.0", (50, 260, 550, 400)), ("caption.0", (200, 405, 400, 415))]
    lower = [*stack(50, 290, [100, 70], top=430), *stack(310, 550, [50, 120], top=430)]
    blocks = [title, *upper, *figure, *lower]
    assert in_order(*blocks) == names(blocks)


def test_a_figure_over_two_of_three_columns_comes_before_them_and_after_the_first():
    first = stack(50, 200, [200, 200])
    figure = ("figure.0", (215, 100, 550, 250))
    rest = [*stack(215, 365, [120, 110], top=260), *stack(380, 550, [90, 140], top=260)]
    assert in_order(*first, figure, *rest) == names([*first, figure, *rest])


def test_running_headers_come_first_footnotes_and_footers_last():
    header, footer = ("page_header.0", (400, 20, 550, 30)), ("page_footer.0", (290, 770, 310, 780))
    left, right = stack(50, 290, [300, 250]), stack(310, 550, [200, 400])
    notes = [("footnote.0", (50, 700, 290, 720)), ("footnote.1", (310, 730, 550, 740))]
    assert in_order(header, *left, *right, *notes, footer) == names([header, *left, *right, *notes, footer])


def test_a_footnote_under_a_table_stays_with_it():
    blocks = [("table.0", (50, 100, 550, 300)), ("footnote.0", (50, 305, 300, 315)), *stack(50, 550, [200], top=340)]
    assert in_order(*blocks) == names(blocks)


def test_notes_in_the_margin_follow_what_they_stand_beside():
    body = stack(50, 420, [150, 150, 150])
    notes = [("text.note", (440, 270, 560, 320)), ("text.other", (440, 330, 560, 350))]
    assert in_order(*body, *notes) == [*names(body[:2]), "text.note", "text.other", body[2][0]]


def test_a_heading_over_two_columns_begins_them_anew():
    upper = [*stack(50, 290, [100]), *stack(310, 550, [100])]
    lower = [*stack(50, 290, [100], top=260), *stack(310, 550, [100], top=260)]
    blocks = [*upper, ("heading.0", (50, 225, 200, 245)), *lower]
    assert in_order(*blocks) == names(blocks)


def test_a_heading_within_a_column_does_not():
    left = [*stack(50, 290, [100]), ("heading.0", (50, 225, 200, 245)), ("text.under", (50, 260, 290, 400))]
    right = [*stack(310, 550, [140], top=100), *stack(310, 550, [140], top=260)]
    assert in_order(*left, *right) == names([*left, *right])


def test_terms_and_what_they_mean_are_read_row_by_row():
    rows = [
        block
        for row in range(4)
        for block in ((f"text.term{row}", (50, 100 + 60 * row, 120, 110 + 60 * row)),
                      (f"text.meaning{row}", (150, 100 + 60 * row, 550, 145 + 60 * row)))
    ]  # fmt: skip
    assert in_order(*rows) == names(rows)


def test_what_nothing_divides_is_in_the_order_all_the_same():
    pinwheel = [(0, 0, 60, 30), (70, 0, 100, 60), (40, 70, 100, 100), (0, 40, 30, 100), (25, 20, 80, 90)]
    for boxes in itertools.permutations([tuple(4.0 * each for each in box) for box in pinwheel]):
        assert sorted(reading_order(boxes, ["text"] * 5, WIDTH)) == [0, 1, 2, 3, 4]


def test_neighbours_whose_boxes_overlap_a_little_are_read_as_if_they_did_not():
    blocks = [*stack(50, 302, [100, 100], gap=-3), *stack(300, 550, [100, 100], gap=-3)]
    assert in_order(*blocks)[0] == blocks[0][0]
    apart = [*stack(50, 294, [100, 100], gap=-3), *stack(300, 550, [100, 100], gap=-3)]
    assert in_order(*apart) == names(apart)


def test_lines_of_columns_are_read_as_columns():
    boxes = [(x, 12.0 * row, x + 100, 12.0 * row + 10) for x in (0, 120) for row in range(5)]
    mixed = shuffled(list(range(10)))
    assert [mixed[place] for place in by_columns([boxes[each] for each in mixed])] == list(range(10))


def test_what_has_nothing_beside_it_is_no_column():
    blocks = [
        ("heading.1", (72, 100, 150, 115)),
        ("text.1", (72, 125, 190, 137)),
        ("table.1", (230, 150, 400, 220)),
        ("text.2", (72, 235, 200, 247)),
        ("heading.2", (72, 260, 160, 275)),
        ("table.2", (230, 290, 400, 360)),
    ]
    assert in_order(*blocks) == names(blocks)


def test_kendalls_tau_is_that_of_scipy():
    stats = pytest.importorskip("scipy.stats")
    for seed in range(5):
        order = shuffled(list(range(9)), seed)
        assert tau(order) == pytest.approx(stats.kendalltau(range(9), order).statistic)
    assert tau([0]) == 1.0


def test_a_title_that_ends_over_the_gutter_stands_above_both_columns():
    title, chart = (57, 82, 312, 102), (326, 158, 494, 273)
    left = [(57, 154, 139, 163), (56, 173, 288, 245), (56, 255, 135, 264), (56, 274, 288, 344)]
    right = [(307, 288, 538, 307), (308, 320, 414, 329), (308, 339, 539, 411)]
    types = ["title", "heading", "text", "heading", "text", "figure", "caption", "heading", "text"]
    assert reading_order([title, *left, chart, *right], types, 595) == list(range(9))
