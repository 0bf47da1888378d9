"""What is wrong with the files of a page set: all of it found and told at once, before anything starts."""

from __future__ import annotations

from dataclasses import dataclass

from densessl.errors import UserError

SHOWN = 3  # examples of each kind


@dataclass(frozen=True)
class Kind:
    """A kind of problem. what: the things, in the plural. then: what to do about them or, where nothing stops, what was
    done. stops: whether nothing can start with it."""

    what: str
    then: str
    stops: bool = True


BROKEN_ENTRY = Kind("entries that lack what COCO asks of them", "complete or remove them")
CATEGORY_ID_TWICE = Kind("ids that several categories share", "give each category an id of its own")
CATEGORY_NAME_TWICE = Kind("names that several categories share", "join these categories, or name them apart")
IMAGE_TWICE = Kind("images that are listed twice", "list each once, under one id")
NO_SIZE = Kind("pages of a size that none has", "write their width and height in pixels")
UNKNOWN_IMAGE = Kind("annotations of images that are not listed", "list the images, or remove the annotations")
UNKNOWN_CLASS = Kind("objects of a class that the set does not have", "add the class, or remove or rename them")
NOT_NUMBERS = Kind("boxes that are not four finite numbers", "mend or remove them")
BROKEN_MASK = Kind("masks that cannot be read, or are of another size than their page", "mend or remove them")
MASK_OUTSIDE = Kind("masks that lie outside of their page", "mend or remove them")
BROKEN_FILE = Kind("annotation files that cannot be read", "fetch them anew")
NO_ANNOTATION = Kind("pages without an annotation file", "fetch the missing files, or remove the pages")
MISSING = Kind("images that are not there", "fetch them, or leave their pages out with partial=true")
UNREADABLE = Kind("images that cannot be read", "fetch them anew, or remove them and their annotations")
OTHER_SIZE = Kind(
    "images of another size than their annotations state", "scale the boxes, or put the right images there"
)

LEFT_OUT = Kind("images that are not there", "their pages are left out", stops=False)
OVER_EDGE = Kind("boxes that reach over the edge of their page", "they are cut off there", stops=False)
OUTSIDE = Kind("boxes that lie outside of their page", "they are left out", stops=False)
FLAT = Kind("boxes without width or height", "they are left out", stops=False)
MASK_LEFT_OUT = Kind("masks that lie outside of their page", "their object's box stands in for them", stops=False)
NO_MASK = Kind("objects without a mask", "their box stands in for it", stops=False)


class Problems:
    """Problems by kind, with examples of each. place: what they were found in, for the sentence."""

    def __init__(self, place: str) -> None:
        self.place = place
        self.counts: dict[Kind, int] = {}
        self._examples: dict[Kind, list[str]] = {}

    def add(self, kind: Kind, where: str) -> None:
        """One more of a kind. where: the thing itself, such as "annotation 7 of page-3.png"."""
        self.counts[kind] = self.counts.get(kind, 0) + 1
        examples = self._examples.setdefault(kind, [])
        if len(examples) < SHOWN:
            examples.append(where)

    @property
    def errors(self) -> list[str]:
        """A sentence for each kind that stops."""
        return [self._sentence(kind) for kind in self.counts if kind.stops]

    @property
    def warnings(self) -> list[str]:
        """A sentence for each kind that was mended."""
        return [self._sentence(kind) for kind in self.counts if not kind.stops]

    def check(self) -> None:
        """Raise `UserError` with all errors, where there are any."""
        errors = self.errors
        if len(errors) == 1:
            raise UserError(f"{self.place} cannot be used. {errors[0]}")
        if errors:
            raise UserError("\n- ".join([f"{self.place} cannot be used, for {len(errors)} reasons:", *errors]))

    def _sentence(self, kind: Kind) -> str:
        count, examples = self.counts[kind], self._examples[kind]
        more = ", ..." if count > len(examples) else ""
        return f"{kind.what[0].upper()}{kind.what[1:]}: {count:,} ({', '.join(examples)}{more}); {kind.then}."
