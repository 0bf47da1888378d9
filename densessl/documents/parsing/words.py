"""Words of a page from the text layer of its PDF, where that says what the page shows."""

from __future__ import annotations

from densessl.data.pages.letters import BOLD, ITALIC, LETTERS
from densessl.data.pages.pdf import Deadly, Text
from densessl.data.sources import Source
from densessl.documents.parsing.model import Word

MEANINGLESS = 0.3  # of its letters: where nothing tells what more of them are, the layer is not used
SCAN = 0.7  # of a page: where pictures cover more, it may be a scan
MARGIN = 1 / 12  # of its width and height: what stands there on a scan can be a stamp of whoever offers it
FEW = 20  # letters within the margins: a scan that has less of them has not been read


def words_of(source: Source, index: int, notes: list[str] | None = None) -> list[Word] | None:
    """The words of the text layer of an image of a source, None where it has none that is of use.

    notes: as of `layer`. Raises `UnreadableImage`.
    """
    notes = [] if notes is None else notes
    try:
        text = source.text(index)
    except Deadly as error:  # the page may still be one that can be drawn
        notes.append(f"The text layer is not used: {error}.")
        return None
    return None if text is None else layer(text, notes)


def layer(text: Text, notes: list[str] | None = None) -> list[Word] | None:
    """The words of a text layer, in PDFium's order, None where `unfit` says so.

    An empty page has none, []. notes: gets a sentence on what a reader should know of them.
    """
    notes = [] if notes is None else notes
    reason = unfit(text)
    if reason:
        notes.append(f"The text layer is not used: {reason}.")
        return None
    if not text.words and text.drawn:
        return None
    if text.claimed > LETTERS:
        notes.append(f"Of the {text.claimed:,} letters and spaces of the page, the first {LETTERS:,} are read.")
    if 2 * text.hidden > text.letters:
        notes.append("The words are a hidden text layer beneath what the page shows, such as another OCR has written.")
    return [
        Word(string, (x0, y0, x1, y1), size, bool(flags & BOLD), bool(flags & ITALIC), pitch=pitch or None, turn=turn)
        for string, x0, y0, x1, y1, size, flags, pitch, turn in text.words
    ]


def unfit(text: Text) -> str | None:
    """Why a text layer does not say what its page shows, so that the page is better read by its looks; None if it does.

    Either its fonts do not tell what their letters are (more than `MEANINGLESS` of them), or the page is a scan
    (pictures cover `SCAN` of it) whose layer has fewer than `FEW` letters but for what stands in the margins.
    """
    if text.unknown > MEANINGLESS * text.letters:
        return f"nothing tells what {text.unknown:,} of its {text.letters:,} letters are"
    if text.words and text.pictures > SCAN and _within(text) < FEW:
        return f"the page is a scan, of which it has {text.letters:,} letters"
    return None


def _within(text: Text) -> int:
    """Letters of the words that do not stand in the margins."""
    width, height = text.size
    inner = (
        string
        for string, x0, y0, x1, y1, *_ in text.words
        if MARGIN <= (x0 + x1) / 2 / width <= 1 - MARGIN and MARGIN <= (y0 + y1) / 2 / height <= 1 - MARGIN
    )
    return sum(map(len, inner))
