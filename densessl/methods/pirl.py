"""PIRL: self-supervised learning of pretext-invariant representations (Misra & van der Maaten, arXiv 1912.01991).

    L(I, I^t) = lambda L_NCE(m_I, g(v_I^t)) + (1 - lambda) L_NCE(m_I, f(v_I))

    L_NCE(m, z) = -log h(m, z) - sum over I' in D_N of log(1 - h(m_I', z))
    h(m, z) = exp(s(m, z) / tau) / (exp(s(m, z) / tau) + Z |D_N| / |D|)

with s the cosine and m_I <- .5 m_I + .5 f(v_I) a bank of all images, which follows the image embedding alone. The
pretext t is a jigsaw of nine patches in a random order, which g maps to one linear embedding each, concatenates and
maps to one; or a turn by 0, 90, 180 or 270 degrees. No batch norm and no ReLU in the heads.

Defaults: tau 0.07, lambda 0.5, 32,000 negatives, 128 dimensions (section 3.3); the image a crop of 224 px and 0.08 to 1
of the area, the jigsaw another one of 255 px and 0.6 to 1, in 3 x 3 cells of 85 px with a patch of 64 px somewhere in
each; jitter, grey and flip drawn for each patch (official code in VISSL). Batch norm sees images and patches apart.
Z is 1 in the paper's formula, under which every negative starts as almost certainly one of the data; the official code
takes |D| times the mean of exp(s / tau) in the first batch, and so do we, unless `partition` gives it.
On small data (500 and 2,000 images of CIFAR-10, at every learning rate tried) NCE collapses: where the bank follows the
network within few steps, its sum pushes all embeddings about together, far harder than the positive pulls on each. With
`objective` cross_entropy, which VISSL has as well, L_NCE becomes -log of the softmax of m_I among m_I and the
negatives, whose push and pull are equal.
Where we differ from the official code: negatives are drawn once for the batch of all processes, without replacement and
without the batch's own images, so that no positive is among them; Z is measured on both embeddings of the first batch,
not on the jigsaw's alone; its photometric operations (sharpness, posterize, contrast stretching) are not there. The
patches' sizes follow the image's and are multiples of the backbone's stride.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from math import log

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from densessl.backbones.backbone import near
from densessl.data.views import PatchSpec, ViewSpec
from densessl.distributed import from_first, mean_over_processes, rank, world_size
from densessl.errors import above_0, at_least, from_0_to_1, require
from densessl.losses import info_nce, pirl_nce
from densessl.methods.parts import MemoryBank
from densessl.methods.registry import Output, Sheet, register

COLOUR = {"jitter": 1.0, "brightness": 0.4, "contrast": 0.4, "saturation": 0.4, "hue": 0.2, "grey": 0.2, "blur": 0.0}
PRETEXTS, OBJECTIVES = ("jigsaw", "rotation"), ("nce", "cross_entropy")


@dataclass(frozen=True)
class PIRLConfig:
    pretext: str = "jigsaw"  # t: jigsaw or rotation
    objective: str = "nce"  # L_NCE: nce or cross_entropy
    temperature: float = 0.07  # tau
    weight: float = 0.5  # lambda, of the transformed image's term
    negatives: int = 32000  # |D_N|, at most the images that are not in the batch
    momentum: float = 0.5  # of the bank
    partition: float | None = None  # Z; None takes it from the first batch, 1 is the formula to the letter
    dim: int = 128  # of the embeddings and the bank
    view: ViewSpec = field(default_factory=lambda: ViewSpec(**COLOUR))  # the image; the rotated one too
    jigsaw: ViewSpec = field(default_factory=lambda: ViewSpec(scale=(0.6, 1.0), flip=0.0, **COLOUR))

    def __post_init__(self) -> None:
        require(self.pretext in PRETEXTS, f"pirl.pretext={self.pretext} is not one of: {', '.join(PRETEXTS)}.")
        fine = self.objective in OBJECTIVES
        require(fine, f"pirl.objective={self.objective} is not one of: {', '.join(OBJECTIVES)}.")
        above_0("pirl", self, "temperature")
        from_0_to_1("pirl", self, "weight", "momentum")
        at_least(1, "pirl", self, "negatives", "dim")
        fine = self.partition is None or self.partition > 0
        require(fine, f"pirl.partition={self.partition} must be above 0, or null to take it from the first batch.")
        counts = (self.view.count, self.jigsaw.count)
        require(counts == (1, 1), f"pirl.view.count and jigsaw.count are {counts}, but PIRL compares one of each.")
        require(self.view.patches is None, "pirl.view.patches is given, but the image is seen whole: cut the jigsaw.")


class JigsawHead(nn.Module):
    """(B, P, D) -> (B, dim): a linear map of each patch, the same for all, and one of all of them in a row."""

    def __init__(self, channels: int, patches: int, dim: int) -> None:
        super().__init__()
        self.patch = nn.Linear(channels, dim)
        self.all = nn.Linear(patches * dim, dim)

    def forward(self, v: Tensor) -> Tensor:
        return self.all(self.patch(v).flatten(1))


@register(
    "pirl",
    config=PIRLConfig,
    title="Self-Supervised Learning of Pretext-Invariant Representations",
    arxiv="1912.01991",
    year=2020,
    published="63.6 % on ImageNet, linear (ResNet-50, 800 epochs)",
    needs=("index",),
)
class PIRL(nn.Module):
    sync_batch_norm = False
    takes_patches = True

    def __init__(self, backbone: nn.Module, config: PIRLConfig, data_size: int) -> None:
        super().__init__()
        self.config, self.data_size = config, data_size
        self.backbone = backbone
        self.f = nn.Linear(backbone.channels, config.dim)
        if config.pretext == "jigsaw":
            self.g = JigsawHead(backbone.channels, self.patches.count, config.dim)
        else:
            self.g = nn.Linear(backbone.channels, config.dim)
        self.bank = MemoryBank(data_size, config.dim)
        self.register_buffer("partition", torch.tensor(config.partition or 0.0))  # Z; 0 until it is measured
        self.measured = False

    @property
    def patches(self) -> PatchSpec:
        """The grid of the jigsaw: at 224 px, cells of 85 px and patches of 64."""
        if self.config.jigsaw.patches:
            return self.config.jigsaw.patches
        image = self.config.view.size or self.backbone.image_size
        size = near(max(4, round(image * 64 / 224)), self.backbone.stride)
        cell = max(size, round(image * 85 / 224))
        return PatchSpec(grid=3, size=size, step=cell, wander=cell - size, flip=0.5)

    @property
    def views(self) -> list[ViewSpec]:
        if self.config.pretext == "rotation":
            return [self.config.view, self.config.view]
        return [self.config.view, replace(self.config.jigsaw, size=None, patches=self.patches)]

    def chance(self, batch_size: int) -> float:
        """The loss, on average, of embeddings that point anywhere; ln(|D_N| + 1) of the cross-entropy."""
        config, count = self.config, max(1, min(self.config.negatives, self.data_size - batch_size))
        if config.objective == "cross_entropy":
            return log(count + 1)
        t = torch.linspace(-1, 1, 4001, dtype=torch.float64)[1:-1]
        density = torch.softmax((config.dim - 3) / 2 * torch.log1p(-(t**2)), 0)  # of a cosine with a random direction
        partition = config.partition or self.data_size * float((density * (t / config.temperature).exp()).sum())
        logit = t / config.temperature - log(partition * count / self.data_size)
        return float((density * (F.softplus(-logit) + count * F.softplus(logit))).sum())

    def forward(self, batch: dict) -> Output:
        image, other = batch["views"]
        v = self.backbone(image)  # (B, D)
        f, g = self.f(v), self.g(self.represent(self.transformed(other)))  # (B, 128)
        m, negatives = self.bank.rows[batch["index"]], self.bank.others(self.config.negatives, batch["index"])
        if self.config.objective == "nce":
            self.measure(torch.cat((f, g)), negatives)
        loss_g, loss_f = self.contrast(g, m, negatives), self.contrast(f, m, negatives)
        self.bank.update(batch["index"], f.detach(), self.config.momentum)
        loss = self.config.weight * loss_g + (1 - self.config.weight) * loss_f
        metrics = {"loss_transformed": loss_g.detach(), "loss_image": loss_f.detach()}
        return Output(loss, metrics, embedding=v.detach(), projection=f.detach())

    def contrast(self, z: Tensor, m: Tensor, negatives: Tensor) -> Tensor:
        """L_NCE of embeddings (B, dim) with the bank's rows of the same images (B, dim) and of others (K, dim)."""
        if self.config.objective == "nce":
            return pirl_nce(z, m, negatives, self.config.temperature, self.data_size, self.partition)
        return info_nce(z, m, negatives, self.config.temperature)

    def transformed(self, other: Tensor) -> Tensor:
        """t(I): patches (B, P, 3, s, s) in a random order, or images (B, 3, s, s) each turned by a random quarter."""
        drawn = self._drawn(other)
        return rearranged(other, drawn) if other.ndim == 5 else turned(other, drawn)

    def represent(self, other: Tensor) -> Tensor:
        """Images -> (B, D), patches -> (B, P, D)."""
        if other.ndim == 4:
            return self.backbone(other)
        return self.backbone(other.flatten(0, 1)).unflatten(0, other.shape[:2])

    @torch.no_grad()
    def measure(self, embeddings: Tensor, negatives: Tensor) -> None:
        """Z of the first batch: |D| times the mean of exp(s / tau)."""
        if self.measured:
            return
        if not self.partition:
            with torch.autocast(embeddings.device.type, enabled=False):
                cosines = F.normalize(embeddings.to(negatives.dtype), dim=1) @ negatives.T
                found = (cosines / self.config.temperature).exp().mean()
            self.partition.copy_(self.data_size * mean_over_processes(found))
        # Asked once alone, for asking waits for the device.
        self.measured = True

    def pictures(self, batch: dict, thumbnail) -> dict[str, Sheet]:
        """The pretext: each image, what is cut or turned, and what the network is shown, patches row by row."""
        other = batch["views"][1]
        drawn, patches = self._drawn(other), other.ndim == 5
        shown = rearranged(other, drawn) if patches else turned(other, drawn)
        pixels = [self.backbone.pixels(each).cpu().movedim(-3, -1).numpy() for each in (other, shown)]
        rows = [
            _alike(thumbnail(int(index)), before, after)
            for index, before, after in zip(batch["index"], *pixels, strict=True)
        ]
        marks = None
        if patches:
            places = range(1, other.shape[1] + 1)
            marks = [[(), places, order] for order in (1 + drawn).tolist()]
        return {"pretext": Sheet(rows, headers=["image", "in place", "as shown"], marks=marks)}

    def _drawn(self, other: Tensor) -> Tensor:
        """Orders of the patches (B, P), or quarter turns (B,): this process's part of what is drawn for all images."""
        count = other.shape[1] if other.ndim == 5 else 1
        everyone = from_first(torch.rand(world_size() * len(other), count, device=other.device))
        draws = everyone.chunk(world_size())[rank()]
        return draws.argsort(1) if other.ndim == 5 else (4 * draws).long().flatten()


def rearranged(patches: Tensor, order: Tensor) -> Tensor:
    """(B, P, 3, s, s) -> at place i of each image its patch order[:, i]."""
    return patches[torch.arange(len(patches), device=patches.device)[:, None], order]


def turned(images: Tensor, quarters: Tensor) -> Tensor:
    """(B, 3, s, s) -> each turned by so many quarters, against the clock."""
    quarters = quarters.view(-1, 1, 1, 1)
    return sum(torch.where(quarters == turn, images.rot90(turn, (2, 3)), 0) for turn in range(4))


def _alike(*pictures: np.ndarray) -> list[np.ndarray]:
    """Pictures and patches (P, s, s, 3), each enlarged a whole number of times until all are about as wide."""
    widths = [each.shape[-2] * round(len(each) ** 0.5) if each.ndim == 4 else each.shape[1] for each in pictures]
    factors = [max(1, round(max(widths) / width)) for width in widths]
    return [each.repeat(f, -2).repeat(f, -3) for each, f in zip(pictures, factors, strict=True)]
