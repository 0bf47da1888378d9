"""What `densessl evaluate --protocol segments` can be told."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from omegaconf import MISSING

from densessl.errors import UserError
from densessl.segmentation.config import SegmentConfig, StegoConfig
from densessl.segmentation.refinement.crf import CRFConfig


@dataclass
class SegmentsConfig:
    """What `densessl evaluate --protocol segments` can be told.

    backbone: a spec of `load_backbone`, "colour", or a file of segments: a .ckpt of STEGO's authors, or what
        `densessl segment` wrote. data: NAME:FOLDER of a set with label maps; see `densessl.segmentation.sets`.
    ignore: the value of a `folder:`'s maps that is no class, or several, such as [200,255]; None is 255. Its classes
        are those of its classes.txt or, without one, the values that its maps hold.
    learn_split: the part of the set that is learned from. split: the part that is judged. limit: images of each, whole
        or in crops, drawn by the seed; None for all.
    judge: "honest" (whole pictures, all segments and classes count), "official" (as STEGO's code: central squares at
        320 px, what has no class left out), or both. crops: learn from whole images, or from "five" crops of each, as
        the paper does. inputs: the "whole" of each is learned from, resized by area, or the "square" in its middle, of
        `image_size` pixels that are each a copy of one, which is what the official code learns from and judges.
    methods: of finding segments: kmeans, stego; and linear, a probe that labels teach. None is kmeans and stego, or
        none beside a file of segments. classes: segments; None is as many as the set has classes.
    refine: "none", "crf", "guided", or several of them: masks are judged with each.
    seeds: so many runs, from `seed` on, or a list of their seeds, such as [0,3]. seed: also of what else is drawn: the
        images of `limit`, places whose features are compared, random weights.
    baselines: also colours and gradients, and the same network with random weights, whose batch norms have the
        statistics of training pictures.
    pictures: a folder for curves.png, precision over recall of features and codes, and panel.png, images with their
        labels and the first seed's masks; None for none. panel: the names of those images, with or without suffix; None
        is four of them, as far from each other as can be.
    image_size: short side in pixels of what the backbone sees; None is its own.
    tile: side in pixels of the squares through which it sees pictures of any size; None for whole pictures.
    layers: which of its feature maps, such as -1 or [colour,-2,-1]; None for those that its file names, or the last.
    facet: the "tokens" of that layer or, of a ViT, its "keys".
    positions: how a ViT's positions are resized, "timm" or "official"; None is what its file says, else timm.
    window: side in tokens of the square whose mean counts for the place in its middle; 1 takes each token as it is.
    batch_size: pictures of a step of STEGO's head, and of a linear probe. steps: of either; None counts epochs.
    epochs: over the pictures, where steps is None. lr: Adam's, of the head. probe_lr: Adam's, of a linear probe.
    restarts: starts of k-means, the best of which counts.
    refine_size: longest side in pixels at which masks are refined. sharpness: of the probabilities that it begins with.
    least_area: share of a picture, or of a tile, that a connected part of a mask must have, as `segment` asks of what
        it writes; 0 judges masks as they were found, as the paper does.
    workers: processes that read pictures. devices: "auto", "cpu" or "gpu". precision: "32", or "bf16" for the backbone.
    cache: folder that keeps features and what was learned and judged, so that the same command goes on where it was
        stopped; "auto": $DENSESSL_CACHE, or densessl/features in the user's folder of caches; "none": nowhere.
    cache_size: GB that it may hold. keep_size: GB that features may take beside it while the run lasts.
    stego, crf: sections of STEGO's and of the CRF's own settings.
    """

    backbone: str = MISSING
    data: str = MISSING
    ignore: Any = None
    learn_split: str = "train"
    split: str = "val"
    limit: int | None = None
    judge: list[str] = field(default_factory=lambda: ["honest"])
    crops: str = "whole"
    inputs: str = "whole"
    methods: list[str] | None = None
    refine: list[str] = field(default_factory=lambda: ["none", "crf"])
    classes: int | None = None
    seeds: Any = 3
    seed: int = 0
    baselines: bool = False
    pictures: str | None = None
    panel: list[str] | None = None
    image_size: int | None = None
    tile: int | None = None
    layers: Any = None
    facet: str = "tokens"
    positions: str | None = None
    window: int = SegmentConfig.window
    batch_size: int = SegmentConfig.batch_size
    steps: int | None = SegmentConfig.steps
    epochs: int = SegmentConfig.epochs
    lr: float = SegmentConfig.lr
    probe_lr: float = 5e-3
    refine_size: int = SegmentConfig.refine_size
    sharpness: float = SegmentConfig.sharpness
    least_area: float = 0.0
    workers: int = 0
    devices: str = "auto"
    precision: str = "32"
    cache: str | None = SegmentConfig.cache
    cache_size: float = SegmentConfig.cache_size
    keep_size: float = SegmentConfig.keep_size
    restarts: int = SegmentConfig.restarts
    stego: StegoConfig = field(default_factory=StegoConfig)
    crf: CRFConfig = field(default_factory=CRFConfig)

    @property
    def runs(self) -> list[int]:
        """The seeds of the runs."""
        return list(range(self.seed, self.seed + self.seeds)) if isinstance(self.seeds, int) else list(self.seeds)


def check_protocol(config: SegmentsConfig, given: bool) -> None:
    """Raise `UserError` for a value that cannot be. given: whether the backbone is a file of segments."""
    for key, known in {"crops": ("whole", "five"), "inputs": ("whole", "square")}.items():
        if getattr(config, key) not in known:
            raise UserError(f"{key}={getattr(config, key)} is not one of: {', '.join(known)}.")
    choices = {
        "methods": ("kmeans", "stego", "linear"),
        "refine": ("none", "crf", "guided"),
        "judge": ("honest", "official"),
    }
    for key, known in choices.items():
        unknown = [each for each in getattr(config, key) if each not in known]
        if unknown or not (getattr(config, key) or (key == "methods" and given)):
            raise UserError(
                f"{key}={list(getattr(config, key))}: give one or more of {', '.join(known)}, such as "
                f"{key}=[{','.join(known[:2])}]."
            )
    if config.panel is not None and not (config.panel and config.pictures):
        raise UserError("panel names the images that panel.png shows: give one or more, and pictures=FOLDER for it.")
    _check_seeds(config.seeds)
    if not 0 <= config.least_area < 1:
        raise UserError(f"least_area={config.least_area} is a share of the picture: give 0, or less than 1.")
    for key, bound in (("seed", 0), ("limit", 2), ("probe_lr", 0)):
        value = getattr(config, key)
        if value is not None and value < bound:
            raise UserError(f"{key}={value} is too small: give {bound} or more.")


def _check_seeds(seeds: Any) -> None:
    given = seeds if isinstance(seeds, list) else [seeds]
    least = 0 if isinstance(seeds, list) else 1
    if not given or any(isinstance(each, bool) or not isinstance(each, int) or each < least for each in given):
        raise UserError(f"seeds={seeds} is neither how many runs, such as 3, nor a list of seeds, such as [0,1,2].")
    if len(set(given)) < len(given):
        raise UserError(f"seeds={seeds} names a seed twice: give each once.")
