"""COCO's detection format, as `densessl detect predict` writes it: boxes in pixels, and what stands in them.

https://cocodataset.org/#format-data, with `text`, `order` (of reading, from 0 on each page), `block` (the model's id),
`label` and `second` (the detector's best and second-best) beside what that has. A page's `file_name` is its document's,
and `page` its number.
"""

from __future__ import annotations

import json
from typing import Any

from densessl.documents.parsing.model import TYPES, Block, Page
from densessl.documents.parsing.writers.base import Writer, clean, register
from densessl.documents.parsing.writers.places import POINTS, pixels

_CATEGORY = {kind: number for number, kind in enumerate(TYPES, 1)}


@register
class CocoWriter(Writer):
    """Categories are `model.TYPES`; `bbox` is [x, y, width, height] in pixels at the page's dpi."""

    name, suffix = "coco", ".coco.json"

    def begin(self) -> None:
        categories = [{"id": number, "name": kind} for kind, number in _CATEGORY.items()]
        self.file.write(f'{{"info": {json.dumps({"description": clean(self.document.name)})},\n')
        self.file.write(f'"categories": {json.dumps(categories)},\n"annotations": [')
        self._images, self._pages, self._blocks = self.spool(), 0, 0

    def page(self, page: Page) -> None:
        width, height = pixels(page)
        self._images.write(",\n" if self._pages else "\n")
        self._pages += 1
        image = {"id": self._pages, "file_name": clean(self.document.name), "width": width, "height": height}
        self._images.write(json.dumps({**image, "page": page.number, "dpi": round(page.dpi, 3)}))
        for order, block in enumerate(page.blocks):
            self.file.write(",\n" if self._blocks else "\n")
            self._blocks += 1
            numbers = {"id": self._blocks, "image_id": self._pages}
            self.file.write(json.dumps({**numbers, **_annotation(block, page), "order": order}, ensure_ascii=False))

    def end(self) -> None:
        self.file.write('],\n"images": [')
        self.pour(self._images)
        self.file.write("]}\n")


def _annotation(block: Block, page: Page) -> dict[str, Any]:
    scale = page.dpi / POINTS
    x0, y0, x1, y1 = (each * scale for each in block.bbox)
    box = [round(each, 2) for each in (x0, y0, x1 - x0, y1 - y0)]
    entry: dict[str, Any] = {"category_id": _CATEGORY[block.type], "bbox": box, "area": round(box[2] * box[3], 2)}
    entry |= {"iscrowd": 0, "block": block.id, "text": clean(block.text)}
    if block.score is not None:
        entry["score"] = round(block.score, 4)
    if block.label is not None:
        entry["label"] = clean(block.label)
    if block.second is not None:
        entry["second"] = [clean(block.second[0]), round(block.second[1], 4)]
    return entry
