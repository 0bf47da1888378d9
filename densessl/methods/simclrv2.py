"""SimCLRv2: big self-supervised models are strong semi-supervised learners (Chen et al., arXiv 2006.10029), step 1.

    h = f(x~),  z = g(h),  l(i, j) = -log exp(sim(z_i, z_j) / tau) / sum over others k of exp(sim(z_i, z_k) / tau)

as SimCLR, with three changes: a larger f (selective kernels, see below), a deeper g of three layers whose first is kept
for fine-tuning, and MoCo's memory: a copy of f and g, theta_k <- m theta_k + (1 - m) theta, makes keys of the batch,
against which the anchors z_i are held in the place of each other, and K keys of earlier batches are negatives beside
the 2(N - 1) of the batch. The copy moves before the keys are made; they enter the memory after the loss. Steps 2 and 3
are `densessl finetune` and `densessl distill`.

Defaults: tau 0.1, 3 layers as wide as h, 128 dimensions, batch norm after each layer, the last of which has no shift
(official code, `tf2/model.py`); memory of 65,536 keys and m 0.999 (section 2 and appendix). queue=0 leaves the memory
out, as the official code does; the paper gives it about 1 % of accuracy with batches of 4096.
Networks: timm's skresnet50d with the options of configs/pretrain/simclrv2.yaml is the official ResNet-50 with
selective kernels: two paths of 3x3, ResNet-D's stem and shortcuts. `layers` and `channels` make it deeper and wider:
[3, 8, 36, 3] is 152, [128, 256, 512, 1024] with stem_width 64 is twice as wide.
Where we differ: the paper says of the memory that its network's output is kept as negatives, and not whether the
positive and the batch's negatives are that network's too. Here they are, as in MoCo. With all of those from f itself,
f learned to turn away from its own past and not to tell images apart: the small network of CIFAR-10 ended below its
untrained self (23.8 % kNN after 27.5). The memory keeps the second view's keys, one an image as in MoCo, and holds half
of the data at most, since a longer one is full of the anchors' own images. The loss is the mean over both views, where
the official code sums them. timm does not average before the first stage's shortcut, whose stride is 1.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from math import log

import torch
from torch import Tensor, nn

from densessl.backbones.heads import HEAD, head_file
from densessl.data.views import ViewSpec
from densessl.distributed import gather, rank
from densessl.errors import above_0, at_least, from_0_to_1, require
from densessl.losses import info_nce, nt_xent
from densessl.losses.common import directions
from densessl.methods.parts import Queue, half_of_data, mlp, momentum_copy, move_towards
from densessl.methods.registry import Output, Progress, register


@dataclass(frozen=True)
class SimCLRv2Config:
    temperature: float = 0.1  # tau
    layers: int = 3  # of the head
    hidden: int = 2048  # width of the head's layers but the last; as ResNet-50's h
    dim: int = 128  # of z
    queue: int = 65536  # K, keys of the memory; 0 for none, as in the official code
    momentum: float = 0.999  # m of the memory's encoder
    view: ViewSpec = field(default_factory=lambda: ViewSpec(count=2))

    def __post_init__(self) -> None:
        at_least(1, "simclrv2", self, "hidden", "dim")
        above_0("simclrv2", self, "temperature")
        at_least(2, "simclrv2", self, "layers")
        at_least(0, "simclrv2", self, "queue")
        from_0_to_1("simclrv2", self, "momentum")
        require(self.view.count == 2, f"simclrv2.view.count={self.view.count}, but SimCLRv2 compares 2 views.")


@register(
    "simclrv2",
    config=SimCLRv2Config,
    title="Big Self-Supervised Models are Strong Semi-Supervised Learners",
    arxiv="2006.10029",
    year=2020,
    published="71.7 % on ImageNet, linear (ResNet-50, 800 epochs); 79.8 % (ResNet-152, 3 times as wide, SK)",
)
class SimCLRv2(nn.Module):
    sync_batch_norm = True  # "global batch normalization"

    def __init__(self, backbone: nn.Module, config: SimCLRv2Config, data_size: int) -> None:
        super().__init__()
        self.config = config
        self.backbone = backbone
        sizes = (backbone.channels, *[config.hidden] * (config.layers - 1), config.dim)
        self.projector = mlp(sizes, hidden_bias=False, last_bias=False, hidden_norm=True, last_norm=True)
        self.projector[-1].bias.requires_grad_(False)  # it stays 0: the last norm has no shift
        self.notes: list[str] = []
        if config.queue:
            self.key = momentum_copy(self.online)
            self.queue = Queue(half_of_data(self.notes, "simclrv2.queue", config.queue, data_size), config.dim)

    @property
    def online(self) -> nn.Module:
        return nn.Sequential(self.backbone, self.projector)

    def files(self) -> dict[str, bytes]:
        """What the run keeps behind the backbone, for fine-tuning from inside of it."""
        return {HEAD: head_file(self.projector)}

    @property
    def views(self) -> list[ViewSpec]:
        return [self.config.view]

    def chance(self, batch_size: int) -> float:
        """ln(2N - 1 + K): everything of another image, and every key of the memory, is as near as the positive."""
        return log(max(1, 2 * batch_size - 1 + (len(self.queue.keys) if self.config.queue else 0)))

    def before_step(self, progress: Progress) -> None:
        if self.config.queue:
            move_towards(self.key, self.online, self.config.momentum)

    def forward(self, batch: dict) -> Output:
        h = self.backbone(torch.cat(batch["views"]))  # (2N, D)
        z_a, z_b = self.projector(h).chunk(2)  # (N, 128) each
        if self.config.queue:
            loss = self.against_memory(z_a, z_b, batch["views"])
        else:
            loss = nt_xent(gather(z_a), gather(z_b), self.config.temperature)
        return Output(loss, embedding=h.detach().chunk(2)[0], projection=z_a.detach())

    def against_memory(self, z_a: Tensor, z_b: Tensor, views: Sequence[Tensor]) -> Tensor:
        """SimCLR's loss with the keys of all processes' views, and those of the memory, in the place of the other z."""
        with torch.no_grad():
            k_a, k_b = directions(self.key(torch.cat(list(views)))).chunk(2)
            all_a, all_b = gather(k_a), gather(k_b)
        place = torch.arange(len(all_a), device=z_a.device)
        own = place[rank() * len(z_a) :][: len(z_a)]
        remembered = place.new_full((len(self.queue.keys),), -1)
        loss = info_nce(
            torch.cat((z_a, z_b)),
            torch.cat((k_b, k_a)),
            torch.cat((all_a, all_b, self.queue.keys)),
            self.config.temperature,
            groups=(own.repeat(2), torch.cat((place, place, remembered))),
        )
        self.queue.push(all_b)
        return loss
