"""SwAV: unsupervised learning of visual features by contrasting cluster assignments (Caron et al., arXiv 2006.09882).

    L(z_t, z_s) = l(z_t, q_s) + l(z_s, q_t),   l(z, q) = -sum_k q^k log softmax_k(z . c / tau)

with codes q = diag(u) exp(z . c / epsilon) diag(v) from three iterations of Sinkhorn-Knopp over the batch, and over a
queue of earlier embeddings where batches are small. Codes come from the two global views and get no gradient; all
views predict them. Averaged over pairs of different views, as in the official code (`main_swav.py`).

Defaults are the paper's (section 4.1 and appendix A) and the official code's: tau 0.1; epsilon 0.05; 3000 prototypes,
of length 1 before every forward pass and without gradient in the first epoch; projector Linear(2048) - BN - ReLU -
Linear(128); two global crops of 0.14 to 1 of the area and six local ones of 0.05 to 0.14; of batch 256, for which the
queue holds 3840 embeddings of each global view from epoch 15 on, and is used once it is full.
Where we differ: the queue holds half of the data at most, and is one over all processes, each of which takes its part
of it into the Sinkhorn iterations; without a stated size local crops are 96/224 of the global ones, cut to the
backbone's stride; prototypes meet embeddings in float32 whatever the precision, since epsilon divides their products.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from math import log

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from densessl.data.views import ViewSpec
from densessl.distributed import gather, rank, world_size
from densessl.errors import above_0, at_least, require
from densessl.losses import code_prediction, sinkhorn
from densessl.losses.common import directions
from densessl.methods.kmeans import cluster_sheet
from densessl.methods.multicrop import by_size, multi_crop
from densessl.methods.parts import Queue, half_of_data, mlp
from densessl.methods.registry import Output, Progress, Sheet, register


@dataclass(frozen=True)
class SwAVConfig:
    prototypes: int = 3000  # K
    temperature: float = 0.1  # tau
    epsilon: float = 0.05  # of the codes; 0.03 where the loss stays at its chance level (official README)
    iterations: int = 3  # of Sinkhorn-Knopp
    hidden: int = 2048  # width of the projector's hidden layer
    dim: int = 128  # of z
    frozen_epochs: float = 1  # in which the prototypes get no gradient
    queue: int = 3840  # embeddings per global view, over all processes; 0 for none, as with batches of 4096
    queue_epoch: float = 15  # from which on the queue is filled
    local_crops: int = 6  # 0 for two global views alone
    view: ViewSpec = field(default_factory=lambda: ViewSpec(count=2, scale=(0.14, 1.0)))
    local: ViewSpec = field(default_factory=lambda: ViewSpec(scale=(0.05, 0.14)))

    def __post_init__(self) -> None:
        at_least(1, "swav", self, "hidden", "dim", "prototypes", "iterations")
        at_least(0, "swav", self, "queue", "local_crops")
        above_0("swav", self, "temperature", "epsilon")
        counts = (self.view.count, self.local.count)
        require(counts == (2, 1), "swav.view.count must be 2 and swav.local.count 1; swav.local_crops sets how many.")


@register(
    "swav",
    config=SwAVConfig,
    title="Unsupervised Learning of Visual Features by Contrasting Cluster Assignments",
    arxiv="2006.09882",
    year=2020,
    published="75.3 % on ImageNet, linear (ResNet-50, 800 epochs)",
)
class SwAV(nn.Module):
    sync_batch_norm = True

    def __init__(self, backbone: nn.Module, config: SwAVConfig, data_size: int) -> None:
        super().__init__()
        self.config = config
        self.backbone = backbone
        layers = {"hidden_bias": True, "last_bias": True, "hidden_norm": True, "last_norm": False}
        self.projector = mlp((backbone.channels, config.hidden, config.dim), **layers)
        self.prototypes = nn.Linear(config.dim, config.prototypes, bias=False)
        # The two global views of an image side by side.
        self.notes: list[str] = []
        self.queue = None
        if config.queue:
            self.queue = Queue(half_of_data(self.notes, "swav.queue", config.queue, data_size), 2 * config.dim)
        self.register_buffer("queued", torch.zeros((), dtype=torch.int64))  # images that ever entered the queue
        self.queueing = False
        # What each image was nearest to when it was seen last, for the pictures.
        self.register_buffer("nearest", torch.full((data_size,), -1, dtype=torch.int32))
        self.register_buffer("closeness", torch.zeros(data_size))

    @property
    def views(self) -> list[ViewSpec]:
        config = self.config
        return multi_crop([config.view], config.local, config.local_crops, self.backbone)

    def chance(self, batch_size: int) -> float:
        """ln K: every prototype alike."""
        return log(self.config.prototypes)

    def before_step(self, progress: Progress) -> None:
        self.queueing = self.queue is not None and progress.epoch >= self.config.queue_epoch

    def forward(self, batch: dict) -> Output:
        views = batch["views"]
        with torch.no_grad():
            self.prototypes.weight.copy_(F.normalize(self.prototypes.weight, dim=1))
        h = torch.cat([self.backbone(crops) for crops in by_size(views)])  # (V N, D)
        z = directions(self.projector(h))  # (V N, dim), in float32 or wider
        scores = self.scores(z).chunk(len(views))  # (N, K) each
        with torch.no_grad():
            earlier = self.earlier_scores()
            codes = [self.codes(*pair) for pair in zip(scores[:2], earlier, strict=True)]
            if self.queueing:
                self.enqueue(torch.cat(z.chunk(len(views))[:2], dim=1))
            self.remember(batch["index"], scores[0])
            # What all images say alike once they have collapsed, while a loss of 0 leaves their z some way apart.
            prediction = (scores[0] / self.config.temperature).softmax(1)
        loss = code_prediction(scores, codes, self.config.temperature)
        return Output(loss, embedding=h.detach().chunk(len(views))[0], projection=prediction)

    def scores(self, z: Tensor) -> Tensor:
        """Unit embeddings (N, dim) -> their cosines with the prototypes, (N, K), in the type that they have."""
        with torch.autocast(z.device.type, enabled=False):
            return self.prototypes(z)

    def codes(self, scores: Tensor, earlier: Tensor) -> Tensor:
        """The codes (N, K) of a view's scores (N, K), balanced over them and those of the queue (Q, K)."""
        balanced = sinkhorn(torch.cat([earlier, scores]), self.config.epsilon, self.config.iterations)
        return balanced[len(earlier) :]

    def earlier_scores(self) -> list[Tensor]:
        """Per global view, today's scores (Q, K) of this process's part of the queue; none before it is full."""
        if not self.queueing or int(self.queued) < len(self.queue.keys):
            return [self.prototypes.weight.new_empty(0, self.config.prototypes)] * 2
        part = self.queue.keys.tensor_split(world_size())[rank()]
        return [self.scores(z) for z in part.chunk(2, dim=1)]

    def enqueue(self, z: Tensor) -> None:
        """Both global embeddings (N, 2 dim) of this process's images, and of those of the others."""
        everyone = gather(z)
        self.queue.push(everyone)
        self.queued += len(everyone)

    def remember(self, index: Tensor, scores: Tensor) -> None:
        closeness, nearest = scores.max(1)
        index = gather(index)
        self.nearest[index] = gather(nearest).to(self.nearest.dtype)
        self.closeness[index] = gather(closeness).to(self.closeness.dtype)

    def after_backward(self, progress: Progress) -> None:
        if progress.epoch < self.config.frozen_epochs:
            # None, not zero: weight decay and momentum would move them still.
            self.prototypes.weight.grad = None

    def pictures(self, batch: dict, thumbnail) -> dict[str, Sheet]:
        """Of each prototype the images that scored highest, each judged by a view of it when it was seen last."""
        return {"prototypes": cluster_sheet(self.nearest, self.closeness, thumbnail)}
