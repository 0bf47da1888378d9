"""CPC v2: data-efficient image recognition with contrastive predictive coding (Henaff et al., arXiv 1905.09272).

    L = -mean over i, j, k of log exp(z^_{i+k,j} . z_{i+k,j}) / sum over all z_l of exp(z^_{i+k,j} . z_l)

    z^_{i+k,j} = W_k c_{i,j},   c = g(z),   z_{i,j} = f(x_{i,j})

over a grid of overlapping patches x_{i,j}, each with colours and flip of its own. g is a convolutional network whose
c_{i,j} sees the rows up to i alone; it predicts the rows below from k on at which patches share no pixel with x_{i,j}.
The same from all four sides: the grid is turned by quarters, and each direction has its own g, W_k and targets, which
are a linear map of z (appendix A.2). Negatives z_l are all places of all images of all processes, the prediction's own
image among them; gradients reach predictions and targets alike.

Defaults: g of 5 residual blocks, 256 wide; 64 dimensions; predictions scaled by 0.1 (appendix A.2).
f must not have batch norm, whose statistics tell patches of each other (section 3.2): the batch norms of a backbone
become layer norms over all channels and places (group norm of one group), which the exported backbone keeps. It is used
on whole images.
Where we differ: 7 x 7 patches of a quarter of the image (64 of 256 px), as in the first CPC (arXiv 1807.03748), and all
k up to the last row, where the appendix has 6 x 6 of 80 px with a step of 36, and k = 3 alone in its code
(cpc.view.patches={grid: 6, size: 80, step: 36, flip: 0.5} and cpc.last=3 give those, to a backbone whose stride divides
80); a resized crop; jitter, grey and flip of each patch, without dropping channels, shearing, elastic deformation and
AutoAugment's operations; the mean over terms and directions, where its code sums over k; no Polyak average of the
weights.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from math import log

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from densessl.backbones.backbone import near
from densessl.backbones.norms import without_batch_norm
from densessl.data.views import PatchSpec, ViewSpec
from densessl.distributed import gather, rank
from densessl.errors import above_0, at_least, require
from densessl.losses import cpc
from densessl.methods.registry import Output, register


def _view() -> ViewSpec:
    colour = {"brightness": 0.4, "contrast": 0.4, "saturation": 0.4, "hue": 0.1, "grey": 0.25, "blur": 0.0}
    return ViewSpec(scale=(0.6, 1.0), **colour)


@dataclass(frozen=True)
class CPCConfig:
    grid: int = 7  # patches a side
    dim: int = 64  # of predictions and targets
    hidden: int = 256  # channels within the context network
    blocks: int = 5  # residual ones of the context network
    scale: float = 0.1  # of the predictions
    first: int | None = None  # smallest k; None is the first row whose patches do not overlap
    last: int | None = None  # largest k; None is all that fit the grid
    view: ViewSpec = field(default_factory=_view)  # its patches, unless given, are a quarter of the image wide

    def __post_init__(self) -> None:
        at_least(2, "cpc", self, "grid")
        at_least(1, "cpc", self, "dim", "hidden", "blocks")
        above_0("cpc", self, "scale")
        require(self.first is None or self.first >= 1, f"cpc.first={self.first} must be 1 or more.")
        fine = self.last is None or self.last >= (self.first or 1)
        require(fine, f"cpc.last={self.last} must not be below cpc.first={self.first or 1}.")
        require(self.view.count == 1, f"cpc.view.count={self.view.count}, but CPC sees each image once.")
        cut = self.view.patches
        fine = cut is None or self.grid in (cut.grid, CPCConfig.grid)
        require(fine, f"cpc.grid={self.grid} and cpc.view.patches of {cut and cut.grid} a side: give one of the two.")


class Context(nn.Module):
    """g: (B, D, G, G) -> (B, D, G, G), in which each row sees itself and those above."""

    def __init__(self, channels: int, config: CPCConfig) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(
            nn.Sequential(
                nn.Conv2d(channels, config.hidden, 1),
                nn.ReLU(),
                nn.Conv2d(config.hidden, config.hidden, (1, 3), padding=(0, 1)),
                nn.ZeroPad2d((0, 0, 1, 0)),  # a row above, so that the next sees one row up and none down
                nn.Conv2d(config.hidden, config.hidden, (2, 1)),
                nn.ReLU(),
                nn.Conv2d(config.hidden, channels, 1),
            )
            for _ in range(config.blocks)
        )

    def forward(self, z: Tensor) -> Tensor:
        for block in self.blocks:
            z = z + block(z)
        return F.relu(z)


class Direction(nn.Module):
    """What one direction has of its own: context network, targets and a prediction matrix for each k."""

    def __init__(self, channels: int, config: CPCConfig, steps: range) -> None:
        super().__init__()
        self.steps, self.scale = steps, config.scale
        self.context = Context(channels, config)
        self.target = nn.Conv2d(channels, config.dim, 1)
        self.predictions = nn.ModuleList(nn.Conv2d(channels, config.dim, 1) for _ in steps)

    def forward(self, z: Tensor) -> Tensor:
        """The loss of predictions from top to bottom; z: (B, D, G, G), turned so that they are."""
        c, targets = self.context(z), gather(_places(self.target(z)))  # (B, D, G, G), (world * B * G * G, dim)
        count, _, rows, columns = z.shape
        places = torch.arange(count * rows * columns, device=z.device).view(count, rows, columns)
        places = places + rank() * places.numel()
        made = [_places(matrix(c)[:, :, :-k]) for k, matrix in zip(self.steps, self.predictions, strict=True)]
        right = [places[:, k:].flatten() for k in self.steps]
        return cpc(self.scale * torch.cat(made), targets, torch.cat(right))


@register(
    "cpc",
    config=CPCConfig,
    title="Data-Efficient Image Recognition with Contrastive Predictive Coding",
    arxiv="1905.09272",
    year=2019,
    published="63.8 % on ImageNet, linear (ResNet-50); 71.5 % (ResNet-161)",
)
class CPC(nn.Module):
    sync_batch_norm = False  # there is none
    takes_patches = True

    def __init__(self, backbone: nn.Module, config: CPCConfig, data_size: int) -> None:
        super().__init__()
        self.config = config
        self.notes: list[str] = []
        if not backbone.fresh and backbone.options.get("norm") != "layer":
            self.notes.append("Weights that were trained with batch norm have to learn anew, with layer norm.")
        self.backbone = without_batch_norm(backbone)
        steps = self.steps
        self.directions = nn.ModuleList(Direction(backbone.channels, config, steps) for _ in range(4))

    @property
    def patches(self) -> PatchSpec:
        if self.config.view.patches:
            return self.config.view.patches
        size = near(max(4, round((self.config.view.size or self.backbone.image_size) / 4)), self.backbone.stride)
        return PatchSpec(grid=self.config.grid, size=size, step=max(1, size // 2), flip=0.5)

    @property
    def steps(self) -> range:
        """The k of the predictions; -(-a // b) is the first whose patch begins where this one has ended."""
        patches = self.patches
        first = self.config.first or -(-(patches.size + patches.wander) // patches.step)
        last = min(self.config.last or patches.grid - 1, patches.grid - 1)
        require(
            first <= last, f"cpc predicts rows from {first} on, but there are none beyond {last}: give more patches."
        )
        return range(first, last + 1)

    @property
    def views(self) -> list[ViewSpec]:
        return [replace(self.config.view, size=None, patches=self.patches)]

    def chance(self, batch_size: int) -> float:
        """The logarithm of the places in all images."""
        return log(batch_size * self.patches.count)

    def forward(self, batch: dict) -> Output:
        (x,) = batch["views"]  # (B, P, 3, s, s)
        z = self.backbone(x.flatten(0, 1)).unflatten(0, x.shape[:2])  # (B, P, D)
        grid = z.transpose(1, 2).unflatten(2, (self.patches.grid, -1))  # (B, D, G, G)
        losses = [each(grid.rot90(turns, (2, 3))) for turns, each in enumerate(self.directions)]
        return Output(sum(losses) / len(losses), embedding=z.detach().mean(1))


def _places(maps: Tensor) -> Tensor:
    """(B, D, h, w) -> (B * h * w, D)."""
    return maps.permute(0, 2, 3, 1).flatten(0, 2)
