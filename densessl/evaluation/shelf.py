"""What a protocol of segments has finished, kept in the cache of features, so that nothing is done twice.

Kept are counts and weights, never figures: pairs of places, pixels by segment and class, models that were learned. Each
lies under a hash of all that it depends on (backbone, pictures, label maps, settings, releases), is written whole or
not at all, and counts as missing where it was altered. So a command that is given again goes on where it was stopped,
and one that asks for more, such as another seed, refinement or method, does what is new alone.
"""

from __future__ import annotations

import hashlib
import io
import json
import signal
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import product
from typing import TYPE_CHECKING

import numpy as np
import torch

from densessl.errors import RunStopped
from densessl.evaluation.cooccurrence import Pairs
from densessl.evaluation.judged import Judged, Masks
from densessl.progress import tell
from densessl.segmentation.features.cache import Cache
from densessl.segmentation.features.extractor import weights_hash
from densessl.segmentation.model import Segmenter
from densessl.segmentation.predict import Refinement
from densessl.segmentation.stego.head import StegoHead
from densessl.segmentation.stopping import terminable

if TYPE_CHECKING:
    from densessl.evaluation.candidates import Candidate

VERSION = 2  # to be raised by 1 with every change of code that changes masks, how they are counted, clusters or probes;
# features and STEGO's training have numbers of their own
TOGETHER = 64  # pictures whose masks are kept as one
Arrays = dict[str, np.ndarray]


class Shelf:
    """Arrays in a cache; without one, all is made. found: how many of them were there."""

    def __init__(self, cache: Cache | None) -> None:
        self.cache, self.found, self.troubled = cache, 0, False

    def arrays(self, parts: Sequence[object], make: Callable[[], Arrays]) -> Arrays:
        """What is kept under `parts`, the words for all that it depends on; else what `make` makes, kept from now."""
        there = self.read(parts)
        if there is None:
            there = make()
            self.keep(parts, there)
        return there

    def read(self, parts: Sequence[object]) -> Arrays | None:
        kept = self.cache and self.cache.read(self._key(parts), "arrays.npz")
        if not kept:
            return None
        try:
            with kept.file, np.load(io.BytesIO(kept.data()), allow_pickle=False) as file:
                arrays = dict(file)
        except (ValueError, OSError, zipfile.BadZipFile):
            return None
        self.found += 1
        return arrays

    def keep(self, parts: Sequence[object], arrays: Arrays) -> None:
        if self.cache is None:
            return
        data = io.BytesIO()
        np.savez_compressed(data, **arrays)
        self.cache.keep(self._key(parts), "arrays.npz", data.getvalue(), {})
        self.heed()

    def heed(self) -> None:
        """Say once that something could not be kept."""
        if self.cache is not None and self.cache.trouble and not self.troubled:
            self.troubled = True
            tell(f"Not all that was made is kept for other runs: {self.cache.trouble}.")

    @contextmanager
    def interruptible(self) -> Iterator[None]:
        """Within it SIGTERM and Ctrl-C end the run with a sentence that says what becomes of it."""
        then = "with cache=none nothing of it was kept, and the same command begins anew"
        if self.cache is not None:
            then = f"what was finished is kept in {self.cache.folder}, and the same command goes on from there"
        try:
            with terminable(f"SIGTERM ended the run: {then}."):
                yield
        except KeyboardInterrupt:
            raise RunStopped(f"Ctrl-C ended the run: {then}.", signal.SIGINT) from None

    def _key(self, parts: Sequence[object]) -> str:
        return hashlib.sha256(json.dumps([VERSION, *parts], default=vars).encode()).hexdigest()[:32]


def kept_pairs(
    shelf: Shelf, judged: Judged, candidate: Candidate | None, seed: int, report: Callable[[int, int, str], None]
) -> dict[str, Pairs]:
    """`Judged.pairs` of features or of a candidate's codes."""

    def count() -> Arrays:
        found = judged.pairs(None if candidate is None else candidate.model, seed, report)
        return {kind: np.stack((each.same, each.other)) for kind, each in found.items()}

    of = "features" if candidate is None else weights_hash(candidate.model)
    arrays = shelf.arrays(["pairs", judged.key, of, seed], count)
    return {kind: Pairs(*counts) for kind, counts in arrays.items()}


def kept_masks(
    shelf: Shelf,
    judged: Judged,
    candidates: Sequence[Candidate],
    refinements: Mapping[str, Refinement | None],
    pictured: Sequence[int],
    report: Callable[[int, int, str], None],
) -> dict[tuple[str, str], Masks]:
    """`Judged.judge`, some pictures at a time, of which only those that are not kept are looked at."""
    who = {each.title: [weights_hash(each.model), each.spectral] for each in candidates}
    found: dict[tuple[str, str], Masks] = {}
    for start in range(0, len(judged.kept), TOGETHER):
        rows = range(start, min(start + TOGETHER, len(judged.kept)))
        shown = {str(index) for index in {judged.kept.indices[row] for row in rows}.intersection(pictured)}
        keys = {
            (title, name): ["masks", judged.key, rows.start, rows.stop, *model, name, refine]
            for (title, model), (name, refine) in product(who.items(), refinements.items())
        }
        there = {pair: shelf.read(key) for pair, key in keys.items()}
        # Masks that are shown may be kept beside the counts: where these are asked for and are not, all is made anew.
        missing = {pair for pair, arrays in there.items() if arrays is None or not shown <= arrays.keys()}
        titles, names = ({pair[place] for pair in missing} for place in (0, 1))
        asked = [each for each in candidates if each.title in titles]
        ways = {name: refine for name, refine in refinements.items() if name in names}
        made = judged.judge(asked, ways, pictured, report, rows) if missing else {}
        for pair, masks in made.items():
            there[pair] = {"counts": masks.confusion} | {str(index): labels for index, labels in masks.shown.items()}
            shelf.keep(keys[pair], there[pair])
        for pair, arrays in there.items():
            whole = found.setdefault(pair, Masks.none(*arrays["counts"].shape))
            whole.confusion += arrays["counts"]
            whole.shown |= {int(index): labels for index, labels in arrays.items() if index != "counts"}
    return found


def kept_model(shelf: Shelf, parts: Sequence[object], learn: Callable[[], Segmenter]) -> Segmenter:
    """What `learn` learns, or what it has learned before from what `parts` say."""

    def learned() -> Arrays:
        made = learn()
        arrays = {name: tensor.detach().cpu().numpy() for name, tensor in made.state_dict().items()}
        return arrays | {"head": np.array(json.dumps(made.head and made.head.settings))}

    arrays = shelf.arrays(["model", *parts], learned)
    tensors = {name: torch.from_numpy(array) for name, array in arrays.items() if name != "head"}
    settings = json.loads(str(arrays["head"]))
    found = Segmenter(settings and StegoHead.empty(**settings), tensors["centres"], tensors.get("bias"))
    found.load_state_dict(tensors, assign=True)
    return found
