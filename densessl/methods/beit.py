"""BEiT: BERT pre-training of image transformers (Bao et al., arXiv 2106.08254), Algorithm 1.

    L = -sum_x sum_{i in M} log p(z_i | x^M) / sum_x |M|,      p(z | x^M) = softmax(W h_i + b)

z_i: the token that a tokenizer, trained before and frozen, gives to the place of patch i of the image x. x^M: the
patches of x, those in M exchanged for one learned embedding. h_i: the transformer's output there, after its final norm.
Only masked places count.

Defaults are the paper's (section 2.4 and appendix) and the official code's: more than 0.4 of the patches masked, by
blocks of 16 patches at least (of 196; on other grids as large a share) and an aspect of 0.3 to 1 / 0.3; weights from a
normal distribution of 0.02 cut at one deviation, proj and fc2 of block l divided by sqrt(2 l); no decay on class token
and positions; crops of 0.08 to 1, flips, jitter of 0.4 without hue. `masks: official` is what the released models were
trained with: at most mask_ratio (75 of 196), often fewer, log-uniform aspects. The backbone brings the rest:
beit_base_patch16_224 has q and v biases without a k bias, layer scale 0.1 and drop path; give it
`backbone_options: {use_rel_pos_bias: false, use_shared_rel_pos_bias: true}` for one bias of relative positions
for all blocks, as in pretraining.
The tokenizer sees the same crop in [0, 1], unmasked, in float32, resized so that its grid is the patches' (112 px for
DALL-E's f/8 and patches of 16 in 224); DALL-E's maps the pixels to [0.1, 0.9] itself.
Where we differ: it resizes the crop with antialiased cubic splines, where the official code cuts it once more from
the image with Lanczos; any plain transformer can be the backbone; a backbone that was loaded keeps its weights; the
mean is over the masked places of all processes, where the official code takes each process's own. Pixels are
normalised as the backbone states (0.5 and 0.5 for timm's BEiT), where the released ImageNet-1k runs used ImageNet's.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from math import log

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from densessl.backbones.initial import truncated_normal
from densessl.backbones.tokenizer import load_tokenizer
from densessl.backbones.tokens import features, grid_of, normed, patches, pooled, prefix_tokens
from densessl.data.views import ViewSpec
from densessl.distributed import mean_over_processes
from densessl.errors import above_0, require
from densessl.methods.masks import blockwise_masks, covering_masks
from densessl.methods.registry import Output, Sheet, register
from densessl.methods.sheets import arrays, token_colours

MASKS = ("algorithm", "official")


def _view() -> ViewSpec:
    jitter = {"jitter": 1.0, "brightness": 0.4, "contrast": 0.4, "saturation": 0.4, "hue": 0.0}
    return ViewSpec(scale=(0.08, 1.0), grey=0.0, blur=0.0, **jitter)


@dataclass(frozen=True)
class BEiTConfig:
    tokenizer: str | None = None  # a run of `densessl pretrain dvae`, or a tokenizer's file
    masks: str = "algorithm"  # more than mask_ratio, as the paper prints it; or official: at most mask_ratio
    mask_ratio: float = 0.4  # share of the patches that is masked
    smallest_block: int | None = None  # patches; None is 16 on a grid of 14 x 14, and as large a share of others
    init_std: float = 0.02  # of the weights at the start, where they are random
    view: ViewSpec = field(default_factory=_view)

    def __post_init__(self) -> None:
        known = ", ".join(MASKS)
        require(self.masks in MASKS, f"beit.masks={self.masks} is not one of: {known}.")
        require(0 < self.mask_ratio < 1, f"beit.mask_ratio={self.mask_ratio} must be between 0 and 1.")
        fine = self.smallest_block is None or self.smallest_block >= 1
        require(fine, f"beit.smallest_block={self.smallest_block} must be 1 or more.")
        above_0("beit", self, "init_std")
        require(self.view.count == 1, f"beit.view.count={self.view.count}, but BEiT sees one view of each image.")
        if self.tokenizer:
            # So that the run's config.yaml can be run from another folder.
            object.__setattr__(self, "tokenizer", os.path.abspath(os.path.expanduser(self.tokenizer)))


@register(
    "beit",
    config=BEiTConfig,
    title="BEiT: BERT Pre-Training of Image Transformers",
    arxiv="2106.08254",
    year=2021,
    published="83.2 % on ImageNet, fine-tuned (ViT-B/16, 800 epochs)",
    needs=("transformer", "tokenizer"),
)
class BEiT(nn.Module):
    sync_batch_norm = False

    def __init__(self, backbone: nn.Module, config: BEiTConfig, data_size: int) -> None:
        super().__init__()
        self.config, self.backbone = config, backbone
        require(
            bool(config.tokenizer),
            "beit predicts the tokens of a tokenizer: train one on your images with densessl pretrain dvae "
            "data=FOLDER out=runs/tokenizer, and give beit.tokenizer=runs/tokenizer.",
        )
        require(
            getattr(backbone.model, "attn_pool", None) is None,
            f"{backbone.architecture} pools by attention, which beit does not train: give a ViT with a class token.",
        )
        # Among the weights, so that a restart goes on with the same tokens though the file holds others by then.
        self.tokenizer = load_tokenizer(config.tokenizer)
        self.notes = self.tokenizer.doubts(f"The tokenizer of {config.tokenizer}")
        truncated_normal(backbone, config.init_std)
        self.mask_token = nn.Parameter(torch.empty(1, 1, backbone.channels))
        self.head = nn.Linear(backbone.channels, self.tokenizer.vocabulary)
        for weight in (self.mask_token, self.head.weight):
            nn.init.trunc_normal_(weight, std=config.init_std, a=-config.init_std, b=config.init_std)
        nn.init.zeros_(self.head.bias)

    def train(self, mode: bool = True) -> BEiT:
        super().train(mode)
        self.tokenizer.eval()
        return self

    @property
    def views(self) -> list[ViewSpec]:
        return [self.config.view]

    def chance(self, batch_size: int) -> float:
        """ln K: every token alike."""
        return log(self.tokenizer.vocabulary)

    def parameter_groups(self) -> list[dict]:
        """As for every method, but class token and positions do not decay either (`no_weight_decay`)."""
        decaying, others = [], []
        for name, parameter in self.named_parameters():
            if parameter.requires_grad:
                free = parameter.ndim <= 1 or name.endswith(("cls_token", "pos_embed"))
                (others if free else decaying).append(parameter)
        return [{"params": decaying}, {"params": others, "decays": False}]

    def forward(self, batch: dict) -> Output:
        (x,) = batch["views"]
        grid = grid_of(self.backbone, x)
        mask = self.masked_places(len(x), grid).to(x.device)  # (B, h, w)
        hidden, seen = self.corrupted(x, mask)
        logits = self.head(hidden[mask.flatten(1)])  # (M, K)
        z = self.visual_tokens(x, grid)[mask]  # (M,)
        with torch.autocast(x.device.type, enabled=False):
            logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
            total = F.cross_entropy(logits, z, reduction="sum")
            loss = total / mean_over_processes(mask.sum().to(total.dtype)).clamp_min(1)
        metrics = {
            "masked": mask.to(total.dtype).mean(),
            "token_accuracy": (logits.detach().argmax(1) == z).sum() / mask.sum().clamp_min(1),
        }
        return Output(loss, metrics, embedding=pooled(self.backbone, seen).detach())

    def masked_places(self, images: int, grid: tuple[int, int]) -> Tensor:
        """(images, h, w), true where a patch is masked."""
        if self.config.masks == "algorithm":
            return covering_masks(images, grid, self.config.mask_ratio, self.config.smallest_block)
        counts = torch.full((images,), int(self.config.mask_ratio * grid[0] * grid[1]))
        return blockwise_masks(counts, grid, self.config.smallest_block)

    def corrupted(self, x: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """The outputs at the patches of masked images (B, P, D), and all tokens of the last block."""
        embedded = patches(self.backbone, x)
        token = self.mask_token.to(embedded.dtype)
        embedded = torch.where(mask.flatten(1).unsqueeze(-1), token, embedded)
        seen = features(self.backbone, embedded, mask.shape[1:])
        return normed(self.backbone, seen)[:, prefix_tokens(self.backbone) :], seen

    @torch.no_grad()
    def visual_tokens(self, x: Tensor, grid: tuple[int, int]) -> Tensor:
        """Normalised (B, 3, H, W) -> (B, h, w) tokens of the grid of patches."""
        images = self.backbone.pixels(x).float() / 255
        size = tuple(side * self.tokenizer.stride for side in grid)
        if images.shape[-2:] != size:
            images = F.interpolate(images, size, mode="bicubic", antialias=True).clamp(0, 1)
        return self.tokenizer.tokens(images)

    def pictures(self, batch: dict, thumbnail: Callable[[int], np.ndarray]) -> dict[str, Sheet]:
        """Each image, what of it is seen, its tokens, and those tokens with the masked ones as they are predicted.

        Tokens are shown as the tokenizer's decoder paints them; as colours where it came without one.
        """
        (x,) = batch["views"]
        grid = grid_of(self.backbone, x)
        mask, z = self.masked_places(len(x), grid).to(x.device), self.visual_tokens(x, grid)
        hidden, _ = self.corrupted(x, mask)
        predicted = torch.where(mask, self.head(hidden).argmax(2).unflatten(1, grid), z)
        stride = self.backbone.stride
        over = mask.repeat_interleave(stride, 1).repeat_interleave(stride, 2).unsqueeze(1)
        columns = {
            "image": arrays(self.backbone.pixels(x)),
            "seen": arrays(self.backbone.pixels(x).masked_fill(over, 128)),
            "tokens": self.painted(z, x.shape[-1]),
            "seen and predicted": self.painted(predicted, x.shape[-1]),
        }
        return {"predictions": Sheet([list(row) for row in zip(*columns.values(), strict=True)], headers=list(columns))}

    def painted(self, tokens: Tensor, size: int) -> list[np.ndarray]:
        if not self.tokenizer.decodes:
            return token_colours(tokens, self.backbone.stride)
        images = F.interpolate(self.tokenizer.decode(tokens), size, mode="bilinear", antialias=True)
        return arrays((255 * images).round().clamp(0, 255).to(torch.uint8))
