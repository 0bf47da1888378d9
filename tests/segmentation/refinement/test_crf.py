"""The CRF against a dense one and pydensecrf, the lattice against the exact Gaussian, the guided filter by windows."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from densessl.data.synthetic import scene
from densessl.errors import UserError
from densessl.segmentation.refinement.crf import CRFConfig, MeanField, guided, mean_field
from densessl.segmentation.refinement.lattice import Lattice


def scores_and_image(classes: int, side: int, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """(1, K, side, side) probabilities from a coarse, noisy map of colours, and the image (1, 3, side, side)."""
    rng = np.random.default_rng(seed)
    image = torch.from_numpy(scene(seed, (side, side))[0].copy()).permute(2, 0, 1)[None].float()
    coarse = F.adaptive_avg_pool2d(image, side // 8)
    pixels = coarse.flatten(2)[0].T
    centres = pixels[rng.choice(len(pixels), classes, replace=False)]
    logits = -torch.cdist(pixels, centres).square() / 2000 + torch.from_numpy(
        rng.normal(0, 0.5, (len(pixels), classes))
    )
    logits = logits.T.float().reshape(1, classes, side // 8, side // 8)
    return F.interpolate(logits, (side, side), mode="bilinear").softmax(1), image


def dense_mean_field(p: torch.Tensor, image: torch.Tensor, config: CRFConfig) -> torch.Tensor:
    """Equation by equation, with the kernels as matrices."""
    _, classes, height, width = p.shape
    y, x = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    places = torch.stack((x, y), 2).flatten(0, 1).double()
    colours = image[0].flatten(1).T.double() / config.colour_deviation
    near = torch.exp(-(torch.cdist(places, places) ** 2) / (2 * config.position_deviation**2))
    alike = torch.exp(
        -(
            torch.cdist(
                torch.cat((places / config.colour_reach, colours), 1),
                torch.cat((places / config.colour_reach, colours), 1),
            )
            ** 2
        )
        / 2
    )
    near, alike = (k / (k.sum(1, keepdim=True) * k.sum(0, keepdim=True)).sqrt() for k in (near, alike))
    kernel = config.position_weight * near + config.colour_weight * alike
    unary = p[0].flatten(1).T.double().clamp(min=1e-5).log()
    q = unary.softmax(1)
    for _ in range(config.iterations):
        q = (unary + kernel @ q).softmax(1)
    return q.T.reshape(1, classes, height, width)


@pytest.mark.parametrize(("d", "within"), [(1, 0.02), (2, 0.03), (3, 0.06)])
def test_the_lattice_filters_as_a_gaussian_does(d, within):
    generator = torch.Generator().manual_seed(0)
    features = 5 * torch.rand(6000, d, generator=generator, dtype=torch.float64)
    values = torch.sin(features.sum(1, keepdim=True)) + features[:, :1] / 5
    kernel = torch.exp(-(torch.cdist(features, features) ** 2) / 2)
    exact = kernel @ values / kernel.sum(1, keepdim=True)
    lattice = Lattice(features)
    found = lattice.filter(values) / lattice.filter(torch.ones_like(values))
    assert float((found - exact).abs().mean()) < within * float(exact.max() - exact.min())
    total = lattice.filter(torch.ones_like(values)).sum() / kernel.sum()
    assert 0.8 < float(total) < 1.1


def test_groups_do_not_see_each_other():
    features, values = torch.rand(60, 3) * 3, torch.rand(60, 2)
    groups = torch.arange(3).repeat_interleave(20)
    together = Lattice(features, groups).filter(values)
    alone = torch.cat(
        [Lattice(part).filter(value) for part, value in zip(features.split(20), values.split(20), strict=True)]
    )
    torch.testing.assert_close(together, alone, rtol=1e-5, atol=1e-6)


def test_features_too_far_apart_are_a_sentence():
    with pytest.raises(ValueError, match="more than can be numbered"):
        Lattice(torch.tensor([[0.0] * 5, [1e5] * 5]))


def test_mean_field_is_that_of_the_dense_kernels():
    p, image = scores_and_image(5, 48)
    config = CRFConfig(colour_deviation=12.0, colour_reach=20.0)
    found, exact = mean_field(p, image, config), dense_mean_field(p, image, config)
    assert float((found.argmax(1) == exact.argmax(1)).double().mean()) > 0.97
    assert float((p.argmax(1) != exact.argmax(1)).double().mean()) > 0.05  # there was something to change
    torch.testing.assert_close(found.sum(1), torch.ones(1, 48, 48), rtol=1e-5, atol=1e-5)


def test_a_batch_is_its_images_one_by_one():
    pairs = [scores_and_image(4, 32, seed) for seed in range(3)]
    together = mean_field(*(torch.cat(each) for each in zip(*pairs, strict=True)))
    for place, pair in enumerate(pairs):
        torch.testing.assert_close(together[place : place + 1], mean_field(*pair), rtol=1e-4, atol=1e-5)


def test_a_lattice_that_is_made_once_refines_as_one_for_each():
    (first, image), (second, _) = scores_and_image(4, 32), scores_and_image(6, 32, 1)
    field = MeanField(image)
    for p in (first, second, first):
        torch.testing.assert_close(field(p), mean_field(p, image), rtol=0, atol=0)
    with pytest.raises(ValueError, match="are needed"):
        field(first[..., :16])


def test_mean_field_labels_as_pydensecrf_does():
    densecrf = pytest.importorskip("pydensecrf.densecrf")
    agree = []
    for seed in range(3):
        p, image = scores_and_image(12, 160, seed)
        theirs = densecrf.DenseCRF2D(160, 160, 12)
        theirs.setUnaryEnergy(np.ascontiguousarray(-p[0].clamp(min=1e-5).log().flatten(1).numpy()))
        theirs.addPairwiseGaussian(sxy=1, compat=3)
        pixels = np.ascontiguousarray(image[0].permute(1, 2, 0).byte().numpy())
        theirs.addPairwiseBilateral(sxy=67, srgb=3, rgbim=pixels, compat=4)
        expected = np.asarray(theirs.inference(10)).reshape(12, 160, 160).argmax(0)
        agree.append((mean_field(p, image)[0].argmax(0).numpy() == expected).mean())
    assert min(agree) >= 0.99


def test_the_guided_filter_is_the_best_linear_function_in_each_window():
    generator = torch.Generator().manual_seed(0)
    image, p = 255 * torch.rand(1, 3, 9, 11, generator=generator), torch.rand(1, 2, 9, 11, generator=generator)
    guide = (image[0] / 255).double()
    radius, epsilon = 2, 1e-2
    slopes, levels = torch.zeros(9, 11, 2, 3, dtype=torch.float64), torch.zeros(9, 11, 2, dtype=torch.float64)

    def window(y, x):
        return slice(max(0, y - radius), y + radius + 1), slice(max(0, x - radius), x + radius + 1)

    for y in range(9):
        for x in range(11):
            rows, columns = window(y, x)
            colours = guide[:, rows, columns].flatten(1)
            for k in range(2):
                scores = p[0, k, rows, columns].flatten().double()
                centred = colours - colours.mean(1, keepdim=True)
                sigma = centred @ centred.T / centred.shape[1] + epsilon * torch.eye(3)
                slopes[y, x, k] = torch.linalg.solve(sigma, centred @ (scores - scores.mean()) / centred.shape[1])
                levels[y, x, k] = scores.mean() - slopes[y, x, k] @ colours.mean(1)
    expected = torch.empty(1, 2, 9, 11, dtype=torch.float64)
    for y in range(9):
        for x in range(11):
            rows, columns = window(y, x)
            mean = slopes[rows, columns].flatten(0, 1).mean(0)
            expected[0, :, y, x] = mean @ guide[:, y, x] + levels[rows, columns].flatten(0, 1).mean(0)
    torch.testing.assert_close(guided(p, image, radius, epsilon, shrink=1).double(), expected, rtol=1e-3, atol=1e-4)


def test_the_guided_filter_at_a_part_of_the_size_follows_the_edges():
    p, image = scores_and_image(4, 96)
    whole, part = guided(p, image, shrink=1), guided(p, image, shrink=4)
    torch.testing.assert_close(part.sum(1), torch.ones(1, 96, 96), rtol=1e-4, atol=1e-4)
    assert float((whole.argmax(1) == part.argmax(1)).double().mean()) > 0.85


def test_mistakes_are_sentences():
    p, image = torch.rand(1, 3, 8, 8), torch.rand(1, 3, 8, 9)
    for filtered in (mean_field, guided):
        with pytest.raises(ValueError, match=r"they are \(1, 3, 8, 8\) and \(1, 3, 8, 9\)"):
            filtered(p, image)
    for setting in ({"iterations": 0}, {"colour_deviation": 0.0}, {"position_weight": -1.0}):
        with pytest.raises(UserError, match=next(iter(setting))):
            CRFConfig(**setting)


def test_the_positions_of_a_strip_reach_along_it():
    """8 px high and 80 long, and a deviation of 10: against the kernels as matrices."""
    p, image = scores_and_image(3, 80)
    p, image = p[:, :, :8].contiguous(), image[:, :, :8].contiguous()
    config = CRFConfig(position_deviation=10.0, colour_weight=0.0, iterations=3)
    torch.testing.assert_close(
        mean_field(p, image, config).double(), dense_mean_field(p, image, config), atol=2e-3, rtol=0
    )
