"""What a detector is built with, and what `densessl detect` can be told."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from omegaconf import MISSING, OmegaConf

from densessl import config as configs
from densessl.config import nearest
from densessl.data.sources.places import absolute
from densessl.errors import at_least, from_0_to_1, require
from densessl.training.config import OptimizerConfig, PretrainConfig, check


@dataclass(frozen=True)
class DetectorConfig:
    """Neck and heads, sized for pages: thin heads, since a page's objects are few and of few kinds, and flat anchors,
    since most of them are lines of text.

    head: "faster" has one box head (Faster R-CNN), "cascade" three, each of which starts from the boxes of the one
        before (Cascade R-CNN, arXiv 1712.00726). masks: a mask head too (Mask R-CNN).
    finest, coarsest: strides in pixels of the maps that objects are found on; between them every doubling.
    channels: of these maps. hidden: width of the two layers of a box head.
    sides: of square anchors, in strides. ratios: of anchors, height / width. At 800 px these overlap 80 % of the
        objects of 150 real pages (PolEval's) and 99 % of the tables of as many (cTDaR's) by an IoU of 0.5; 32 to 512 px
        on strides 4 to 64, with 0.5, 1 and 2, overlap 15 % and 80 %.
    anchors, samples: drawn from a page for the losses, of proposals and of each box head. proposals: that the box head
        is given; train_proposals: while it learns.
    score, overlap, most: detections below this score are dropped, of those of one class that overlap by more than this
        IoU the best is kept, and at most so many of a page.
    tight: sides of boxes move to where the ink of the page ends (`densessl.documents.detection.tight`); not of masks.
    """

    head: str = "faster"
    masks: bool = False
    finest: int = 8
    coarsest: int = 128
    channels: int = 128
    hidden: int = 512
    sides: list[float] = field(default_factory=lambda: [2.0, 3.0, 4.5])
    ratios: list[float] = field(default_factory=lambda: [0.06, 0.15, 0.4, 1.0, 2.5])
    anchors: int = 256
    samples: int = 128
    proposals: int = 300
    train_proposals: int = 600
    score: float = 0.05
    overlap: float = 0.5
    most: int = 100
    tight: bool = False

    def __post_init__(self) -> None:
        heads = ("faster", "cascade")
        require(
            self.head in heads,
            f"detector.head={self.head} is not one of: {', '.join(heads)}{nearest(self.head, heads)}",
        )
        for name in ("finest", "coarsest"):
            value = getattr(self, name)
            require(
                value in (4, 8, 16, 32, 64, 128, 256),
                f"detector.{name}={value} is no stride: give a power of two from 4 to 256.",
            )
        require(
            self.finest < self.coarsest,
            f"detector.finest={self.finest} must be below detector.coarsest={self.coarsest}.",
        )
        at_least(1, "detector", self, "hidden", "anchors", "samples", "proposals", "train_proposals", "most")
        at_least(8, "detector", self, "channels")
        from_0_to_1("detector", self, "score", "overlap")
        for name in ("sides", "ratios"):
            values = getattr(self, name)
            fine = len(values) > 0 and all(value > 0 for value in values)
            require(fine, f"detector.{name}={list(values)} must be one or more numbers above 0.")

    @property
    def strides(self) -> list[int]:
        """Of the maps, from the finest on."""
        doublings = (self.coarsest // self.finest).bit_length()
        return [self.finest << place for place in range(doublings)]


@dataclass
class DetectConfig(PretrainConfig):
    """A run of `densessl detect train`; see `PretrainConfig` for what it shares with others.

    data: a set of labelled pages, NAME:FOLDER or a COCO file (`densessl.documents.open_pages`), or a list of them.
    split: of these. classes: names of what is to be found; None is the classes of the first set. names: from a class
        of a set to one of `classes`, for sets that name things otherwise. partial: leave out pages whose images are not
        there.
    documents: what tells documents apart where a set does not say which page is from which: "runs" of numbers in their
        names, or the "size" of pages (`densessl.documents.splits`); None leaves each page alone.
    val: pages to judge the detector by, given as data is; None for none. val_split: of these.
    val_share: where there is no `val`, keep about this share of the pages apart, by document.
    weights: a detector to begin with, "box" for the one that the package brings, the folder of a run or its
        detector.safetensors. The backbone, the neck and the heads are its own then, whatever `backbone` and `detector`
        say of them; classes that it knows by the same name keep what it learned of them, others are new.
    backbone: a timm architecture with random weights, or a spec of `load_backbone`.
    image_size: pixels of a page's longest side. scales: a page is learned from at such a share of it, from and to.
    grey, light: chance of a page without colours, and how far contrast and brightness are changed at most.
    stretch: logarithm by which a page may be made narrower or wider at most; 0 keeps its shape.
    worn: chance of a page as of a poor scan, blurred, with noise and on tinted paper. flip: of a mirrored page, which
        text never is; DiT's recipe has 0.5 all the same.
    layer_decay: the learning rate of each layer of the backbone is this times that of the layer behind it.
    freeze_norms: keep statistics of batch norms as they are; None does so for a backbone that was trained before.
    batch_size: pages a step.
    """

    method: str = "detect"
    data: Any = MISSING
    classes: list[str] | None = None
    names: dict[str, str] = field(default_factory=dict)
    partial: bool = False
    documents: str | None = None
    val: Any = None
    val_split: str | None = None
    val_share: float = 0.0
    weights: str | None = None
    backbone: str = "resnet18"
    image_size: int = 800
    batch_size: int = 16
    epochs: int = 12
    lr: float = 1e-4
    scales: list[float] = field(default_factory=lambda: [0.6, 1.0])
    grey: float = 0.5
    light: float = 0.2
    stretch: float = 0.0
    worn: float = 0.0
    flip: float = 0.0
    layer_decay: float = 0.8
    freeze_norms: bool | None = None
    optimizer: OptimizerConfig = field(
        default_factory=lambda: OptimizerConfig(
            "adamw", weight_decay=0.05, lr_scaling="none", warmup_epochs=1.0, clip=1.0
        )
    )
    detector: DetectorConfig = field(default_factory=DetectorConfig)


def resolve(recipe: str | Path, overrides: Sequence[str] = ()) -> DetectConfig:
    """A recipe of configs/detect, a path or a run's folder, with overrides -> its checked config.

    Raises `UserError` for an unknown recipe or key and for values that cannot be.
    """
    layers = (configs.read_yaml(recipe, "detect"), configs.parse_overrides(overrides))
    # Pages that are named by hand take the place of the share that a recipe keeps apart.
    if layers[1].get("val") and "val_share" not in layers[1]:
        layers[0].pop("val_share", None)
    if "backbone" in layers[1] and layers[1].backbone != layers[0].get("backbone"):
        layers[0].pop("backbone_options", None)
    found = OmegaConf.merge(*layers).get("method", "detect")
    require(found == "detect", f"{recipe} is a recipe of {found}, not of densessl detect.")
    config = configs.build(configs.merge(DetectConfig, layers[0], where=str(recipe)), layers[1])
    if config.out is None:
        path = Path(recipe)
        config.out = str(Path("runs") / (path.parent.name if path.name == "config.yaml" else path.stem))
    config.data, config.val = place_of(config.data), config.val and place_of(config.val)
    if config.weights not in (None, "box"):
        config.weights = str(absolute(config.weights))
    check(config)
    _check(config)
    return config


RECIPE = "recipe.json"  # in the folder of a run by detectron2: what it was made with


def by_detectron2(recipe: str | Path) -> bool:
    """Whether a recipe or a run's folder is detectron2's: a LazyConfig file, or what a run of one left.

    Raises `UserError` for a .py that is not there, so that nobody installs detectron2 to read that.
    """
    path = Path(recipe).expanduser()
    return bool(path.suffix == ".py" and lazy_recipe(recipe)) or (path / RECIPE).is_file()


def lazy_recipe(recipe: str | Path) -> Path:
    """A LazyConfig file by its path or its name in configs/detectron2, such as publaynet.py; raises `UserError`."""
    known = {path.name: path for path in sorted(configs.recipe_folder("detectron2").glob("*.py"))}
    path = Path(recipe).expanduser()
    path = path if path.is_file() else known.get(str(recipe), path)
    require(
        path.is_file(),
        f"There is no recipe {recipe}, neither a file nor one of: {', '.join(known)}{nearest(str(recipe), known)}",
    )
    return path


def place_of(spec: Any) -> Any:
    """A set of pages with a path that stays right when the saved config is run from another folder; lists too."""
    if isinstance(spec, list | tuple):
        return [place_of(each) for each in spec]
    name, colon, root = str(spec).partition(":")
    return f"{name}:{absolute(root)}" if colon and root else absolute(spec)


def _check(config: DetectConfig) -> None:
    require(config.image_size >= 64, f"image_size={config.image_size} shows nothing of a page: give 64 or more.")
    scales = config.scales
    fine = len(scales) == 2 and 0 < scales[0] <= scales[1] <= 2
    require(fine, f"scales={list(scales)} must be two shares of image_size, the smaller one first, such as [0.6, 1.0].")
    for key in ("grey", "light", "stretch", "worn", "flip", "val_share"):
        value = getattr(config, key)
        require(0 <= value <= 1, f"{key}={value} must be from 0 to 1.")
    how, known = config.documents, ("runs", "size")
    meant = nearest(str(how), known)
    require(how in (None, *known), f"documents={how} is not one of: {', '.join(known)}{meant}")
    require(config.val_share < 1, "val_share=1 leaves no page to learn from: give less.")
    require(
        not (config.val and config.val_share), "val= and val_share= both name pages to judge by: leave one of them out."
    )
    require(0 < config.layer_decay <= 1, f"layer_decay={config.layer_decay} must be above 0 and at most 1.")
    require(config.classes is None or len(config.classes) > 0, "classes=[] names nothing to find: leave it out.")
    require(config.tile is None, "Pages are not cut into tiles: leave tile= out.")
    require(config.nodes == 1, "densessl detect trains on one machine: leave nodes= out.")
