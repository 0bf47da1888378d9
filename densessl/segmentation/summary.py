"""What a run of `segment` did, in figures and as lines for the user."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from densessl.segmentation.features.cache import Cache

TOLD = 30  # classes whose shares are printed
# Backbones that need no file of the user's, and what they are called.
KNOWN = {"box": "the backbone in the box", "colour": "colours and gradients"}


@dataclass(frozen=True)
class Summary:
    """What a run did.

    pictures: that have masks, of which `before` had all of theirs already; unreadable: pictures that got none (listed
    in `unreadable.txt`). masks: the folder of the masks. names, shares: per class, of all pixels. segments: of the
    model; chosen: whether their number was. learned: whether the segments were found here; head: "trained" here or
    "kept" from an earlier run, None without; finding: seconds of finding them once features and head were there.
    seconds: of the whole run. cache: where features were kept, if anywhere. verdict: on STEGO's weights and shifts,
    where a head was trained. notes: sentences on the data. doubt: what speaks against the number that was chosen.
    sheets: of how many segments a page may be drawn, 0 where none is.
    """

    folder: Path
    backbone: str
    method: str
    pictures: int
    before: int
    unreadable: int
    masks: str
    names: list[str]
    shares: list[float]
    segments: int
    chosen: bool
    learned: bool
    head: str | None
    finding: float
    seconds: float
    cache: Cache | None
    verdict: str = ""
    notes: tuple[str, ...] = ()
    doubt: str = ""
    sheets: int = 0

    def __str__(self) -> str:
        how = f"{self.method} on the features of {self.backbone}" if self.learned else "a model learned before"
        there = f" ({self.before} of them there before)" if self.before else ""
        shares = self._shares()
        named = "class" if self.masks == "classes" else "segment"
        lines = [
            f"{self.pictures} {'mask' if self.pictures == 1 else 'masks'}{there} by {how} in {self.seconds:.0f} s.",
            *self._unreadable(),
            *self.notes,
            *self._segments(),
            f"Share of the pixels per {named}: {shares}",
            *self._empty(),
            *([f"{self.verdict} See {self.folder / 'correspondences.png'}."] if self.verdict else []),
            f"Masks: {self.folder / self.masks}",
            f"Pictures to look at: {self.folder / 'overlays'}",
            f"To name and merge segments: {self.folder / 'names.txt'}",
            *self._sheets(),
            *self._cache(),
        ]
        return "\n".join(lines)

    def _shares(self) -> str:
        told = [f"{name}: {share:.1%}" for name, share in zip(self.names, self.shares, strict=True)]
        more = f" and {len(told) - TOLD} more in {self.folder / 'segments.json'}" if len(told) > TOLD else ""
        return ", ".join(told[:TOLD]) + more

    def _empty(self) -> list[str]:
        empty = sum(share == 0 for share in self.shares)
        if not (self.learned and empty and self.masks == "labels"):
            return []
        return [
            f"{empty} of the {self.segments} segments {'has' if empty == 1 else 'have'} no pixel: the pictures hold "
            f"fewer kinds of places, --classes {max(2, self.segments - empty)} will do."
        ]

    def _unreadable(self) -> list[str]:
        if not self.unreadable:
            return []
        one = self.unreadable == 1
        return [
            f"{self.unreadable} {'picture' if one else 'pictures'} could not be read and {'has' if one else 'have'} "
            f"none: see {self.folder / 'unreadable.txt'}."
        ]

    def _sheets(self) -> list[str]:
        if not 0 < self.sheets < self.segments:
            return []
        return [
            f"{self.folder / 'sheets'} shows the {self.sheets} largest segments, and not the other "
            f"{self.segments - self.sheets}: sheets={self.segments} draws all."
        ]

    def _segments(self) -> list[str]:
        """Nothing where the number was given and everything was learned here."""
        chosen = f", as many as fit best: see {self.folder / 'sweep.png'}" if self.chosen else ""
        kept = f", found in {self.finding:.1f} s with the head of an earlier run" if self.head == "kept" else ""
        doubt = f" {self.doubt}" if self.chosen and self.doubt else ""
        return [f"Segments: {self.segments}{chosen}{kept}.{doubt}"] if chosen or kept else []

    def _cache(self) -> list[str]:
        if self.cache is None:
            return []
        if self.cache.trouble:
            return [f"Not all features are kept for other runs: {self.cache.trouble}."]
        kept = any((self.cache.folder / key).is_dir() for key in self.cache.ours)
        return [f"Features kept for other runs, with other --classes for one: {self.cache}"] if kept else []
