"""What stands in generated tables: columns of a kind, header rows with spans, groups of rows, totals."""

from __future__ import annotations

from dataclasses import dataclass, field

from densessl.data.synthetic.canvas import Dice
from densessl.data.synthetic.pages.words import Writer

NUMBERS = "whole decimal percent money change pair"
KINDS = "whole whole decimal decimal percent money money change pair date code word word mark range year"


@dataclass
class Slot:
    """A cell before it has a place: its text, columns and rows that it spans, alignment, weight, indent in ems."""

    text: str
    column: int
    columns: int = 1
    rows: int = 1
    align: str = "left"
    bold: bool = False
    indent: float = 0.0


@dataclass
class Row:
    """kind: header, body, group (a heading within the table) or total."""

    kind: str
    slots: list[Slot] = field(default_factory=list)


def value(kind: str, writer: Writer, dice: Dice, scale: int) -> str:
    """The text of a body cell; numbers of one column have about `scale` digits."""
    if dice.chance(0.03):
        return dice.pick("- – n/a . 0" if kind != "long" else "- –")
    if kind == "whole":
        return writer.number(max(1, scale + dice.whole(-1, 0)), 0)
    if kind == "decimal":
        return writer.number(max(1, scale // 2), 2 if scale % 2 else 1)
    if kind == "percent":
        return writer.number(dice.whole(1, 2), 1) + (" %" if writer.language.comma == "," else "%")
    if kind == "money":
        text = writer.number(scale + dice.whole(0, 1), 2 if scale < 4 else 0)
        return f"({text})" if dice.chance(0.12) else text
    if kind == "change":
        return dice.pick("+ - + −") + writer.number(dice.whole(1, 2), 1)
    if kind == "pair":
        return f"{writer.number(max(1, scale // 2), 2)} ± {writer.number(1, 2)}"
    if kind == "date":
        return writer.date()
    if kind == "code":
        return writer.code_number()
    if kind == "mark":
        return dice.pick("x x - + ++ A B C 1 2") if dice.chance(0.8) else ""
    if kind == "range":
        low = dice.whole(1, 60)
        return f"{low}–{low + dice.whole(1, 40)}"
    if kind == "year":
        return str(dice.whole(1990, 2025))
    if kind == "long":
        return " ".join(writer.sentences(dice.whole(1, 2))) if dice.chance(0.7) else writer.phrase(2, 6)
    return writer.phrase(1, 2)


def head_of(kind: str, writer: Writer, dice: Dice, years: int) -> str:
    if kind in NUMBERS and dice.chance(0.4):
        return str(years)
    unit = dice.pick(("(%)", "(EUR)", "[kg]", "(n)", "[mm]", "(2019)")) if kind in NUMBERS and dice.chance(0.2) else ""
    return f"{writer.phrase(1, 2)} {unit}".strip()


def draw_rows(writer: Writer, dice: Dice, columns: int, rows: int, wordy: bool = False) -> tuple[list[str], list[Row]]:
    """The kind of each column, and about `rows` rows; `wordy` tables hold texts in the place of numbers."""
    kinds = ["label"] + [dice.pick(KINDS) for _ in range(columns - 1)]
    if wordy:
        kinds = ["label"] + [dice.pick("long long word code") for _ in range(columns - 1)]
    elif dice.chance(0.45):
        # A table of one kind of numbers, as accounts and measurements are.
        same = dice.pick("whole decimal money money percent pair")
        kinds[1:] = [same] * (columns - 1)
    scales = [dice.whole(1, 5) for _ in kinds]
    centre = dice.chance(0.3)
    aligns = ["left"] + [
        "centre" if centre or kind == "mark" else "right" if kind in NUMBERS else "left" for kind in kinds[1:]
    ]
    numbered = columns > 2 and dice.chance(0.18)
    if numbered:
        kinds[:2], aligns[:2] = ["index", "label"], ["left", "left"]
    table = _header(writer, dice, kinds, aligns) if dice.chance(0.92) else []
    grouped, merged = dice.chance(0.3), not numbered and columns > 2 and dice.chance(0.18)
    label_words = dice.pick(((1, 2), (1, 3), (2, 5), (3, 9)))
    total, span, body = dice.chance(0.35), 0, 0
    indent = 0.0
    while body < rows:
        if grouped and body < rows - 1 and (body == 0 or dice.chance(0.18)):
            words = Slot(
                writer.phrase(1, 4), 0, columns, bold=dice.chance(0.7), align=dice.pick(("left", "left", "centre"))
            )
            table.append(Row("group", [words]))
            indent = dice.pick((0.0, 0.9))
        row = Row("body")
        for column, kind in enumerate(kinds):
            if merged and column == 0:
                if span == 0:
                    span = min(rows - body, dice.whole(1, 4))
                    row.slots.append(Slot(writer.phrase(*label_words), 0, rows=span))
                span -= 1
            elif kind == "index":
                row.slots.append(Slot(f"{body + 1}.", column))
            elif kind == "label":
                text = writer.phrase(*label_words)
                row.slots.append(Slot(text, column, indent=indent))
            else:
                text = value(kind, writer, dice, scales[column])
                row.slots.append(Slot(text, column, align=aligns[column]))
        table.append(row)
        body += 1
    if total and any(kind in NUMBERS for kind in kinds):
        slots = [Slot(writer.label["total"], 1 if numbered else 0, bold=True)]
        slots += [
            Slot(value(kind, writer, dice, scales[column] + 1), column, align=aligns[column], bold=True)
            for column, kind in enumerate(kinds)
            if kind in NUMBERS
        ]
        table.append(Row("total", slots))
    return kinds, table


def _header(writer: Writer, dice: Dice, kinds: list[str], aligns: list[str]) -> list[Row]:
    """One header row, or two of which the upper one's cells span columns."""
    bold, year = dice.chance(0.7), dice.whole(2005, 2024)
    lower, columns = Row("header"), len(kinds)
    empty = dice.chance(0.25)
    for column, kind in enumerate(kinds):
        text = "" if column == 0 and empty else "No." if kind == "index" else head_of(kind, writer, dice, year - column)
        align = "centre" if aligns[column] == "right" and dice.chance(0.15) else aligns[column]
        lower.slots.append(Slot(text, column, align=align, bold=bold))
    if columns < 4 or dice.chance(0.7):
        return [lower]
    upper, column = Row("header"), 1
    upper.slots.append(Slot(lower.slots[0].text, 0, rows=2, bold=bold))
    lower.slots.pop(0)
    while column < columns:
        span = min(columns - column, dice.whole(2, 3))
        upper.slots.append(Slot(writer.phrase(1, 3), column, span, align="centre", bold=bold))
        column += span
    return [upper, lower]
