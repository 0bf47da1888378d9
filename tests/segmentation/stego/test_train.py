"""STEGO learns on any number of pictures of any shape, repeats itself, and finds textures."""

from __future__ import annotations

from itertools import islice

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from densessl.errors import RunStopped, UserError
from densessl.evaluation.segmentation import confusion_matrix, segmentation_scores
from densessl.segmentation.clusters import cluster, sample_codes
from densessl.segmentation.config import SegmentConfig
from densessl.segmentation.correspondence import correspondence_loss
from densessl.segmentation.features.colour import ColourBackbone
from densessl.segmentation.features.extractor import Extractor
from densessl.segmentation.features.kept import Features, extract
from densessl.segmentation.kmeans import best_spherical_kmeans
from densessl.segmentation.learning import learn
from densessl.segmentation.predict import mask
from densessl.segmentation.stego.sampling import batches, corners, negatives, sample
from densessl.segmentation.stego.train import Trainer, train


def settings(**changes) -> SegmentConfig:
    config = SegmentConfig(data="", out="", classes=2, method="stego", steps=30)
    for key, value in changes.items():
        setattr(config, key, value)
    return config


def features(scenes, pictures: int = 4, image_size: int = 96) -> Features:
    return extract(scenes[0], Extractor(ColourBackbone(), image_size), range(pictures))


def accuracy(model, kept: Features, truths: list[np.ndarray]) -> float:
    confusion = sum(
        confusion_matrix(mask(model, kept.tokens(row), kept.shapes[row], truth.shape), truth, model.classes, 2)
        for row, truth in enumerate(truths)
    )
    return segmentation_scores(confusion).accuracy


@pytest.mark.parametrize("method", ["stego", "kmeans", "probe"])
def test_two_textures_of_the_same_colour_are_told_apart(scenes, method):
    # Enlarged, so that the widest window (72 px) sees mostly one texture.
    kept = features(scenes, image_size=256)
    config = settings(method="kmeans" if method == "kmeans" else "stego", steps=60)
    config.stego.clusters = "probe" if method == "probe" else "kmeans"
    learned = learn(kept, config)
    chance = np.mean([max(truth.mean(), 1 - truth.mean()) for truth in scenes[1]])
    assert chance < 0.7
    assert accuracy(learned.model, kept, scenes[1]) > 0.9


def test_the_loss_falls_on_the_same_places(scenes):
    kept = features(scenes)

    def loss(steps: int) -> float:
        trainer = Trainer(kept, settings(), torch.Generator().manual_seed(7), "cpu")
        trainer.head = train(kept, settings(steps=steps)).head
        return float(np.mean([trainer.losses(torch.arange(4))[0].item() for _ in range(10)]))

    assert len(learn(kept, settings(steps=60)).losses) == 60
    assert loss(60) < loss(0) - 0.02


def test_the_same_seed_gives_the_same_model_and_another_seed_another(scenes):
    kept = features(scenes)
    torch.manual_seed(1)
    first = learn(kept, settings(seed=3))
    torch.manual_seed(2)
    again, other = learn(kept, settings(seed=3)), learn(kept, settings(seed=4))
    assert first.losses == again.losses != other.losses
    for name, weight in first.model.state_dict().items():
        assert torch.equal(weight, again.model.state_dict()[name])


def test_what_all_features_share_changes_nothing_unless_they_are_left_as_they_are(scenes):
    kept = features(scenes)
    moved = Features(kept.indices, kept.shapes, [each + np.float32(10) for each in kept.arrays])
    here, there = (train(each, settings()).head for each in (kept, moved))
    torch.testing.assert_close(there(moved.tokens(1)), here(kept.tokens(1)), atol=1e-2, rtol=0)
    torch.testing.assert_close(here.mean, torch.stack([kept.tokens(row).mean(dim=0) for row in range(4)]).mean(dim=0))
    plain = settings()
    plain.stego.centre = False
    alike, apart = (train(each, plain).head for each in (moved, kept))
    assert not apart.mean.any()

    def spread(head, each: Features) -> float:
        codes = F.normalize(head(each.tokens(1)), dim=1)
        return float(1 - (codes @ codes.T).mean().detach())

    # Nearly equal features attract wherever they are: all codes fall together.
    assert spread(alike, moved) < 0.1 * spread(there, moved)


def test_learning_leaves_the_callers_random_state_alone(scenes):
    before = torch.get_rng_state()
    learn(features(scenes), settings(steps=2))
    assert torch.equal(before, torch.get_rng_state())


@pytest.mark.parametrize("pictures", [1, 2, 3])
def test_few_pictures_are_enough(scenes, pictures):
    learned = learn(features(scenes, pictures), settings(steps=5))
    assert np.isfinite(learned.losses).all()


def test_one_picture_is_compared_with_itself_alone(scenes):
    config = settings(steps=1)
    config.stego.dropout, config.stego.centre = 0.0, False
    config.stego.feature_samples = 3
    trainer = Trainer(features(scenes, 1), config, torch.Generator().manual_seed(0), "cpu")
    state = trainer.generator.get_state()
    loss, _ = trainer.losses(torch.tensor([0]))
    trainer.generator.set_state(state)
    tokens, layout = trainer.features.batch([0])
    at = corners(trainer.points(1), layout)
    f, s = sample(tokens, at), sample(trainer.head(tokens), at)
    slow = config.stego.pos_intra_weight * correspondence_loss(f, f, s, s, config.stego.pos_intra_shift).mean()
    torch.testing.assert_close(loss, slow)


@pytest.mark.parametrize("centre", [False, True])
def test_one_step_is_the_weighted_sum_of_the_papers_terms(scenes, centre):
    """The same draws on whole maps read by `grid_sample`: pictures at the first points, all others at the second."""
    config = settings()
    config.stego.centre = centre
    config.stego.dropout, config.stego.feature_samples, config.stego.neg_samples = 0.0, 4, 2
    config.stego.clusters = "probe"
    trainer = Trainer(features(scenes), config, torch.Generator().manual_seed(0), "cpu")
    anchors = torch.tensor([2, 0, 1])
    state = trainer.generator.get_state()
    loss, probed = trainer.losses(anchors)
    trainer.generator.set_state(state)

    def read(pictures: torch.Tensor, points: torch.Tensor):
        """Features and codes (B, ., 4, 4) of these pictures at (B, 16, 2) points."""
        maps = ([], [])
        for picture, places in zip(pictures.tolist(), points, strict=True):
            tokens = trainer.features.tokens(picture)
            for made, table in zip(maps, (tokens - trainer.head.mean, trainer.head(tokens)), strict=True):
                grid = table.T.unflatten(1, trainer.features.shapes[picture])[None]
                made.append(F.grid_sample(grid, places.view(1, 4, 4, 2), padding_mode="border", align_corners=True))
        return [torch.cat(each) for each in maps]

    def term(a, b, shift):
        return correspondence_loss(a[0], b[0], a[1], b[1], shift).mean()

    first, second = trainer.points(3), trainer.points(3)
    choice = torch.randint(3, (3,), generator=trainer.generator)
    cycles = [negatives(3, trainer.generator) for _ in range(2)]
    one = read(anchors, first)
    slow = 0.67 * term(one, one, 0.08) + 0.25 * term(one, read(trainer.neighbours[anchors, choice], second), 0.02)
    slow = slow + 0.63 * sum(term(one, read(anchors[other], second), 0.66) for other in cycles) / 2
    torch.testing.assert_close(loss, slow)
    codes = F.normalize(trainer.head(trainer.features.batch(anchors.tolist())[0]), dim=1)
    cosines = codes @ F.normalize(trainer.probe.centres, dim=1).T
    torch.testing.assert_close(probed, -cosines.amax(dim=1).mean())


def test_an_epoch_holds_every_picture_once_and_a_batch_none_twice(scenes):
    trainer = Trainer(features(scenes), settings(batch_size=2), torch.Generator().manual_seed(0), "cpu")
    order = trainer.order()
    for _ in range(3):
        assert sorted(torch.cat([next(order), next(order)]).tolist()) == [0, 1, 2, 3]
    assert [len(each) for each in islice(batches(5, 2, trainer.generator), 4)] == [2, 2, 2, 2]


def test_epochs_count_when_steps_are_not_set(scenes):
    assert len(learn(features(scenes), settings(steps=None, epochs=3, batch_size=2)).losses) == 6


def test_more_segments_than_places_are_refused(scenes):
    with pytest.raises(UserError, match="fewer with --classes"):
        learn(features(scenes, 1), settings(classes=2000))
    many = Features([0, 1], [(300, 300), (1, 4)], [np.ones((90000, 3), "float32"), np.ones((4, 3), "float32")])
    with pytest.raises(UserError, match="20000 segments cannot be learned from the 16388 of 90004 places that are"):
        learn(many, settings(classes=20000, method="kmeans"))
    with pytest.raises(UserError, match="at least 2"):
        learn(features(scenes, 1), settings(classes=1))


def test_a_loss_that_is_not_finite_stops_the_run(scenes):
    config = settings()
    config.stego.pos_intra_shift = float("nan")
    with pytest.raises(RunStopped, match="step 1 of 30"):
        learn(features(scenes), config)


def test_segments_are_numbered_by_their_size(scenes):
    kept = features(scenes)
    model = learn(kept, settings(classes=4)).model
    places = torch.cat([model(kept.tokens(row)).argmax(dim=1) for row in range(4)])
    counts = places.bincount(minlength=4).tolist()
    assert counts == sorted(counts, reverse=True)


@pytest.mark.parametrize("clusters", ["kmeans", "probe"])
def test_the_head_is_the_same_whatever_the_number_of_segments(scenes, clusters):
    kept = extract(scenes[0], Extractor(ColourBackbone(), 64), range(4))
    heads = []
    for classes in (2, 7):
        config = SegmentConfig(data="", out="", classes=classes, method="stego", steps=4)
        config.stego.clusters = clusters
        heads.append(train(kept, config).head.state_dict())
    assert all(torch.equal(heads[0][name], heads[1][name]) for name in heads[0])


def test_restarts_reach_the_k_means(scenes):
    kept, models = extract(scenes[0], Extractor(ColourBackbone(), 64), range(4)), []
    for restarts in (1, 3):
        config = SegmentConfig(data="", out="", classes=4, method="kmeans", restarts=restarts, seed=5)
        generator = torch.Generator().manual_seed(5)
        codes = sample_codes(kept, None, generator, "cpu")
        centres = best_spherical_kmeans(codes, 4, generator, restarts)[0]
        found = cluster(kept, None, config).centres
        assert (found @ centres.T).amax(dim=1).min() > 1 - 1e-6
        assert torch.equal(learn(kept, config).model.centres, found)
        models.append(found)
    assert (models[0] @ models[1].T).amax(dim=1).min() < 0.999
