"""Any backbone of the package as a backbone of detectron2, under one of three necks, with maps p2, p3, ... by stride.

dit: DiT's (arXiv 2203.02378, as its released detectors have it): four blocks of a transformer, without the final norm,
brought to strides 4 to 32 by transposed convolutions and max pooling at full width, then detectron2's FPN.
simple: the simple feature pyramid of ViTDet (arXiv 2203.16527) out of the last block, as `densessl detect` has it: the
coarsest map is pooled from the transformer's own and gets convolutions of its own, where ViTDet takes every second
place of the one before.
stages: detectron2's FPN on the stages of a network that has them (ResNet, ConvNeXt).

These see RGB in [0, 255], centred and scaled by the backbone's own mean and deviation (`pixels`), whatever detectron2's
default of BGR and Caffe's means; `densessl.documents.detectron2.model` tells detectron2 so, for all of them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from math import log2
from typing import Any

import timm
from detectron2.modeling import Backbone as DetectronBackbone
from detectron2.modeling.backbone import FPN
from timm.layers import DropPath
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from densessl.backbones import Backbone
from densessl.config import nearest
from densessl.documents.detection.necks import SimplePyramid, layer_strides
from densessl.errors import UserError
from densessl.training.run import backbone_of

NECKS = ("auto", "dit", "simple", "stages")
TABLE = 224  # pixels of the side that positions of a new network are made for; they are resized to each page


def page_backbone(
    spec: str,
    options: Mapping[str, Any] | None = None,
    neck: str = "auto",
    channels: int = 256,
    finest: int = 4,
    coarsest: int = 64,
    norm: str = "",
    freeze_norms: bool | None = None,
    sync_norms: bool = False,
    drop_path: float | None = None,
    checkpointing: bool = False,
) -> DetectronBackbone:
    """The backbone of a LazyConfig file.

    spec: a timm architecture, with random weights, or a spec of `load_backbone`. options: of an architecture; what is
    loaded has its own. neck: one of `NECKS`; auto is stages where there are some, else simple. channels: of each map;
    finest, coarsest: strides of the maps, each twice the one before. norm: of an FPN's convolutions, as detectron2
    names it. freeze_norms: keep statistics of batch norms as they are; None does so for weights that were loaded.
    sync_norms: statistics over all GPUs. drop_path: of the last block, growing linearly to it. checkpointing: make
    activations anew in the backward pass, for memory.
    """
    backbone = network(spec, options, freeze_norms, sync_norms, drop_path, checkpointing)
    if neck not in NECKS:
        raise UserError(f"neck={neck} is not one of: {', '.join(NECKS)}{nearest(str(neck), NECKS)}")
    staged = len(set(layer_strides(backbone))) > 1
    neck = ("stages" if staged else "simple") if neck == "auto" else neck
    if staged != (neck == "stages"):
        kind = "has stages" if staged else "has one stride and no stages"
        raise UserError(f"{backbone.architecture} {kind}, which neck={neck} is not made for: give neck=auto.")
    strides = [finest << place for place in range((coarsest // finest).bit_length())]
    if neck == "simple":
        return Pyramid(backbone, strides, channels)
    if neck == "dit":
        if [finest, coarsest] != [4, 64]:
            raise UserError("neck=dit has maps of the strides 4 to 64 and no others: leave finest and coarsest out.")
        taps: DetectronBackbone = DiTTaps(backbone)
    else:
        taps = Stages(backbone, finest, coarsest)
    known = list(taps.output_shape())
    top = EverySecond(f"p{known[-1][3:]}", len(strides) - len(known)) if len(strides) > len(known) else None
    return FPN(taps, known, channels, norm=norm, top_block=top)


def network(
    spec: str,
    options: Mapping[str, Any] | None = None,
    freeze_norms: bool | None = None,
    sync_norms: bool = False,
    drop_path: float | None = None,
    checkpointing: bool = False,
) -> Backbone:
    """The network alone; arguments and errors are those of `page_backbone`."""
    new = timm.is_model(spec)
    backbone = backbone_of(spec, TABLE, dict(options or {})) if new else backbone_of(spec, None, {})
    if backbone.fixed_size:
        raise UserError(
            f"{backbone.architecture} takes images of {backbone.fixed_size[0]} x {backbone.fixed_size[1]} pixels "
            "alone, and detectron2 shows it pages of any size: take another, or a recipe of configs/detect."
        )
    if not backbone.fresh if freeze_norms is None else freeze_norms:
        keep_statistics(backbone)
    if drop_path is not None:
        _set_drop_path(backbone, drop_path)
    if checkpointing:
        backbone.model.set_grad_checkpointing(True)
    if sync_norms:
        backbone.model = nn.SyncBatchNorm.convert_sync_batchnorm(backbone.model)
    return backbone


def pixels(model: nn.Module) -> tuple[list[float], list[float]]:
    """Mean and deviation, in [0, 255] and as RGB, of the pixels that the backbone within `model` wants to see."""
    backbone = next(part for part in model.modules() if isinstance(part, Backbone))
    return [255 * each for each in backbone.mean], [255 * each for each in backbone.std]


class _Named(DetectronBackbone):
    """What the backbones below share: maps by name, of one stride each. layers: what to ask the network for."""

    def __init__(self, backbone: Backbone, layers: Sequence[int]) -> None:
        super().__init__()
        self.backbone, self.layers = backbone, tuple(layers)

    def _named(self, letters: str, strides: Sequence[int], channels: Sequence[int]) -> None:
        names = [f"{letters}{_level(stride)}" for stride in strides]
        self._out_features = names
        self._out_feature_strides = dict(zip(names, strides, strict=True))
        self._out_feature_channels = dict(zip(names, channels, strict=True))

    @property
    def size_divisibility(self) -> int:
        return self.backbone.stride

    def _maps(self, images: Tensor) -> list[Tensor]:
        return self.backbone.feature_maps(images, self.layers)


class Pyramid(_Named):
    """The simple feature pyramid: images (B, 3, H, W) -> {"p3": (B, channels, H / 8, W / 8), ...}."""

    def __init__(self, backbone: Backbone, strides: Sequence[int], channels: int) -> None:
        super().__init__(backbone, SimplePyramid.layers)
        self.neck = SimplePyramid(backbone.layer_channels[-1], backbone.stride, strides, channels)
        self._named("p", strides, [channels] * len(strides))

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        return dict(zip(self._out_features, self.neck(self._maps(images)), strict=True))


class DiTTaps(_Named):
    """Four blocks, the last of each third and of the half, at strides 4, 8, 16 and 32: {"res2": ..., "res5": ...}."""

    def __init__(self, backbone: Backbone) -> None:
        depth, width = len(backbone.layer_channels), backbone.layer_channels[-1]
        if backbone.stride != 16 or depth < 4:
            raise UserError(
                f"{backbone.architecture} has {depth} blocks on patches of {backbone.stride} pixels; neck=dit is made "
                "for 4 blocks or more on patches of 16: give neck=simple."
            )
        super().__init__(backbone, (depth // 3 - 1, depth // 2 - 1, 2 * depth // 3 - 1, depth - 1))
        # DiT's detectors have no final norm.
        for name in ("norm", "fc_norm"):
            if hasattr(backbone.model, name):
                setattr(backbone.model, name, nn.Identity())
        double = partial(nn.ConvTranspose2d, width, width, 2, 2)
        self.fpn1 = nn.Sequential(double(), nn.BatchNorm2d(width), nn.GELU(), double())
        self.fpn2 = nn.Sequential(double())
        self.fpn3 = nn.Identity()
        self.fpn4 = nn.MaxPool2d(2, 2)
        self._named("res", (4, 8, 16, 32), [width] * 4)

    @property
    def size_divisibility(self) -> int:
        return 32

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        brought = (self.fpn1, self.fpn2, self.fpn3, self.fpn4)
        maps = (each(read) for each, read in zip(brought, self._maps(images), strict=True))
        return dict(zip(self._out_features, maps, strict=True))


class Stages(_Named):
    """The last map of each stride from `finest` to `coarsest`: {"res2": (B, C, H / 4, W / 4), ...}."""

    def __init__(self, backbone: Backbone, finest: int = 4, coarsest: int = 32) -> None:
        last = {stride: layer for layer, stride in enumerate(layer_strides(backbone))}
        if finest not in last:
            raise UserError(
                f"{backbone.architecture} has maps of the strides {', '.join(map(str, last))} and none of {finest}: "
                "give one of these as finest."
            )
        strides = [stride for stride in last if finest <= stride <= coarsest]
        super().__init__(backbone, [last[stride] for stride in strides])
        self._named("res", strides, [backbone.layer_channels[last[stride]] for stride in strides])

    @property
    def size_divisibility(self) -> int:
        return max(self.backbone.stride, *self._out_feature_strides.values())

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        return dict(zip(self._out_features, self._maps(images), strict=True))


class EverySecond(nn.Module):
    """On top of an FPN, maps of every second place of the one before; a single one is detectron2's LastLevelMaxPool."""

    def __init__(self, in_feature: str, num_levels: int) -> None:
        super().__init__()
        self.in_feature, self.num_levels = in_feature, num_levels

    def forward(self, maps: Tensor) -> list[Tensor]:
        found = []
        for _ in range(self.num_levels):
            maps = maps[..., ::2, ::2]
            found.append(maps)
        return found


def c4_trunk(spec: str, options: Mapping[str, Any] | None = None, sync_norms: bool = True) -> Stages:
    """A ResNet up to its stage of stride 16 ("res4"), as the C4 protocol of MoCo has it; `c4_head` is the rest."""
    backbone = _resnet(spec, options, sync_norms)
    backbone.model.layer4 = nn.Identity()
    return Stages(backbone, 16, 16)


def c4_head(spec: str, options: Mapping[str, Any] | None = None, sync_norms: bool = True) -> nn.Sequential:
    """The last stage of the same ResNet, for what lies in each box, and a batch norm behind it, which MoCo adds since
    what follows has none."""
    backbone = _resnet(spec, options, sync_norms)
    head = nn.Sequential(backbone.model.layer4, nn.BatchNorm2d(backbone.channels))
    return nn.SyncBatchNorm.convert_sync_batchnorm(head) if sync_norms else head


def _resnet(spec: str, options: Mapping[str, Any] | None, sync_norms: bool) -> Backbone:
    backbone = network(spec, options, freeze_norms=False, sync_norms=sync_norms)
    if not hasattr(backbone.model, "layer4"):
        raise UserError(f"The C4 protocol is one of ResNets, which {backbone.architecture} is not: take voc_fpn.")
    return backbone


def keep_statistics(module: nn.Module) -> None:
    """From now on the batch norms within stay in evaluation, whatever `train` says: a batch of a few pages tells
    little. Their weights learn."""
    for part in module.modules():
        if isinstance(part, _BatchNorm):
            part.eval()
            part.train = lambda mode=True, part=part: part


def _set_drop_path(backbone: Backbone, rate: float) -> None:
    blocks = getattr(backbone.model, "blocks", None)
    if blocks is None or not hasattr(blocks[0], "drop_path1"):
        raise UserError(
            f"drop_path={rate} is of transformers with blocks, which {backbone.architecture} has not: give "
            "model.backbone.drop_path=null."
        )
    for place, block in enumerate(blocks):
        share = rate * place / max(1, len(blocks) - 1)
        for name in ("drop_path1", "drop_path2"):
            setattr(block, name, DropPath(share) if share else nn.Identity())


def _level(stride: int) -> int:
    level = log2(stride)
    if level != int(level):
        raise UserError(
            f"detectron2 asks for strides that are powers of two, which {stride} is not: take patches of 16."
        )
    return int(level)
