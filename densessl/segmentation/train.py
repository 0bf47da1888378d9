"""STEGO (Hamilton et al., arXiv 2203.08414) on kept features: a head whose codes correspond where the features do.

    loss = w_intra L(x, x, b_intra) + w_inter L(x, neighbour of x, b_inter) + w_neg mean over negatives L(x, x', b_neg)
           + cluster probe on detached codes

with L as in `densessl.segmentation.correspondence`. Each step draws one set of random points for the picture with
itself, and one that is shared by the picture, its neighbour and the negatives. One Adam with a group each for head
and probe stands for the official code's three optimizers, which Lightning counts as three steps; there is no linear
probe, since there are no labels.

Where we differ from the official code (eb4d6b5): whole pictures at their own aspect, not square crops; negatives are
other pictures of the batch by a random cycle, so that none stands twice in one draw; a batch never holds a picture
twice; the probe starts from k-means++; the segments are k-means on the trained codes by default (`clusters=probe` for
the paper's probe). With two pictures the neighbour is also the only negative; with one picture, the terms with
neighbours and negatives fall away and it is compared with itself alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import torch
from torch import Tensor

from densessl.errors import RunStopped, UserError
from densessl.progress import Report, silent
from densessl.segmentation.config import SegmentConfig, StegoConfig
from densessl.segmentation.correspondence import correspondence_loss
from densessl.segmentation.features import Features, nearest_neighbours
from densessl.segmentation.head import ClusterProbe, StegoHead
from densessl.segmentation.kmeans import best_spherical_kmeans, plus_plus
from densessl.segmentation.model import Segmenter, codes_of
from densessl.segmentation.sampling import Corners, corners, negatives, sample

SAMPLE = 32768
RESTARTS = 8


@dataclass
class Learned:
    """The model; the loss at each step, and what it was trained by (empty and None for k-means)."""

    model: Segmenter
    losses: list[float] = field(default_factory=list)
    trainer: Trainer | None = None


@dataclass(frozen=True)
class Compared:
    """Pairs of places of one kind, with their weight and shift.

    name: as in the names of the settings: "pos_intra", "pos_inter" or "neg_inter".
    f, s: features (B, C, S, S) and codes (B, dim, S, S) of the anchors; others: of what each is compared with.
    """

    name: str
    weight: float
    shift: float
    f: Tensor
    s: Tensor
    others: list[tuple[Tensor, Tensor]]

    def loss(self, stego: StegoConfig) -> Tensor:
        """The mean over all pairs, unweighted."""
        flags = stego.pointwise, stego.zero_clamp, stego.stabilize
        terms = [correspondence_loss(self.f, g, self.s, t, self.shift, *flags).mean() for g, t in self.others]
        return torch.stack(terms).mean()


def learn(features: Features, config: SegmentConfig, device: str = "cpu", progress: Report = silent) -> Learned:
    """Learn `config.classes` segments from these features; the same seed gives the same model on a CPU.

    Raises `UserError` when the pictures cannot give so many segments, `RunStopped` when the loss is not finite.
    """
    _check_enough(features, config.classes)
    generator = torch.Generator().manual_seed(config.seed)
    if config.method != "stego":
        return Learned(_segmenter(features, None, None, config, generator, device))
    trainer = Trainer(features, config, generator, device)
    losses = trainer.run(progress)
    head, probe = trainer.head.eval(), trainer.probe.centres.detach()
    centres = probe if config.stego.clusters == "probe" else None
    return Learned(_segmenter(features, head, centres, config, generator, device), losses, trainer)


class Trainer:
    """The head, the probe and what one step needs."""

    def __init__(self, features: Features, config: SegmentConfig, generator: torch.Generator, device: str) -> None:
        self.features, self.config, self.generator, self.device = features, config, generator, device
        self.neighbours = nearest_neighbours(features.pooled(), config.stego.num_neighbors)
        self.batch_size = min(config.batch_size, len(features))
        per_epoch = len(features) // self.batch_size
        self.steps = config.steps if config.steps is not None else config.epochs * per_epoch
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(int(torch.randint(2**62, (1,), generator=generator)))
            self.head = StegoHead(features.channels, config.stego.dim, config.stego.dropout)
        start = plus_plus(_sample_codes(features, self.head, generator, "cpu"), config.classes, generator)
        self.probe = ClusterProbe(config.classes, config.stego.dim, start)
        self.head.to(device).train()
        self.probe.to(device)
        self.optimizer = torch.optim.Adam(
            [
                {"params": self.head.parameters(), "lr": config.lr},
                {"params": self.probe.parameters(), "lr": config.stego.cluster_lr},
            ]
        )

    def run(self, progress: Report = silent) -> list[float]:
        """All steps; the correspondence loss at each."""
        losses: list[float] = []
        batches = self.batches()
        for step in range(self.steps):
            loss, cluster = self.losses(next(batches))
            total = loss + cluster
            if not bool(torch.isfinite(total)):
                raise RunStopped(
                    f"The loss became {float(total)} at step {step + 1} of {self.steps}. Try a smaller lr than "
                    f"{self.config.lr:g}."
                )
            self.optimizer.zero_grad()
            total.backward()
            self.optimizer.step()
            losses.append(float(loss.detach()))
            progress("Learning segments", step + 1, self.steps, f"loss {sum(losses[-20:]) / len(losses[-20:]):.4f}")
        return losses

    def batches(self) -> Iterator[Tensor]:
        """Without end: random orders of all pictures, cut into batches; what is left over of an order is dropped."""
        while True:
            order = torch.randperm(len(self.features), generator=self.generator)
            usable = len(order) - len(order) % self.batch_size
            yield from order[:usable].split(self.batch_size)

    def losses(self, anchors: Tensor) -> tuple[Tensor, Tensor]:
        """The weighted correspondence loss and the probe's loss for these pictures."""
        compared, codes = self.compared(anchors)
        return sum(kind.weight * kind.loss(self.config.stego) for kind in compared), self.probe.loss(codes)

    def compared(self, anchors: Tensor) -> tuple[list[Compared], Tensor]:
        """The pairs of places that a step compares, kind by kind, and the codes (T, dim) of these pictures."""
        stego = self.config.stego
        tokens, layout = self.features.batch(anchors.tolist())
        tokens, owner = tokens.to(self.device), layout.owner
        codes = self.head(tokens, owner, self.generator)
        # The official code hands dropped features to the loss too, by a third mask.
        tokens = self.head.drop(tokens, owner, self.generator)
        here = corners(self.points(len(anchors)), layout)
        f, s = sample(tokens, here), sample(codes, here)
        kinds = [Compared("pos_intra", stego.pos_intra_weight, stego.pos_intra_shift, f, s, [(f, s)])]
        points = self.points(len(anchors))
        there = corners(points, layout)
        f, s = sample(tokens, there), sample(codes, there)
        if self.neighbours.shape[1]:
            near = self.neighbour(anchors, points)
            kinds.append(Compared("pos_inter", stego.pos_inter_weight, stego.pos_inter_shift, f, s, [near]))
        if len(anchors) > 1 and stego.neg_samples:
            cycles = [negatives(len(anchors), self.generator) for _ in range(stego.neg_samples)]
            others = [(f[other], s[other]) for other in cycles]
            kinds.append(Compared("neg_inter", stego.neg_inter_weight, stego.neg_inter_shift, f, s, others))
        return kinds, codes

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
        return sample(self.head.drop(tokens, owner, self.generator), at), sample(codes, at)


def _segmenter(
    features: Features,
    head: StegoHead | None,
    centres: Tensor | None,
    config: SegmentConfig,
    generator: torch.Generator,
    device: str,
) -> Segmenter:
    """The model with these centres, largest segment first.

    Without centres they are found by spherical k-means on a sample of the codes, the best of several starts by mean
    cosine, which needs no label.
    """
    codes = _sample_codes(features, head, generator, device)
    if centres is None:
        centres = best_spherical_kmeans(codes, config.classes, generator, RESTARTS)[0]
    model = Segmenter(head, centres.cpu())
    nearest = (codes @ model.centres.T).argmax(dim=1)
    order = torch.bincount(nearest, minlength=model.classes).argsort(descending=True, stable=True)
    model.centres = model.centres[order]
    return model.to(device)


def _sample_codes(features: Features, head: StegoHead | None, generator: torch.Generator, device: str) -> Tensor:
    """Unit codes (N, dim) of random tokens on the CPU, as many from each picture, some 32,768 in all."""
    share = max(1, SAMPLE // len(features))
    model = Segmenter(head, torch.zeros(1, 1)).to(device)
    codes = []
    for row in range(len(features)):
        tokens = features.tokens(row)
        chosen = torch.randperm(len(tokens), generator=generator)[:share]
        codes.append(codes_of(model, tokens[chosen].to(device)).cpu())
    return torch.nn.functional.normalize(torch.cat(codes), dim=1)


def _check_enough(features: Features, classes: int) -> None:
    if classes < 2:
        raise UserError(f"classes={classes} is not a segmentation: give at least 2.")
    tokens = sum(height * width for height, width in features.shapes)
    if tokens < classes:
        raise UserError(
            f"{classes} segments cannot be learned from {len(features)} pictures of {tokens} places in all: "
            "give fewer with --classes, more pictures, or a larger image_size."
        )
