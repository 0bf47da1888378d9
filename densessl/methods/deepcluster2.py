"""DeepCluster-v2: DeepCluster with SwAV's improvements (Caron et al., arXiv 2006.09882, section 4.2 and appendix A).

    L = 1/H sum_h -log softmax_{y_h}(z . C_h / tau),   C_h, y_h = spherical k-means of the embeddings of the last epoch

Each of H heads has its own clustering, begun anew every epoch, of a bank: the embeddings with which the images were
trained in the epoch before, so that no pass over the data is needed. Heads take the two global views of the bank by
turns. The centroids are the weights of the head: they get no gradient, and every epoch new ones are copied in. All
views of an image, small ones too, have its clusters as their targets.

Defaults are the official code's (`main_deepclusterv2.py`): three heads of 3000, tau 0.1, ten iterations of k-means from
random embeddings, in which an empty cluster keeps its centroid; projector, views and crops as SwAV's. Before the
first epoch the bank is filled by a pass without gradient in training mode. An image that is not in the bank, since it
fell off the end of an epoch, has no target and no part in the loss.
Where we differ: there are at most half as many clusters as images; the bank is whole on every process; the loss is
averaged over the images of all processes that have a target, not first within each process; without a stated size
local crops are 96/224 of the global ones, cut to the backbone's stride.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from math import log

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from densessl.data.views import ViewSpec
from densessl.distributed import from_first, gather, mean_over_processes
from densessl.errors import above_0, at_least, require
from densessl.losses.common import directions
from densessl.methods.kmeans import cluster_sheet, spherical_kmeans
from densessl.methods.multicrop import by_size, multi_crop
from densessl.methods.parts import half_of_data, mlp
from densessl.methods.registry import Images, Output, Progress, Sheet, register

IGNORED = -100  # the target of an image that is not in the bank


@dataclass(frozen=True)
class DeepCluster2Config:
    prototypes: int = 3000  # K of each head; of half as many images at most
    heads: int = 3  # clusterings beside each other
    temperature: float = 0.1  # tau
    iterations: int = 10  # of k-means
    hidden: int = 2048  # width of the projector's hidden layer
    dim: int = 128  # of z
    local_crops: int = 6  # 0 for two global views alone
    view: ViewSpec = field(default_factory=lambda: ViewSpec(count=2, scale=(0.14, 1.0)))
    local: ViewSpec = field(default_factory=lambda: ViewSpec(scale=(0.05, 0.14)))

    def __post_init__(self) -> None:
        at_least(2, "deepcluster2", self, "prototypes")
        at_least(1, "deepcluster2", self, "hidden", "dim", "heads", "iterations")
        at_least(0, "deepcluster2", self, "local_crops")
        above_0("deepcluster2", self, "temperature")
        counts = (self.view.count, self.local.count)
        one = "deepcluster2.local_crops sets how many."
        require(counts == (2, 1), f"deepcluster2.view.count must be 2 and deepcluster2.local.count 1; {one}")


@register(
    "deepcluster2",
    config=DeepCluster2Config,
    title="DeepCluster-v2, in Unsupervised Learning of Visual Features by Contrasting Cluster Assignments",
    arxiv="2006.09882",
    year=2020,
    published="75.2 % on ImageNet, linear (ResNet-50, 800 epochs)",
    needs=("index",),
)
class DeepCluster2(nn.Module):
    sync_batch_norm = True

    def __init__(self, backbone: nn.Module, config: DeepCluster2Config, data_size: int) -> None:
        super().__init__()
        self.config = config
        self.backbone = backbone
        layers = {"hidden_bias": True, "last_bias": True, "hidden_norm": True, "last_norm": False}
        self.projector = mlp((backbone.channels, config.hidden, config.dim), **layers)
        self.notes: list[str] = []
        clusters = half_of_data(self.notes, "deepcluster2.prototypes", config.prototypes, data_size)
        self.register_buffer("prototypes", torch.zeros(config.heads, clusters, config.dim))  # unit rows
        self.register_buffer("targets", torch.full((config.heads, data_size), IGNORED))
        self.register_buffer("bank", torch.zeros(data_size, 2, config.dim))  # of the two global views
        self.register_buffer("banked", torch.zeros(data_size, dtype=torch.bool))  # since the epoch began

    @property
    def views(self) -> list[ViewSpec]:
        config = self.config
        return multi_crop([config.view], config.local, config.local_crops, self.backbone)

    def chance(self, batch_size: int) -> float:
        """ln K: every cluster alike."""
        return log(self.prototypes.shape[1])

    def epoch_start(self, progress: Progress, images: Images) -> None:
        if not self.banked.any():
            embed = lambda view: self.embed(self.backbone(view))  # noqa: E731
            self.bank.copy_(images.vectors(embed, [self.config.view]))
            self.banked.fill_(True)
        known = self.banked.nonzero().flatten()
        self.targets.fill_(IGNORED)
        for head in range(self.config.heads):
            clusters, iterations = self.prototypes.shape[1], self.config.iterations
            assigned, centroids = spherical_kmeans(self.bank[known, head % 2], clusters, iterations, images.advance)
            # Every process has clustered the same; a last bit that differs between two machines must change nothing.
            self.targets[head, known] = from_first(assigned)
            self.prototypes[head] = from_first(centroids)
        self.banked.fill_(False)

    def embed(self, h: Tensor) -> Tensor:
        """(N, D) -> z: unit vectors (N, dim), in float32 or wider."""
        return directions(self.projector(h))

    def forward(self, batch: dict) -> Output:
        views, index = batch["views"], batch["index"]
        h = torch.cat([self.backbone(crops) for crops in by_size(views)])  # (V N, D)
        z = self.embed(h)  # (V N, dim)
        targets = self.targets[:, index].repeat(1, len(views))  # (heads, V N)
        losses = [self.cross_entropy(z, *head) for head in zip(self.prototypes, targets, strict=True)]
        z = z.detach().chunk(len(views))
        everyone, index = gather(torch.stack(z[:2], dim=1)), gather(index)
        self.bank[index] = everyone.to(self.bank.dtype)
        self.banked[index] = True
        return Output(sum(losses) / len(losses), embedding=h.detach().chunk(len(views))[0], projection=z[0])

    def cross_entropy(self, z: Tensor, prototypes: Tensor, targets: Tensor) -> Tensor:
        """One head's loss: its sum over the views that have a target, divided by their mean number in a process."""
        with torch.autocast(z.device.type, enabled=False):
            logits = z @ prototypes.T / self.config.temperature  # (V N, K)
            total = F.cross_entropy(logits, targets, ignore_index=IGNORED, reduction="sum")
        count = mean_over_processes((targets != IGNORED).sum().to(total.dtype))
        # Where no image at all has one, the sum is 0, and so is the loss.
        return total / torch.where(count > 0, count, 1)

    def pictures(self, batch: dict, thumbnail) -> dict[str, Sheet]:
        """The clusters of the first head, each image judged by its first view when it was seen last."""
        targets = self.targets[0]
        known = self.prototypes[0][targets.clamp_min(0)]
        closeness = (self.bank[:, 0] * known).sum(1)
        return {"clusters": cluster_sheet(targets, closeness, thumbnail)}
