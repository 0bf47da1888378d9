"""Pages with the objects that are marked on them: the one form that every data set takes here.

Boxes are x0, y0, x1, y1 in pixels of the page, from its left upper corner, x1 and y1 exclusive: a box around one pixel
is one pixel wide.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from densessl.config import nearest
from densessl.data.sources.base import Concatenated, Source, checked
from densessl.data.sources.subset import Subset
from densessl.errors import UserError

Shape = list[np.ndarray] | dict  # polygons, each (P, 2) x, y; or a mask as COCO's run lengths: {"size", "counts"}


@dataclass(frozen=True)
class Objects:
    """What is marked on pages, an object a row, the rows of a page next to each other in the order of its file.

    page: (M,) the page's number, never falling. boxes: (M, 4) float64. classes: (M,) indices. crowd: (M,) bool, a group
    of objects that are not told apart; ignored: (M,) bool, too hard to be asked for: finding either is neither right
    nor wrong. shapes: of each object, None where its box is all that is known; None where no shapes are kept.
    """

    page: np.ndarray
    boxes: np.ndarray
    classes: np.ndarray
    crowd: np.ndarray
    ignored: np.ndarray
    shapes: tuple[Shape | None, ...] | None = None

    def __len__(self) -> int:
        return len(self.page)

    def __getitem__(self, rows: slice | np.ndarray) -> Objects:
        """The objects of a slice, of a mask (M,) or of indices."""
        shapes = self.shapes
        if shapes is not None:
            chosen = np.arange(len(self))[rows].tolist()
            shapes = tuple(shapes[row] for row in chosen)
        fields = (self.page, self.boxes, self.classes, self.crowd, self.ignored)
        return Objects(*(each[rows] for each in fields), shapes)

    @staticmethod
    def joined(parts: Sequence[Objects]) -> Objects:
        """The rows of all parts one after another; shapes are kept where one part has them."""
        fields = ("page", "boxes", "classes", "crowd", "ignored")
        arrays = (np.concatenate([getattr(part, name) for part in parts]) for name in fields)
        shapes = None
        if any(part.shapes is not None for part in parts):
            shapes = tuple(each for part in parts for each in (part.shapes or (None,) * len(part)))
        return Objects(*arrays, shapes)


@dataclass(frozen=True)
class LabelledPages:
    """Pages by their number, with their objects.

    name: of the set. source: the images, read when asked for. sizes: (N, 2) width and height in pixels. classes: names.
    labelled: (N, K) bool, whether objects of the class were marked on the page: where they were not, their absence says
    nothing. documents: what each page is from, None where nobody can tell. notes: sentences on what was mended.
    """

    name: str
    source: Source
    sizes: np.ndarray
    classes: tuple[str, ...]
    labelled: np.ndarray
    objects: Objects
    documents: tuple[str | None, ...]
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.source)

    @cached_property
    def _starts(self) -> np.ndarray:
        return np.searchsorted(self.objects.page, np.arange(len(self) + 1))

    def on(self, index: int) -> Objects:
        """The objects of a page."""
        index = checked(index, len(self))
        return self.objects[self._starts[index] : self._starts[index + 1]]

    def read(self, index: int) -> np.ndarray:
        """The page, (H, W, 3) uint8 RGB; raises `UnreadableImage`."""
        return self.source.read(index)

    def class_index(self, name: str) -> int:
        """The number of a class, by its name in any case; raises `UserError`."""
        known = [each.lower() for each in self.classes]
        if name.lower() not in known:
            raise UserError(
                f"{self.name} has no class {name!r}{nearest(name, self.classes)} It has {', '.join(self.classes)}."
            )
        return known.index(name.lower())

    def subset(self, indices: Sequence[int] | np.ndarray) -> LabelledPages:
        """These pages, each of them once, in this order."""
        indices = np.asarray(indices, np.int64)
        order = np.concatenate([np.arange(self._starts[i], self._starts[i + 1]) for i in indices] or [np.arange(0)])
        page = np.repeat(np.arange(len(indices)), self._starts[indices + 1] - self._starts[indices])
        return replace(
            self,
            source=Subset(self.source, indices),
            sizes=self.sizes[indices],
            labelled=self.labelled[indices],
            objects=replace(self.objects[order.astype(np.int64)], page=page.astype(np.int32)),
            documents=tuple(self.documents[index] for index in indices.tolist()),
        )

    def in_classes(self, classes: Sequence[str], names: Mapping[str, str] | None = None) -> LabelledPages:
        """The same pages with the objects in other classes, such as those of a detector that learns from several sets.

        names: from a class of this set to one of `classes`; one that it does not name goes to that of its own name, in
        any case of letters, or is left out. A class of `classes` that none goes to is unknown on these pages; one that
        several go to is labelled where all of them are. Raises `UserError` for names that there are not.
        """
        names, known = dict(names or {}), {each.lower(): number for number, each in enumerate(classes)}
        for old, new in names.items():
            self.class_index(old)
            if new.lower() not in known:
                raise UserError(f"{new!r} is not among the classes {', '.join(classes)}{nearest(new, classes)}")
        lower = {old.lower(): new.lower() for old, new in names.items()}
        to = np.array([known.get(lower.get(each.lower(), each.lower()), -1) for each in self.classes], np.int16)
        labelled = np.zeros((len(self), len(classes)), bool)
        for number in set(to.tolist()) - {-1}:
            labelled[:, number] = self.labelled[:, to == number].all(axis=1)
        kept = self.objects[to[self.objects.classes] >= 0]
        kept = replace(kept, classes=to[kept.classes])
        return replace(self, classes=tuple(classes), labelled=labelled, objects=kept)


def joined(sets: Sequence[LabelledPages]) -> LabelledPages:
    """The pages of several sets of the same classes one after another; raises `UserError` where classes differ."""
    for each in sets[1:]:
        if each.classes != sets[0].classes:
            raise UserError(
                f"{sets[0].name} has the classes {', '.join(sets[0].classes)} and {each.name} has "
                f"{', '.join(each.classes)}: bring them to the same with in_classes first."
            )
    source = Concatenated([each.source for each in sets], [each.name for each in sets])
    parts = [
        replace(each.objects, page=(each.objects.page + start).astype(np.int32))
        for each, start in zip(sets, source.starts, strict=False)
    ]
    return LabelledPages(
        name="+".join(each.name for each in sets),
        source=source,
        sizes=np.concatenate([each.sizes for each in sets]),
        classes=sets[0].classes,
        labelled=np.concatenate([each.labelled for each in sets]),
        objects=Objects.joined(parts),
        # Page 3 of a book in one set is not of the book of the same name in another.
        documents=tuple(name and f"{each.name}/{name}" for each in sets for name in each.documents),
        notes=tuple(note for each in sets for note in each.notes),
    )
