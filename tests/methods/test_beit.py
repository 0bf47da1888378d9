"""What the paper of BEiT says and the suite cannot know; each trap that wrong copies fell into has its test."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from densessl.backbones import create_backbone, load_tokenizer
from densessl.backbones.tokens import features, normed, patches
from densessl.config import read_yaml
from densessl.errors import UserError
from densessl.methods import methods
from densessl.methods.masks import covering_masks
from tests.methods.conftest import SIZE, batch_for, build, config_of, one_step, progress, tokenizer_folder

OPTIONS = {"embed_dim": 24, "depth": 3, "num_heads": 2, "patch_size": 4}
SHARED = {"use_rel_pos_bias": False, "use_shared_rel_pos_bias": True}


def beit(**changes: object) -> nn.Module:
    """BEiT on timm's BEiT, as in pretraining."""
    torch.manual_seed(0)
    backbone = create_backbone("beit_base_patch16_224", SIZE, OPTIONS | SHARED)
    entry = methods()["beit"]
    return entry.cls(backbone, config_of(entry, **changes), 64).train()


def test_the_defaults_and_the_view_are_the_papers():
    config = methods()["beit"].config()
    assert (config.masks, config.mask_ratio, config.init_std) == ("algorithm", 0.4, 0.02)
    view = config.view
    assert view.scale == (0.08, 1.0) and view.flip == 0.5 and view.grey == view.blur == view.solarize == 0
    assert (view.jitter, view.brightness, view.contrast, view.saturation, view.hue) == (1, 0.4, 0.4, 0.4, 0)
    recipe = read_yaml("beit", "pretrain")
    assert (recipe.batch_size, recipe.lr, recipe.optimizer.clip) == (2048, 1.5e-3, 3)
    assert recipe.backbone_options.drop_path_rate == 0.1 and int(recipe.beit.mask_ratio * 196) == 75


@pytest.mark.parametrize("masks", ["algorithm", "official"])
def test_the_loss_is_the_cross_entropy_over_masked_places_alone(masks):
    method = beit(masks=masks)
    batch = batch_for(method, 5)
    (x,) = batch["views"]
    torch.manual_seed(3)
    found = method(batch)
    torch.manual_seed(3)
    mask = method.masked_places(5, (4, 4)).flatten(1)
    tokens = method.visual_tokens(x, (4, 4)).flatten(1)
    total, count = 0.0, 0
    with torch.no_grad():
        embedded = patches(method.backbone, x)
        for image in range(5):
            for place in range(16):
                if mask[image, place]:
                    embedded[image, place] = method.mask_token[0, 0]
        h = normed(method.backbone, features(method.backbone, embedded, (4, 4)))[:, 1:]
        for image in range(5):
            for place in range(16):
                if mask[image, place]:
                    logits = method.head.weight @ h[image, place] + method.head.bias
                    total, count = total - F.log_softmax(logits, 0)[tokens[image, place]], count + 1
    assert count and float(found.loss.detach()) == pytest.approx(float(total / count), rel=1e-5)
    assert float(found.metrics["masked"]) == pytest.approx(count / 80)


def test_what_lies_under_the_mask_reaches_the_loss_by_its_tokens_alone(monkeypatch):
    method = beit()
    batch = batch_for(method, 4)
    mask = torch.zeros(4, 4, 4, dtype=torch.bool)
    mask[:, 1:3, 1:3] = True
    tokens = torch.randint(24, (4, 4, 4))
    monkeypatch.setattr(method, "masked_places", lambda *_: mask)
    monkeypatch.setattr(method, "visual_tokens", lambda *_: tokens)
    loss = method(batch).loss
    other = batch["views"][0].clone()
    other[:, :, 4:12, 4:12] = torch.randn(4, 3, 8, 8)
    assert torch.equal(method({"views": [other]}).loss, loss)
    # Tokens of places that are seen do not count.
    tokens = torch.where(mask, tokens, (tokens + 1) % 24)
    assert torch.equal(method(batch).loss, loss)
    other = batch["views"][0].clone()
    other[:, :, :4] += 1
    assert not torch.equal(method({"views": [other]}).loss, loss)


def test_the_tokenizer_sees_the_same_crop_unmasked_and_resized_to_the_grid(monkeypatch):
    """Patches of 4 in 16 px make 4 x 4; the tokenizer's stride is 2, so it is shown 8 px (DALL-E: 112 of 224)."""
    method = beit()
    pixels = torch.randint(0, 256, (3, 3, SIZE, SIZE), dtype=torch.uint8)
    seen = []
    tokens = method.tokenizer.tokens
    monkeypatch.setattr(method.tokenizer, "tokens", lambda images: seen.append(images) or tokens(images))
    method({"views": [method.backbone.normalise(pixels)]})
    (images,) = seen
    assert images.shape == (3, 3, 8, 8) and images.dtype == torch.float32
    from PIL import Image

    for ours, theirs in zip(images, pixels, strict=True):
        expected = Image.fromarray(theirs.permute(1, 2, 0).numpy()).resize((8, 8), Image.Resampling.BICUBIC)
        expected = torch.tensor(list(expected.getdata())).view(8, 8, 3).permute(2, 0, 1)
        assert float((255 * ours - expected).abs().max()) <= 1.0
    assert not images.requires_grad


def test_pixels_are_mapped_for_dall_es_tokenizer_alone():
    """Its input lies in [0.1, 0.9], by the mean and deviation of its encoder; a ResNet's is its own."""
    method = beit()
    images = torch.rand(2, 3, 8, 8)
    encoder = method.tokenizer.backbone
    torch.testing.assert_close(encoder.normalise(255 * images), 0.8 * images + 0.1)
    other = create_backbone("resnet18", 16, {"channels": [8, 8, 8, 8]})
    assert float(other.normalise(255 * images).min()) < -1


def test_the_tokenizer_stays_as_it_is():
    method = beit()
    assert not method.tokenizer.training and not any(each.requires_grad for each in method.tokenizer.parameters())
    method.eval().train()
    assert method.training and method.backbone.training and not method.tokenizer.training
    before = {name: value.clone() for name, value in method.tokenizer.state_dict().items()}
    learning = [each for each in method.parameters() if each.requires_grad]
    one_step(method, torch.optim.AdamW(learning, lr=0.1, weight_decay=0.5), batch_for(method), progress())
    assert all(torch.equal(value, before[name]) for name, value in method.tokenizer.state_dict().items())
    # It goes with the checkpoint, so that a restart has the same tokens.
    assert {f"tokenizer.{name}" for name in before} <= set(method.state_dict())


def test_its_tokens_are_the_same_under_autocast():
    method = beit()
    (x,) = batch_for(method)["views"]
    expected = method.visual_tokens(x, (4, 4))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(method.visual_tokens(x, (4, 4)), expected)


def test_attention_has_biases_for_queries_and_values_and_none_for_keys():
    method = beit()
    names = dict(method.backbone.named_parameters())
    assert any(name.endswith("q_bias") for name in names) and any(name.endswith("v_bias") for name in names)
    assert not any(name.endswith(("k_bias", "qkv.bias")) for name in names)


def test_one_bias_of_relative_positions_serves_all_blocks():
    """(2 h - 1)(2 w - 1) offsets and three for the class token; layer scale 0.1 beside."""
    method = beit()
    tables = [each for name, each in method.backbone.named_parameters() if "relative_position_bias_table" in name]
    assert [tuple(each.shape) for each in tables] == [(7 * 7 + 3, 2)]
    method(batch_for(method)).loss.backward()
    assert tables[0].grad.abs().max() > 0
    gammas = [each for name, each in method.backbone.named_parameters() if "gamma" in name]
    assert len(gammas) == 6 and all(torch.equal(each, torch.full_like(each, 0.1)) for each in gammas)
    recipe = read_yaml("beit", "pretrain")
    assert {key: recipe.backbone_options[key] for key in SHARED} == SHARED


def test_weights_begin_cut_at_one_deviation_and_are_rescaled_with_depth():
    method = beit()
    for name, parameter in method.backbone.named_parameters():
        weight = parameter.detach()
        if name.endswith(("proj.weight", "fc1.weight", "fc2.weight", "qkv.weight")):
            block = int(name.split(".")[2]) + 1 if "blocks" in name else 0
            factor = math.sqrt(2 * block) if block and name.endswith(("attn.proj.weight", "fc2.weight")) else 1
            assert 0.95 * 0.02 / factor < float(weight.abs().max()) <= 0.02 / factor + 1e-9, name
            # A normal distribution cut at one deviation has a deviation of 0.5396.
            assert float(weight.std()) == pytest.approx(0.5396 * 0.02 / factor, rel=0.08), name
        elif name.endswith("bias"):
            assert not weight.any(), name
    for weight in (method.mask_token, method.backbone.model.cls_token, method.head.weight):
        assert 0 < float(weight.detach().abs().max()) <= 0.02
    assert not method.head.bias.any()


def test_a_backbone_that_was_loaded_keeps_its_weights(tmp_path):
    from densessl.backbones import load_backbone, save_backbone

    save_backbone(create_backbone("beit_base_patch16_224", SIZE, OPTIONS | SHARED), tmp_path, {})
    loaded, untouched = load_backbone(tmp_path), load_backbone(tmp_path)
    entry = methods()["beit"]
    method = entry.cls(loaded, config_of(entry), 64)
    for name, value in untouched.state_dict().items():
        assert torch.equal(method.backbone.state_dict()[name], value), name


def test_class_token_and_positions_do_not_decay_and_all_else_is_as_usual():
    for method in (beit(), build("beit")):
        decaying, others = method.parameter_groups()
        assert others["decays"] is False and "decays" not in decaying
        names = {id(each): name for name, each in method.named_parameters()}
        free = {names[id(each)] for each in others["params"]}
        assert "backbone.model.cls_token" in free and "mask_token" not in free
        assert all("bias" not in names[id(each)] or "table" in names[id(each)] for each in decaying["params"])
        known = {id(each) for each in (*decaying["params"], *others["params"])}
        assert known == {id(each) for each in method.parameters() if each.requires_grad}
    assert "backbone.model.pos_embed" in free


def test_masks_are_the_algorithms_or_the_official_codes():
    method = beit()
    torch.manual_seed(0)
    masks = method.masked_places(500, (14, 14)).sum((1, 2))
    assert (masks > 78.4).all() and masks.float().mean() < 90 and len(masks.unique()) > 5
    method = beit(masks="official", mask_ratio=0.383)
    masks = method.masked_places(500, (14, 14)).sum((1, 2))
    assert (masks <= 75).all() and (masks < 75).any() and masks.float().mean() > 65


def test_the_loss_starts_at_chance():
    method = beit()
    assert method.chance(8) == pytest.approx(math.log(24))
    assert float(method(batch_for(method)).loss.detach()) == pytest.approx(math.log(24), abs=0.05)


def test_its_picture_shows_image_mask_tokens_and_predictions():
    method = beit().eval()
    batch = batch_for(method, 3)
    with torch.no_grad():
        torch.manual_seed(1)
        (sheet,) = method.pictures(batch, lambda index: None).values()
        torch.manual_seed(1)
        mask = method.masked_places(3, (4, 4))
    assert list(sheet.headers) == ["image", "seen", "tokens", "seen and predicted"] and len(sheet.rows) == 3
    for row, hidden in zip(sheet.rows, mask, strict=True):
        image, seen, tokens, predicted = (torch.from_numpy(cell.copy()) for cell in row)
        over = hidden.repeat_interleave(4, 0).repeat_interleave(4, 1)
        assert (seen[over] == 128).all() and torch.equal(seen[~over], image[~over])
        assert tokens.shape == predicted.shape == image.shape


def test_without_a_decoder_tokens_are_colours(tmp_path):
    words = 30
    state = {"blocks.input.w": torch.randn(8, 3, 7, 7), "blocks.input.b": torch.zeros(8)}
    for name, shape in {"1": (2, 8, 3, 3), "2": (2, 2, 3, 3), "3": (2, 2, 3, 3), "4": (8, 2, 1, 1)}.items():
        state[f"blocks.group_1.block_1.res_path.conv_{name}.w"] = torch.randn(shape)
        state[f"blocks.group_1.block_1.res_path.conv_{name}.b"] = torch.zeros(shape[0])
    state |= {"blocks.output.conv.w": torch.randn(words, 8, 1, 1), "blocks.output.conv.b": torch.zeros(words)}
    torch.save(state, tmp_path / "encoder.pkl")
    method = beit(tokenizer=str(tmp_path / "encoder.pkl")).eval()
    assert method.head.out_features == words and not method.tokenizer.decodes
    with torch.no_grad():
        (sheet,) = method.pictures(batch_for(method, 2), lambda index: None).values()
    assert sheet.rows[0][2].shape == (16, 16, 3)


def test_without_a_tokenizer_a_sentence_tells_how_to_make_one():
    with pytest.raises(UserError, match=r"densessl pretrain dvae data=FOLDER .* beit.tokenizer=runs/tokenizer"):
        beit(tokenizer=None)
    with pytest.raises(UserError, match="There is no tokenizer"):
        beit(tokenizer="/nowhere")


def test_a_relative_path_of_the_tokenizer_becomes_absolute(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert config_of(methods()["beit"], tokenizer="runs/a").tokenizer == str(tmp_path / "runs" / "a")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"masks": "random"}, "beit.masks=random is not one of: algorithm, official"),
        ({"mask_ratio": 1.0}, "beit.mask_ratio=1.0"),
        ({"smallest_block": 0}, "beit.smallest_block=0"),
        ({"init_std": 0.0}, "beit.init_std=0.0"),
    ],
)
def test_mistakes_name_their_key(changes, words):
    with pytest.raises(UserError, match=words):
        config_of(methods()["beit"], **changes)


def slow_mask(height: int, width: int, smallest: int, rng) -> list[list[bool]]:
    """Algorithm 1, line by line; rectangles that exceed the grid are drawn anew."""
    masked: set[tuple[int, int]] = set()
    while len(masked) <= 0.4 * height * width:
        s = rng.uniform(smallest, 0.4 * height * width - len(masked))
        r = rng.uniform(0.3, 1 / 0.3)
        a, b = round(math.sqrt(s * r)), round(math.sqrt(s / r))
        if a <= height and b <= width:
            t, left = rng.randint(0, height - a), rng.randint(0, width - b)
            masked |= {(i, j) for i in range(t, t + a) for j in range(left, left + b)}
    return [[(i, j) in masked for j in range(width)] for i in range(height)]


@pytest.mark.parametrize(("grid", "smallest"), [((14, 14), 16), ((8, 12), 6), ((4, 4), 1)])
def test_covering_masks_are_distributed_as_algorithm_1_says(grid, smallest):
    import random

    torch.manual_seed(0)
    n, rng = 3000, random.Random(0)
    found = covering_masks(n, grid, 0.4, smallest if grid != (14, 14) else None).float()
    expected = torch.tensor([slow_mask(*grid, smallest, rng) for _ in range(n)]).float()
    counts, wanted = found.sum((1, 2)), expected.sum((1, 2))
    assert (counts > 0.4 * grid[0] * grid[1]).all()
    assert float(counts.mean()) == pytest.approx(float(wanted.mean()), rel=0.02)
    quantiles = torch.tensor([0.05, 0.5, 0.95])
    assert (counts.quantile(quantiles) - wanted.quantile(quantiles)).abs().max() <= 2
    for picture in (lambda m: m, lambda m: m[:, 1:] * m[:, :-1], lambda m: m[:, :, 1:] * m[:, :, :-1]):
        torch.testing.assert_close(picture(found).mean(0), picture(expected).mean(0), rtol=0, atol=0.06)


def test_the_suites_tokenizer_is_one():
    assert load_tokenizer(tokenizer_folder().name).stride == 2


def test_a_tokenizer_of_few_tokens_is_named():
    tokenizer = build("beit").tokenizer
    assert not tokenizer.doubts("The tokenizer")  # nobody wrote down how many it uses
    tokenizer.vocabulary, tokenizer.perplexity = 512, 4.2
    assert "uses its 512 tokens as if it had 4.2" in tokenizer.doubts("The tokenizer")[0]
    tokenizer.perplexity = 88.0
    assert not tokenizer.doubts("The tokenizer")
