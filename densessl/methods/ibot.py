"""iBOT: image BERT pre-training with online tokenizer (Zhou et al., arXiv 2111.07832), Algorithm 1.

    L = L_cls + L_patch
    L_cls   = sum over teacher views u, student views v' != u of -P_t(u) . log P_s(v'), averaged over the pairs (DINO)
    L_patch = sum over hidden patches i of a global view u of -P_t(u_i) . log P_s(u^_i), averaged over these patches,
              then over images and the two global views

The student sees the global views u^ with blocks of patches exchanged for one learned token, and local views whole; the
teacher sees the global views whole. One head serves class tokens and patches. P_t subtracts a centre of its own for
each of the two and divides by a temperature. theta_t <- l theta_t + (1 - l) theta_s after the step, l from its base to
1 along a cosine; both centres follow the teacher's mean, over all its patches and all processes, after the loss.

Defaults are the paper's (section 4, appendix) and the official README's command for ViT-S/16: K 8192; head as DINO's,
2048 wide, to 256; both tau_t from 0.04 to 0.07 over 30 epochs; nothing is hidden in half of the global views, from 0.1
to 0.5 of the patches in the others; global crops of 0.25 to 1 of the area, ten local ones of 0.05 to 0.25; prototypes
without gradient in the first epoch. The backbone that a run exports is the teacher's, as the paper evaluates it.
Where we differ: the student's head sees hidden patches alone and the teacher's prototypes, being linear, the mean patch
in place of all, which changes no number but memory; without a stated size local crops are 96/224 of the global ones,
cut to the backbone's stride; both tau_t rise with each step, where the official code's rise with each epoch, over at
most 0.3 of the run.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from math import log

import numpy as np
import torch
from torch import Tensor, nn

from densessl.backbones.tokens import features, grid_of, normed, patches, pooled, prefix_tokens
from densessl.data.views import ViewSpec
from densessl.distributed import mean_over_processes
from densessl.errors import above_0, at_least, from_0_to_1, require
from densessl.losses import dino, ibot_patches
from densessl.methods.masks import blockwise_masks, random_numbers
from densessl.methods.multicrop import by_size, multi_crop
from densessl.methods.parts import PrototypeHead, byol_view, cosine_ramp, momentum_copy, move_towards, warm_up
from densessl.methods.registry import Output, Progress, Sheet, register


@dataclass(frozen=True)
class IBOTConfig:
    prototypes: int = 8192  # K, of class tokens and patches alike
    hidden: int = 2048  # width of the head
    bottleneck: int = 256  # dimension before the prototypes
    student_temperature: float = 0.1  # tau_s
    teacher_temperature: float = 0.07  # tau_t of class tokens after its warm-up
    patch_temperature: float = 0.07  # tau_t of patches after its warm-up
    teacher_temperature_start: float = 0.04  # of both
    warmup_epochs: float = 30  # of both
    momentum: float = 0.996  # l at the start; 0.9995 with 256 images a batch
    center_momentum: float = 0.9  # of both centres
    frozen_epochs: float = 1  # in which the prototypes get no gradient
    head_batch_norm: bool = False  # in the head
    learn_gain: bool = False  # a learned length for each prototype; on in the paper for ViT-S, where it is stable
    whole: float = 0.5  # share of the global views in which nothing is hidden
    mask_ratio: tuple[float, float] = (0.1, 0.5)  # share of the patches hidden in the others, uniform between these
    patch_weight: float = 1.0  # of L_patch
    local_crops: int = 10  # 0 for two global views alone
    global_a: ViewSpec = field(default_factory=lambda: byol_view(blur=1.0, scale=(0.25, 1.0)))
    global_b: ViewSpec = field(default_factory=lambda: byol_view(blur=0.1, solarize=0.2, scale=(0.25, 1.0)))
    local: ViewSpec = field(default_factory=lambda: byol_view(blur=0.5, scale=(0.05, 0.25)))

    def __post_init__(self) -> None:
        at_least(1, "ibot", self, "prototypes", "hidden", "bottleneck")
        object.__setattr__(self, "mask_ratio", tuple(self.mask_ratio))  # OmegaConf hands tuples over as lists
        temperatures = ("student_temperature", "teacher_temperature", "patch_temperature", "teacher_temperature_start")
        above_0("ibot", self, *temperatures)
        from_0_to_1("ibot", self, "momentum", "center_momentum", "whole")
        require(
            self.whole < 1 or self.patch_weight == 0,
            "ibot.whole=1 hides nothing: give less, or ibot.patch_weight=0 for a run without L_patch.",
        )
        low, high = self.mask_ratio
        require(0 < low <= high < 1, f"ibot.mask_ratio={list(self.mask_ratio)} must be two shares, such as [0.1, 0.5].")
        counts = (self.global_a.count, self.global_b.count, self.local.count)
        require(counts == (1, 1, 1), "ibot's views have a count of 1 each; ibot.local_crops sets how many local ones.")
        at_least(0, "ibot", self, "local_crops")
        require(self.global_a.size == self.global_b.size, "ibot.global_a.size and global_b.size must be the same.")


@register(
    "ibot",
    config=IBOTConfig,
    title="iBOT: Image BERT Pre-Training with Online Tokenizer",
    arxiv="2111.07832",
    year=2021,
    published="77.9 % on ImageNet, linear (ViT-S/16, 800 epochs); 75.2 % kNN",
    needs=("transformer",),
)
class IBOT(nn.Module):
    sync_batch_norm = True

    def __init__(self, backbone: nn.Module, config: IBOTConfig, data_size: int) -> None:
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
        self.mask_token = nn.Parameter(torch.zeros(1, 1, backbone.model.embed_dim))
        self.register_buffer("center", torch.zeros(config.prototypes))
        self.register_buffer("patch_center", torch.zeros(config.prototypes))
        self.teacher_temperature = self.patch_temperature = config.teacher_temperature_start

    @property
    def views(self) -> list[ViewSpec]:
        config = self.config
        return multi_crop([config.global_a, config.global_b], config.local, config.local_crops, self.backbone)

    def chance(self, batch_size: int) -> float:
        """ln K for class tokens, and ln K for patches in the views that hide some: every prototype alike."""
        return (1 + self.config.patch_weight * (1 - self.config.whole)) * log(self.config.prototypes)

    def before_step(self, progress: Progress) -> None:
        start, epochs = self.config.teacher_temperature_start, self.config.warmup_epochs
        self.teacher_temperature = warm_up(start, self.config.teacher_temperature, epochs, progress)
        self.patch_temperature = warm_up(start, self.config.patch_temperature, epochs, progress)

    def forward(self, batch: dict) -> Output:
        views = batch["views"]
        whole, grid = torch.cat(views[:2]), grid_of(self.backbone, views[0])  # (2N, 3, s, s)
        masks = torch.cat([self.masks(len(view), grid) for view in views[:2]]).flatten(1).to(whole.device)  # (2N, P)
        with torch.no_grad():
            h, tokens = _vector_and_patches(self.backbone, whole)
            teacher = self.teacher_head(h)  # (2N, K)
            z = self.teacher_head.embed(tokens.flatten(0, 1)).view(*masks.shape, -1)  # (2N, P, bottleneck)
            teacher_patches = self.teacher_head.compare(z[masks])  # (M, K)
        vectors, tokens = _vector_and_patches(self.student_backbone, whole, masks, self.mask_token)
        vectors = [vectors, *(self.student_backbone(crops) for crops in by_size(views[2:]))]
        hidden = tokens[masks]  # (M, D)
        student, student_patches = self.student_head(torch.cat([*vectors, hidden])).split(
            [sum(map(len, vectors)), len(hidden)]
        )
        cls = dino(
            list(student.chunk(len(views))),
            list(teacher.chunk(2)),
            self.center,
            self.config.student_temperature,
            self.teacher_temperature,
        )
        patch = ibot_patches(
            student_patches,
            teacher_patches,
            masks,
            self.patch_center,
            self.config.student_temperature,
            self.patch_temperature,
        )
        self.center = self.followed(self.center, teacher.mean(dim=0, dtype=self.center.dtype))
        # The mean of the logits of all patches is the logits of the mean.
        with torch.autocast(z.device.type, enabled=False):
            mean = self.teacher_head.compare(z.to(self.patch_center.dtype).mean((0, 1)))
        self.patch_center = self.followed(self.patch_center, mean)
        metrics = {"loss_cls": cls.detach(), "loss_patch": patch.detach(), "center_std": self.center.std()}
        return Output(cls + self.config.patch_weight * patch, metrics, embedding=h.chunk(2)[0])

    def masks(self, count: int, grid: tuple[int, int]) -> Tensor:
        """(count, h, w): blocks of patches to hide, and in some views none."""
        draw, share = random_numbers(2, count)
        low, high = self.config.mask_ratio
        counts = (low + (high - low) * share) * grid[0] * grid[1]
        return blockwise_masks(torch.where(draw < self.config.whole, 0.0, counts), grid)

    def followed(self, center: Tensor, mean: Tensor) -> Tensor:
        """The centre, one step nearer to the mean over all processes."""
        return center.lerp(mean_over_processes(mean).to(center.dtype), 1 - self.config.center_momentum)

    def after_backward(self, progress: Progress) -> None:
        if progress.epoch < self.config.frozen_epochs:
            self.student_head.freeze()

    def after_step(self, progress: Progress) -> None:
        momentum = cosine_ramp(self.config.momentum, 1.0, progress.fraction)
        move_towards(self.backbone, self.student_backbone, momentum)
        move_towards(self.teacher_head, self.student_head, momentum)

    def pictures(self, batch: dict, thumbnail: Callable[[int], np.ndarray]) -> dict[str, Sheet]:
        """The first global view, and what the student sees of it."""
        x = batch["views"][0]
        masks = self.masks(len(x), grid_of(self.backbone, x)).to(x.device)
        stride = self.backbone.stride
        hidden = masks.repeat_interleave(stride, 1).repeat_interleave(stride, 2)
        shown = (x, x.masked_fill(hidden.unsqueeze(1), 0.0))  # the mean colour, grey
        columns = [self.backbone.pixels(each).permute(0, 2, 3, 1).cpu().numpy() for each in shown]
        labels = [f"{100 * share:.0f} % hidden" if share else "whole" for share in masks.float().mean((1, 2)).tolist()]
        rows = [list(row) for row in zip(*columns, strict=True)]
        return {"masks": Sheet(rows, headers=["teacher's", "student's"], labels=labels)}


def _vector_and_patches(
    backbone: nn.Module, images: Tensor, masks: Tensor | None = None, mask_token: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """(B, D), the vector of each image, and (B, P, D), its patches, those of `masks` exchanged for the token."""
    tokens = patches(backbone, images)
    if masks is not None:
        tokens = torch.where(masks.unsqueeze(-1), mask_token.to(tokens.dtype), tokens)
    found = features(backbone, tokens, grid_of(backbone, images))
    return pooled(backbone, found), normed(backbone, found)[:, prefix_tokens(backbone) :]
