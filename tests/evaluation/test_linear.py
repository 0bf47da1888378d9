"""The probe is scikit-learn's logistic regression; the protocol chooses its decay without the test images."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression

from densessl.backbones import create_backbone, save_backbone
from densessl.errors import UserError
from densessl.evaluation import linear, logistic
from densessl.evaluation.linear import LinearConfig, MeanOfMap, _standardised, evaluate_linear, probe
from densessl.evaluation.logistic import decorrelated, fit, loss_and_gradient
from densessl.progress import silent
from tests.evaluation.test_knn import blobs, write_images


@pytest.mark.parametrize("decay", [1.0, 1e-2, 1e-4])
@pytest.mark.parametrize("classes", [2, 7])
def test_the_probe_is_scikit_learns(decay, classes, monkeypatch):
    monkeypatch.setattr(logistic, "ROWS", 100)  # three parts and a rest
    (x, labels), (test, _) = blobs(350, classes), blobs(200, classes, seed=1)
    mix = torch.randn(16, 16, generator=torch.Generator().manual_seed(5))
    x, mean, deviation = _standardised(x @ mix)
    test = (test @ mix - mean) / deviation
    # With two classes scikit-learn has one row of weights, whose square is twice that of the two rows here.
    strength = (2 if classes == 2 else 1) / (len(x) * decay)
    peer = LogisticRegression(C=strength, tol=1e-10, max_iter=20000).fit(x.double().numpy(), labels.numpy())
    expected = torch.from_numpy(peer.predict_proba(test.double().numpy()))
    for found in (fit(x, labels, classes, decay), probe(x, labels, classes, decay)[0]):
        assert found.converged
        torch.testing.assert_close(found.scores(test).softmax(1), expected, rtol=1e-3, atol=5e-4)


def test_turned_columns_have_no_correlation_and_take_fewer_evaluations(monkeypatch):
    monkeypatch.setattr(logistic, "ROWS", 64)
    x, labels = blobs(300, 5, channels=20, spread=5.0)  # classes that overlap, as those of images do
    x = x * torch.logspace(0, -2, 20) @ torch.randn(20, 20, generator=torch.Generator().manual_seed(5)) + 2
    x = _standardised(x)[0]
    turned, rotation = decorrelated(x)
    torch.testing.assert_close(turned.double(), x.double() @ rotation, rtol=1e-5, atol=1e-5)
    covariance = torch.cov(turned.double().T, correction=0)
    assert float((covariance - covariance.diag().diag()).abs().max()) < 1e-4 * float(covariance.max())
    assert 2 * fit(turned, labels, 5, 1e-3).evaluations < fit(x, labels, 5, 1e-3).evaluations


def test_the_objective_and_its_gradient_are_the_formula(monkeypatch):
    monkeypatch.setattr(logistic, "ROWS", 4)
    (x, labels), decay = blobs(10, 3, channels=4), 0.3
    weights = torch.randn(5, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0)).requires_grad_()
    total = 0.0
    for row, label in zip(x.double(), labels, strict=True):
        scores = [weights[4, c] + sum(row[d] * weights[d, c] for d in range(4)) for c in range(3)]
        total = total - scores[label] + sum(score.exp() for score in scores).log()
    slow = total / 10 + decay / 2 * sum(weights[d, c] ** 2 for d in range(4) for c in range(3))
    loss, gradient = loss_and_gradient(weights.detach(), x, labels, decay)
    torch.testing.assert_close(loss, slow.detach())
    torch.testing.assert_close(gradient, torch.autograd.grad(slow, weights)[0])


def test_the_decay_is_the_best_on_held_out_rows_and_all_rows_are_fitted_with_it():
    x, labels = blobs(400, 5, channels=60, spread=3.0)
    found, tried = probe(x, labels, 5, seed=3)
    best = max(tried.values())
    # From strong to weak; of equally good ones the strongest.
    assert found.decay == max(float(key) for key, value in tried.items() if value == best)
    assert list(tried) == [f"{decay:g}" for decay in linear.DECAYS[: len(tried)]] and len(tried) >= 3
    torch.testing.assert_close(found.weights, fit(x, labels, 5, found.decay).weights, rtol=1e-3, atol=1e-4)
    fixed, none = probe(x, labels, 5, decay=0.5)
    assert fixed.decay == 0.5 and not none


def test_vectors_are_standardised_by_the_training_images_and_constant_ones_vanish():
    z = torch.randn(50, 3) * torch.tensor([1.0, 100.0, 1.0]) + torch.tensor([5.0, 0.0, 7.0])
    z[:, 2] = 7.0
    x, mean, deviation = _standardised(z)
    assert x.mean(0).tolist() == pytest.approx([0, 0, 0], abs=1e-5)
    assert x.std(0, correction=0).tolist() == pytest.approx([1, 1, 0], abs=1e-5)
    torch.testing.assert_close(x * deviation + mean, z, rtol=1e-5, atol=1e-4)


@pytest.fixture(scope="module")
def vit(tmp_path_factory):
    folder = tmp_path_factory.mktemp("backbone")
    torch.manual_seed(3)
    save_backbone(create_backbone("test_vit", 32), folder, {"method": "none"})
    return str(folder)


def evaluate(backbone, data, **settings):
    return evaluate_linear(LinearConfig(backbone, str(data), workers=0, devices="cpu", **settings), silent)


def test_what_the_protocol_says_and_its_baselines(tmp_path, vit):
    write_images(tmp_path / "train", 20)
    write_images(tmp_path / "test", 8, seed=1)
    record = evaluate(vit, tmp_path, baselines=True, seed=4)
    assert record["figures"]["top1"] > 0.9 and record["figures"]["converged"]
    assert record["figures"]["always_the_largest_class"] == 0.5 and record["figures"]["held_out_by_decay"]
    assert record["baselines"]["raw_pixels"]["top1"] > 0.9 and record["baselines"]["untrained"]["seed"] == 4
    assert record["data"] == {
        "data": str(tmp_path),
        "train": "40 images, split train where there is one, else all",
        "test": "16 images, split test",
    }
    assert "no augmentation" in record["rule"] and "standardised" in record["rule"]
    assert {"command", "environment", "seconds", "settings", "backbone", "seed"} <= record.keys()


def test_the_mean_of_the_last_map_stands_for_the_vector(tmp_path, vit):
    write_images(tmp_path, 12)
    backbone = create_backbone("test_vit", 32).eval()
    images = torch.randn(2, 3, 32, 32)
    expected = backbone.feature_maps(images)[-1].flatten(2).mean(2)
    torch.testing.assert_close(MeanOfMap(backbone)(images), expected)
    record = evaluate(vit, tmp_path, features="mean", decay=0.01)
    assert "the mean of the last layer's map" in record["rule"] and record["figures"]["decay"] == 0.01


def test_mistakes_are_sentences(tmp_path, vit):
    write_images(tmp_path, 4)
    for settings, words in (
        ({"features": "tokens"}, "features=tokens is not one of: vector, mean"),
        ({"decay": 0.0}, "decay=0.0 must be above 0"),
        ({"iterations": 0}, "iterations=0 is too small"),
        ({"batch_size": 0}, "batch_size=0"),
        ({"precision": "8"}, "precision=8"),
    ):
        with pytest.raises(UserError, match=words):
            evaluate(vit, tmp_path, **settings)


def test_a_class_that_is_only_among_the_test_images_is_never_right(tmp_path, vit):
    write_images(tmp_path / "train", 10, colours=("blue", "red"))
    write_images(tmp_path / "test", 4, seed=1, colours=("blue", "green", "red"))
    with pytest.raises(UserError, match="class 'green', which the training images lack"):
        evaluate(vit, tmp_path)


def test_it_says_when_the_search_ended_early():
    x, labels = blobs(300, 5)
    assert not fit(x, labels, 5, 1e-6, iterations=2).converged
    assert math.isfinite(float(fit(x, labels, 5, 1e-6, iterations=2).weights.abs().max()))
    assert np.isfinite(fit(x * 1e4, labels, 5, 1e-3).scores(x).numpy()).all()
