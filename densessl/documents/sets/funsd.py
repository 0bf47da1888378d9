"""FUNSD (arXiv 1905.13538): 199 scanned forms, 149 for training and 50 for testing.

`funsd` has one class, the word, as DiT's text detection does; `funsd-entities` the boxes of headers, questions, answers
and other text, each of which may take several lines.
"""

from __future__ import annotations

import json
import os
from functools import partial
from pathlib import Path

from densessl.data.sources import files, splits
from densessl.data.sources.layout import Layout, stem
from densessl.documents import problems as kinds
from densessl.documents.pages import LabelledPages
from densessl.documents.problems import Problems
from densessl.documents.sets.draft import Draft, Options

HOW = (
    "unpack dataset.zip of https://guillaumejaume.github.io/FUNSD into it, so that it holds the folder dataset with "
    "training_data and testing_data"
)
FOLDERS = {"train": "training_data", "test": "testing_data"}
WORDS = ("word",)
ENTITIES = ("header", "question", "answer", "other")


def open_funsd(root: str, split: str | None, options: Options, *, entities: bool) -> LabelledPages:
    """root: the folder dataset, or one that holds it."""
    layout = Layout(root, "FUNSD", HOW).below("dataset")
    (split,) = splits.choose(list(FOLDERS), split, layout.title)
    annotations, images = (layout.folder(f"{FOLDERS[split]}/{each}") for each in ("annotations", "images"))
    classes = ENTITIES if entities else WORDS
    draft = Draft(Problems(layout.root), "entity" if entities else "word")
    for name in files.walk(images):
        if not files.is_image(name):
            continue
        page = draft.add_page(name, document=stem(name))
        for where, kind, box in _objects(os.path.join(annotations, f"{stem(name)}.json"), entities, draft.problems):
            if kind not in classes:
                draft.problems.add(kinds.UNKNOWN_CLASS, f"{draft.noun} {where} of {name}: {kind}")
            else:
                draft.add(page, box, classes.index(kind), where)
    title = "funsd-entities" if entities else "funsd"
    return draft.finish(title, str(options.images or images), classes, options)


open_words = partial(open_funsd, entities=False)
open_entities = partial(open_funsd, entities=True)


def _objects(path: str, entities: bool, problems: Problems) -> list[tuple[str, object, object]]:
    """Which object it is, its class and its box, of all in a file; words without text are no words."""
    try:
        form = json.loads(Path(path).read_bytes())["form"]
        if entities:
            return [(each.get("id"), each["label"], each["box"]) for each in form]
        words = [(each.get("id"), word) for each in form for word in each["words"]]
        return [
            (f"{place} of entity {owner}", "word", word["box"])
            for place, (owner, word) in enumerate(words)
            if str(word.get("text", "")).strip()
        ]
    except FileNotFoundError:
        problems.add(kinds.NO_ANNOTATION, path)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        problems.add(kinds.BROKEN_FILE, f"{path}: {error!r}")
    return []
