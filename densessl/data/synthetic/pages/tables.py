"""Tables set in a width: with full grids, rules between rows, bands, or nothing but blanks between columns."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from densessl.data.synthetic.pages.blocks import Block
from densessl.data.synthetic.pages.cells import Row, Slot
from densessl.data.synthetic.pages.page import BLACK, WHITE, Cell, Colour, Page, Stroke, box, line, tint
from densessl.data.synthetic.pages.text import Line, Style, break_lines, set_lines


@dataclass
class Table(Block):
    """Rows in columns.

    look: grid, boxed, booktabs, lines, header, striped or bare. pad: free points at the left and right of a cell's
    text; tall: above and below. full: whether it takes the whole width. shares: of the columns' widths, if given.
    """

    rows: Sequence[Row] = ()
    columns: int = 0
    style: Style | None = None
    look: str = "grid"
    accent: Colour = BLACK
    pad: float = 4.0
    tall: float = 2.0
    full: bool = True
    thick: float = 0.5
    shares: Sequence[float] = ()
    _set: tuple[float, _Setting] | None = None

    def height(self, room: float) -> float:
        return self._setting(room).edges[-1]

    def split(self, room: float, height: float) -> tuple[Block, Block] | None:
        edges = self._setting(room).edges
        cut = next((row for row in range(len(self.rows) - 1, 3, -1) if edges[row] <= height), 0)
        while cut > 3 and any(
            place < cut < place + slot.rows for place, row in enumerate(self.rows) for slot in row.slots
        ):
            cut -= 1
        if cut <= 3 or len(self.rows) - cut < 2:
            return None
        head = replace(self, rows=self.rows[:cut], after=0.0, _set=None)
        header = [row for row in self.rows[:2] if row.kind == "header"]
        return head, replace(self, rows=[*header, *self.rows[cut:]], before=0.0, _set=None)

    def _setting(self, room: float) -> _Setting:
        if self._set is None or self._set[0] != room:
            self._set = room, _Setting(self, room)
        return self._set[1]

    def place(self, page: Page, x: float, y: float, room: float) -> None:
        setting = self._setting(room)
        left = x + (0.0 if self.full else (room - setting.sides[-1]) / 2)
        sides = [left + each for each in setting.sides]
        edges = [y + each for each in setting.edges]
        under, words, cells = [], [], []
        for place, row in enumerate(self.rows):
            fill, ink = self._paint(row, place)
            if fill is not None:
                under.append(box(sides[0], edges[place], sides[-1] - sides[0], edges[place + 1] - edges[place], fill))
            for slot, lines in setting.lines[place]:
                x0, x1 = sides[slot.column], sides[slot.column + slot.columns]
                y0, y1 = edges[place], edges[place + slot.rows]
                words += _cell(slot, lines, self.styled(slot, ink), (x0, y0, x1, y1), self.pad)
                last = place + slot.rows - 1, slot.column + slot.columns - 1
                area = x0, y0, x1 - x0, y1 - y0
                cells.append(Cell(place, slot.column, *last, area, slot.text, row.kind == "header"))
        text = "\n".join("\t".join(slot.text for slot in row.slots) for row in self.rows)
        strokes: list[Stroke] = [*under, *self._rules(sides, edges), *words]
        page.add("Table", strokes, text, cells=cells, rows=edges, columns=sides)

    def styled(self, slot: Slot, ink: Colour | None = None) -> Style:
        return replace(self.style, bold=self.style.bold or slot.bold, align=slot.align, colour=ink or self.style.colour)

    def _paint(self, row: Row, place: int) -> tuple[Colour | None, Colour | None]:
        """The background of a row and the colour of its words."""
        dark = sum(self.accent) < 1.6 and self.accent != BLACK
        if row.kind == "header" and self.look in ("header", "striped"):
            return (self.accent, WHITE) if dark else (tint(self.accent, 0.18), None)
        if row.kind in ("group", "total") and self.look in ("header", "grid") and self.thick > 0.45:
            return tint(self.accent, 0.1), None
        if self.look == "striped" and place % 2:
            return tint(self.accent, 0.09), None
        return None, None

    def _rules(self, sides: list[float], edges: list[float]) -> list[Stroke]:
        left, right, pen, thick = sides[0], sides[-1], self.accent, self.thick
        across = [line(left, y, right, y, pen, thick) for y in edges]
        heads = sum(row.kind == "header" for row in self.rows)
        if self.look == "grid":
            return self._grid(sides, edges)
        if self.look == "boxed":
            upright = [line(x, edges[0], x, edges[-1], pen, thick) for x in sides]
            return [across[0], across[heads], across[-1], *upright]
        if self.look == "booktabs":
            ends = [line(left, y, right, y, pen, 2 * thick) for y in (edges[0], edges[-1])]
            inner = [across[heads]] if heads else []
            if self.rows[-1].kind == "total":
                inner.append(across[-2])
            return [*ends, *inner, *self._braces(sides, edges)]
        if self.look in ("lines", "header"):
            return across
        if self.look == "bare" and self.rows[-1].kind == "total":
            # As in accounts: a line over and two under each sum.
            return [
                line(sides[slot.column] + self.pad, y, sides[slot.column + 1] - self.pad / 2, y, pen, thick)
                for slot in self.rows[-1].slots[1:]
                for y in (edges[-2], edges[-1] - 1.6, edges[-1])
            ]
        return []

    def _grid(self, sides: list[float], edges: list[float]) -> list[Stroke]:
        """The borders of all cells, those that span several drawn as one."""
        covered = {(row, column): None for row in range(len(self.rows)) for column in range(self.columns)}
        strokes: list[Stroke] = []
        for place, row in enumerate(self.rows):
            for slot in row.slots:
                for down in range(slot.rows):
                    for along in range(slot.columns):
                        covered.pop((place + down, slot.column + along), None)
                x0, x1 = sides[slot.column], sides[slot.column + slot.columns]
                y0, y1 = edges[place], edges[place + slot.rows]
                strokes.append(box(x0, y0, x1 - x0, y1 - y0, None, self.accent, self.thick))
        for row, column in covered:
            x0, x1, y0, y1 = sides[column], sides[column + 1], edges[row], edges[row + 1]
            strokes.append(box(x0, y0, x1 - x0, y1 - y0, None, self.accent, self.thick))
        return strokes

    def _braces(self, sides: list[float], edges: list[float]) -> list[Stroke]:
        """Lines under header cells that span columns."""
        return [
            line(
                sides[slot.column] + 3,
                edges[place + 1],
                sides[slot.column + slot.columns] - 3,
                edges[place + 1],
                self.accent,
                self.thick,
            )
            for place, row in enumerate(self.rows)
            if row.kind == "header"
            for slot in row.slots
            if slot.columns > 1
        ]


@dataclass
class _Setting:
    """A table at a width: sides of columns, edges of rows, the lines of each cell."""

    table: Table
    room: float
    sides: list[float] = field(default_factory=list)
    edges: list[float] = field(default_factory=list)
    lines: list[list[tuple[Slot, list[Line]]]] = field(default_factory=list)

    def __post_init__(self) -> None:
        widths = self._widths()
        self.sides = [sum(widths[:column]) for column in range(len(widths) + 1)]
        leading, tall = self.table.style.leading, self.table.tall
        heights = [leading + 2 * tall] * len(self.table.rows)
        for place, row in enumerate(self.table.rows):
            own = []
            for slot in row.slots:
                inside = sum(widths[slot.column : slot.column + slot.columns]) - 2 * self.table.pad
                style = self.table.styled(slot)
                room = max(inside - slot.indent * style.size, 1.5 * style.size)
                lines = break_lines(slot.text.split(" "), style, room) if slot.text else []
                own.append((slot, lines))
                if slot.rows == 1:
                    heights[place] = max(heights[place], len(lines) * leading + 2 * tall)
            self.lines.append(own)
        for place, own in enumerate(self.lines):
            for slot, lines in own:
                if slot.rows > 1:
                    lacking = len(lines) * leading + 2 * tall - sum(heights[place : place + slot.rows])
                    heights[place + slot.rows - 1] += max(0.0, lacking)
        self.edges = [sum(heights[:row]) for row in range(len(heights) + 1)]

    def _widths(self) -> list[float]:
        """Each column as wide as its widest text, wide ones cut down until all fit; spread where the table is full."""
        table = self.table
        if table.shares:
            return [self.room * share / sum(table.shares) for share in table.shares]
        wanted = [2.0 * table.style.size] * table.columns
        for row in table.rows:
            for slot in row.slots:
                if slot.columns == 1:
                    style = table.styled(slot)
                    wide = style.measure(slot.text) + slot.indent * style.size
                    # Headers may wrap where their column is narrow.
                    wanted[slot.column] = max(wanted[slot.column], wide * (0.62 if row.kind == "header" else 1.0))
        wanted = [each + 2 * table.pad + 0.5 for each in wanted]
        excess = sum(wanted) - self.room
        while excess > 0.01:
            widest = max(wanted)
            among = [column for column, each in enumerate(wanted) if each > widest - 0.01]
            below = max((each for each in wanted if each <= widest - 0.01), default=0.0)
            step = min(widest - below, excess / len(among))
            for column in among:
                wanted[column] -= step
            excess -= step * len(among)
        if table.full:
            # Most goes to the widest, so that columns of numbers and of "No." stay narrow.
            spare, total, widest = self.room - sum(wanted), sum(wanted), max(wanted)
            among = wanted.count(widest)
            wanted = [each + spare * (0.6 * each / total + 0.4 * (each == widest) / among) for each in wanted]
        return wanted


def _cell(slot: Slot, lines: list[Line], style: Style, area: tuple[float, ...], pad: float) -> list[Stroke]:
    """The words of a cell, in the middle of its height where it spans rows."""
    x0, y0, x1, y1 = area
    indent = slot.indent * style.size
    spare = (y1 - y0) - len(lines) * style.leading
    top = y0 + spare / 2
    return list(set_lines(lines, style, x0 + pad + indent, top, x1 - x0 - 2 * pad - indent))
