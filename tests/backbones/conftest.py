"""One small network of each family, quick to build and to run."""

from __future__ import annotations

import pytest
import torch

from densessl.backbones import create_backbone

PLAIN = {"embed_dim": 32, "depth": 2, "num_heads": 2}
STAGES = {"embed_dim": 16, "depths": [1, 1, 1, 1], "num_heads": [1, 1, 2, 2]}
CONVNEXT = {"depths": [1, 1, 1, 1], "dims": [8, 16, 24, 32]}
# name, image size, options, the stride that must come out
ARCHITECTURES = {
    "resnet": ("resnet18", 224, {"channels": [8, 16, 24, 32]}, 32),
    "resnet, small": ("resnet18", 32, {"channels": [8, 16, 24, 32]}, 8),
    "resnet, bottleneck": ("resnet50", 64, {"layers": [1, 1, 1, 1], "channels": [8, 16, 24, 32]}, 8),
    "resnet, pre-activation": ("resnetv2_50", 32, {"layers": [1, 1, 1, 1], "channels": [32, 64, 96, 128]}, 8),
    "convnext": ("convnext_atto", 224, CONVNEXT, 32),
    "convnext, 64 px": ("convnext_atto", 64, CONVNEXT, 16),
    "convnext, 32 px": ("convnext_atto", 32, CONVNEXT, 8),
    "convnext v2": ("convnextv2_atto", 224, CONVNEXT, 32),
    "vit": ("vit_tiny_patch16_224", 224, PLAIN, 16),
    "vit, patch 8": ("vit_small_patch8_224", 224, PLAIN, 8),
    "vit, small": ("vit_tiny_patch16_224", 32, PLAIN, 4),
    "dinov2": ("vit_small_patch14_dinov2", 112, PLAIN, 14),
    "dinov2, registers": ("vit_small_patch14_reg4_dinov2", 112, PLAIN, 14),
    "dinov3": ("vit_small_patch16_dinov3", 224, PLAIN, 16),
    "eva02": ("eva02_tiny_patch14_224", 224, PLAIN, 14),
    "beit": ("beit_base_patch16_224", 128, PLAIN, 16),
    "deit3": ("deit3_small_patch16_224", 128, PLAIN, 16),
    "distilled": ("deit_tiny_distilled_patch16_224", 128, PLAIN, 16),
    "siglip": ("vit_base_patch16_siglip_224", 128, PLAIN, 16),
    "swin": ("swin_tiny_patch4_window7_224", 224, STAGES, 32),
    "swin, small": ("swin_tiny_patch4_window7_224", 32, STAGES, 8),
    "hybrid": ("vit_tiny_r_s16_p8_224", 224, {"depth": 2}, 32),
    "regnet": ("regnety_002", 224, {}, 32),
    "dvae": ("dvae_encoder", 256, {"width": 8, "blocks": 1}, 8),
}
FIXED = {"mixer": ("mixer_s32_224", 64, {}), "hiera": ("hiera_tiny_224", 224, {})}


def small(case: str, seed: int = 0):
    """The network of a case, in evaluation."""
    name, size, options, _ = ARCHITECTURES[case]
    torch.manual_seed(seed)
    return create_backbone(name, size, options).eval()


def disturb(model: torch.nn.Module) -> torch.nn.Module:
    """Move every weight and statistic at random, so that zeros and ones hide no mistake."""
    generator = torch.Generator().manual_seed(7)
    with torch.no_grad():
        for value in model.state_dict().values():
            if value.is_floating_point():
                value.add_(torch.rand(value.shape, generator=generator) * 0.02 - 0.005)
    return model


@pytest.fixture(autouse=True)
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    yield
    torch.set_num_threads(before)
