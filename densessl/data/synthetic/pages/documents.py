"""A document of a seed: what kind it is, its language, its pages."""

from __future__ import annotations

from dataclasses import dataclass

from densessl.data.synthetic.canvas import Dice
from densessl.data.synthetic.pages import fonts, office, reading, shows, trade
from densessl.data.synthetic.pages.page import Page
from densessl.data.synthetic.pages.words import Writer

KINDS = {  # maker, share of the documents, pages at least and at most
    "article": (reading.article, 16, 1, 4),
    "report": (reading.report, 15, 1, 4),
    "accounts": (reading.accounts, 14, 1, 4),
    "book": (reading.book, 12, 1, 4),
    "law": (reading.law, 11, 1, 4),
    "magazine": (reading.magazine, 6, 1, 3),
    "manual": (reading.manual, 7, 1, 3),
    "tables": (reading.tables, 9, 1, 2),
    "letter": (office.letter, 6, 1, 1),
    "form": (office.form, 8, 1, 1),
    "invoice": (trade.invoice, 7, 1, 1),
    "receipt": (trade.receipt, 4, 1, 1),
    "slides": (shows.slides, 6, 1, 4),
    "cover": (shows.cover, 6, 1, 1),
    "leaflet": (shows.leaflet, 5, 1, 1),
}
LANGUAGES = {"en": 45, "pl": 28, "de": 11, "fr": 7, "ru": 6, "el": 3}


@dataclass(frozen=True)
class Plan:
    """What is drawn of a document before it is made: its kind, its language, how many pages it has."""

    kind: str
    language: str
    pages: int


def plan(seed: int, number: int, kinds: tuple[str, ...] = (), languages: tuple[str, ...] = ()) -> Plan:
    """Of document `number` (from 0) of this seed; of all kinds and languages unless some are given."""
    dice = Dice(seed, stream=2 * number)
    kind = _weighted(dice, {name: KINDS[name][1] for name in kinds or KINDS})
    language = _weighted(dice, {name: LANGUAGES[name] for name in languages or LANGUAGES})
    return Plan(kind, language, dice.whole(*KINDS[kind][2:]))


def pages(seed: int, number: int, plan: Plan) -> list[Page]:
    """The pages of document `number`, as many as planned."""
    fonts.register()
    dice = Dice(seed, stream=2 * number + 1)
    return KINDS[plan.kind][0](dice, Writer(plan.language, dice), plan.pages)


def _weighted(dice: Dice, shares: dict[str, int]) -> str:
    draw = dice() * sum(shares.values())
    for name, share in shares.items():
        draw -= share
        if draw < 0:
            return name
    return name
