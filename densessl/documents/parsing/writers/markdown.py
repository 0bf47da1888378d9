"""Markdown: CommonMark with GitHub's tables.

What is shown is what the document says: characters that Markdown takes for syntax are escaped. Cells cannot span in
Markdown, and a table has one row of heads: each column's says all that stands above it, one below the other where there
are several, and the text of another cell that spans stands in its first place. Where no cell is a head, the first row
is. A formula is what stands on the page, letter by letter, between fences, as are the lines of code.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import PurePosixPath
from urllib.parse import quote

from densessl.documents.parsing.layout.text import BOXES
from densessl.documents.parsing.model import Block, Table
from densessl.documents.parsing.writers.base import clean, flat, register
from densessl.documents.parsing.writers.flow import Flow, Marker, heads, list_marker, numeric

# What is no syntax stays as it is: an asterisk between spaces, an underline between letters, & where no entity follows,
# < before a space, and the last dollar sign.
_INLINE = re.compile(r"[\\`\[~]|(?<! )\*|\*(?! )|(?<![^\W_])_|_(?![^\W_])|&(?=#?\w+;)|<(?! |$)|\$(?=.*\$)")
_START = re.compile(r"#{1,6}(?: |$)|>|[-+](?: |$)|-{3,}$")
_ORDERED = re.compile(r"\d{1,9}[.)](?: |$)")
_CLOSING = re.compile(r"#(?=#*$)")


@register
class MarkdownWriter(Flow):
    name, suffix = "md", ".md"

    def begin(self) -> None:
        super().begin()
        self._items: list[tuple[int, Marker]] = []  # of the list: where the text of the last item begins, by depth
        self._something = False

    def page_break(self, number: int) -> None:
        self._paragraph(f"<!-- page {number} -->")

    def failed(self, number: int, error: str) -> None:
        self._paragraph(f"*{escaped(f'Page {number} could not be read: {error}')}*")

    def item(self, block: Block, depth: int) -> None:
        marker, text = list_marker(block), flat(block.text)
        sign = "-" if marker.number is None else f"{marker.number}{marker.delimiter}"
        box = "" if not marker.text or marker.text not in BOXES else "[ ] " if marker.text == BOXES[0] else "[x] "
        if marker.number is None and marker.text and not box:  # and Markdown has no other
            text = f"{marker.text} {text}"
        begun = bool(self._items)
        siblings, self._items = self._items[depth : depth + 1], self._items[:depth]
        indent = self._items[-1][0] if self._items else 0
        # An item without text, and a number but 1, cannot follow a line of text right away.
        late = not siblings and (not text or marker.number not in (None, 1))
        if self._something and (not begun or late):
            self.file.write("\n")
        if siblings and _breaks_count(siblings[0][1], marker):
            self.file.write(f"{' ' * indent}<!-- -->\n")
        self.file.write(f"{' ' * indent}{sign} {box}{escaped(text)}".rstrip() + "\n")
        self._items.append((indent + len(sign) + 1, marker))
        self._something = True

    def end_list(self) -> None:
        self._items = []

    def table(self, block: Block, table: Table, captions: Sequence[Block]) -> None:
        for caption in captions:
            self.text(caption)
        first, others = _heads(table), table.grid()[max(1, heads(table)) :]
        rules = ("---:" if right else "---" for right in numeric(table))
        self._paragraph(f"{_row(first)}\n| {' | '.join(rules)} |")
        self.file.writelines(f"{_row(row)}\n" for row in others)

    def rows(self, table: Table) -> None:
        self.file.writelines(f"{_row(row)}\n" for row in table.grid()[heads(table) :])

    def end_table(self) -> None:
        pass

    def figure(self, block: Block, captions: Sequence[Block]) -> None:
        if block.figure:
            told = " ".join(filter(None, (flat(each.text) for each in captions))) or flat(block.text)
            self._paragraph(f"![{_inline(told, also=']')}]({reference(block.figure)})")
        elif block.text.strip():
            self._paragraph(escaped(block.text))
        for caption in captions:
            self.text(caption)

    def text(self, block: Block) -> None:
        text = escaped(block.text)
        if not text.strip():
            return
        if block.type in ("title", "heading"):
            level = block.level or (1 if block.type == "title" else 2)
            self._paragraph(f"{'#' * min(level, 6)} " + _CLOSING.sub(r"\#", _inline(flat(block.text))))
        elif block.type == "caption":
            self._paragraph(f"*{_inline(flat(block.text).strip())}*")
        elif block.type == "formula":
            self._paragraph(_fenced([flat(line.text) for line in block.lines] or [flat(block.text)]))
        elif block.type == "code":
            self._paragraph(_fenced(clean(block.text).split("\n")))
        else:
            self._paragraph(text)

    def _paragraph(self, text: str) -> None:
        self.file.write(f"\n{text}\n" if self._something else f"{text}\n")
        self._something = True


def escaped(text: str) -> str:
    """A paragraph of one line that shows this text."""
    text = _inline(flat(text))
    start = _ORDERED.match(text)
    if start:
        mark = start[0].rstrip()
        return f"{mark[:-1]}\\{mark[-1]}{text[len(mark) :]}"
    return f"\\{text}" if _START.match(text) else text


def reference(path: str) -> str:
    """A file beside the document's, as a link has it: it cannot lead to another host or scheme."""
    return quote(clean(PurePosixPath(path).as_posix()).lstrip("/"), safe="/")


def _inline(text: str, also: str = "") -> str:
    """The text with syntax escaped, and this character, which ends what the text stands in."""
    text = _INLINE.sub(r"\\\g<0>", text)
    return text.replace(also, f"\\{also}") if also else text


def _heads(table: Table) -> list[str]:
    """What stands above each column, from the top."""
    grid, count = table.grid(), heads(table)
    if not count:
        return grid[0] if grid else []
    above: list[list[str]] = [[] for _ in range(table.columns)]
    for cell in table.cells:
        if cell.row < count and cell.text:
            for column in range(cell.column, cell.column + cell.columns):
                above[column].append(cell.text)
    return ["\n".join(texts) for texts in above]


def _row(texts: Sequence[str]) -> str:
    cells = ("<br>".join(_inline(flat(line), also="|") for line in clean(text).strip().split("\n")) for text in texts)
    return f"| {' | '.join(cells)} |"


def _fenced(lines: Sequence[str]) -> str:
    longest = max((len(run) for line in lines for run in re.findall("`+", line)), default=0)
    fence = "`" * max(3, longest + 1)
    return "\n".join([fence, *lines, fence])


def _breaks_count(before: Marker, marker: Marker) -> bool:
    """Whether a number does not follow the one before, so that Markdown would count it away in the same list."""
    if before.number is None or marker.number is None or before.delimiter != marker.delimiter:
        return False
    return marker.number != before.number + 1
