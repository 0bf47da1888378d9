"""What a protocol of segments judges: the models of a file as they are, and those that methods learn from each seed."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from densessl.evaluation.probe import learn_probe
from densessl.evaluation.shelf import Shelf, kept_model
from densessl.progress import Report
from densessl.segmentation.checks import check
from densessl.segmentation.config import SegmentConfig
from densessl.segmentation.features.extractor import Extractor, weights_hash
from densessl.segmentation.features.kept import Features
from densessl.segmentation.learning import learn
from densessl.segmentation.model import Segmenter
from densessl.segmentation.sets import LabelledImages
from densessl.segmentation.stego.train import VERSION

if TYPE_CHECKING:
    from densessl.evaluation.segments_config import SegmentsConfig


@dataclass(frozen=True)
class Candidate:
    """A model, and what it is called.

    spectral: the seed by which the tokens of each picture are joined into segments of it first; None: they are not.
    """

    title: str
    model: Segmenter
    spectral: int | None = None

    @property
    def named(self) -> bool:
        """Whether it is a linear probe, whose classes are those of the labels that taught it."""
        return self.model.bias is not None

    @property
    def coded(self) -> bool:
        """Whether it has codes of its own, found without labels."""
        return self.model.head is not None and not self.named


class Learner:
    """Learns from features what `methods` ask for, unless the shelf has it.

    key: of all that the features depend on. source: what they are of; its labels are read by linear probes alone.
    """

    def __init__(
        self,
        config: SegmentsConfig,
        extractor: Extractor,
        kept: Features,
        key: str,
        source: LabelledImages,
        shelf: Shelf,
        progress: Report,
    ) -> None:
        self.config, self.extractor, self.kept, self.key, self.source = config, extractor, kept, key, source
        self.shelf, self.progress, self.device = shelf, progress, str(extractor.device)

    def learn(self, seed: int, given: Mapping[str, Candidate]) -> Iterator[Candidate]:
        """The candidates of a seed; given: those of a file, whose codes get a linear probe too."""
        methods = self.config.methods
        linear = "linear" in methods
        for method in (each for each in methods if each != "linear"):
            model = self._segments(segment_settings(self.config, method, seed, len(self.source.classes)))
            yield Candidate(method, model)
            if linear and model.head is not None:
                yield self._probe(method, model, seed)
        if linear:
            yield self._probe("features", None, seed)
            yield from (self._probe(title, each.model, seed) for title, each in given.items() if each.coded)

    def _segments(self, settings: SegmentConfig) -> Segmenter:
        depends = [settings.method, settings.classes, settings.restarts, settings.seed]
        if settings.method == "stego":
            depends += [settings.batch_size, settings.epochs, settings.steps, settings.lr, settings.stego, VERSION]
        return kept_model(
            self.shelf,
            [self.key, *depends],
            lambda: learn(self.kept, settings, self.device, self.progress).model,
        )

    def _probe(self, title: str, model: Segmenter | None, seed: int) -> Candidate:
        config, kept = self.config, self.kept
        batch = min(config.batch_size, len(kept))
        steps = config.epochs * (len(kept) // batch) if config.steps is None else config.steps
        head, frame = None if model is None else model.head, self.extractor.frame
        of = "features" if head is None else weights_hash(head)
        made = kept_model(
            self.shelf,
            ["probe", self.key, self.source.fingerprint(), of, steps, batch, config.probe_lr, seed],
            lambda: learn_probe(
                kept, self.source, frame, head, steps, batch, config.probe_lr, seed, self.device, self.progress
            ),
        )
        return Candidate(f"linear probe of {title}", made)


def segment_settings(config: SegmentsConfig, method: str, seed: int, classes: int) -> SegmentConfig:
    """The run of `densessl segment` that the protocol asks for; raises `UserError` for a value that cannot be."""
    shared = {each.name for each in dataclasses.fields(SegmentConfig)} & {
        each.name for each in dataclasses.fields(config)
    }
    # Those of the same name that say something else.
    taken = {name: getattr(config, name) for name in shared - {"refine", "split", "classes", "seed", "crops"}}
    run = SegmentConfig(**taken | {"out": "", "method": method, "seed": seed, "classes": config.classes or classes})
    check(run)
    return run
