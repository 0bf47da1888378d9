"""What `densessl segment` can be told."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from omegaconf import MISSING, OmegaConf

from densessl import config as configs
from densessl.config import nearest
from densessl.data.pages import SIDE
from densessl.errors import UserError
from densessl.segmentation.refinement.crf import CRFConfig


@dataclass
class StegoConfig:
    """STEGO's own settings under the official names; the defaults are CocoStuff-27 with ViT-S (arXiv 2203.08414).

    A pair of places attracts where the cosine of its features, centred, exceeds the shift, and repels below it. The
    three weights and shifts are the paper's for DINO's features. Others, such as a ReLU's, can be so alike that every
    pair attracts and all codes fall together: `centre` takes the mean over the pictures from the features first, which
    the paper does not (tests/benchmarks/heads.md).
    """

    dim: int = 70  # length of a code
    dropout: float = 0.1  # share of channels dropped per picture in training
    pos_intra_weight: float = 0.67  # weight of pairs of places within a picture
    pos_inter_weight: float = 0.25  # of pairs with one of its nearest neighbours
    neg_inter_weight: float = 0.63  # of pairs with other pictures of the batch
    pos_intra_shift: float = 0.08  # cosine above which a pair within a picture attracts
    pos_inter_shift: float = 0.02  # the same of pairs with a nearest neighbour
    neg_inter_shift: float = 0.66  # the same of pairs with other pictures of the batch
    feature_samples: int = 11  # points per picture: this number squared
    neg_samples: int = 5  # other pictures per picture
    num_neighbors: int = 7  # nearest pictures to draw the neighbour from; fewer when there are fewer pictures
    centre: bool = True  # take the mean over the pictures from the features first
    pointwise: bool = True  # centre the cosines of each place over the other picture's places
    zero_clamp: bool = True  # codes that point apart count as unlike, and no more is asked of them
    stabilize: bool = False  # codes are not drawn together beyond a cosine of 0.8
    cluster_lr: float = 5e-3  # Adam, for the cluster probe
    clusters: str = "kmeans"  # "kmeans": on the codes, after training, best of several starts; "probe": the paper's


@dataclass
class SegmentConfig:
    """A run of `densessl segment`.

    data: images or films (folder, file, glob, list, shards, data set; see `densessl.data.sources`).
    page_side: longest side in pixels of pages of PDFs.
    out: the folder that gets the masks.
    classes: how many segments, or "auto": as many as `densessl.segmentation.sweep` chooses, whose curve is `sweep.png`.
    backbone: whose features are used; None is "box", the backbone that the package brings, and "colour" are colours and
        gradients, which nobody had to learn.
    model: a model.safetensors of an earlier run, or a .ckpt of STEGO's authors: nothing is learned, its segments are
        written.
    probe: of a .ckpt "cluster", found without labels, or "linear", which labels taught and whose classes have names.
    method: "kmeans" on the backbone's features; "stego", which trains a head first and takes its codes
        (`densessl.segmentation.stego.train`); or "spectral", k-means with the tokens of each picture first joined into
        segments of that picture (`densessl.segmentation.spectral`). tests/benchmarks/heads.md has the figures by which
        k-means is what happens unless told.
    layers: which of the backbone's feature maps, counted as Python counts (-1 is the last), or "colour" for colours and
        gradients; several side by side on the first one's grid, such as [colour,-2,-1]. None for those that the
        backbone's file names, or the last.
    facet: the "tokens" of that layer or, of a ViT, the "keys" of its attention.
    positions: how a ViT's positions are resized to another size than it was trained at: by "timm", or the "official"
        way of DINO, with which STEGO's features were made; None is what the backbone's file says, else timm.
    window: side in tokens of the square whose mean feature counts for the place in its middle; 1 takes each token as it
        is. 3 was better than 1 in all six cells of a study with k-means and in five with STEGO, but not on the small
        maps of `densessl.demo` (tests/benchmarks/heads.md).
    image_size: short side in pixels of what the backbone sees; None is the backbone's own (or the model's). With `tile`
        that of the whole picture, and None is its own size.
    tile: None, or the side in pixels of the squares through which the backbone sees a picture of any size, which lie
        over each other (`densessl.segmentation.features.tiles`); segments are then learned from such squares, up to
        1024.
    steps: optimizer steps of STEGO's head; None counts `epochs` over the pictures instead.
    learn_from: pictures to learn from at most, drawn by the seed; masks are written for all.
    refine: how masks are made to follow edges: "crf" (a second or so a picture), "guided" (faster, less) or "none".
    refine_size: longest side in pixels at which that is done; that of the backbone's map where it is larger, up to
        1280.
    least_area: share of the picture that a connected part of a mask must have, or with `tile` of a tile; what is
        smaller goes to the segment beside it with the longest common border, and 0 leaves all. `probabilities` are as
        they were before. The backbone in the box sees a photograph as some 2,000 places, two of which 0.001 are: on 12
        photographs with the CRF 19 parts a picture were left of 194, and on CamVid mIoU rose from 34.7 to 35.5.
    sharpness: of the probabilities that the refinement begins with; 2 in STEGO's evaluation.
    every: of a film each frame gets a mask, or of so many one: every=5 takes frames 0, 5, 10 and so on.
    stable: share of the frames before in what decides a frame's mask, brought along with the motion, so that labels do
        not flicker (`densessl.segmentation.films.stable`); below 1, and 0 takes each frame by itself.
    names: a names.txt in which segments have names; those of the same name become one class, and `classes/` gets masks
        of the classes. None takes the one in `out`, if there is one.
    crops: how many places each page of `sheets/` shows its segment at; 0 draws no sheets.
    sheets: of how many segments there is such a page, the largest; those that are there are kept up to date.
    coco: also write `coco.json`, the masks as COCO annotations (a category's id is its class index + 1); one that is
        there is kept up to date.
    probabilities: also write `probabilities/x/y.npz`, for each picture `probabilities` (segments, h, w) float16, at the
        size of the refinement or, with refine=none, of the backbone's map.
    cache: folder in which features, and STEGO's head, are kept for other runs on the same pictures, with other classes
        for one; "auto": $DENSESSL_CACHE, or densessl/features in the user's folder of caches; None and "none": nowhere.
    cache_size: what that folder may hold, in GB of 10^9 bytes; what was not used for longest makes room. The box makes
        3.1 MB of a photograph of 4:3, so that 16 hold the 5000 that are learned from.
    keep_size: what features that are learned from may take beside the cache, in GB, in the folder `out` while the run
        lasts; where they would take more, the backbone makes them anew for each step
        (`densessl.segmentation.features.remade`).
    unreadable: share of the pictures that may be unreadable before the run ends.
    """

    data: Any = MISSING
    out: str = MISSING
    split: str | None = None  # of a data set that has several, such as train
    page_side: int = SIDE
    classes: int | str = 8
    backbone: str | None = None
    model: str | None = None
    probe: str = "cluster"
    method: str = "kmeans"
    layers: Any = None
    facet: str = "tokens"
    positions: str | None = None
    window: int = 3
    image_size: int | None = None
    tile: int | None = None
    batch_size: int = 16  # pictures per step of STEGO's head
    epochs: int = 10  # of STEGO's head, where steps is null
    steps: int | None = 400
    lr: float = 5e-4  # Adam, for the head
    restarts: int = 8  # starts of the k-means that finds the segments, the best of which counts
    workers: int = 0  # processes that read pictures; 0: this one does
    seed: int = 0  # of all that is drawn: pictures to learn from, starts, STEGO's pairs
    devices: str = "auto"  # "auto", "cpu" or "gpu"; one process, one GPU
    precision: str = "32"  # "32", or "bf16" for the backbone
    learn_from: int = 5000
    refine: str = "crf"
    refine_size: int = 320
    least_area: float = 0.001
    sharpness: float = 2.0
    every: int = 1
    stable: float = 0.7
    names: str | None = None
    crops: int = 12
    sheets: int = 100
    coco: bool = False
    probabilities: bool = False
    cache: str | None = "auto"
    cache_size: float = 16.0
    keep_size: float = 20.0
    unreadable: float = 0.5
    stego: StegoConfig = field(default_factory=StegoConfig)
    crf: CRFConfig = field(default_factory=CRFConfig)


def resolve(arguments: Sequence[str], given: Mapping[str, Any], recipe: str | None = None) -> SegmentConfig:
    """The arguments of the command, images and key=value mixed, with its options and a recipe -> a checked config.

    given: options by key; None where one was not given. Options overrule the recipe, key=value overrules both.
    Raises `UserError` for an unknown key or a value of the wrong type.
    """
    overrides = [each for each in arguments if re.match(r"^[A-Za-z_][\w.]*=", each) and not Path(each).exists()]
    images = [each for each in arguments if each not in overrides]
    options = {
        key: str(value) if isinstance(value, Path) else value for key, value in given.items() if value is not None
    }
    if images:
        options["data"] = images[0] if len(images) == 1 else images
    layers = [OmegaConf.create(options), configs.parse_overrides(overrides)]
    if recipe:
        layers.insert(0, configs.read_yaml(recipe, "segment"))
    return counted(configs.build(SegmentConfig, *layers))


def counted(config: SegmentConfig) -> SegmentConfig:
    """With a number of segments that was given as text as a number; `UserError` for neither a number nor "auto"."""
    given = str(config.classes).strip()
    if given == "auto":
        return config
    if not re.fullmatch(r"[+-]?\d+", given):
        raise UserError(f"classes={given} is neither a whole number nor auto{nearest(given, ['auto'])}")
    return replace(config, classes=int(given))
