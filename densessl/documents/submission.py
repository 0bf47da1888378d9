"""What is handed in to cTDaR's official measuring tool, so that anybody can run it on the same detections.

    python evaluate.py -trackA detections.tar.gz

in a clone of it, with the files of `write_truth` in its folder annotations/trackA. On Python 3.10 or newer its line
`from collections import Iterable` has to read `from collections.abc import Iterable`.
"""

from __future__ import annotations

import io
import os
import tarfile
from collections.abc import Sequence
from pathlib import Path
from xml.sax.saxutils import quoteattr

import numpy as np

from densessl.documents.average_precision import check_detections
from densessl.documents.detections import Detections
from densessl.documents.pages import LabelledPages
from densessl.documents.weighted_f1 import SCORE, marked_tables, whole_boxes
from densessl.errors import UserError
from densessl.files import output_folder, write_text, writing


def write_submission(
    path: str | Path, pages: LabelledPages, detections: Detections, *, score: float = SCORE, table: str = "table"
) -> int:
    """Write a .tar.gz with an XML file for each page that has a table of at least this score; returns how many.

    Boxes are cut to whole pixels; pages without a table have no file, as DiT has it. Raises `UserError` for another
    suffix, or two pages of the same name.
    """
    if not str(path).endswith(".tar.gz"):
        raise UserError(f"{path} is to be a .tar.gz, which is what the official tool reads: name it so.")
    check_detections(pages, detections)
    kind = pages.class_index(table)
    chosen = detections[(detections.classes == kind) & (detections.scores >= score)]
    names, written = _names(pages), 0
    with writing(path) as temporary, tarfile.open(temporary, "w:gz") as archive:
        for index, name in enumerate(names):
            boxes = whole_boxes(chosen.on(index))
            if boxes:
                corners = [np.array([[x0, y0], [x0, y1], [x1, y1], [x1, y0]]) for x0, y0, x1, y1 in boxes]
                content = _document(pages.source.name(index), corners).encode("utf-8")
                entry = tarfile.TarInfo(f"{name}.xml")
                entry.size = len(content)
                archive.addfile(entry, io.BytesIO(content))
                written += 1
    return written


def write_truth(folder: str | Path, pages: LabelledPages, *, table: str = "table") -> None:
    """Write the marked tables of each page as XML, without cells, at those of the supplement the tool fails.

    Raises `UserError` for two pages of the same name.
    """
    folder, kind = output_folder(folder), pages.class_index(table)
    for index, name in enumerate(_names(pages)):
        content = _document(pages.source.name(index), marked_tables(pages, index, kind))
        write_text(Path(folder) / f"{name}.xml", content)


def _names(pages: LabelledPages) -> list[str]:
    names = [os.path.splitext(os.path.basename(pages.source.name(index)))[0] for index in range(len(pages))]
    if len(set(names)) < len(names):
        twice = next(name for place, name in enumerate(names) if name in names[:place])
        raise UserError(
            f"{pages.name} has several pages {twice}, of which the official tool can tell one: rename them."
        )
    return names


def _document(name: str, polygons: Sequence[np.ndarray]) -> str:
    tables = []
    for place, polygon in enumerate(polygons, start=1):
        points = " ".join(f"{int(x)},{int(y)}" for x, y in polygon)
        tables.append(f'  <table id="{place}">\n    <Coords points="{points}"/>\n  </table>\n')
    heading = f"<?xml version='1.0' encoding='UTF-8'?>\n<document filename={quoteattr(os.path.basename(name))}>\n"
    return f"{heading}{''.join(tables)}</document>\n"
