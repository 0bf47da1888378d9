"""Pages whose objects stand in one COCO file: a user's own, PubLayNet and DocLayNet.

Format: https://cocodataset.org/#format-data. `images` need id, file_name, width and height, `categories` id and name,
`annotations` image_id, category_id and bbox [x, y, width, height]. Classes are numbered in the order of category ids,
as detectron2 has it. `ignore`: an object that need not be found. What a page is from: `document`, or DocLayNet's
`doc_name`.
"""

from __future__ import annotations

import json
import math
import os
import re
from collections.abc import Callable, Sequence
from pathlib import Path

from densessl.data.images import MAX_PIXELS
from densessl.data.sources import files, splits
from densessl.data.sources.layout import Layout
from densessl.documents import problems as kinds
from densessl.documents.pages import LabelledPages, Shape
from densessl.documents.problems import Problems
from densessl.documents.sets.draft import Draft, Options, by_prefix
from densessl.documents.sets.masks import filled_runs, polygons
from densessl.errors import UserError

HOW = "put the pages into its folder images and their boxes as COCO into its file annotations.json"
PUBLAYNET_HOW = (
    "fetch publaynet.tar.gz as https://github.com/ibm-aur-nlp/PubLayNet says and unpack it there, so that it holds the "
    "folder publaynet with train.json, val.json and the folders train and val"
)
DOCLAYNET_HOW = (
    "fetch DocLayNet_core.zip as https://github.com/DS4SD/DocLayNet says and unpack it there, so that it holds the "
    "folders COCO, with train.json, val.json and test.json, and PNG"
)
PUBLAYNET = ("text", "title", "list", "table", "figure")
# fmt: off
DOCLAYNET = (
    "Caption", "Footnote", "Formula", "List-item", "Page-footer", "Page-header", "Picture", "Section-header", "Table",
    "Text", "Title",
)
# fmt: on
SIDES = ("width", "height")
ARTICLE = re.compile(r"(PMC\d+)_").match  # PMC3576793_00004.jpg


def open_coco(root: str, split: str | None, options: Options) -> LabelledPages:
    """root: a COCO file, or a folder with annotations.json (or SPLIT.json, or annotations/SPLIT.json) and images.

    Images lie in `options.images`, else in the folder images (or images/SPLIT, or SPLIT) beside the file or beside its
    folder, else beside the file itself.
    """
    if os.path.isfile(root):
        return read_coco(root, os.path.splitext(os.path.basename(root))[0], options)
    layout = Layout(root, "a folder of pages with COCO boxes", HOW)
    if split is None:
        known = (
            [name[:-5] for name in files.walk(root) if name.endswith(".json") and splits.is_split(name[:-5])]
            if (os.path.isdir(root))
            else []
        )
        split = splits.choose(known, None, root)[0] if known else None
    if split is None:
        path = layout.file("annotations.json", "annotations/annotations.json")
    else:
        path = layout.file(f"{split}.json", f"annotations/{split}.json", f"annotations/instances_{split}.json")
    return read_coco(path, os.path.basename(os.path.abspath(root)), options, split=split)


def open_publaynet(root: str, split: str | None, options: Options) -> LabelledPages:
    """root: the folder publaynet, or one that holds it."""
    layout = Layout(root, "PubLayNet", PUBLAYNET_HOW).below("publaynet")
    (split,) = splits.choose(["train", "val"], split, layout.title)
    path, folder = layout.file(f"{split}.json"), layout.folder(split)
    return read_coco(path, "publaynet", options, folder=folder, expected=PUBLAYNET, document=by_prefix(ARTICLE))


def open_doclaynet(root: str, split: str | None, options: Options) -> LabelledPages:
    """root: what DocLayNet_core.zip unpacks to, or a folder that holds it as DocLayNet_core."""
    layout = Layout(root, "DocLayNet", DOCLAYNET_HOW).below("DocLayNet_core", "DocLayNet")
    (split,) = splits.choose(["train", "val", "test"], split, layout.title)
    path, folder = layout.file(f"COCO/{split}.json"), layout.folder("PNG")
    return read_coco(path, "doclaynet", options, folder=folder, expected=DOCLAYNET)


def read_coco(
    path: str,
    name: str,
    options: Options,
    *,
    folder: str | None = None,
    split: str | None = None,
    expected: Sequence[str] | None = None,
    document: Callable[[str], str | None] | None = None,
) -> LabelledPages:
    """The pages of one COCO file. name: of the set. folder: of the images, searched for where it is not given.

    expected: the classes that the set is published with, in their order. document: from an image's name to what it is
    from, where the file itself does not say. Raises `UserError` with all that is wrong with it.
    """
    content = _content(path, options.masks)
    draft = Draft(Problems(path), "annotation")
    classes, numbers = _categories(content["categories"], draft.problems)
    if expected is not None and [each.lower() for each in classes] != [each.lower() for each in expected]:
        raise UserError(
            f"{path} has the classes {', '.join(classes)}, and {name} is published with {', '.join(expected)}: fetch "
            "it anew, or open a file of your own as coco."
        )
    pages = _images(content["images"], draft, document)
    _annotations(content["annotations"], pages, numbers, draft, options)
    folder = str(options.images or folder or _folder(path, split, draft.names))
    return draft.finish(name, folder, expected or classes, options)


def _content(path: str, masks: bool) -> dict:
    try:
        content = json.loads(Path(path).read_bytes(), object_hook=_slim if masks else _without_mask)
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"{path} cannot be read as JSON: {error}; fetch or write it anew.") from None
    keys = ("images", "categories", "annotations")
    if not isinstance(content, dict) or not all(isinstance(content.get(key), list) for key in keys):
        raise UserError(f"{path} is no COCO file: it needs the lists {', '.join(keys)}; write them.")
    if not content["images"] or not content["categories"]:
        missing = "images" if not content["images"] else "categories"
        raise UserError(f"{path} lists no {missing}: write them into it.")
    return content


def _without_mask(entry: dict) -> dict:
    """Called while the file is read: lists of numbers are nine tenths of a large one's memory."""
    entry.pop("segmentation", None)
    return entry


def _slim(entry: dict) -> dict:
    """The same with polygons, as far as they are, in arrays."""
    given = entry.get("segmentation")
    if isinstance(given, list):
        found = polygons(given)
        entry["segmentation"] = given if found is None else found
    return entry


def _categories(listed: list, problems: Problems) -> tuple[list[str], dict[object, int]]:
    """The names of the classes and the class of each category id."""
    found: dict[int, str] = {}
    names: set[str] = set()
    for place, entry in enumerate(listed):
        if not (_has(entry, "id", "name") and isinstance(entry["id"], int)):
            problems.add(kinds.BROKEN_ENTRY, f"entry {place} of categories")
            continue
        number, name = entry["id"], str(entry["name"])
        if number in found:
            problems.add(kinds.CATEGORY_ID_TWICE, f"{number}: {found[number]} and {name}")
        elif name in names:
            problems.add(kinds.CATEGORY_NAME_TWICE, name)
        found.setdefault(number, name)
        names.add(name)
    ordered = sorted(found)
    return [found[number] for number in ordered], {number: place for place, number in enumerate(ordered)}


def _images(listed: list, draft: Draft, document: Callable[[str], str | None] | None) -> dict[object, int]:
    """The page of each image id."""
    pages: dict[object, int] = {}
    names: set[str] = set()
    for place, entry in enumerate(listed):
        whole = _has(entry, "id", "file_name", "width", "height") and isinstance(entry["id"], int | str)
        if not whole or not all(type(entry[key]) is int and 0 < entry[key] <= MAX_PIXELS for key in SIDES):
            draft.problems.add(kinds.BROKEN_ENTRY, f"entry {place} of images")
            continue
        name = str(entry["file_name"]).replace("\\", "/").removeprefix("./")
        if entry["id"] in pages or name in names:
            draft.problems.add(kinds.IMAGE_TWICE, f"{name}, id {entry['id']}")
            continue
        names.add(name)
        said = entry.get("document", entry.get("doc_name"))
        source = str(said) if said is not None else document(name) if document else None
        pages[entry["id"]] = draft.add_page(name, (entry["width"], entry["height"]), source)
    return pages


def _annotations(listed: list, pages: dict, numbers: dict, draft: Draft, options: Options) -> None:
    for place, entry in enumerate(listed):
        listed[place] = None  # a large file is not to be in memory twice
        if not _has(entry, "image_id", "category_id", "bbox"):
            draft.problems.add(kinds.BROKEN_ENTRY, f"entry {place} of annotations")
            continue
        where = entry.get("id", f"in place {place}")
        page = pages.get(entry["image_id"]) if isinstance(entry["image_id"], int | str) else None
        if page is None:
            draft.problems.add(kinds.UNKNOWN_IMAGE, f"annotation {where}: image {entry['image_id']}")
            continue
        kind = numbers.get(entry["category_id"]) if isinstance(entry["category_id"], int) else None
        if kind is None:
            draft.problems.add(kinds.UNKNOWN_CLASS, f"annotation {where}: category {entry['category_id']}")
            continue
        shape = _shape(entry, draft, page) if options.masks else None
        draft.add(
            page,
            corners(entry["bbox"]),
            kind,
            where,
            crowd=bool(entry.get("iscrowd", 0)),
            ignored=bool(entry.get("ignore", 0)),
            shape=shape,
        )


def _has(entry: object, *keys: str) -> bool:
    return isinstance(entry, dict) and all(key in entry for key in keys)


def corners(box: object) -> tuple[float, float, float, float] | None:
    """[x, y, width, height] -> x0, y0, x1, y1; None for what is no box of finite numbers."""
    if not isinstance(box, list) or len(box) != 4 or not all(isinstance(each, int | float) for each in box):
        return None
    try:
        x, y, width, height = map(float, box)
    except OverflowError:
        return None
    found = (x, y, x + width, y + height)
    return found if all(map(math.isfinite, found)) else None


def _shape(entry: dict, draft: Draft, page: int) -> Shape | None:
    """The mask of an annotation; None where it has none, as an empty list or a missing field says."""
    given = entry.get("segmentation")
    if not given:
        return None
    shape = polygons(given) if isinstance(given, list) else filled_runs(given, draft.sizes[page])
    if shape is None:
        draft.problems.add(kinds.BROKEN_MASK, f"annotation {entry.get('id')} of {draft.names[page]}")
    return shape


def _folder(path: str, split: str | None, names: Sequence[str]) -> str:
    """Where the images lie: the first of the usual folders that has one of the first, else the first that there is."""
    beside = os.path.dirname(os.path.abspath(path))
    above, inner = os.path.dirname(beside), split or os.path.splitext(os.path.basename(path))[0]
    choices = [
        os.path.join(base, *below)
        for base in (beside, above)
        for below in (("images", inner), ("images",), (inner,), (f"{inner}2017",))
    ]
    choices = [folder for folder in (*choices, beside) if os.path.isdir(folder)]
    some = names[:20]
    return next(
        (each for each in choices if any(os.path.isfile(os.path.join(each, name)) for name in some)), choices[0]
    )
