"""CMC: contrastive multiview coding (Tian et al., arXiv 1906.05849), with M views of each image.

    L(V_i, V_j) = L_ij + L_ji,   core view: sum over j > 1 of L(V_1, V_j),   full graph: sum over i < j of L(V_i, V_j)

L_ij tells the view j of image n, as the memory bank of view j has it, from those of K other images, by the encoder's
z of view i (unit length); the bank moves after the loss, v <- m v + (1 - m) z. By one of

    softmax   L_ij = -log h(z_i, v_j) / (h(z_i, v_j) + sum over K of h(z_i, v_j')),   h = exp(z.v / tau)   (equation 2)
    nce       L_ij = -log P(z_i, v_j) - sum over K of log(1 - P(z_i, v_j')),   P = p / (p + K / N),   p = h / Z_ij

The default is nce, as the official code trains unless told otherwise. Z_ij is N times the mean of h in the first batch,
and stays (official `NCEAverage.py`).

Views, in this order: groups of an image's channels (`split`: L and ab of Lab, Y and CbCr, R and G and B, or any groups
of one colour space); maps in folders parallel to the images (depth, normals, labels); of videos the frame some frames
later, seen by the encoder of the first group, and the optical flow around each frame. Each view has an encoder of its
own, of the given architecture and a linear layer; a backbone half as wide gives together what one backbone would (the
official resnet50v1: `backbone_options: {channels: [32, 64, 128, 256]}`). The exported backbone takes RGB images and
gives the vectors and maps of the groups' encoders one after another; encoders of maps and of flow are left out of it.

Defaults: K 16,384, tau 0.07, m 0.5, 128 dimensions, crops of 0.2 to 1 of the area and flips alone, Lab by the formulas
and the scaling of the official code (`train_CMC.py`, `dataset.py`). Colour jitter and grey would break the split and
are refused.
Where we differ: the K negatives are drawn once for a batch, not for each image, which keeps the expected loss and makes
it one matrix product; an image is never its own negative; with fewer images than K each stands in the sum once; the
bank starts at unit length. Of videos the paper leaves open how i_t+k is cropped (here anew; flow is cropped with its
frame) and how flow is computed fast (theirs is TV-L1; here DIS or Farneback); negatives are of other videos, as there,
but from the banks, where theirs are of the batch.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from itertools import permutations
from math import isfinite, log, log1p, nan

import numpy as np
import torch
from torch import Tensor, nn

from densessl.backbones.channels import Split
from densessl.backbones.split import encoder_like, split_backbone
from densessl.config import nearest
from densessl.data.sources import Source
from densessl.data.sources.layers import FLOW_ZERO, Depth, Flow, Labels, Later, Layered, Normals
from densessl.data.sources.videos import Clips
from densessl.data.views import ViewSpec
from densessl.distributed import from_first, gather
from densessl.errors import above_0, at_least, from_0_to_1, require
from densessl.losses import info_nce, log_partition, nce
from densessl.losses.common import directions
from densessl.methods.parts import MemoryBank
from densessl.methods.registry import Output, Sheet, register

CHOICES = {"graph": ("core", "full"), "objective": ("nce", "softmax"), "flow_algorithm": ("dis", "farneback")}


def _view() -> ViewSpec:
    return ViewSpec(scale=(0.2, 1.0), jitter=0.0, grey=0.0, blur=0.0)


@dataclass(frozen=True)
class CMCConfig:
    split: str = "lab"  # of the image: lab, ycbcr, ydbdr, rgb, or groups of channels such as l|a,b; r,g,b is one view
    graph: str = "core"  # core: the first view with every other; full: every pair
    objective: str = "nce"  # nce or softmax
    negatives: int = 16384  # K, drawn from the bank
    temperature: float = 0.07  # tau
    momentum: float = 0.5  # m, of the bank
    dim: int = 128  # of z
    depth: str | None = None  # folder of depth maps, or of any other single channel, named as the images are
    depth_extent: tuple[float, float] | None = None  # values stored in 16 bits that become the ends of the range
    normals: str | None = None  # folder of surface normals in RGB
    labels: str | None = None  # folder of maps of class indices
    label_classes: int | None = None  # how many; greater indices are no class
    later: int = 0  # k, frames from a frame to the one that is its view; 0 for none
    flow: int = 0  # fields of optical flow centred at a frame, a view together; the paper has 10; 0 for none
    flow_algorithm: str = "dis"  # dis or farneback
    flow_bound: float = 20.0  # px a frame that flow is cut at, as two-stream networks have it
    same_video: bool = False  # let frames of the same video be negatives
    view: ViewSpec = field(default_factory=_view)

    def __post_init__(self) -> None:
        for name, known in CHOICES.items():
            value = getattr(self, name)
            require(value in known, f"cmc.{name}={value} is not one of: {', '.join(known)}{nearest(value, known)}")
        at_least(1, "cmc", self, "negatives", "dim")
        above_0("cmc", self, "temperature")
        from_0_to_1("cmc", self, "momentum")
        require(self.flow >= 0, f"cmc.flow={self.flow} must be 0 or more fields.")
        bound = self.flow_bound
        require(bound > 0 and isfinite(bound), f"cmc.flow_bound={bound} must be above 0 pixels.")
        require(self.view.count == 1, f"cmc.view.count={self.view.count}, but CMC splits one view of an image.")
        for name in ("jitter", "grey"):
            value = getattr(self.view, name)
            require(value == 0, f"cmc.view.{name}={value} would break the split of colours: give cmc.view.{name}=0.")
        self._check_maps()
        views = len(Split(self.split).groups) + len(self.beside)
        require(views > 1, f"cmc.split={self.split} is a single view: split it, or add cmc.depth, cmc.flow or others.")

    def _check_maps(self) -> None:
        require(
            (self.labels is None) == (self.label_classes is None),
            "cmc.labels (a folder) and cmc.label_classes (how many) go together: give both or none.",
        )
        count = self.label_classes
        require(count is None or 2 <= count <= 255, f"cmc.label_classes={count} must be from 2 to 255.")
        extent = None if self.depth_extent is None else tuple(self.depth_extent)
        require(
            extent is None or (len(extent) == 2 and extent[0] < extent[1]),
            f"cmc.depth_extent={self.depth_extent} must be two values, the smaller one first.",
        )
        require(extent is None or self.depth is not None, "cmc.depth_extent is of cmc.depth: give that folder too.")
        object.__setattr__(self, "depth_extent", extent)
        for name in ("depth", "normals", "labels"):
            if getattr(self, name) is not None:
                # A saved config stays right when it is run from another folder.
                object.__setattr__(self, name, os.path.abspath(os.path.expanduser(getattr(self, name))))

    @property
    def beside(self) -> dict[str, int]:
        """The views beside the image's groups, with the channels that their encoder takes."""
        channels = {
            "depth": 1 if self.depth else 0,
            "normals": 3 if self.normals else 0,
            "labels": self.label_classes or 0,
            "later": 3 if self.later else 0,
            "flow": 2 * self.flow,
        }
        return {name: count for name, count in channels.items() if count}

    def layered(self, source: Source) -> Source:
        """The source with the layers that the views beside the image are made of; none leave it as it is."""
        if not self.beside:
            return source
        clips = Clips(source) if self.later or self.flow else None
        make = {
            "depth": lambda: Depth(self.depth, self.depth_extent),
            "normals": lambda: Normals(self.normals),
            "labels": lambda: Labels(self.labels, self.label_classes),
            "later": lambda: Later(clips, self.later),
            "flow": lambda: Flow(clips, self.flow, self.flow_algorithm, self.flow_bound),
        }
        apart = clips is not None and not self.same_video
        layered = Layered(source, [make[name]() for name in self.beside], clips.clip if apart else None)
        require(
            not apart or len(np.unique(layered.groups)) > 1,
            "All frames are of one video, and negatives are of others: put the frames of each video into a folder of "
            "its own, or give cmc.same_video=true.",
        )
        return layered


@register(
    "cmc",
    config=CMCConfig,
    title="Contrastive Multiview Coding",
    arxiv="1906.05849",
    year=2019,
    published="68.4 % on ImageNet, linear (two ResNet-50 of twice the width, one of L and one of ab)",
    needs=("index",),
)
class CMC(nn.Module):
    sync_batch_norm = False

    def __init__(self, backbone: nn.Module, config: CMCConfig, data_size: int) -> None:
        super().__init__()
        self.config = config
        self.backbone = split_backbone(backbone, config.split)
        own = {name: channels for name, channels in config.beside.items() if name != "later"}
        self.encoders = nn.ModuleDict({name: encoder_like(backbone, channels) for name, channels in own.items()})
        self.names = [*self.backbone.groups.names, *config.beside]
        self.projectors = nn.ModuleList(nn.Linear(self.encoder(name).channels, config.dim) for name in self.names)
        if "later" in self.names:
            self.projectors[self.names.index("later")] = self.projectors[0]
        self.banks = nn.ModuleList(MemoryBank(data_size, config.dim) for _ in self.names)
        # Which negatives are no negatives: those of the same image, or video.
        self.register_buffer("group", torch.arange(data_size))
        self.negatives = min(config.negatives, data_size)
        pairs = permutations(range(len(self.names)), 2)
        self.pairs = [pair for pair in pairs if config.graph == "full" or 0 in pair]
        if config.objective == "nce":
            self.register_buffer("log_z", torch.full((len(self.pairs),), nan))
        self.z_known = False  # on the host, so that nothing waits for the device to say so

    @property
    def views(self) -> list[ViewSpec]:
        return [self.config.view]

    def encoder(self, name: str) -> nn.Module:
        """The network that sees the view of this name; a later frame is seen as the first group is."""
        if name in self.encoders:
            return self.encoders[name]
        groups = self.backbone.groups.names
        return self.backbone.encoders[groups.index(name) if name in groups else 0]

    def chance(self, batch_size: int) -> float:
        """For each ordered pair, with no candidate nearer than others: ln(K + 1), and K ln(1 + 1 / K) more for nce."""
        k = self.negatives - (self.negatives == len(self.group))
        return len(self.pairs) * (log(k + 1) + (k * log1p(1 / k) if self.config.objective == "nce" else 0))

    def forward(self, batch: dict) -> Output:
        h = [self.encoder(name)(part) for name, part in zip(self.names, self.parts(batch), strict=True)]  # (B, d) each
        z = [directions(head(each)) for head, each in zip(self.projectors, h, strict=True)]  # (B, dim) each
        index, group = batch["index"], batch.get("group", batch["index"])
        drawn = self.draw(index.device)
        self.group[gather(index)] = gather(group)
        groups = (group, self.group[drawn])
        if self.config.objective == "nce" and not self.z_known:
            self.estimate(z, index, drawn, group)
        losses = {}
        for place, (i, j) in enumerate(self.pairs):
            # Across: the vector of one view against the bank of the other.
            loss = self.contrast(place, z[i], self.banks[j].rows, index, drawn, groups)
            losses[f"loss_{self.names[i]}_{self.names[j]}"] = loss
        for bank, each in zip(self.banks, z, strict=True):
            bank.update(index, each.detach(), self.config.momentum)
        seen = len(self.backbone.encoders)
        metrics = {name: loss.detach() for name, loss in losses.items()}
        return Output(sum(losses.values()), metrics, torch.cat(h[:seen], dim=1).detach(), z[0].detach())

    def parts(self, batch: dict) -> list[Tensor]:
        """What the encoders see, float (B, c, s, s) each."""
        parts = self.backbone.groups(batch["views"][0])
        for name, layer in zip(self.config.beside, batch.get("layers", ()), strict=True):
            if name == "labels":
                classes = torch.arange(self.config.label_classes, device=layer.device).view(1, -1, 1, 1)
                parts.append((layer == classes).to(parts[0].dtype))
            elif name == "later":
                parts.append(self.backbone.groups(self.backbone.normalise(layer))[0].to(parts[0].dtype))
            else:
                middle = FLOW_ZERO if name == "flow" else 127.5
                parts.append((layer.to(parts[0].dtype) - middle) / 127.5)
        return parts

    def draw(self, device: torch.device) -> Tensor:
        """(K,) indices of negatives for all pairs; where K is all of the data, each index once."""
        if self.negatives == len(self.group):
            return torch.arange(len(self.group), device=device)
        return from_first(torch.randint(len(self.group), (self.negatives,), device=device))

    def contrast(
        self, place: int, z: Tensor, bank: Tensor, index: Tensor, drawn: Tensor, groups: tuple[Tensor, Tensor]
    ) -> Tensor:
        """L_ij of the pair at this place: z (B, dim) of view i against the bank (N, dim) of view j."""
        positive, negatives, tau = bank[index], bank[drawn], self.config.temperature
        if self.config.objective == "softmax":
            return info_nce(z, positive, negatives, tau, groups)
        return nce(z, positive, negatives, tau, len(bank), self.log_z[place], groups)

    @torch.no_grad()
    def estimate(self, z: list[Tensor], index: Tensor, drawn: Tensor, group: Tensor) -> None:
        """Set Z of every pair from this batch of all processes, unless it came back with a run that goes on."""
        if not bool(self.log_z.isfinite().all()):
            index, groups = gather(index), (gather(group), self.group[drawn])
            for place, (i, j) in enumerate(self.pairs):
                bank, tau = self.banks[j].rows, self.config.temperature
                found = log_partition(gather(z[i].detach()), bank[index], bank[drawn], tau, len(bank), groups)
                self.log_z[place] = from_first(found)
        self.z_known = True

    def pictures(self, batch: dict, thumbnail: object) -> dict[str, Sheet]:
        """What the encoders of the image's groups see of the view, the other channels at middling values."""
        view = batch["views"][0]
        if len(self.backbone.encoders) == 1:
            return {}
        shown = [view, *self.backbone.groups.pictures(view)]
        rows = [
            [self.backbone.pixels(each[row : row + 1])[0].permute(1, 2, 0).cpu().numpy() for each in shown]
            for row in range(len(view))
        ]
        return {"split": Sheet(rows, ["view", *self.backbone.groups.names])}
