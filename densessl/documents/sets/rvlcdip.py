"""RVL-CDIP (Harley et al., 2015): 400,000 grey scans in 16 kinds of documents, 320,000 of them for training.

labels/train.txt, val.txt and test.txt have a path below images and the number of the kind in a line.
"""

from __future__ import annotations

from densessl.data.sources import files, splits
from densessl.data.sources.files import Files
from densessl.data.sources.layout import Layout
from densessl.documents import problems as kinds
from densessl.documents.problems import Problems
from densessl.documents.sets.draft import Options
from densessl.errors import UserError

HOW = (
    "unpack rvl-cdip.tar.gz of https://adamharley.com/rvl-cdip into it, so that it holds the folders images and labels"
)
# fmt: off
CLASSES = (
    "letter", "form", "email", "handwritten", "advertisement", "scientific report", "scientific publication",
    "specification", "file folder", "news article", "budget", "invoice", "presentation", "questionnaire", "resume",
    "memo",
)
# fmt: on


def open_rvlcdip(root: str, split: str | None, options: Options) -> Files:
    """The images of a split with their kinds. root: holds images and labels, or holds them in a folder rvl-cdip.

    Raises `UserError` with all lines that name no image that is there, and no kind.
    """
    layout = Layout(root, "RVL-CDIP", HOW).below("rvl-cdip")
    (split,) = splits.choose(["train", "val", "test"], split, layout.title)
    folder, problems = str(options.images or layout.folder("images")), Problems(layout.root)
    known = set(files.walk(folder))
    names, labels, seen = [], [], set()
    for line in layout.lines(f"labels/{split}.txt"):
        name, _, label = line.rpartition(" ")
        if not label.isdecimal() or int(label) >= len(CLASSES):
            problems.add(kinds.UNKNOWN_CLASS, line)
        elif name in seen:
            problems.add(kinds.IMAGE_TWICE, name)
        elif name not in known:
            problems.add(kinds.LEFT_OUT if options.partial else kinds.MISSING, name)
        else:
            names.append(name)
            labels.append(int(label))
        seen.add(name)
    problems.check()
    if not names:
        raise UserError(f"None of the images of {split} is there in {folder}; {HOW}.")
    return Files(folder, names, labels, list(CLASSES), problems.warnings)
