"""The labelled pages of a run: one set or several, brought to the same classes, and those kept apart to judge by."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from densessl.data.sources import limited
from densessl.documents.detection.config import DetectConfig
from densessl.documents.pages import LabelledPages, joined
from densessl.documents.sets import open_pages
from densessl.documents.splits import by_runs, by_size, split_by_document
from densessl.errors import UserError
from densessl.progress import Report, silent


def open_sets(
    spec: Any,
    split: str | None,
    config: DetectConfig,
    classes: Sequence[str] | None = None,
    report: Report = silent,
    judging: bool = False,
) -> LabelledPages:
    """The pages of a set or of a list of sets, in `classes`, else in those of the config or of the first set.

    judging: classes that no page has labels of are left unjudged; they cannot be learned.
    Raises one `UserError` with all that is wrong with any of them.
    """
    sets, wrong, unused = [], [], set(config.names)
    for each in spec if isinstance(spec, list | tuple) else [spec]:
        try:
            found = open_pages(each, split, masks=config.detector.masks, partial=config.partial, progress=report)
            classes = classes or config.classes or found.classes
            own = {name.lower() for name in found.classes}
            names = {old: new for old, new in config.names.items() if old.lower() in own}
            unused -= set(names)
            sets.append(with_documents(found, config.documents).in_classes(classes, names))
        except UserError as error:
            wrong.append(str(error))
    if wrong:
        raise UserError("\n".join(wrong))
    pages = joined(sets) if len(sets) > 1 else sets[0]
    if unused:
        raise UserError(f"names= speaks of {', '.join(sorted(unused))}, a class of none of the sets: {pages.name}.")
    there = pages.labelled.any(axis=0)
    # A class that no page labels is unknown on every page: nothing would ever count as no object.
    if not (there.any() if judging else there.all()):
        nowhere = [name for name, labelled in zip(pages.classes, there, strict=True) if not labelled]
        raise UserError(
            f"No page of {pages.name} has labels of {', '.join(nowhere)}: give the classes of the data as classes=, or "
            "say with names= which of them is which."
        )
    return pages


def with_documents(pages: LabelledPages, how: str | None) -> LabelledPages:
    """The pages with the documents that `DetectConfig.documents` tells them by; a set's own, where it has any, stay."""
    if how is None or any(name is not None for name in pages.documents):
        return pages
    return {"runs": by_runs, "size": by_size}[how](pages)


def training_pages(config: DetectConfig, report: Report = silent) -> tuple[LabelledPages, LabelledPages | None]:
    """The pages to learn from, and those to judge by, if any were asked for; raises `UserError`."""
    pages, apart = open_sets(config.data, config.split, config, report=report), None
    if config.val:
        apart = open_sets(config.val, config.val_split, config, pages.classes, report, judging=True)
    elif config.val_share:
        alone = sum(name is None for name in pages.documents)
        pages, apart = split_by_document(pages, config.val_share, config.seed)
        if alone:
            note = (
                f"Of {alone} of the pages nobody says what document they are from, so that pages of one may be both "
                "learned from and judged by, which flatters: give documents=runs or documents=size, or val=."
            )
            apart = replace(apart, notes=(*apart.notes, note))
    pages = limited_pages(pages, config)
    unseen = [name for place, name in enumerate(pages.classes) if not (pages.objects.classes == place).any()]
    if len(unseen) == len(pages.classes):
        raise UserError(f"No page of {pages.name} shows any of {', '.join(unseen)}: there is nothing to learn.")
    return pages, apart


def limited_pages(pages: LabelledPages, config: DetectConfig) -> LabelledPages:
    """As many of the pages as `limit` says, drawn by the seed."""
    if config.limit is None or config.limit >= len(pages):
        return pages
    return pages.subset(limited(pages.source, config.limit, config.seed).indices)


def summary(pages: LabelledPages) -> dict[str, Any]:
    """How many pages there are, and hashes of their names and of what is marked on them."""
    names = "\n".join(pages.source.name(index) for index in range(len(pages)))
    objects, marks = pages.objects, hashlib.sha256("\n".join(pages.classes).encode())
    for array in (objects.page, objects.boxes, objects.classes, objects.crowd, objects.ignored, pages.labelled):
        marks.update(array.tobytes())
    return {
        "images": len(pages),
        "names": hashlib.sha256(names.encode("utf-8", "surrogateescape")).hexdigest(),
        "labels": marks.hexdigest(),
    }
