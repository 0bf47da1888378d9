"""What the paper of DALL-E says of its discrete VAE, and what a run of it leaves."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from densessl.backbones import create_backbone, load_tokenizer
from densessl.errors import UserError
from densessl.methods import methods
from densessl.methods.dvae import APART, centres, gumbel, perplexity, shares_of
from tests.methods.conftest import batch_for, build, config_of, one_step, progress

PAPER = {
    # Appendix A.1 and A.2.
    "vocabulary": 8192,
    "reconstruction": "logit_laplace",
    "temperature": 1 / 16,
    "temperature_start": 1.0,
    "annealing_steps": 150_000,
    "kl_weight": 6.6,
    "kl_warmup_steps": 5_000,
    "average": 0.999,
    "straight_through": False,
    "spread_start": False,
    "encoder_rate": 1.0,
    "width": 256,
    "blocks": 2,
    "bottleneck": 128,
}


def test_the_defaults_and_the_view_are_the_papers():
    config = methods()["dvae"].config()
    assert {name: getattr(config, name) for name in PAPER} == PAPER
    view = config.view
    assert view.ratio == (1, 1) and view.scale == pytest.approx(((8 / 12) ** 2, (8 / 9) ** 2)) and view.flip == 0.5
    assert view.jitter == view.grey == view.blur == view.solarize == 0


def test_the_encoder_and_decoder_have_the_published_sizes():
    """Appendix A.1: 3 to 256, 512, 1024 and 2048 channels in four groups, a 7x7 first and a 1x1 last."""
    with torch.device("meta"):
        method = methods()["dvae"].cls(create_backbone("dvae_encoder"), methods()["dvae"].config(), 100)
    assert method.vae.stride == 8 and method.vae.head.weight.shape == (8192, 2048, 1, 1)
    # As the released files have it: 53.8 M and 43.8 M weights.
    encoder = sum(each.numel() for part in (method.vae.backbone, method.vae.head) for each in part.parameters())
    decoder = sum(each.numel() for each in method.vae.decoder.parameters())
    assert (round(encoder / 1e6, 1), round(decoder / 1e6, 1)) == (53.8, 43.8)


@pytest.mark.parametrize("reconstruction", ["logit_laplace", "l2", "l1"])
def test_the_loss_is_the_evidence_bound_per_value(reconstruction):
    """Reconstruction and KL of whole images, both divided by 3 H W."""
    method = build("dvae", "vit", reconstruction=reconstruction).double()
    batch = batch_for(method, 3)
    batch["views"] = [view.double() for view in batch["views"]]
    method.before_step(progress(30))
    torch.manual_seed(5)
    output = method(batch)
    torch.manual_seed(5)
    pixels = method.backbone.pixels(batch["views"][0]).double() / 255
    _, logits = method.vae.encode(batch["views"][0])
    z = F.softmax((logits + gumbel(logits)) / method.temperature, dim=1)
    decoded = method.vae.decoder(z)
    if reconstruction == "logit_laplace":
        x, mean, scale = 0.8 * pixels + 0.1, decoded[:, :3], decoded[:, 3:].exp()
        # Up to the change of variables, torch's Laplace of the logit.
        density = torch.distributions.Laplace(mean, scale).log_prob(x.logit()) - (x * (1 - x)).log()
        errors = -density.sum((1, 2, 3))
    else:
        difference = decoded - pixels
        errors = (difference.square() if reconstruction == "l2" else difference.abs()).sum((1, 2, 3))
    q = logits.softmax(1)
    kl = (q * (q / (1 / 24)).log()).sum((1, 2, 3))
    values = 3 * 16 * 16
    assert method.kl_weight == pytest.approx(6.6)
    assert float(output.loss.detach()) == pytest.approx(float((errors + 6.6 * kl).detach().mean()) / values, rel=1e-9)
    assert float(output.metrics["kl"]) == pytest.approx(float(kl.detach().mean()) / 16, rel=1e-9)


def test_the_ramps_are_half_cosines_over_their_steps_or_their_share_of_the_run():
    method = build("dvae", annealing_steps=100, kl_warmup_steps=20)
    found = []
    for step in (0, 5, 20, 50, 100, 5000):
        method.before_step(progress(step, total=10_000))
        found.append((method.temperature, method.kl_weight))
    half = lambda start, end, share: end + (start - end) * (1 + math.cos(math.pi * share)) / 2  # noqa: E731
    temperatures = [half(1, 1 / 16, share) for share in (0, 0.05, 0.2, 0.5, 1, 1)]
    weights = [half(0, 6.6, share) for share in (0, 0.25, 1, 1, 1, 1)]
    assert found == [pytest.approx(pair) for pair in zip(temperatures, weights, strict=True)]
    method.before_step(progress(10, total=40))  # a short run: half of it, and a tenth
    assert method.temperature == pytest.approx(half(1, 1 / 16, 0.5)) and method.kl_weight == pytest.approx(6.6)


def test_gumbel_noise_is_gumbel_noise_and_an_images_own():
    torch.manual_seed(0)
    noise = gumbel(torch.zeros(8, 30, 20, 20))
    assert torch.isfinite(noise).all()
    # Mean and variance of the standard Gumbel distribution, and its distribution at 0.
    assert float(noise.mean()) == pytest.approx(0.5772, abs=0.01)
    assert float(noise.var()) == pytest.approx(math.pi**2 / 6, abs=0.03)
    assert float((noise < 0).float().mean()) == pytest.approx(math.exp(-1), abs=0.005)
    assert len({float(each.flatten()[0]) for each in noise}) == 8
    assert not torch.equal(gumbel(torch.zeros(8, 3)), gumbel(torch.zeros(8, 3)))
    # The largest of logits with it is a draw from their softmax.
    logits = torch.tensor([1.0, 0.0, -1.0, 2.0]).view(1, 4, 1, 1).expand(4, 4, 100, 100)
    drawn = (logits + gumbel(logits)).argmax(1).flatten().bincount(minlength=4) / 40_000
    torch.testing.assert_close(drawn, logits[0, :, 0, 0].softmax(0), rtol=0, atol=0.01)


def test_the_relaxation_is_soft_in_the_forward_pass_unless_it_is_told_otherwise(monkeypatch):
    for straight_through in (False, True):
        method = build("dvae", straight_through=straight_through)
        method.before_step(progress(10))
        given = []
        method.vae.decoder.register_forward_pre_hook(lambda module, inputs, given=given: given.append(inputs[0]))
        method(batch_for(method)).loss.backward()
        (z,) = given
        torch.testing.assert_close(z.sum(1), torch.ones_like(z[:, 0]))
        assert bool(((z > 1e-4) & (z < 0.999)).any()) is not straight_through
        # In both the reconstruction teaches the encoder.
        assert method.vae.head.weight.grad.abs().max() > 0


def test_what_is_exported_is_the_average_of_the_weights():
    method = build("dvae")
    optimizer = torch.optim.SGD(method.vae.parameters(), lr=0.1)
    before = method.average.head.weight.clone()
    one_step(method, optimizer, batch_for(method), progress(step=5, total=10_000))
    # Early on the average is quicker than 0.999: (1 + 5) / (10 + 5).
    torch.testing.assert_close(method.average.head.weight, 0.4 * before + 0.6 * method.vae.head.weight.detach())
    before = method.average.head.weight.clone()
    one_step(method, optimizer, batch_for(method), progress(step=9_500, total=10_000))
    expected = 0.999 * before + 0.001 * method.vae.head.weight.detach()
    torch.testing.assert_close(method.average.head.weight, expected, rtol=1e-6, atol=1e-8)
    assert method.backbone is method.average.backbone
    # A ResNet's batch statistics are those of the network that saw the images.
    for ours, theirs in zip(method.average.buffers(), method.vae.buffers(), strict=True):
        assert torch.equal(ours, theirs)


def test_perplexity_counts_the_tokens_in_use():
    tokens = torch.arange(4).repeat(25).view(1, 10, 10)
    assert float(perplexity(shares_of(tokens, 9))) == pytest.approx(4, rel=1e-5)
    assert float(perplexity(shares_of(torch.zeros(2, 3, 3, dtype=torch.int64), 9))) == pytest.approx(1)


def test_its_files_are_a_tokenizer_that_gives_the_same_tokens(tmp_path):
    method = build("dvae", "vit").eval()
    for name, data in method.files().items():
        (tmp_path / name).write_bytes(data)
    tokenizer, batch = load_tokenizer(tmp_path), batch_for(method, 3)
    images = method.backbone.pixels(batch["views"][0]).float() / 255
    assert torch.equal(tokenizer.tokens(images), method.average.tokens(images))
    _, logits = method.average.encode(method.backbone.normalise(method.backbone.pixels(batch["views"][0])))
    assert torch.equal(tokenizer.tokens(images), logits.argmax(1))


def test_its_picture_shows_images_reconstructions_and_tokens():
    method = build("dvae", "vit").eval()
    batch = batch_for(method, 3)
    with torch.no_grad():
        (sheet,) = method.pictures(batch, lambda index: None).values()
    images, decoded, tokens = sheet.rows
    assert [len(row) for row in sheet.rows] == [3, 3, 3] and decoded[0].shape == (16, 16, 3)
    assert np.array_equal(images[0], method.backbone.pixels(batch["views"][0])[0].permute(1, 2, 0).numpy())
    # A token covers 4 x 4 pixels with one colour.
    cells = tokens[0].reshape(4, 4, 4, 4, 3)
    assert (cells == cells[:, :1, :, :1]).all() and tokens[0].dtype == np.uint8


def test_it_learns_to_reconstruct_smooth_pictures():
    """A few steps on pictures of one colour each: the decoder gives them back, far better than mid-grey."""
    torch.manual_seed(0)
    method = build("dvae", "vit", kl_weight=0.1, average=0.0)
    optimizer = torch.optim.AdamW(method.vae.parameters(), lr=5e-3)
    colours = torch.tensor([[230, 40, 40], [40, 200, 60], [50, 60, 220], [240, 230, 60]], dtype=torch.uint8)
    pixels = colours[:, :, None, None].expand(4, 3, 16, 16).repeat(2, 1, 1, 1)
    batch = {"views": [method.backbone.normalise(pixels)]}
    for step in range(150):
        torch.manual_seed(step)
        one_step(method, optimizer, batch, progress(step, total=150))
    images = pixels.float() / 255
    method.eval()
    error = float((method.average.decode(method.average.tokens(images)) - images).abs().mean())
    assert error < 0.4 * float((images - 0.5).abs().mean()), error


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"vocabulary": 1}, "dvae.vocabulary=1"),
        ({"reconstruction": "l3"}, "dvae.reconstruction=l3 is not one of: logit_laplace, l2, l1"),
        ({"temperature": 0.0}, "dvae.temperature=0.0"),
        ({"kl_weight": -1.0}, "dvae.kl_weight"),
        ({"average": 1.0}, "dvae.average"),
        ({"width": 10}, "dvae.width=10"),
        ({"blocks": 0}, "dvae.blocks=0"),
    ],
)
def test_mistakes_name_their_key(changes, words):
    with pytest.raises(UserError, match=words):
        config_of(methods()["dvae"], **changes)


def test_a_stride_that_is_no_power_of_2_is_told():
    backbone = create_backbone("vit_small_patch14_dinov2", 112, {"embed_dim": 24, "depth": 1, "num_heads": 2})
    with pytest.raises(UserError, match="14, is no power of 2: give backbone=dvae_encoder"):
        methods()["dvae"].cls(backbone, config_of(methods()["dvae"]), 10)


def test_centres_are_drawn_from_what_is_far_from_those_before():
    torch.manual_seed(0)
    corners = 100 * torch.tensor([[0.0, 0], [1, 0], [0, 1], [1, 1]])
    # A thousand points at one corner, as of white paper, and one at each of the others.
    points = torch.cat([corners[:1].repeat(1000, 1), corners[1:]]) + torch.randn(1003, 2) / 100
    nearest = torch.cdist(centres(points, 5)[1:], corners).argmin(1)
    assert nearest.unique().tolist() == [0, 1, 2, 3]
    assert centres(torch.ones(3, 2), 5).shape == (5, 2)


def test_tokens_that_begin_apart_are_those_of_different_places():
    torch.manual_seed(0)
    method = build("dvae", "vit", spread_start=True, reconstruction="l2", vocabulary=16)
    pixels = torch.full((8, 3, 16, 16), 255, dtype=torch.uint8)
    pixels[4:] = torch.randint(0, 256, (4, 3, 16, 16), dtype=torch.uint8)
    view = method.backbone.normalise(pixels)
    before = len(method.vae.encode(view)[1].argmax(1).unique())
    method.before_step(progress(0, total=10))
    method.train()
    method({"views": [view]})
    head = method.vae.head
    assert len(method.vae.encode(view)[1].argmax(1).unique()) > max(before, 5)
    # The logit of a centre falls by half the scale times the square of the distance.
    weight = head.weight[:, :, 0, 0]
    scale = -2 * head.bias / weight.square().sum(1)  # of weights that are scaled centres: 1 / scale
    chosen = weight * scale.mean()
    nearest = torch.cdist(chosen, chosen).fill_diagonal_(torch.inf).amin(1).square()
    assert float(nearest.mean() / scale.mean() / 2) == pytest.approx(APART, rel=1e-3)
    mean = pixels.float().mean((0, 2, 3)) / 255
    torch.testing.assert_close(method.average.decoder.output.bias.detach(), mean)
    kept = head.weight.clone()
    method.before_step(progress(1, total=10))
    method({"views": [view]})
    assert torch.equal(head.weight, kept)


def test_the_encoder_learns_at_its_own_rate():
    method = build("dvae", "vit", encoder_rate=0.1)
    groups = method.parameter_groups()
    scales = {id(each): group.get("lr_scale", 1.0) for group in groups for each in group["params"]}
    assert {scales[id(each)] for each in method.vae.backbone.parameters()} == {0.1}
    assert {scales[id(each)] for each in method.vae.decoder.parameters()} == {1.0}
    with pytest.raises(UserError, match="dvae.encoder_rate=-1"):
        methods()["dvae"].config(encoder_rate=-1.0)
