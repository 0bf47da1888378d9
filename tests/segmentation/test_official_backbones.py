"""`segment --backbone FILE.pth` with the files that papers publish, in their own names and wrappings."""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable

import cv2
import numpy as np
import pytest
import timm
import torch
import torchvision
from timm.data import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD
from torch import Tensor, nn

from densessl.segmentation.config import SegmentConfig
from densessl.segmentation.run import extractor_of, segment

from .conftest import scene

State = dict[str, Tensor]


def vit(name: str = "vit_small_patch16_224", **options) -> nn.Module:
    torch.manual_seed(0)
    model = timm.create_model(name, num_classes=0, **{"depth": 2, "dynamic_img_size": True, **options}).eval()
    with torch.no_grad():
        for value in model.state_dict().values():
            value.add_(0.02 * torch.randn_like(value))
    return model


def under(prefix: str, state: State) -> State:
    return {prefix + name: value for name, value in state.items()}


def dino() -> tuple[nn.Module, object]:
    model = vit("vit_small_patch8_224")
    return model, dict(model.state_dict())


def dino_whole() -> tuple[nn.Module, object]:
    """checkpoint.pth of a run: student and teacher behind their wrappers, heads, the optimizer, the arguments."""
    model, head = vit(), {"head.mlp.0.weight": torch.zeros(4, 384), "head.last_layer.weight_g": torch.ones(4, 1)}
    state = under("backbone.", model.state_dict()) | head
    return model, {
        "student": under("module.", {name: value + 1 for name, value in state.items()}),
        "teacher": state,
        "optimizer": {"state": {}, "param_groups": []},
        "epoch": 100,
        "args": argparse.Namespace(arch="vit_small", patch_size=16),
        "dino_loss": {"center": torch.zeros(1, 4)},
    }


def ibot() -> tuple[nn.Module, object]:
    """The same of iBOT, whose backbone has an embedding for hidden patches, and whose head has two last layers."""
    model = vit()
    state = under("backbone.", model.state_dict() | {"masked_embed": torch.zeros(1, 384)})
    state |= {"head.mlp.0.weight": torch.zeros(4, 384), "head.last_layer2.weight_v": torch.zeros(4, 4)}
    return model, {
        "student": under("module.", {name: value + 1 for name, value in state.items()}),
        "teacher": state,
        "args": argparse.Namespace(arch="vit_small"),
        "ibot_loss": {"center": torch.zeros(1, 4), "center2": torch.zeros(1, 1, 4)},
    }


def ibot_teacher() -> tuple[nn.Module, object]:
    """checkpoint_teacher.pth, as iBOT's page offers it."""
    model = vit()
    return model, {"state_dict": model.state_dict() | {"masked_embed": torch.zeros(1, 384)}}


def dinov2() -> tuple[nn.Module, object]:
    model = vit("vit_small_patch14_dinov2", img_size=518)
    return model, model.state_dict() | {"mask_token": torch.zeros(1, 384)}


def dinov2_registers() -> tuple[nn.Module, object]:
    model = vit("vit_small_patch14_reg4_dinov2", img_size=518)
    state, place = dict(model.state_dict()), torch.randn(1, 1, 384)
    state |= {"register_tokens": state.pop("reg_token"), "cls_token": state["cls_token"] - place}
    state |= {"pos_embed": torch.cat([place, state["pos_embed"]], dim=1), "mask_token": torch.zeros(1, 384)}
    return model, {re.sub(r"^blocks\.", "blocks.0.", name): value for name, value in state.items()}


def dinov3() -> tuple[nn.Module, object]:
    model = vit("vit_small_patch16_dinov3_qkvb")
    renamed = {"gamma_1": "ls1.gamma", "gamma_2": "ls2.gamma", "reg_token": "storage_tokens"}
    state = {"rope_embed.periods": torch.ones(16), "mask_token": torch.zeros(1, 384)}
    for name, value in model.state_dict().items():
        if name.endswith("q_bias"):
            stem = name.removesuffix("q_bias")
            parts = (value, torch.randn(384), model.state_dict()[f"{stem}v_bias"])
            state |= {f"{stem}qkv.bias": torch.cat(parts), f"{stem}qkv.bias_mask": torch.ones(3 * 384)}
        elif not name.endswith("v_bias"):
            for ours, theirs in renamed.items():
                name = name.replace(ours, theirs)
            state[name] = value
    return model, state


def mae() -> tuple[nn.Module, object]:
    """mae_pretrain_vit_base_full.pth: the encoder and the decoder beside it."""
    model = vit("vit_base_patch16_224", depth=1)
    more = {"mask_token": torch.zeros(1, 1, 512), "decoder_pos_embed": torch.zeros(1, 197, 512)}
    more |= {"decoder_embed.weight": torch.zeros(512, 768), "decoder_blocks.0.norm1.weight": torch.zeros(512)}
    return model, {"model": model.state_dict() | more}


def moco_v2() -> tuple[nn.Module, object]:
    torch.manual_seed(0)
    model = torchvision.models.resnet50(weights=None).eval()
    model.fc = nn.Sequential(nn.Linear(2048, 8), nn.ReLU(), nn.Linear(8, 4))
    state = under("module.encoder_q.", model.state_dict())
    state |= {name.replace("encoder_q", "encoder_k"): torch.zeros_like(value) for name, value in state.items()}
    state |= {"module.queue": torch.zeros(4, 8), "module.queue_ptr": torch.zeros(1, dtype=torch.long)}
    return model, {"epoch": 800, "arch": "resnet50", "state_dict": state, "optimizer": {"state": {}}}


def moco_v3() -> tuple[nn.Module, object]:
    """vit-s-300ep.pth.tar, whose ViT-S has 12 heads, with its projector inside and the predictor beside."""
    model = vit(num_heads=12)
    head = {"head.0.weight": torch.zeros(8, 384), "head.1.num_batches_tracked": torch.zeros(())}
    state = under("module.base_encoder.", model.state_dict() | head)
    state |= under("module.momentum_encoder.", {name: value + 1 for name, value in model.state_dict().items()})
    state |= {"module.predictor.0.weight": torch.zeros(8, 4)}
    return model, {"epoch": 300, "arch": "vit_small", "state_dict": state, "scaler": {}}


FILES = {
    "dino.pth": (dino, 8, 2),
    "checkpoint.pth": (dino_whole, 16, 2),
    "ibot.pth": (ibot, 16, 2),
    "checkpoint_teacher.pth": (ibot_teacher, 16, 2),
    "dinov2_vits14.pth": (dinov2, 14, 2),
    "dinov2_vits14_reg4.pth": (dinov2_registers, 14, 2),
    "dinov3_vits16.pth": (dinov3, 16, 2),
    "mae_full.pth": (mae, 16, 1),
    "moco_v2_800ep.pth.tar": (moco_v2, 32, 0),
    "vit-s-300ep.pth.tar": (moco_v3, 16, 2),
}


def map_of(model: nn.Module, image: np.ndarray, depth: int) -> Tensor:
    """(C, h, w) of the network as its makers run it: tokens behind the last norm, or the last stage of a ResNet."""
    mean, std = (torch.tensor(each).view(3, 1, 1) for each in (IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD))
    shown = ((torch.from_numpy(image).permute(2, 0, 1) / 255 - mean) / std)[None]
    with torch.no_grad():
        if not depth:
            parts = [getattr(model, name) for name in ("conv1", "bn1", "relu", "maxpool")]
            stages = [getattr(model, f"layer{stage}") for stage in range(1, 5)]
            return nn.Sequential(*parts, *stages)(shown)[0]
        tokens = model.forward_features(shown)[0]
    side = model.patch_embed.patch_size[0]
    grid = (image.shape[0] // side, image.shape[1] // side)
    return tokens[model.num_prefix_tokens :].T.unflatten(1, grid)


@pytest.mark.parametrize("name", FILES)
def test_segments_stand_on_the_published_features(name, tmp_path):
    make: Callable[[], tuple[nn.Module, object]]
    make, stride, depth = FILES[name]
    model, content = make()
    path = tmp_path / name
    torch.save(content, path)
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    cv2.imwrite(str(pictures / "0.png"), scene(0, 4 * stride, 6 * stride)[0])
    config = SegmentConfig(
        data=str(pictures), out=str(tmp_path / "out"), backbone=str(path), method="kmeans", classes=3, refine="none",
        image_size=4 * stride, window=1, devices="cpu", crops=0,
    )  # fmt: skip
    extractor, _ = extractor_of(config)
    image = scene(0, 4 * stride, 6 * stride)[0]
    slow = map_of(model, image, depth)
    torch.testing.assert_close(extractor([image])[0], slow, rtol=0, atol=2e-5 * float(slow.abs().max()))
    segment(config, lambda *told: None)
    labels = cv2.imread(str(tmp_path / "out" / "labels" / "0.png"), cv2.IMREAD_UNCHANGED)
    assert labels.shape == image.shape[:2] and len(np.unique(labels)) == 3
