"""The records of many documents as COCO files: PubLayNet's five classes, DocLayNet's eleven, and tables' structure.

Files are written piece by piece from the documents' records, so that memory does not grow with their number.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from densessl.data.synthetic.pages.page import COARSE, DOCLAYNET, PUBLAYNET
from densessl.files import writing

Pages = Callable[[], Iterator[dict]]  # goes over all pages' entries, from the first, each time it is called


def fine(entry: dict) -> list[dict]:
    """DocLayNet's annotations of a page: each element by itself."""
    return [{"category_id": DOCLAYNET.index(element["kind"]) + 1, **_shape([element])} for element in entry["elements"]]


def coarse(entry: dict) -> list[dict]:
    """PubLayNet's annotations of a page: items of one list together; headers, footers and formulas not at all."""
    annotations, lists = [], {}
    for element in entry["elements"]:
        name = COARSE.get(element["kind"])
        if name == "list":
            lists.setdefault(element["group"], []).append(element)
        elif name is not None:
            annotations.append({"category_id": PUBLAYNET.index(name) + 1, **_shape([element])})
    annotations += [{"category_id": PUBLAYNET.index("list") + 1, **_shape(items)} for items in lists.values()]
    return annotations


def _shape(elements: list[dict]) -> dict[str, Any]:
    """Box, mask and area of one element or of several that are one thing."""
    x0 = min(each["bbox"][0] for each in elements)
    y0 = min(each["bbox"][1] for each in elements)
    x1 = max(each["bbox"][0] + each["bbox"][2] for each in elements)
    y1 = max(each["bbox"][1] + each["bbox"][3] for each in elements)
    masks = [each["segmentation"] for each in elements]
    if isinstance(masks[0], dict):
        from pycocotools import mask

        joined = masks[0] if len(masks) == 1 else mask.merge(masks)
        counts = joined["counts"]
        segmentation: Any = {
            "size": list(joined["size"]),
            "counts": counts if isinstance(counts, str) else counts.decode(),
        }
    else:
        segmentation = [polygon for each in masks for polygon in each]
    area = round(sum(each["area"] for each in elements), 2)
    return {"bbox": [x0, y0, x1 - x0, y1 - y0], "segmentation": segmentation, "area": area, "iscrowd": 0}


def write_coco(path: Path, pages: Pages, names: Iterable[str], annotate: Callable[[dict], list[dict]]) -> None:
    """Write a COCO file of all pages; image ids count from 1 in their order, annotation ids too."""
    categories = [{"id": place, "name": name} for place, name in enumerate(names, 1)]
    images = (
        {"id": number} | {key: value for key, value in entry.items() if key != "elements"}
        for number, entry in enumerate(pages(), 1)
    )
    _write(path, {"categories": categories}, {"images": images, "annotations": _numbered(pages, annotate)})


def write_tables(path: Path, pages: Pages) -> None:
    """Write the rows, columns and cells of all tables, with the `image_id` of `write_coco`."""

    def tables(entry: dict) -> list[dict]:
        return [{"bbox": each["bbox"], **each["table"]} for each in entry["elements"] if "table" in each]

    _write(path, {}, {"tables": _numbered(pages, tables)})


def _numbered(pages: Pages, annotate: Callable[[dict], list[dict]]) -> Iterator[dict]:
    count = 0
    for number, entry in enumerate(pages(), 1):
        for annotation in annotate(entry):
            count += 1
            yield {"id": count, "image_id": number, **annotation}


def _write(path: Path, whole: dict, streams: dict[str, Iterable[dict]]) -> None:
    """A JSON object, some of whose values are lists that are written one by one."""
    with writing(path) as temporary, open(temporary, "w", encoding="utf-8") as file:
        file.write("{" + "".join(f"{json.dumps(key)}: {json.dumps(value)}, " for key, value in whole.items()))
        for place, (key, items) in enumerate(streams.items()):
            file.write((", " if place else "") + f"{json.dumps(key)}: [")
            for number, item in enumerate(items):
                file.write((",\n" if number else "\n") + json.dumps(item, ensure_ascii=False))
            file.write("]")
        file.write("}\n")
