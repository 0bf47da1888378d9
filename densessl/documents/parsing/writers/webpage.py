"""HTML: a page that needs nothing but itself and its figures.

All of a document is text here: no element, attribute or style comes from it, and the content security policy, which
knows the style sheet by its hash, lets no script and nothing of another host in. Blocks bear the ids of the model, so
that #p3b7 leads to one; contents stand before the text where there are headings enough.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from html import escape

from densessl.documents.parsing.model import Block, Cell, Table
from densessl.documents.parsing.writers.base import clean, flat, register
from densessl.documents.parsing.writers.flow import Flow, Marker, heads, list_marker, numeric
from densessl.documents.parsing.writers.markdown import reference

CONTENTS, MANY = 3, 30  # headings from which on there is a list of them, and from which on it is folded
STYLE = """
:root{color-scheme:light}
body{margin:0 auto;max-width:44rem;padding:2.5rem 1.25rem 5rem;background:#fff;color:#1c1e21;
font:1.0625rem/1.6 Charter,"Bitstream Charter","Noto Serif",Georgia,serif;overflow-wrap:break-word}
h1,h2,h3,h4,h5,h6,nav,table,figcaption,caption,.page,header,footer{
font-family:system-ui,"Segoe UI",Roboto,"Noto Sans","DejaVu Sans",sans-serif}
h1,h2,h3,h4,h5,h6{line-height:1.25;margin:2em 0 .6em}
h1{font-size:1.9rem;margin-top:1em}h2{font-size:1.4rem}h3{font-size:1.15rem}h4,h5,h6{font-size:1rem}
p{margin:0 0 1em}
ul,ol{margin:0 0 1em;padding-left:1.7em}li>ul,li>ol{margin:0}li{margin:.2em 0}
ul.marked{list-style:none;padding-left:1em}.marker{color:#6a7079;margin-right:.4em}
figure{margin:1.8em 0;overflow-x:auto}img{display:block;max-width:100%;height:auto;margin:0 auto}
figcaption,caption,.caption{font-size:.9rem;color:#555b63;text-align:left}
figcaption{margin-top:.7em}caption{padding-bottom:.6em}
.scroll{overflow-x:auto;margin:1.8em 0;background:
linear-gradient(90deg,#fff 35%,#fff0) 0 0/3rem 100% no-repeat local,
linear-gradient(-90deg,#fff 35%,#fff0) 100% 0/3rem 100% no-repeat local,
linear-gradient(90deg,#1c1e2140,#1c1e2100) 0 0/1rem 100% no-repeat,
linear-gradient(-90deg,#1c1e2140,#1c1e2100) 100% 0/1rem 100% no-repeat}
.scroll:focus-visible{outline:2px solid #1a56a8;outline-offset:2px}
table{border-collapse:collapse;font-size:.9rem;line-height:1.4}
th,td{padding:.4em .8em;border:1px solid #d9dde2;text-align:left;vertical-align:top}
th{background:#3a516712;font-weight:600}.number{text-align:right;font-variant-numeric:tabular-nums}
pre{background:#f6f7f8;padding:.8em 1em;overflow-x:auto;border-radius:4px;font-size:.9rem}
aside{font-size:.88rem;color:#3f444b;border-left:2px solid #d9dde2;padding-left:.9em;margin:0 0 .8em}
header,footer{font-size:.8rem;color:#767c85;margin:0 0 1em}
.page{display:flex;gap:.8em;align-items:center;margin:2.2em 0;font-size:.75rem;color:#767c85}
.page::before,.page::after{content:"";flex:1;border-top:1px solid #e3e6ea}
.error{color:#a02c1c}
nav{margin:0 0 2.5em;padding:.8em 1.1em;background:#f6f7f8;border-radius:6px;font-size:.92rem}
nav summary{cursor:pointer;font-weight:600}nav ul{list-style:none;padding:0;margin:.6em 0 .2em}
nav a{color:#1a56a8;text-decoration:none}nav a:hover,nav a:focus{text-decoration:underline}
.l2{padding-left:1em}.l3{padding-left:2em}.l4,.l5,.l6{padding-left:3em}
@media print{nav{display:none}}
"""
_HASH = base64.b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()
# A file that is opened from a disk has no origin of its own, so that 'self' alone would hide its figures.
POLICY = f"default-src 'none'; style-src 'sha256-{_HASH}'; img-src 'self' file:; base-uri 'none'; form-action 'none'"


@register
class HtmlWriter(Flow):
    name, suffix = "html", ".html"

    def begin(self) -> None:
        super().begin()
        self._body, self._contents = self.spool(), self.spool()
        self._headings, self._title = 0, ""
        self._lists: list[str] = []  # the elements that are open, by depth

    def end(self) -> None:
        super().end()
        title = escape(self._title or flat(self.document.name))
        # The language is not known, which is what an empty one says.
        self.file.write('<!DOCTYPE html>\n<html lang="">\n<head>\n<meta charset="utf-8">\n')
        self.file.write(f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">\n')
        self.file.write('<meta name="viewport" content="width=device-width, initial-scale=1">\n')
        self.file.write(f"<title>{title}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n")
        if self._headings >= CONTENTS:
            shown = " open" if self._headings < MANY else ""
            self.file.write(f"<nav><details{shown}><summary>Contents</summary>\n<ul>\n")
            self.pour(self._contents)
            self.file.write("</ul>\n</details></nav>\n")
        self.file.write("<main>\n")
        self.pour(self._body)
        self.file.write("</main>\n</body>\n</html>\n")

    def page_break(self, number: int) -> None:
        self._write(f'<div class="page" id="page-{number}">Page {number}</div>')

    def failed(self, number: int, error: str) -> None:
        self._write(f'<p class="error" dir="auto">Page {number} could not be read: {_escaped(flat(error))}</p>')

    def item(self, block: Block, depth: int) -> None:
        marker = list_marker(block)
        kind, opening = _list_of(marker)
        self._close(depth + 1)
        if len(self._lists) == depth + 1:
            if self._lists[depth] == kind:
                self._write("</li>")
            else:
                self._close(depth)
        if len(self._lists) == depth:
            self._write(opening)
            self._lists.append(kind)
        value = "" if marker.number is None else f' value="{marker.number}"'
        shown = f'<span class="marker">{_escaped(marker.text)}</span>' if kind == "marked" else ""
        self._body.write(f'<li{_id(block)}{value} dir="auto">{shown}{_escaped(flat(block.text))}')

    def end_list(self) -> None:
        self._close(0)

    def table(self, block: Block, table: Table, captions: Sequence[Block]) -> None:
        # A wide table is scrolled, with the keyboard too; shadows at its sides say that it goes on there.
        name = escape(" ".join(["Table", *(flat(each.text) for each in captions[:1])]))
        self._write(f'<div class="scroll" tabindex="0" role="region" aria-label="{name}"><table{_id(block)}>')
        if captions:
            told = "<br>".join(f"<span{_id(each)}>{_escaped(flat(each.text))}</span>" for each in captions)
            self._write(f'<caption dir="auto">{told}</caption>')
        self._numeric, count = numeric(table), heads(table)
        if count:
            self._write("<thead>")
            self._rows(table, range(count), count)
            self._write("</thead>")
        self._write("<tbody>")
        self._rows(table, range(count, table.rows), count)

    def rows(self, table: Table) -> None:
        count = heads(table)
        self._rows(table, range(count, table.rows), count)

    def end_table(self) -> None:
        self._write("</tbody></table></div>")

    def figure(self, block: Block, captions: Sequence[Block]) -> None:
        if not block.figure and not block.text.strip() and not captions:
            return
        self._write(f"<figure{_id(block)}>")
        if block.figure:
            source, told = escape(reference(block.figure)), escape(flat(block.text))
            self._write(f'<img src="{source}" alt="{told}" loading="lazy">')
        elif block.text.strip():
            self._write(f'<p dir="auto">{_escaped(flat(block.text))}</p>')
        if captions:
            told = "<br>".join(f"<span{_id(each)}>{_escaped(flat(each.text))}</span>" for each in captions)
            self._write(f'<figcaption dir="auto">{told}</figcaption>')
        self._write("</figure>")

    def text(self, block: Block) -> None:
        text = flat(block.text)
        if not text.strip():
            return
        if block.type in ("title", "heading"):
            self._heading(block, text)
        elif block.type == "formula":
            lines = [flat(line.text) for line in block.lines] or [text]
            self._write(f"<pre{_id(block)}>{_escaped(chr(10).join(lines))}</pre>")
        elif block.type == "code":
            self._write(f"<pre{_id(block)}><code>{_escaped(block.text)}</code></pre>")
        else:
            tag, kind = _ELEMENTS.get(block.type, ("p", ""))
            self._write(f'<{tag}{_id(block)}{kind} dir="auto">{_escaped(text)}</{tag}>')

    def _heading(self, block: Block, text: str) -> None:
        level = min(block.level or (1 if block.type == "title" else 2), 6)
        self._write(f'<h{level}{_id(block)} dir="auto">{_escaped(text)}</h{level}>')
        link = f'<a href="#{escape(block.id)}" dir="auto">{_escaped(text)}</a>'
        self._contents.write(f'<li class="l{level}">{link}</li>\n')
        self._headings += 1
        self._title = self._title or (text if block.type == "title" else "")

    def _rows(self, table: Table, rows: range, count: int) -> None:
        """These rows, of which the first `count` of the table are heads; places that no cell has are empty cells."""
        starts = {(cell.row, cell.column): cell for cell in table.cells}
        taken = {
            (row, column)
            for cell in table.cells
            for row in range(cell.row, cell.row + cell.rows)
            for column in range(cell.column, cell.column + cell.columns)
        }
        for row in rows:
            cells = []
            for column in range(table.columns):
                if (row, column) in starts:
                    cells.append(self._cell(starts[row, column], row < count))
                elif (row, column) not in taken:
                    cells.append("<td></td>")
            self._write(f"<tr>{''.join(cells)}</tr>")

    def _cell(self, cell: Cell, head: bool) -> str:
        tag = "th" if cell.header else "td"
        scope = "" if not cell.header else f' scope="{"col" if head else "row"}"'
        spans = f' rowspan="{cell.rows}"' if cell.rows > 1 else ""
        spans += f' colspan="{cell.columns}"' if cell.columns > 1 else ""
        number = ' class="number"' if self._numeric[cell.column] and cell.columns == 1 else ""
        text = "<br>".join(_escaped(flat(line)) for line in clean(cell.text).strip().split("\n"))
        return f'<{tag}{scope}{spans}{number} dir="auto">{text}</{tag}>'

    def _close(self, depth: int) -> None:
        """Close lists until so many are open."""
        while len(self._lists) > depth:
            self._write(f"</li></{'ol' if self._lists.pop() == 'ol' else 'ul'}>")

    def _write(self, text: str) -> None:
        self._body.write(f"{text}\n")


_ELEMENTS = {
    "caption": ("p", ' class="caption"'),
    "footnote": ("aside", ""),
    "page_header": ("header", ""),
    "page_footer": ("footer", ""),
}


def _list_of(marker: Marker) -> tuple[str, str]:
    if marker.number is not None:
        return "ol", "<ol>"
    return ("marked", '<ul class="marked">') if marker.text else ("ul", "<ul>")


def _escaped(text: str) -> str:
    return escape(clean(text), quote=False)


def _id(block: Block) -> str:
    return f' id="{escape(block.id)}"'
