"""PriMaPs-EM is its formulas written slowly, its masks are what the rules say, and it finds what k-means cuts apart."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch
from torch.nn.functional import normalize

from densessl.errors import RunStopped, UserError
from densessl.progress import silent
from densessl.segmentation.config import SegmentConfig
from densessl.segmentation.features import Features
from densessl.segmentation.model import Saved, load_model, save_model
from densessl.segmentation.primaps import (
    PrimapsConfig,
    fit,
    focal_loss,
    principal,
    proposals,
    prototypes,
    smoothed,
    vote,
)
from densessl.segmentation.run import segment
from densessl.segmentation.sampling import batches
from densessl.segmentation.train import learn


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def blocks(pictures: int = 6, side: int = 12, seed: int = 0) -> tuple[Features, list[torch.Tensor]]:
    """Maps of two regions, a wide one of class 0 and a narrow one of class 1, of directions with much noise."""
    random = generator(seed)
    means = normalize(torch.randn(2, 16, generator=random), dim=1)
    kept, truths = Features(), []
    for index in range(pictures):
        truth = torch.zeros(side, side, dtype=torch.long)
        truth[:, : 3 + index % 2] = 1
        tokens = 4 * means[truth.flatten()] + torch.randn(side * side, 16, generator=random)
        kept.indices.append(index)
        kept.shapes.append((side, side))
        kept.arrays.append(tokens.numpy())
        truths.append(truth.flatten())
    return kept, truths


def test_the_focal_loss_is_its_formula():
    logits = torch.randn(40, 5, dtype=torch.float64, generator=generator(), requires_grad=True)
    labels = torch.randint(-1, 5, (40,), generator=generator(1))
    assert (labels < 0).any()
    shares = [[float(row[k].exp() / row.exp().sum()) for k in range(5)] for row in logits.detach()]
    mean = [sum(row[k] for row in shares) / 40 for k in range(5)]
    total = 0.0
    for row, label in zip(shares, labels.tolist(), strict=True):
        if label >= 0:
            total -= (1 - mean[label]) ** 1.5 * np.log(row[label])
    loss = focal_loss(logits, labels, 1.5)
    assert float(loss.detach()) == pytest.approx(total / 40, rel=1e-12)
    # The weights of classes are constants.
    (gradient,) = torch.autograd.grad(loss, logits)
    slow = torch.zeros_like(logits)
    for i, label in enumerate(labels.tolist()):
        if label >= 0:
            for k in range(5):
                slow[i, k] = (1 - mean[label]) ** 1.5 * (shares[i][k] - (k == label)) / 40
    torch.testing.assert_close(gradient, slow)


def test_all_tokens_of_a_mask_get_its_commonest_class():
    classes = torch.tensor([2, 2, 0, 1, 1, 0, 0])
    masks = torch.tensor([0, 0, 0, 1, 1, 1, -1])
    assert vote(classes, masks, 3).tolist() == [2, 2, 2, 1, 1, 1, -1]
    assert vote(torch.tensor([2, 0]), torch.tensor([0, 0]), 3).tolist() == [0, 0]
    assert vote(classes, torch.full((7,), -1), 3).tolist() == [-1] * 7


def test_the_principal_component_is_the_first_singular_vector_of_the_centred_tokens():
    tokens = torch.randn(200, 8, dtype=torch.float64, generator=generator()) * torch.linspace(3, 1, 8) + 5
    first = np.linalg.svd((tokens - tokens.mean(0)).numpy())[2][0]
    assert abs(float(principal(tokens) @ torch.from_numpy(first))) == pytest.approx(1, abs=1e-6)
    assert principal(torch.ones(5, 8)).tolist() == [0.0] * 8


def test_a_mask_is_what_is_near_its_seed_and_the_next_is_sought_in_the_rest():
    truth = torch.zeros(8, 10, dtype=torch.long)
    truth[:, 4:] = 1  # a straight edge, which the median leaves alone
    directions = normalize(torch.randn(2, 6, generator=generator(3)), dim=1)
    assert float(directions[0] @ directions[1]) < 0.4
    tokens = 3 * directions[truth.flatten()] + 0.01 * torch.randn(80, 6, generator=generator())
    found = proposals(tokens, (8, 10))
    assert (found == truth.flatten()).all() or (found == 1 - truth.flatten()).all()
    # With no threshold the first mask takes all.
    assert proposals(tokens, (8, 10), -1.0).tolist() == [0] * 80


def test_masks_are_smoothed_by_the_median_of_each():
    masks = torch.randint(-1, 3, (7, 9), generator=generator(2))
    masks[1:5, 1:6] = 1
    padded = np.pad(masks.numpy(), 1, mode="reflect")
    slow = np.full((7, 9), -1)
    for y in range(7):
        for x in range(9):
            for number in range(3):
                if np.median(padded[y : y + 3, x : x + 3] == number) == 1:
                    slow[y, x] = number
    assert (smoothed(masks.flatten(), (7, 9)).reshape(7, 9).numpy() == slow).all()
    assert smoothed(torch.tensor([0, 0, 1]), (1, 3)).tolist() == [0, 0, 1]


@pytest.mark.parametrize("shape", [(1, 1), (1, 6), (2, 2)])
def test_small_maps_and_maps_of_one_colour_have_proposals(shape):
    for tokens in (torch.randn(shape[0] * shape[1], 4, generator=generator()), torch.ones(shape[0] * shape[1], 4)):
        assert proposals(tokens, shape).shape == (shape[0] * shape[1],)
    assert proposals(torch.zeros(9, 4), (3, 3)).shape == (9,)


def test_a_step_moves_the_prototypes_down_the_gradient_and_the_mean_after_them():
    kept, _ = blocks(2)
    start = normalize(torch.randn(3, 16, generator=generator(1)), dim=1)
    config = PrimapsConfig(decay=0.75, every=1, lr=0.01)
    found = fit(kept, start, config, iter([torch.tensor([0, 1])]), 1)
    directions, lengths = start.clone().requires_grad_(), torch.ones(3, 1, requires_grad=True)
    tokens = [kept.tokens(row) for row in (0, 1)]
    labels = [vote((f @ start.T).argmax(1), proposals(f, (12, 12)), 3) for f in tokens]
    loss = focal_loss(
        torch.cat(tokens) @ (lengths * directions / directions.norm(dim=1, keepdim=True)).T, torch.cat(labels)
    )
    gradients = torch.autograd.grad(loss, (directions, lengths))
    # Adam's first step is the sign of the gradient times lr; of it a quarter reaches the mean.
    moved = [
        each.detach() - 0.25 * 0.01 * slope.sign() for each, slope in zip((directions, lengths), gradients, strict=True)
    ]
    torch.testing.assert_close(found, prototypes(*moved), rtol=1e-4, atol=1e-5)


def test_the_loss_falls():
    kept, _ = blocks()
    kept.arrays = [0.2 * each for each in kept.arrays]  # where the first probabilities are far from 0 and 1
    start = normalize(torch.randn(2, 16, generator=generator(5)), dim=1)
    losses = []

    def note(stage: str, done: int, total: int, text: str) -> None:
        losses.append(float(text.removeprefix("loss ")))

    fit(kept, start, PrimapsConfig(), batches(6, 3, generator()), 150, progress=note)
    assert len(losses) == 150 and np.mean(losses[-10:]) < 0.7 * np.mean(losses[:5])


def settings(**changes) -> SegmentConfig:
    config = SegmentConfig(data="", out="", classes=2, method="primaps", steps=60, devices="cpu")
    for key, value in changes.items():
        setattr(config, key, value)
    return config


def test_the_method_goes_on_from_kmeans_and_repeats_itself():
    kept, _ = blocks()
    began, found = learn(kept, settings(steps=0)).model, learn(kept, settings()).model
    again, other = learn(kept, settings()).model, learn(kept, settings(seed=1)).model
    torch.testing.assert_close(began.centres, learn(kept, settings(method="kmeans")).model.centres)
    assert torch.equal(found.centres, again.centres) and not torch.equal(found.centres, other.centres)
    assert not torch.allclose(found.centres.norm(dim=1), torch.ones(2), atol=1e-3)


def test_a_model_is_saved_with_the_lengths_of_its_prototypes(tmp_path):
    kept, _ = blocks()
    model = learn(kept, settings()).model
    save_model(tmp_path / "model.safetensors", model, Saved("colour", "0", 96, {"method": "primaps"}))
    loaded, saved = load_model(tmp_path)
    assert torch.equal(loaded.centres, model.centres) and saved.config == {"method": "primaps"}
    assert torch.equal(loaded(kept.tokens(0)), model(kept.tokens(0)))


def test_segment_goes_on_and_repeats_its_masks_from_the_file(scenes, tmp_path):
    (tmp_path / "pictures").mkdir()
    for index, image in enumerate(scenes[0].images):
        cv2.imwrite(str(tmp_path / "pictures" / f"{index}.png"), image)
    shared = {"data": str(tmp_path / "pictures"), "refine": "none", "image_size": 64, "classes": 3, "cache": None}

    def masks(out: str, **changes) -> dict[str, bytes]:
        summary = segment(settings(**shared | {"out": str(tmp_path / out)} | changes), progress=silent)
        learned.append(summary.learned)
        return {path.name: path.read_bytes() for path in sorted((tmp_path / out / "labels").iterdir())}

    learned = []
    first = masks("one")
    (tmp_path / "one" / "labels" / "2.png").unlink()
    assert masks("one") == first == masks("two", model=str(tmp_path / "one"), image_size=None)
    assert learned == [True, False, False]
    with pytest.raises(UserError, match="primaps.gamma"):
        masks("one", primaps=PrimapsConfig(gamma=1.0))


def test_mistakes_are_sentences():
    for changes, words in (
        ({"decay": 1.5}, "primaps.decay=1.5"),
        ({"every": 0}, "primaps.every=0"),
        ({"lr": -1.0}, "lr=-1"),
    ):
        with pytest.raises(UserError, match=words):
            PrimapsConfig(**changes)
    kept, _ = blocks(2)
    with pytest.raises(RunStopped, match="step 1 of 3"):
        fit(kept, torch.full((2, 16), torch.nan), PrimapsConfig(), batches(2, 2, generator()), 3)
