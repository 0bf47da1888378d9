"""Released DiT detectors, by files that are written under their published names: equal features, misfits by name."""

from __future__ import annotations

import argparse
from pathlib import Path

import pytest
import timm
import torch

pytest.importorskip("detectron2", reason="detectron2 is not installed; .ci/run brings it")

from detectron2.config import instantiate

from densessl.documents.detectron2.weights import load_weights
from densessl.errors import UserError
from tests.documents.detectron2.conftest import DIT, small

VIT = "backbone.bottom_up.backbone."


@pytest.fixture(scope="module")
def models(pages_folder) -> dict:
    """Mask R-CNN and Cascade R-CNN of two classes."""
    torch.manual_seed(0)
    names = {"mrcnn": "publaynet.py", "cascade": "publaynet_cascade.py"}
    return {kind: instantiate(small(name, pages_folder).model).eval() for kind, name in names.items()}


@pytest.fixture(scope="module")
def released(models, tmp_path_factory) -> dict[str, Path]:
    """What publaynet_dit-b_{mrcnn,cascade}.pth would hold of so small a network, written from the list of its names."""
    folder, paths = tmp_path_factory.mktemp("released"), {}
    torch.manual_seed(1)
    vit = timm.create_model("beit_base_patch16_224", num_classes=0, **DIT)
    for kind, model in models.items():
        width, state = 24, {}
        state |= {VIT + name: torch.randn_like(value) * 0.1 for name, value in vit.state_dict().items()}
        state = {name: value for name, value in state.items() if not name.startswith((f"{VIT}norm", f"{VIT}fc_norm"))}
        state[VIT + "mask_token"] = torch.randn(1, 1, width)
        for name in ("fpn1.0", "fpn1.3", "fpn2.0"):
            state[f"{VIT}{name}.weight"] = torch.randn(width, width, 2, 2) * 0.1
            state[f"{VIT}{name}.bias"] = torch.randn(width) * 0.1
        for name in ("weight", "bias", "running_mean"):
            state[f"{VIT}fpn1.1.{name}"] = torch.randn(width) * 0.1
        state[f"{VIT}fpn1.1.running_var"] = torch.rand(width) + 0.5
        state[f"{VIT}fpn1.1.num_batches_tracked"] = torch.tensor(7)
        for name, value in model.state_dict().items():
            if not name.startswith("backbone.bottom_up."):
                state[name] = torch.randn_like(value) * 0.1
        paths[kind] = folder / f"publaynet_dit-b_{kind}.pth"
        # As DiT's code saves it: settings of the run beside the weights.
        torch.save({"model": state, "iteration": 9, "args": argparse.Namespace(lr=1e-4)}, paths[kind])
    return paths


@pytest.mark.parametrize("kind", ["mrcnn", "cascade"])
@torch.inference_mode()
def test_a_released_detector_is_taken_whole_and_gives_equal_features(models, released, kind):
    model, path = models[kind], released[kind]
    assert load_weights(model, path) == [f"Of {path} these are not used: {VIT}model.mask_token."]
    state = torch.load(path, weights_only=False)["model"]
    own = {name[len(VIT) :]: value for name, value in state.items() if name.startswith(VIT)}
    reference = timm.create_model("beit_base_patch16_224", num_classes=0, img_size=224, **DIT)
    reference.load_state_dict(own, strict=False)
    images = torch.randn(1, 3, 224, 224)
    second, third = reference.forward_intermediates(images, indices=[2, 3], norm=False, intermediates_only=True)
    maps = model.backbone.bottom_up(images)
    torch.testing.assert_close(maps["res4"], third, atol=1e-5, rtol=1e-4)
    up = torch.nn.functional.conv_transpose2d(second, own["fpn2.0.weight"], own["fpn2.0.bias"], stride=2)
    torch.testing.assert_close(maps["res3"], up, atol=1e-5, rtol=1e-4)
    for name in ("proposal_generator.rpn_head.anchor_deltas.weight", "roi_heads.mask_head.deconv.bias"):
        assert torch.equal(model.state_dict()[name], state[name])


def test_layers_of_other_classes_begin_anew_and_are_named(released, pages_folder):
    changed = ("pages.classes=[table]", "model.backbone.neck=dit")
    model = instantiate(small("coco.py", pages_folder, "nowhere", *changed).model)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    (told,) = (each for each in load_weights(model, released["cascade"]) if "begin anew" in each)
    assert "roi_heads.box_predictor.2.cls_score.weight (3 x 16 there, 2 x 16 here)" in told
    assert "roi_heads.mask_head.predictor.bias (2 there, 1 here)" in told
    kept, learned = "roi_heads.box_predictor.0.cls_score.bias", "roi_heads.box_head.1.fc1.weight"
    assert torch.equal(model.state_dict()[kept], before[kept])
    assert not torch.equal(model.state_dict()[learned], before[learned])


def test_a_checkpoint_of_another_architecture_is_named_tensor_by_tensor(models, released, pages_folder):
    before = models["mrcnn"].state_dict()["roi_heads.box_head.fc1.weight"].clone()
    with pytest.raises(UserError) as error:
        load_weights(models["mrcnn"], released["cascade"])
    text = str(error.value)
    assert "lacks 4 of its tensors (roi_heads.box_head.fc1.weight" in text
    assert "for which there is no place (roi_heads.box_head.0.fc1.weight" in text
    assert torch.equal(models["mrcnn"].state_dict()["roi_heads.box_head.fc1.weight"], before)
    wider = small("publaynet.py", pages_folder)
    wider.model.backbone.options.embed_dim = 32
    with pytest.raises(UserError, match=r"in another shape \(backbone.*: .*24.* there, .*32.* here"):
        load_weights(instantiate(wider.model), released["mrcnn"])


def test_weights_are_where_they_are_said_to_be(models, tmp_path):
    with pytest.raises(UserError, match="There are no weights"):
        load_weights(models["mrcnn"], tmp_path / "gone.pth")
    (tmp_path / "text.pth").write_text("no checkpoint")
    with pytest.raises(UserError, match="no checkpoint of PyTorch"):
        load_weights(models["mrcnn"], tmp_path / "text.pth")
