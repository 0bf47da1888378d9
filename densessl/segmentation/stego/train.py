"""STEGO (Hamilton et al., arXiv 2203.08414) on kept features: a head whose codes correspond where the features do.

    loss = w_intra L(x, x, b_intra) + w_inter L(x, neighbour of x, b_inter) + w_neg mean over negatives L(x, x', b_neg)
           + cluster probe on detached codes

with L as in `densessl.segmentation.correspondence`. Each step draws two sets of random points: a picture is always read
at the first, its neighbour and its negatives at the second. One Adam with a group each for head
and probe stands for the official code's three optimizers, which Lightning counts as three steps; there is no linear
probe, since there are no labels.

Where we differ from the official code (eb4d6b5): whole pictures at their own aspect, not square crops (for those there
is `inputs=square` of `densessl evaluate`); negatives are other pictures of the batch by a random cycle, so that none
stands twice in one draw (of five crops, neighbours and negatives may be of the same picture, as there); a batch never
holds a picture twice; the segments are k-means on the trained codes by
default; with `clusters=probe` they are the paper's probe, which starts from k-means++ and is not trained otherwise.
With two pictures the neighbour is also the only negative; with one picture, the terms with neighbours and negatives
fall away and it is compared with itself alone.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field

import torch
from torch import Tensor

from densessl.errors import RunStopped
from densessl.progress import Report, silent
from densessl.segmentation.clusters import sample_codes
from densessl.segmentation.config import SegmentConfig, StegoConfig
from densessl.segmentation.correspondence import correspondence_loss
from densessl.segmentation.features.kept import Features, nearest_neighbours
from densessl.segmentation.kmeans import plus_plus
from densessl.segmentation.stego.head import ClusterProbe, StegoHead
from densessl.segmentation.stego.sampling import Corners, Layout, batches, corners, negatives, sample

VERSION = 1  # of what a head becomes: to be raised by 1 with every change of code here, in head.py, sampling.py or
# correspondence.py that changes any


@dataclass
class Trained:
    """STEGO's head in evaluation, the probe's centres (K, dim) where it was trained too, and the loss at each step."""

    head: StegoHead
    probe: Tensor | None = None
    losses: list[float] = field(default_factory=list)


@dataclass(frozen=True)
class Compared:
    """Places of pictures that are compared, each of the one with each of the other.

    kind: "pos_intra", "pos_inter" or "neg_inter", as in the names of the settings.
    f, g: features (B, C, S, S) of the two; s, t: codes (B, dim, S, S).
    """

    kind: str
    f: Tensor
    g: Tensor
    s: Tensor
    t: Tensor

    def loss(self, stego: StegoConfig) -> Tensor:
        """The mean over all pairs, without the weight."""
        shift = getattr(stego, f"{self.kind}_shift")
        flags = stego.pointwise, stego.zero_clamp, stego.stabilize
        return correspondence_loss(self.f, self.g, self.s, self.t, shift, *flags).mean()


def train(features: Features, config: SegmentConfig, device: str = "cpu", progress: Report = silent) -> Trained:
    """Train STEGO's head, which is the same whatever the number of segments."""
    trainer = Trainer(features, config, torch.Generator().manual_seed(config.seed), device)
    losses = trainer.run(progress)
    return Trained(trainer.head.eval(), None if trainer.probe is None else trainer.probe.centres.detach(), losses)


class Trainer:
    """The head, the probe and what one step needs."""

    def __init__(self, features: Features, config: SegmentConfig, generator: torch.Generator, device: str) -> None:
        self.features, self.config, self.generator, self.device = features, config, generator, device
        pooled = features.pooled()
        mean = pooled.mean(dim=0) if config.stego.centre else torch.zeros(features.channels)
        self.neighbours = nearest_neighbours(pooled - mean, config.stego.num_neighbors)
        self.batch_size = min(config.batch_size, len(features))
        per_epoch = len(features) // self.batch_size
        self.steps = config.steps if config.steps is not None else config.epochs * per_epoch
        head_seed, probe_seed = torch.randint(2**62, (2,), generator=generator).tolist()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(head_seed)
            self.head = StegoHead(features.channels, config.stego.dim, config.stego.dropout)
        self.head.mean.copy_(mean)
        # From random numbers of its own: the head is the same without it, and with any number of segments.
        probed = config.stego.clusters == "probe"
        self.probe = self._probe(torch.Generator().manual_seed(probe_seed)) if probed else None
        self.head.to(device).train()
        groups = [{"params": self.head.parameters(), "lr": config.lr}]
        if self.probe is not None:
            groups.append({"params": self.probe.to(device).parameters(), "lr": config.stego.cluster_lr})
        self.optimizer = torch.optim.Adam(groups)

    def _probe(self, generator: torch.Generator) -> ClusterProbe:
        config = self.config
        start = plus_plus(sample_codes(self.features, self.head, generator, "cpu"), config.classes, generator)
        return ClusterProbe(config.classes, config.stego.dim, start)

    def run(self, progress: Report = silent) -> list[float]:
        """All steps; the correspondence loss at each."""
        losses: list[float] = []
        order = self.order()
        for step in range(self.steps):
            losses.append(self.step(next(order)))
            if not math.isfinite(losses[-1]):
                raise RunStopped(
                    f"The loss became {losses[-1]} at step {step + 1} of {self.steps}. Try a smaller lr than "
                    f"{self.config.lr:g}."
                )
            progress("Learning segments", step + 1, self.steps, f"loss {sum(losses[-20:]) / len(losses[-20:]):.4f}")
        return losses

    def order(self) -> Iterator[Tensor]:
        """The pictures of each step."""
        return batches(len(self.features), self.batch_size, self.generator)

    def step(self, anchors: Tensor) -> float:
        """One step of the optimizer on these pictures; the correspondence loss, and no step where it is not finite."""
        loss, cluster = self.losses(anchors)
        value, total = float(loss.detach()), loss + cluster
        if not bool(torch.isfinite(total.detach())):
            return math.nan
        self.optimizer.zero_grad()
        total.backward()
        self.optimizer.step()
        return value

    def losses(self, anchors: Tensor) -> tuple[Tensor, Tensor]:
        """The weighted correspondence loss and the probe's loss, 0 where there is none, for these pictures."""
        stego = self.config.stego
        tokens, layout = self.features.batch(anchors.tolist())
        tokens = tokens.to(self.device)
        codes = self.head(tokens, layout.owner, self.generator)
        terms: dict[str, list[Tensor]] = {}
        # One after another: all in one product take twice the time, being too large for the processor's caches.
        for each in self.compared(anchors, tokens, layout, codes):
            terms.setdefault(each.kind, []).append(each.loss(stego))
        loss = sum(getattr(stego, f"{kind}_weight") * torch.stack(each).mean() for kind, each in terms.items())
        return loss, loss.new_zeros(()) if self.probe is None else self.probe.loss(codes)

    def compared(self, anchors: Tensor, tokens: Tensor, layout: Layout, codes: Tensor) -> Iterator[Compared]:
        """What a step compares: each picture with itself, with a near neighbour and with others of the batch.

        tokens, layout, codes: of the anchors, as `Features.batch` and the head give them.
        """
        # The official code hands dropped features to the loss too, by a third mask.
        tokens = self.head.drop(self.head.centred(tokens), layout.owner, self.generator)
        here, points = corners(self.points(len(anchors)), layout), self.points(len(anchors))
        f, s = sample(tokens, here), sample(codes, here)
        yield Compared("pos_intra", f, f, s, s)
        if self.neighbours.shape[1]:
            g, t = self.neighbour(anchors, points)
            yield Compared("pos_inter", f, g, s, t)
        if len(anchors) > 1:
            for _ in range(self.config.stego.neg_samples):
                there = corners(points, layout.taken(negatives(len(anchors), self.generator)))
                yield Compared("neg_inter", f, sample(tokens, there), s, sample(codes, there))

    def points(self, batch: int) -> Tensor:
        """(B, S * S, 2) uniform in the square from -1 to 1."""
        return torch.rand(batch, self.config.stego.feature_samples**2, 2, generator=self.generator) * 2 - 1

    def neighbour(self, anchors: Tensor, points: Tensor) -> tuple[Tensor, Tensor]:
        """Features and codes (B, C, S, S), (B, dim, S, S) of a random near neighbour of each picture, at `points`.

        The head runs only on the tokens that some point is interpolated from, which gives the same codes.
        """
        choice = torch.randint(self.neighbours.shape[1], (len(anchors),), generator=self.generator)
        chosen = self.neighbours[anchors, choice]
        tokens, layout = self.features.batch(chosen.tolist())
        at = corners(points, layout)
        touched, inverse = torch.unique(at.index, return_inverse=True)
        tokens, owner, at = tokens[touched].to(self.device), layout.owner[touched], Corners(inverse, at.weight)
        codes = self.head(tokens, owner, self.generator)
        return sample(self.head.drop(self.head.centred(tokens), owner, self.generator), at), sample(codes, at)
