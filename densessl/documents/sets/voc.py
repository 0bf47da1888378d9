"""Objects in PASCAL VOC's XML, a file an image: VOC 2007 and 2012, a user's own folder like them, and PubTables-1M.

VOC counts pixels from 1 and means the last one inclusive, so that 1 is taken off xmin and ymin; a user's own folder is
taken in the same way. PubTables-1M (arXiv 2110.00061) has coordinates as we do. `difficult` objects need not be found.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Sequence
from functools import partial

import numpy as np

from densessl.data.images import MAX_PIXELS
from densessl.data.sources import files, splits
from densessl.data.sources.layout import Layout, stem
from densessl.documents import problems as kinds
from densessl.documents.pages import LabelledPages
from densessl.documents.problems import Problems
from densessl.documents.sets.draft import CHECKED_WITHOUT_A_WORD, Draft, Options, by_prefix
from densessl.documents.sets.xml import number, read_xml
from densessl.progress import silent

VOC_HOW = (
    "unpack {archives} of http://host.robots.ox.ac.uk/pascal/VOC/voc{year} into it, so that it holds the folder "
    "VOCdevkit/VOC{year} with JPEGImages, Annotations and ImageSets/Main"
)
ARCHIVES = {
    2007: "VOCtrainval_06-Nov-2007.tar and VOCtest_06-Nov-2007.tar",
    2012: "VOCtrainval_11-May-2012.tar",
}
OWN_HOW = "put the images into its folder JPEGImages and an XML file of VOC's for each into its folder Annotations"
PUBTABLES_HOW = (
    "fetch the PubTables-1M-{kind} archives of https://huggingface.co/datasets/bsmock/pubtables-1m and unpack them as "
    "its README says, so that it holds a folder images and, for each of train, val and test, a folder of XML files"
)
# fmt: off
VOC = (
    "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow", "diningtable", "dog",
    "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train", "tvmonitor",
)
PUBTABLES = {
    "Detection": ("table", "table rotated"),
    "Structure": (
        "table", "table column", "table row", "table column header", "table projected row header",
        "table spanning cell",
    ),
}
# fmt: on
ARTICLE = re.compile(r"(PMC\d+)_").match  # PMC1064074_0.jpg, PMC1064076_table_0.jpg


def open_voc(root: str, split: str | None, options: Options, *, year: int) -> LabelledPages:
    """root: the folder VOCYEAR itself, or one that holds VOCYEAR or VOCdevkit/VOCYEAR. split: train by default."""
    how = VOC_HOW.format(archives=ARCHIVES[year], year=year)
    layout = Layout(root, f"Pascal VOC {year}", how).below(f"VOCdevkit/VOC{year}", f"VOC{year}")
    known = ["train", "val", "trainval", *(["test"] if year == 2007 else [])]
    (split,) = splits.choose(known, split, layout.title)
    # Lists of single classes have a second column; those of all classes do not.
    stems = [line.split()[0] for line in layout.lines(f"ImageSets/Main/{split}.txt")]
    names = [f"{each}.jpg" for each in stems]
    return _read(f"voc{year}", layout, "JPEGImages", "Annotations", names, VOC, options, base=1)


def open_own_voc(root: str, split: str | None, options: Options) -> LabelledPages:
    """root: holds JPEGImages, Annotations and perhaps ImageSets/Main/SPLIT.txt; classes are those that come up."""
    layout = Layout(root, "a folder in VOC's layout", OWN_HOW)
    found = {stem(name): name for name in files.walk(layout.folder("JPEGImages")) if files.is_image(name)}
    if split is None:
        names = [found[each] for each in sorted(found)]
    else:
        names = [found.get(each, f"{each}.jpg") for each in layout.lines(f"ImageSets/Main/{split}.txt")]
    name = os.path.basename(os.path.abspath(root))
    return _read(name, layout, "JPEGImages", "Annotations", names, None, options, base=1)


def open_pubtables(root: str, split: str | None, options: Options, *, kind: str) -> LabelledPages:
    """root: holds images and a folder of XML files for each split. kind: Detection, of pages, or Structure, of tables.

    There are more images than annotations of a split in images, so the XML files say which are meant.
    """
    names = (f"PubTables-1M-{kind}", f"PubTables1M-{kind}-PASCAL-VOC")
    layout = Layout(root, f"PubTables-1M-{kind}", PUBTABLES_HOW.format(kind=kind)).below(*names)
    (split,) = splits.choose(["train", "val", "test"], split, layout.title)
    annotations = layout.folder(split)
    images = {stem(name): name for name in files.walk(layout.folder("images"))}
    stems = [stem(name) for name in files.walk(annotations) if name.endswith(".xml")]
    found = [images.get(each, f"{each}.jpg") for each in stems]
    return _read(
        f"pubtables-{kind.lower()}",
        layout,
        "images",
        split,
        found,
        PUBTABLES[kind],
        options,
        document=by_prefix(ARTICLE),
    )


open_pubtables_detection = partial(open_pubtables, kind="Detection")
open_pubtables_structure = partial(open_pubtables, kind="Structure")


def _read(
    name: str,
    layout: Layout,
    images: str,
    annotations: str,
    names: Sequence[str],
    classes: Sequence[str] | None,
    options: Options,
    *,
    base: int = 0,
    document: Callable[[str], str | None] | None = None,
) -> LabelledPages:
    """names: of the images. classes: those that there are, None for all that come up. base: what pixels count from."""
    folder, draft = layout.folder(annotations), Draft(Problems(layout.root))
    report = options.progress if len(names) > CHECKED_WITHOUT_A_WORD else silent
    objects = []
    for place, image in enumerate(names):
        page = draft.add_page(image, document=document(image) if document else None)
        root = read_xml(os.path.join(folder, f"{stem(image)}.xml"), draft.problems)
        if root is not None:
            width, height = number(root, "size/width"), number(root, "size/height")
            if max(width, height) > MAX_PIXELS:
                draft.problems.add(kinds.NO_SIZE, f"{image}: {width:g} x {height:g}")
            elif width >= 1 and height >= 1:
                draft.sizes[page] = int(width), int(height)
            objects += [(page, place_, each) for place_, each in enumerate(root.iter("object"))]
        report("annotations", place + 1, len(names), "")
    kinds_ = [(each.findtext("name") or "").strip() for _, _, each in objects]
    classes = tuple(sorted(set(kinds_))) if classes is None else tuple(classes)
    known = {each: number_ for number_, each in enumerate(classes)}
    for (page, place, each), kind in zip(objects, kinds_, strict=True):
        if kind not in known:
            draft.problems.add(kinds.UNKNOWN_CLASS, f"object {place} of {names[page]}: {kind or 'no name'}")
            continue
        box = [number(each, f"bndbox/{edge}") for edge in ("xmin", "ymin", "xmax", "ymax")]
        box = np.array(box) - (base, base, 0, 0)
        difficult = number(each, "difficult") > 0
        draft.add(page, box.tolist(), known[kind], place, ignored=difficult)
    return draft.finish(name, str(options.images or layout.folder(images)), classes, options)
