"""MAE: masked autoencoders are scalable vision learners (He et al., arXiv 2111.06377).

    L = mean over hidden patches i of |d(f(x_visible))_i - (x_i - mean(x_i)) / sqrt(var(x_i) + 1e-6)|^2 / V

x_i: the V = 3 p^2 values of patch i. f sees the visible patches alone, a random quarter of each image; the light
decoder d sees its tokens and, in the place of each hidden patch, one and the same learned token.

Defaults are the paper's (section 4 and appendix A) and the official code's: 0.75 of the patches hidden; a decoder of
8 blocks, 512 wide, 16 heads; targets normalised per patch with the unbiased variance; crops of 0.2 to 1 of the area and
flips, no colours; fixed sine and cosine positions in encoder and decoder, the column's half first; Xavier for every
linear layer, and for the projection of patches as the linear layer it is; class and mask token N(0, 0.02).
Where we differ: class, distillation and register tokens all go through the decoder, since some backbones have several;
a backbone that was loaded keeps its weights, and its positions stand still as they are. The embedding for the monitors
is that of the visible patches, which costs nothing more.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

import numpy as np
import torch
from timm.models.vision_transformer import Block
from torch import Tensor, nn

from densessl.backbones.initial import fix_positions, sincos_positions, xavier_linear, xavier_patches
from densessl.backbones.tokens import features, has_relative_positions, normed, patches, pooled, prefix_tokens
from densessl.data.views import ViewSpec
from densessl.errors import at_least, require
from densessl.losses import masked_reconstruction
from densessl.losses.reconstruction import moments
from densessl.methods.masks import random_numbers
from densessl.methods.registry import Output, Sheet, register


def _view() -> ViewSpec:
    return ViewSpec(scale=(0.2, 1.0), jitter=0.0, grey=0.0, blur=0.0)


@dataclass(frozen=True)
class MAEConfig:
    mask_ratio: float = 0.75  # share of the patches that is hidden
    decoder_dim: int = 512  # width of the decoder
    decoder_depth: int = 8  # its blocks
    decoder_heads: int = 16  # attention heads of a block of the decoder
    normalise: bool = True  # targets per patch; off compares the pixels themselves
    view: ViewSpec = field(default_factory=_view)

    def __post_init__(self) -> None:
        at_least(1, "mae", self, "decoder_dim", "decoder_heads")
        require(0 < self.mask_ratio < 1, f"mae.mask_ratio={self.mask_ratio} must be between 0 and 1.")
        at_least(1, "mae", self, "decoder_depth")
        fits = self.decoder_dim % 4 == 0 and self.decoder_dim % self.decoder_heads == 0
        require(
            fits,
            f"mae.decoder_dim={self.decoder_dim} must be a multiple of 4, for the positions, and of "
            f"mae.decoder_heads={self.decoder_heads}.",
        )
        require(self.view.count == 1, f"mae.view.count={self.view.count}, but MAE sees one view of each image.")


class Decoder(nn.Module):
    """Tokens of the visible patches -> the values of all P patches: (B, prefix + P', D) -> (B, P, values)."""

    def __init__(self, channels: int, prefix: int, grid: tuple[int, int], values: int, config: MAEConfig) -> None:
        super().__init__()
        dim, self.prefix = config.decoder_dim, prefix
        self.embed = nn.Linear(channels, dim)
        self.mask_token = nn.Parameter(torch.empty(1, 1, dim))
        self.register_buffer("positions", sincos_positions(dim, grid), persistent=False)
        norm = partial(nn.LayerNorm, eps=1e-6)
        block = partial(Block, dim, config.decoder_heads, qkv_bias=True, norm_layer=norm)
        self.blocks = nn.Sequential(*(block() for _ in range(config.decoder_depth)))
        self.norm = norm(dim)
        self.pixels = nn.Linear(dim, values)
        xavier_linear(self)
        nn.init.normal_(self.mask_token, std=0.02)

    def forward(self, tokens: Tensor, restore: Tensor) -> Tensor:
        x = self.embed(tokens)  # (B, prefix + P', dim)
        first, seen = x[:, : self.prefix], x[:, self.prefix :]
        hidden = self.mask_token.to(x.dtype).expand(len(x), restore.shape[1] - seen.shape[1], -1)
        dealt = torch.cat([seen, hidden], dim=1)  # (B, P, dim), the visible first
        placed = dealt.gather(1, restore.unsqueeze(-1).expand_as(dealt)) + self.positions
        x = self.norm(self.blocks(torch.cat([first, placed], dim=1)))
        return self.pixels(x[:, self.prefix :])


@register(
    "mae",
    config=MAEConfig,
    title="Masked Autoencoders Are Scalable Vision Learners",
    arxiv="2111.06377",
    year=2021,
    published="83.6 % on ImageNet, fine-tuned (ViT-B/16, 1600 epochs); 67.8 % linear",
    needs=("transformer",),
)
class MAE(nn.Module):
    sync_batch_norm = False

    def __init__(self, backbone: nn.Module, config: MAEConfig, data_size: int) -> None:
        super().__init__()
        self.config, self.backbone = config, backbone
        require(
            not has_relative_positions(backbone) and getattr(backbone.model, "attn_pool", None) is None,
            f"mae leaves patches out, and {backbone.architecture} has relative positions or pools by attention, which "
            "MAE does not train: give a ViT with a class token, such as backbone=vit_small_patch16_224.",
        )
        self.patch = backbone.stride
        side = (config.view.size or backbone.image_size) // self.patch
        self.grid = (side, side)
        self.visible = int(side * side * (1 - config.mask_ratio) + 1e-6)
        require(
            0 < self.visible < side * side,
            f"mae.mask_ratio={config.mask_ratio} leaves {self.visible} of {side * side} patches to be seen: give "
            "another, or a larger image_size.",
        )
        fix_positions(backbone)
        if backbone.fresh:
            xavier_linear(backbone.model)
            xavier_patches(backbone)
            for name in ("cls_token", "dist_token", "reg_token"):
                if getattr(backbone.model, name, None) is not None:
                    nn.init.normal_(getattr(backbone.model, name), std=0.02)
        values = 3 * self.patch**2
        self.decoder = Decoder(backbone.channels, prefix_tokens(backbone), self.grid, values, config)

    @property
    def views(self) -> list[ViewSpec]:
        return [self.config.view]

    def chance(self, batch_size: int) -> float:
        """(V - 1) / V: predictions of zero; the pixels themselves have a variance of about 1 too."""
        values = 3 * self.patch**2
        return (values - 1) / values

    def forward(self, batch: dict) -> Output:
        (x,) = batch["views"]
        kept, restore, mask = self.random_masking(len(x), x.device)
        seen = features(self.backbone, patches(self.backbone, x), self.grid, kept)  # (B, prefix + P', D)
        prediction = self.decoder(normed(self.backbone, seen), restore)  # (B, P, V)
        loss = masked_reconstruction(prediction, self.patchify(x), mask, self.config.normalise)
        return Output(loss, embedding=pooled(self.backbone, seen).detach())

    def random_masking(self, count: int, device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
        """Which patches are seen (B, P'); each patch's place in the order dealt (B, P); which are hidden (B, P)."""
        places = self.grid[0] * self.grid[1]
        order = random_numbers(places, count).T.to(device).argsort(dim=1)
        restore = order.argsort(dim=1)
        return order[:, : self.visible], restore, restore >= self.visible

    def patchify(self, images: Tensor) -> Tensor:
        """(B, 3, H, W) -> (B, P, V): patches row by row, in each its pixels row by row, in each its colours."""
        p = self.patch
        cells = images.unflatten(3, (-1, p)).unflatten(2, (-1, p))  # (B, 3, h, p, w, p)
        return cells.permute(0, 2, 4, 3, 5, 1).flatten(3).flatten(1, 2)

    def unpatchify(self, values: Tensor) -> Tensor:
        """What `patchify` was given."""
        p = self.patch
        cells = values.unflatten(2, (p, p, 3)).unflatten(1, self.grid)  # (B, h, w, p, p, 3)
        return cells.permute(0, 5, 1, 3, 2, 4).flatten(4).flatten(2, 3)

    def pictures(self, batch: dict, thumbnail: Callable[[int], np.ndarray]) -> dict[str, Sheet]:
        """Each image, what of it is seen, what is made of that, and both put together.

        Of normalised targets, the mean and the deviation of each patch come from the image: they were not predicted.
        """
        (x,) = batch["views"]
        kept, restore, mask = self.random_masking(len(x), x.device)
        seen = features(self.backbone, patches(self.backbone, x), self.grid, kept)
        prediction, truth = self.decoder(normed(self.backbone, seen), restore), self.patchify(x)
        if self.config.normalise:
            mean, deviation = moments(truth)
            prediction = prediction * deviation + mean
        told = ",\nmean and contrast\nfrom the image" if self.config.normalise else ""
        hidden = mask.unsqueeze(-1)
        shown = {
            "image": truth,
            "seen": torch.where(hidden, torch.zeros_like(truth), truth),  # the mean colour, grey
            f"predicted{told}": prediction,
            "seen and predicted": torch.where(hidden, prediction, truth),
        }
        pixels = [self.backbone.pixels(self.unpatchify(each.float())) for each in shown.values()]
        columns = [each.permute(0, 2, 3, 1).cpu().numpy() for each in pixels]
        return {"reconstructions": Sheet([list(row) for row in zip(*columns, strict=True)], headers=list(shown))}
