"""DeepCluster: deep clustering for unsupervised learning of visual features (Caron et al., arXiv 1807.05520).

    min_C 1/N sum_n min_y_n |f_theta(x_n) - C y_n|^2,   then   min_theta,W 1/N sum_n l(g_W(f_theta(x_n)), y_n)

by turns, each epoch: k-means over the features of all images, then their clusters as labels of a classifier g_W.

Features are taken of the image's middle in evaluation mode, without the last ReLU where the network ends in one, then
whitened to 256 principal components and normalised; k-means has 20 iterations from k of them, drawn anew each epoch.
Against the trivial solutions: an empty cluster takes a part of another (section 3.3), and images are drawn so that
every cluster comes as often as any other. g_W, a linear layer, begins anew with each clustering, from N(0, 0.01) and
zero biases, and its steps have no momentum. Centroids are not used, so that only assignments outlive the clustering.

Defaults: k 10,000, for ImageNet; random crops and flips alone; frozen Sobel filters before the network, which sees two
channels (section 4.1). They are a part of the backbone that a run exports (`densessl.backbones.sobel`): it takes
RGB images as any other does.
Where we differ: there are at most half as many clusters as images; the middle is the whole square, not 224 of 256
pixels; a cluster's images come in turns rather than drawn with replacement; directions without variance are left out.
The official code drops clusters that end empty, ours ends with none. VGG's fully connected layers begin as timm has
them, not from N(0, 0.01).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from math import log

import numpy as np
import torch
import torch.nn.functional as F
from numpy.random import Generator
from torch import nn

from densessl.backbones.sobel import give_edges
from densessl.data.views import ViewSpec
from densessl.distributed import from_first
from densessl.errors import at_least, require
from densessl.methods.kmeans import cluster_sheet, kmeans, whitened
from densessl.methods.parts import half_of_data
from densessl.methods.registry import Images, Output, Progress, Sheet, register
from densessl.modes import evaluating

MIDDLE = ViewSpec(scale=(1.0, 1.0), ratio=(1.0, 1.0), flip=0, jitter=0, grey=0, blur=0)


@dataclass(frozen=True)
class DeepClusterConfig:
    clusters: int = 10000  # k; of half as many images at most
    whitening: int = 256  # principal components of the features
    iterations: int = 20  # of k-means
    sobel: bool = True  # edges in place of colours
    view: ViewSpec = field(default_factory=lambda: ViewSpec(jitter=0.0, grey=0.0, blur=0.0))

    def __post_init__(self) -> None:
        at_least(2, "deepcluster", self, "clusters")
        at_least(1, "deepcluster", self, "whitening", "iterations")
        require(self.view.count == 1, f"deepcluster.view.count={self.view.count}, but DeepCluster takes 1 view.")


@register(
    "deepcluster",
    config=DeepClusterConfig,
    title="Deep Clustering for Unsupervised Learning of Visual Features",
    arxiv="1807.05520",
    year=2018,
    published="73.7 % mAP on VOC 2007 classification, fine-tuned (AlexNet); 37.9 % on ImageNet, linear (VISSL)",
    needs=("index",),
)
class DeepCluster(nn.Module):
    sync_batch_norm = True

    def __init__(self, backbone: nn.Module, config: DeepClusterConfig, data_size: int) -> None:
        super().__init__()
        self.config = config
        self.notes: list[str] = []
        if config.sobel and not backbone.fresh and not backbone.options.get("sobel"):
            self.notes.append("The first convolution, which was trained on colours, begins anew, to take edges.")
        if config.sobel:
            give_edges(backbone)
        self.backbone = backbone
        head_dropout = getattr(getattr(backbone.model, "head", None), "drop", None)
        if isinstance(head_dropout, nn.Dropout):
            head_dropout.p = 0.0  # between h and g_W, where the paper has none
        self.last_relu = last_relu(backbone)
        self.clusters = half_of_data(self.notes, "deepcluster.clusters", config.clusters, data_size)
        self.classifier = nn.Linear(backbone.channels, self.clusters)
        self.register_buffer("assignments", torch.zeros(data_size, dtype=torch.int64))
        self.register_buffer("distances", torch.zeros(data_size))  # squared, to the centroid, for the pictures

    @property
    def views(self) -> list[ViewSpec]:
        return [self.config.view]

    def chance(self, batch_size: int) -> float:
        """ln k: every cluster alike, since all come equally often."""
        return log(self.clusters)

    def parameter_groups(self) -> list[dict]:
        """g_W is trained without momentum (official code, `main.py`)."""
        return [
            {"params": [each for each in self.backbone.parameters() if each.requires_grad]},
            {"params": list(self.classifier.parameters()), "momentum": 0.0},
        ]

    def epoch_start(self, progress: Progress, images: Images) -> Sequence[nn.Parameter]:
        # First of all, while every process still has the same random numbers to come.
        nn.init.normal_(self.classifier.weight, std=0.01)
        nn.init.zeros_(self.classifier.bias)
        with evaluating(self.backbone), without(self.backbone, self.last_relu):
            features = images.vectors(self.backbone, [MIDDLE])[:, 0]  # (data_size, D)
        points = whitened(features, self.config.whitening, self.assignments.device)
        assignments, distances = kmeans(points, self.clusters, self.config.iterations, images.advance)
        # Every process has clustered the same; a last bit that differs between two machines must change nothing.
        self.assignments.copy_(from_first(assignments))
        self.distances.copy_(from_first(distances))
        return list(self.classifier.parameters())

    def draw_order(self, rng: Generator) -> np.ndarray:
        """Every cluster as often as any other, its images in random order and over again as often as needed."""
        assignments = self.assignments.cpu().numpy()
        counts = np.bincount(assignments)
        # Images by cluster, in random order within each.
        order = np.lexsort((rng.random(len(assignments)), assignments))
        starts, counts = (np.cumsum(counts) - counts)[counts > 0], counts[counts > 0]
        turns = np.arange(-(-len(assignments) // len(counts)))  # of each cluster
        drawn = order[starts[:, None] + turns % counts[:, None]].flatten()
        return rng.permutation(drawn)[: len(assignments)]

    def forward(self, batch: dict) -> Output:
        h = self.backbone(batch["views"][0])  # (N, D)
        loss = F.cross_entropy(self.classifier(h), self.assignments[batch["index"]])
        return Output(loss, embedding=h.detach())

    def pictures(self, batch: dict, thumbnail) -> dict[str, Sheet]:
        return {"clusters": cluster_sheet(self.assignments, -self.distances, thumbnail)}


def last_relu(backbone: nn.Module) -> str | None:
    """The path of the ReLU after which `backbone` only pools, None where it ends otherwise."""
    called: list[str] = []

    def watch(name: str):
        return lambda module, inputs: called.append(name)

    parts = [
        (name, part)
        for name, part in backbone.named_modules()
        if isinstance(part, nn.ReLU) or any(True for _ in part.parameters(recurse=False))
    ]
    handles = [part.register_forward_pre_hook(watch(name)) for name, part in parts]
    weight = next(backbone.parameters())
    with evaluating(backbone), torch.no_grad():
        backbone(weight.new_zeros(1, 3, backbone.image_size, backbone.image_size))
    for handle in handles:
        handle.remove()
    last = called[-1]
    # One that serves in several places cannot be left out in one of them.
    return last if isinstance(backbone.get_submodule(last), nn.ReLU) and called.count(last) == 1 else None


@contextmanager
def without(network: nn.Module, path: str | None) -> Iterator[None]:
    """For the while, the part of that path does nothing."""
    if path is None:
        yield
        return
    parent, _, name = path.rpartition(".")
    part = network.get_submodule(path)
    setattr(network.get_submodule(parent), name, nn.Identity())
    try:
        yield
    finally:
        setattr(network.get_submodule(parent), name, part)
