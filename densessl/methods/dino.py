"""DINO: emerging properties in self-supervised vision transformers (Caron et al., arXiv 2104.14294), Algorithm 1.

    L = sum over teacher views x, student views x' != x of -softmax((g_t(x) - c) / tau_t) . log softmax(g_s(x') / tau_s)

averaged over the pairs; the teacher sees the two global views, the student all. theta_t <- l theta_t + (1 - l) theta_s
after the step, l from its base to 1 along a cosine; c <- m c + (1 - m) mean(g_t) after the loss, over all processes.

Defaults are the paper's (section 3.1 and appendix) and the official code's: tau_s 0.1; tau_t from 0.04 to 0.07 over 30
epochs; K 65,536; l 0.996; m 0.9; a head of three layers, 2048 wide, to 256, then weight-normalised prototypes, which
get no gradient in the first epoch; global crops of 0.4 to 1 of the area, local ones of 0.05 to 0.4.
The backbone that a run exports is the teacher's, as the paper evaluates it.
Where we differ: without a stated size local crops are 96/224 of the global ones, cut to the backbone's stride; tau_t
rises with each step, where the official code's rises with each epoch and is at its end a whole epoch sooner, over at
most 0.3 of the run, so that short runs are not all warm-up.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from math import log

import torch
from torch import nn

from densessl.data.views import ViewSpec
from densessl.distributed import mean_over_processes
from densessl.errors import above_0, at_least, from_0_to_1, require
from densessl.losses import dino
from densessl.methods.multicrop import by_size, multi_crop
from densessl.methods.parts import PrototypeHead, byol_view, cosine_ramp, momentum_copy, move_towards, warm_up
from densessl.methods.registry import Output, Progress, register


@dataclass(frozen=True)
class DINOConfig:
    prototypes: int = 65536  # K
    hidden: int = 2048  # width of the head
    bottleneck: int = 256  # dimension before the prototypes
    student_temperature: float = 0.1  # tau_s
    teacher_temperature: float = 0.07  # tau_t after its warm-up
    teacher_temperature_start: float = 0.04  # tau_t before its warm-up
    warmup_epochs: float = 30  # of tau_t
    momentum: float = 0.996  # l at the start; 0.9995 with 256 images a batch
    center_momentum: float = 0.9  # m
    frozen_epochs: float = 1  # in which the prototypes get no gradient
    head_batch_norm: bool = False  # in the head; on for convolutional networks with batch norm
    learn_gain: bool = False  # a learned length for each prototype, better for ViT-S where it is stable
    local_crops: int = 8  # 0 for two global views alone
    global_a: ViewSpec = field(default_factory=lambda: byol_view(blur=1.0, scale=(0.4, 1.0)))
    global_b: ViewSpec = field(default_factory=lambda: byol_view(blur=0.1, solarize=0.2, scale=(0.4, 1.0)))
    local: ViewSpec = field(default_factory=lambda: byol_view(blur=0.5, scale=(0.05, 0.4)))

    def __post_init__(self) -> None:
        at_least(1, "dino", self, "prototypes", "hidden", "bottleneck")
        above_0("dino", self, "student_temperature", "teacher_temperature", "teacher_temperature_start")
        from_0_to_1("dino", self, "momentum", "center_momentum")
        counts = (self.global_a.count, self.global_b.count, self.local.count)
        require(counts == (1, 1, 1), "dino's views have a count of 1 each; dino.local_crops sets how many local ones.")
        at_least(0, "dino", self, "local_crops")
        require(self.global_a.size == self.global_b.size, "dino.global_a.size and global_b.size must be the same.")


@register(
    "dino",
    config=DINOConfig,
    title="Emerging Properties in Self-Supervised Vision Transformers",
    arxiv="2104.14294",
    year=2021,
    published="77.0 % on ImageNet, linear (ViT-S/16, 800 epochs)",
)
class DINO(nn.Module):
    sync_batch_norm = True

    def __init__(self, backbone: nn.Module, config: DINOConfig, data_size: int) -> None:
        super().__init__()
        self.config = config
        self.student_backbone = backbone
        self.student_head = PrototypeHead(
            backbone.channels,
            config.hidden,
            config.bottleneck,
            config.prototypes,
            batch_norm=config.head_batch_norm,
            learn_gain=config.learn_gain,
        )
        self.backbone = momentum_copy(self.student_backbone)
        self.teacher_head = momentum_copy(self.student_head)
        self.register_buffer("center", torch.zeros(config.prototypes))
        self.teacher_temperature = config.teacher_temperature_start

    @property
    def views(self) -> list[ViewSpec]:
        config = self.config
        return multi_crop([config.global_a, config.global_b], config.local, config.local_crops, self.backbone)

    def chance(self, batch_size: int) -> float:
        """ln K: every prototype alike."""
        return log(self.config.prototypes)

    def before_step(self, progress: Progress) -> None:
        start, end = self.config.teacher_temperature_start, self.config.teacher_temperature
        self.teacher_temperature = warm_up(start, end, self.config.warmup_epochs, progress)

    def forward(self, batch: dict) -> Output:
        views = batch["views"]
        with torch.no_grad():
            h = self.backbone(torch.cat(views[:2]))  # (2N, D)
            teacher = self.teacher_head(h)  # (2N, K)
        student = self.student_head(torch.cat([self.student_backbone(crops) for crops in by_size(views)]))
        loss = dino(
            list(student.chunk(len(views))),
            list(teacher.chunk(2)),
            self.center,
            self.config.student_temperature,
            self.teacher_temperature,
        )
        mean = mean_over_processes(teacher.mean(dim=0, dtype=self.center.dtype))
        center = self.center.lerp(mean, 1 - self.config.center_momentum)
        metrics = {"center_std": center.std(), "teacher_temperature": torch.tensor(self.teacher_temperature)}
        self.center = center
        return Output(loss, metrics, embedding=h.chunk(2)[0])

    def after_backward(self, progress: Progress) -> None:
        if progress.epoch < self.config.frozen_epochs:
            self.student_head.freeze()

    def after_step(self, progress: Progress) -> None:
        momentum = cosine_ramp(self.config.momentum, 1.0, progress.fraction)
        move_towards(self.backbone, self.student_backbone, momentum)
        move_towards(self.teacher_head, self.student_head, momentum)
