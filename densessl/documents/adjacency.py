"""How well the structure of a table was read: adjacency relations, as ICDAR 2013's table competition has them.

Göbel, Hassan, Oro and Orsi, "A methodology for evaluating algorithms for table understanding in PDF documents",
DocEng 2012: of each cell that is not blank, its nearest neighbour to the right and below, blank cells passed over. A
relation is two texts and a direction; a relation that was found is right if the truth has it, as often as the truth has
it. Precision and recall are of all relations of all tables together (their "micro" average).

A cell that spans rows has a neighbour in each of its rows, each cell once. Texts are compared without blanks.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from densessl.documents.parsing.model import Cell, Table

Relation = tuple[str, str, str]  # texts of a cell and its neighbour, "right" or "below"


@dataclass(frozen=True)
class Adjacency:
    """correct: relations that are found and true. found, true: how many there are. Shares are 0 of nothing."""

    correct: int
    found: int
    true: int

    @property
    def precision(self) -> float:
        return self.correct / self.found if self.found else 0.0

    @property
    def recall(self) -> float:
        return self.correct / self.true if self.true else 0.0

    @property
    def f1(self) -> float:
        return 2 * self.correct / (self.found + self.true) if self.found + self.true else 0.0


def adjacency(found: Table | None, true: Table) -> Adjacency:
    """Of one table; None where none was found."""
    ours = relations(found) if found is not None else Counter()
    theirs = relations(true)
    return Adjacency((ours & theirs).total(), ours.total(), theirs.total())


def over_tables(each: Iterable[Adjacency]) -> Adjacency:
    """The relations of all tables together."""
    each = list(each)
    return Adjacency(*(sum(getattr(one, name) for one in each) for name in ("correct", "found", "true")))


def relations(table: Table) -> Counter[Relation]:
    """The relations of a table, and how often it has each."""
    places: dict[tuple[int, int], Cell] = {}
    for cell in table.cells:
        for row in range(cell.row, cell.row + cell.rows):
            for column in range(cell.column, cell.column + cell.columns):
                places[row, column] = cell
    found: Counter[Relation] = Counter()
    for cell in table.cells:
        if not _plain(cell.text):
            continue
        rights = {
            id(other): other
            for row in range(cell.row, cell.row + cell.rows)
            if (other := _nearest(places, [(row, at) for at in range(cell.column + cell.columns, table.columns)]))
        }
        belows = {
            id(other): other
            for column in range(cell.column, cell.column + cell.columns)
            if (other := _nearest(places, [(at, column) for at in range(cell.row + cell.rows, table.rows)]))
        }
        for direction, others in (("right", rights), ("below", belows)):
            found.update((_plain(cell.text), _plain(other.text), direction) for other in others.values())
    return found


def _nearest(places: dict[tuple[int, int], Cell], way: list[tuple[int, int]]) -> Cell | None:
    """The first cell on the way that is not blank."""
    return next((places[at] for at in way if at in places and _plain(places[at].text)), None)


def _plain(text: str) -> str:
    return "".join(text.split())
