"""How a document looks: drawn once for each, so that its pages belong together and two documents hardly ever do."""

from __future__ import annotations

from dataclasses import dataclass

from densessl.data.synthetic.canvas import Dice
from densessl.data.synthetic.pages.fonts import FAMILIES, Family
from densessl.data.synthetic.pages.page import BLACK, Colour, colour, tint

SHEETS = {  # (width, height) in points
    "a4": (595.0, 842.0),
    "letter": (612.0, 792.0),
    "b5": (499.0, 709.0),
    "a5": (420.0, 595.0),
    "journal": (595.0, 780.0),
    "trade": (432.0, 648.0),
    "legal": (612.0, 1008.0),
}
ACCENTS = (
    "1f4e79 2e75b6 c00000 d86018 385723 7f6000 5b2c83 00677f 9b2335 404040 008080 b8860b 0b5345 154360 e4572e 6d6875"
)
INKS = "000000 000000 000000 1a1a1a 222222 231f20 2b2b2b 333333"


@dataclass
class Look:
    """Fonts, sizes in points, colours and habits of one document.

    leading: from baseline to baseline in sizes. margins: left, top, right, bottom. case: of headings. rule: under
    headings. above: whether captions stand over tables. labels: how a caption begins.
    """

    sheet: tuple[float, float]
    margins: tuple[float, float, float, float]
    columns: int
    gap: float
    body: Family
    head: Family
    size: float
    leading: float
    ink: Colour
    accent: Colour
    justify: bool
    indent: float
    between: float
    numbered: bool
    case: str
    heading: str
    grow: float
    rule: bool
    centred: bool
    above: bool
    caption: str
    stop: str
    bullet: str
    running: str
    table: str
    coloured: bool

    @property
    def line(self) -> float:
        return self.size * self.leading

    @property
    def width(self) -> float:
        """Of the page between its margins."""
        return self.sheet[0] - self.margins[0] - self.margins[2]

    @property
    def foot(self) -> float:
        """Where the margin at the bottom begins."""
        return self.sheet[1] - self.margins[3]

    @property
    def column(self) -> float:
        return (self.width - (self.columns - 1) * self.gap) / self.columns


def family(dice: Dice, code: str, names: str) -> Family:
    """One of the named families that has the letters of the language."""
    fitting = [FAMILIES[name] for name in names.split() if code in FAMILIES[name].languages]
    return dice.pick(fitting)


SERIFS = "times times stix modern serif book"
SANS = "helvetica helvetica dejavu narrow narrow vera modernsans"


def draw_look(
    dice: Dice,
    code: str,
    sheets: str,
    columns: tuple[int, ...],
    faces: str = "any",
    size: tuple[float, float] = (9, 11),
) -> Look:
    """A look within what a kind of document allows; `faces`: serif, sans or any."""
    sheet = SHEETS[dice.pick(sheets)]
    count = dice.pick(columns)
    serif = dice.chance({"serif": 0.95, "sans": 0.08}.get(faces, 0.5))
    body = family(dice, code, SERIFS if serif else SANS)
    head = body if dice.chance(0.55) else family(dice, code, SANS if serif or dice.chance(0.5) else SERIFS)
    across = sheet[0] / 595
    left = dice(42, 88) * across if count < 3 else dice(28, 48) * across
    right = left if dice.chance(0.75) else dice(36, 92) * across
    points = dice(*size) * (1 if count < 3 else 0.88)
    coloured = dice.chance(0.5)
    accent = colour(dice.pick(ACCENTS)) if coloured else BLACK
    spaced = dice.chance(0.5)
    return Look(
        sheet=sheet,
        margins=(left, dice(54, 92) * across, right, dice(52, 90) * across),
        columns=count,
        gap=dice(14, 28),
        body=body,
        head=head,
        size=points * body.scale,
        leading=dice(1.14, 1.42) if count > 1 else dice(1.16, 1.6),
        ink=colour(dice.pick(INKS)),
        accent=accent,
        justify=dice.chance(0.7 if serif else 0.45),
        indent=0.0 if spaced else dice(8, 20),
        between=dice(3, 9) if spaced else dice(0, 1.5),
        numbered=dice.chance(0.5),
        case=dice.pick(("as it is", "as it is", "as it is", "upper")),
        heading=dice.pick(("bold", "bold", "bold", "bold", "italic", "regular")),
        grow=dice(1.05, 1.6),
        rule=dice.chance(0.15),
        centred=dice.chance(0.15),
        above=dice.chance(0.7),
        caption=dice.pick(("bold", "bold", "regular", "italic", "upper", "none")),
        stop=dice.pick((".", ":", ".", " –", " |", "")),
        bullet=dice.pick("• • • – - ▪ * ○ >" if not body.plain else "- * -"),
        running=dice.pick(("none", "plain", "plain", "rule", "rule", "band", "inner", "tab")),
        table=dice.pick(
            ("booktabs", "booktabs", "grid", "grid", "bare", "striped", "lines", "lines", "header", "boxed")
        ),
        coloured=coloured,
    )


def pale(look: Look, dice: Dice) -> Colour:
    """A background that text can be read on."""
    return tint(look.accent, dice(0.06, 0.2)) if look.coloured else tint(BLACK, dice(0.05, 0.16))
