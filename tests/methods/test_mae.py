"""What MAE's paper says and the suite cannot know: who sees what, where patches stand, how its weights begin."""

from __future__ import annotations

import math

import pytest
import torch

from densessl.backbones import create_backbone
from densessl.backbones.initial import sincos_positions, xavier_linear
from densessl.errors import UserError
from densessl.methods import methods
from tests.methods.conftest import SIZE, batch_for, build, config_of


def run(method, x, seed=0):
    """Loss, mask and what the decoder says, from that seed."""
    said = []
    hook = method.decoder.register_forward_hook(lambda module, args, output: said.append(output))
    torch.manual_seed(seed)
    loss = method({"views": [x]}).loss
    hook.remove()
    torch.manual_seed(seed)
    return loss, method.random_masking(len(x), x.device)[2], said[0]


def change_patches(method, x, chosen):
    """Other pixels in the patches chosen (B, P)."""
    values = method.patchify(x.clone())
    values[chosen] += torch.randn(values[chosen].shape, generator=torch.Generator().manual_seed(5))
    return method.unpatchify(values)


def test_the_encoder_sees_the_visible_patches_alone():
    method = build("mae")
    (x,) = batch_for(method)["views"]
    _, mask, said = run(method, x)
    assert int(mask.sum(1).min()) == int(mask.sum(1).max()) == 12  # of 16
    torch.testing.assert_close(run(method, change_patches(method, x, mask))[2], said)
    assert not torch.allclose(run(method, change_patches(method, x, ~mask))[2], said)
    tokens = []
    method.backbone.model.blocks[0].register_forward_hook(lambda module, args, output: tokens.append(output.shape[1]))
    run(method, x)
    assert tokens == [1 + 4]


def test_the_loss_is_of_hidden_patches_against_their_own_pixels():
    """The target cut out of the image by hand, patch by patch, pixel by pixel."""
    method = build("mae")
    (x,) = batch_for(method, 3)["views"]
    loss, mask, said = run(method, x)
    p, total = 4, 0.0
    for image in range(3):
        for patch in range(16):
            if not mask[image, patch]:
                continue
            row, column = divmod(patch, SIZE // p)
            square = x[image, :, row * p : (row + 1) * p, column * p : (column + 1) * p]
            wanted = (square - square.mean()) / (square.var() + 1e-6).sqrt()
            for i in range(p):
                for j in range(p):
                    at = 3 * (i * p + j)
                    total += float(((said[image, patch, at : at + 3] - wanted[:, i, j]) ** 2).sum().detach()) / 48
    assert float(loss.detach()) == pytest.approx(total / int(mask.sum()), rel=1e-4)


def test_patches_are_lightlys_patches_and_come_back():
    from lightly.models.utils import patchify

    method = build("mae")
    (x,) = batch_for(method, 2)["views"]
    assert torch.equal(method.patchify(x), patchify(x, 4))
    assert torch.equal(method.unpatchify(method.patchify(x)), x)


def test_each_token_goes_back_to_its_place():
    """With a decoder that hands everything on, what was seen at a place is said of that place."""
    method = build("mae")
    decoder = method.decoder
    decoder.embed = decoder.blocks = decoder.norm = decoder.pixels = torch.nn.Identity()
    decoder.positions.zero_()
    (x,) = batch_for(method, 2)["views"]
    kept, restore, mask = method.random_masking(2, x.device)
    tokens = torch.arange(16.0).expand(2, 16)[..., None].expand(-1, -1, 32)
    seen = torch.cat([torch.full((2, 1, 32), -1.0), tokens.gather(1, kept[..., None].expand(-1, -1, 32))], dim=1)
    dealt = decoder(seen, restore)
    assert torch.equal(dealt[~mask], tokens[~mask])
    assert torch.equal(dealt[mask], decoder.mask_token.detach()[0].expand(24, -1))


def test_masks_are_uniform_and_new_each_time():
    method = build("mae")
    torch.manual_seed(0)
    masks = torch.stack([method.random_masking(64, torch.device("cpu"))[2] for _ in range(30)]).float()
    torch.testing.assert_close(masks.flatten(0, 1).mean(0), torch.full((16,), 0.75), rtol=0, atol=0.05)
    assert not torch.equal(masks[0], masks[1]) and not torch.equal(masks[0, 0], masks[0, 1])


def test_positions_are_fixed_with_the_column_first():
    method = build("mae")
    positions = method.backbone.model.pos_embed
    assert not positions.requires_grad and float(positions[0, 0].abs().max()) == 0
    for channels, width, found in ((24, 4, positions[0, 1:]), (32, 4, method.decoder.positions)):
        for place in range(16):
            row, column = divmod(place, width)
            quarter = channels // 4
            angles = [[at / 10000 ** (i / quarter) for i in range(quarter)] for at in (column, row)]
            wanted = [f(a) for each in angles for f in (math.sin, math.cos) for a in each]
            assert found[place].tolist() == pytest.approx(wanted, abs=1e-6)
    assert sincos_positions(8, (2, 3)).shape == (6, 8)
    with pytest.raises(ValueError, match="a multiple of 4 channels, not 6"):
        sincos_positions(6, (2, 2))


def test_weights_begin_as_the_paper_has_them():
    backbone = create_backbone("vit_tiny_patch16_224", 32)
    model = methods()["mae"].cls(backbone, config_of(methods()["mae"]), 64).backbone.model
    patch = model.patch_embed.proj.weight
    layers = {
        "patches": patch.flatten(1),
        "qkv": model.blocks[0].attn.qkv.weight,
        "mlp": model.blocks[3].mlp.fc1.weight,
    }
    for name, weight in layers.items():
        bound = math.sqrt(6 / sum(weight.shape))
        assert 0.98 * bound < float(weight.detach().abs().max()) <= bound, name
        assert float(weight.detach().var()) == pytest.approx(bound**2 / 3, rel=0.05), name
    assert float(model.cls_token.detach().std()) == pytest.approx(0.02, rel=0.3)


def test_queries_keys_and_values_may_begin_as_three_layers():
    module = torch.nn.ModuleDict({"qkv": torch.nn.Linear(64, 192), "proj": torch.nn.Linear(64, 64)})
    xavier_linear(module, split_qkv=True)
    for weight in (*module["qkv"].weight.chunk(3), module["proj"].weight):
        bound = math.sqrt(6 / 128)
        assert 0.98 * bound < float(weight.detach().abs().max()) <= bound


def test_a_backbone_that_was_loaded_keeps_its_weights():
    backbone = create_backbone("vit_tiny_patch16_224", SIZE, {"embed_dim": 24, "depth": 1, "num_heads": 2})
    backbone.fresh = False
    before = {key: value.clone() for key, value in backbone.state_dict().items()}
    method = methods()["mae"].cls(backbone, config_of(methods()["mae"]), 64)
    assert all(torch.equal(value, before[key]) for key, value in method.backbone.state_dict().items())
    assert not backbone.model.pos_embed.requires_grad


def test_what_cannot_be_is_told():
    entry = methods()["mae"]
    options = {"embed_dim": 24, "depth": 1, "num_heads": 2}
    for name in ("beit_base_patch16_224", "vit_base_patch16_siglip_224"):
        with pytest.raises(UserError, match=f"mae leaves patches out, and {name}"):
            entry.cls(create_backbone(name, 32, options), config_of(entry), 64)
    with pytest.raises(UserError, match=r"mae.mask_ratio=0.99 leaves 0 of 64 patches"):
        entry.cls(create_backbone("vit_tiny_patch16_224", 32, options), config_of(entry, mask_ratio=0.99), 64)
    for wrong in ({"mask_ratio": 1.0}, {"decoder_depth": 0}, {"decoder_dim": 30}):
        with pytest.raises(UserError, match=rf"mae\.{next(iter(wrong))}="):
            config_of(entry, **wrong)


def test_its_pictures_show_the_image_and_what_was_hidden():
    method = build("mae").eval()
    x = batch_for(method, 3)["views"][0] * 0.2
    with torch.no_grad():
        torch.manual_seed(4)
        sheet = method.pictures({"views": [x]}, lambda index: None)["reconstructions"]
        torch.manual_seed(4)
        mask = method.random_masking(3, x.device)[2]
    image, seen, predicted, both = (torch.stack([torch.from_numpy(row[at]) for row in sheet.rows]) for at in range(4))
    assert torch.equal(image, method.backbone.pixels(x).permute(0, 2, 3, 1)) and image.shape == (3, SIZE, SIZE, 3)
    hidden = mask.view(3, 4, 4).repeat_interleave(4, 1).repeat_interleave(4, 2)
    assert torch.equal(both[hidden], predicted[hidden]) and torch.equal(both[~hidden], image[~hidden])
    assert torch.equal(seen[~hidden], image[~hidden]) and len(seen[hidden].unique(dim=0)) == 1
