"""Figures of collapse worked by hand, collapse on purpose, and silence where something is learned."""

import math

import numpy as np
import pytest
import torch

from densessl.training.monitors import ChanceMonitor, CollapseMonitor, embedding_std, rankme


def gaussian(n: int = 512, channels: int = 64, seed: int = 0) -> torch.Tensor:
    return torch.randn(n, channels, generator=torch.Generator().manual_seed(seed))


def test_embeddings_that_fill_the_sphere_have_std_one_and_full_rank():
    assert embedding_std(gaussian()) == pytest.approx(1.0, abs=0.02)
    assert 50 < rankme(gaussian()) <= 64.001


def test_one_vector_for_all_images_has_std_zero_and_rank_one():
    constant = torch.arange(1.0, 9.0).repeat(32, 1)
    assert embedding_std(constant) == pytest.approx(0.0, abs=1e-6)
    assert rankme(constant) == pytest.approx(1.0, abs=1e-3)


def test_embedding_std_does_not_depend_on_the_length_of_vectors():
    z = gaussian()
    lengths = torch.rand(512, 1, generator=torch.Generator().manual_seed(1)) + 0.1
    assert embedding_std(z * lengths) == pytest.approx(embedding_std(z), abs=1e-5)


def test_embedding_std_worked_by_hand():
    # Unit vectors (1, 0) and (0, 1): each dimension is 0 or 1, so its deviation is 1/2; times sqrt(2).
    assert embedding_std(torch.tensor([[3.0, 0.0], [0.0, 5.0]])) == pytest.approx(math.sqrt(2) / 2)


def test_rankme_worked_by_hand():
    # Singular values 3 and 1: p = 3/4 and 1/4.
    z = torch.tensor([[3.0, 0.0], [0.0, 1.0], [0.0, 0.0]])
    entropy = -(0.75 * math.log(0.75) + 0.25 * math.log(0.25))
    assert rankme(z) == pytest.approx(math.exp(entropy), abs=1e-5)


@pytest.mark.parametrize("shape", [(40, 12), (12, 40)])
def test_rankme_is_the_papers_formula_on_the_singular_values(shape):
    z = torch.randn(*shape, generator=torch.Generator().manual_seed(2)) * torch.logspace(0, -6, shape[1])
    sigma = np.linalg.svd(z.double().numpy(), compute_uv=False)
    p = sigma / sigma.sum() + 1e-7
    assert rankme(z) == pytest.approx(float(np.exp(-(p * np.log(p)).sum())), rel=1e-6)


def test_rankme_does_not_depend_on_scale_or_rotation():
    z = gaussian(100, 16)
    rotation = torch.linalg.qr(gaussian(16, 16, seed=3)).Q
    assert rankme(1000 * z @ rotation) == pytest.approx(rankme(z), rel=1e-4)


def test_figures_take_half_precision_and_zeros():
    assert embedding_std(gaussian().bfloat16()) == pytest.approx(1.0, abs=0.02)
    assert embedding_std(torch.zeros(8, 4)) == 0
    assert math.isfinite(rankme(torch.zeros(8, 4)))


def test_the_window_holds_the_last_embeddings_alone():
    monitor = CollapseMonitor(window=100)
    batches = [gaussian(37, 8, seed) for seed in range(5)]
    for batch in batches:
        monitor.update(batch)
    figures, _ = monitor.check()
    last = torch.cat(batches)[-100:]
    assert figures["embedding_std"] == pytest.approx(embedding_std(last), rel=1e-5)
    assert figures["rankme"] == pytest.approx(rankme(last), rel=1e-5)


def test_a_batch_larger_than_the_window_leaves_its_end():
    monitor = CollapseMonitor(window=64)
    monitor.update(gaussian(500, 8))
    figures, _ = monitor.check()
    assert figures["rankme"] == pytest.approx(rankme(gaussian(500, 8)[-64:]), rel=1e-5)


def test_collapse_to_a_point_is_said_once_with_its_causes():
    monitor = CollapseMonitor()
    monitor.update(torch.ones(256, 32) + 1e-4 * gaussian(256, 32))
    _, sentence = monitor.check()
    assert "the same vector" in sentence and "learning rate" in sentence
    monitor.update(torch.ones(256, 32))
    assert monitor.check()[1] is None


def test_collapse_to_a_line_is_said_although_the_std_is_healthy():
    monitor = CollapseMonitor()
    monitor.update(gaussian(256, 1) * torch.nn.functional.normalize(gaussian(1, 32, seed=5)))
    figures, sentence = monitor.check()
    assert figures["embedding_std"] > 0.6
    assert "onto a line" in sentence


def test_healthy_embeddings_raise_no_alarm():
    monitor = CollapseMonitor()
    monitor.update(gaussian(1024, 128))
    assert monitor.check()[1] is None


def test_non_negative_embeddings_with_a_large_mean_raise_no_alarm():
    """As pooled features after a ReLU are, above all in an untrained network."""
    monitor = CollapseMonitor()
    monitor.update(1 + 0.3 * gaussian(1024, 128).relu())
    assert monitor.check()[1] is None


def test_few_embeddings_and_those_that_are_not_finite_get_no_verdict():
    monitor = CollapseMonitor()
    assert monitor.check() == ({}, None)
    monitor.update(torch.ones(8, 16))
    assert monitor.check()[1] is None
    monitor.update(torch.full((100, 16), math.nan))
    assert monitor.check() == ({}, None)


def test_a_monitor_goes_on_from_its_state():
    first, second = CollapseMonitor(100), CollapseMonitor(100)
    first.update(gaussian(130, 8))
    second.load_state_dict(first.state_dict())
    for monitor in (first, second):
        monitor.update(gaussian(20, 8, seed=1))
    assert first.check() == second.check()


def run(monitor: ChanceMonitor, losses) -> list[str]:
    return [sentence for loss in losses if (sentence := monitor.update(loss))]


def noisy(level, steps: int = 2000, noise: float = 0.02, seed: int = 0) -> np.ndarray:
    return np.broadcast_to(level, steps) + noise * np.random.default_rng(seed).standard_normal(steps)


def test_a_loss_at_chance_is_said_once_with_the_step_and_the_logarithm():
    said = run(ChanceMonitor(math.log(4097)), noisy(math.log(4097)))
    assert len(said) == 1
    assert said[0].startswith("After 500 steps the loss still stands at its chance level ln(4097) = 8.32")
    assert "Usual causes" in said[0]


def test_a_loss_above_chance_is_said_to_be_above():
    assert "stands above its chance level ln(512) = 6.24" in run(ChanceMonitor(math.log(512)), noisy(7.0))[0]


def test_a_chance_level_that_is_no_logarithm_is_a_plain_number():
    assert "chance level 2.00 (" in run(ChanceMonitor(2.0), noisy(2.0))[0]


@pytest.mark.parametrize("seed", range(20))
def test_learning_is_never_disturbed(seed):
    steps = np.arange(3000)
    quick = 8.32 * (0.6 + 0.4 * np.exp(-steps / 400))
    slow = 8.32 - 2e-4 * steps  # half a percent in the first look, far from 2 percent
    for curve in (quick, slow):
        assert run(ChanceMonitor(math.log(4097)), noisy(curve, 3000, 0.15, seed)) == []


def test_a_loss_that_starts_low_and_climbs_back_to_chance_is_seen():
    """MoCo's does while its queue fills: random keys are easy negatives."""
    losses = np.concatenate([noisy(3.0, 400), noisy(8.3, 2600)])
    said = run(ChanceMonitor(math.log(4097)), losses)
    assert len(said) == 1 and said[0].startswith("After 1000 steps")


def test_a_loss_that_learned_and_fell_back_is_said_to_have_come_back():
    losses = np.concatenate([noisy(5.0, 1000), noisy(math.log(4097), 1000)])
    assert "has come back to its chance level" in run(ChanceMonitor(math.log(4097)), losses)[0]


def test_nothing_is_said_without_a_chance_level_in_short_runs_or_of_nan():
    assert run(ChanceMonitor(None), noisy(8.0)) == []
    assert run(ChanceMonitor(math.log(4097)), noisy(8.32, 499)) == []
    assert run(ChanceMonitor(math.log(4097)), [math.nan] * 1200) == []


def test_tensors_are_taken_and_let_go_of_the_graph():
    monitor = ChanceMonitor(1.0, patience=10)
    weight = torch.ones((), requires_grad=True)
    assert len(run(monitor, [weight * 1.0 for _ in range(10)])) == 1
    monitor = ChanceMonitor(1.0, patience=10)
    monitor.update(weight * 1.0)
    assert not monitor.losses[0].requires_grad


def test_a_chance_monitor_goes_on_from_its_state():
    losses = noisy(math.log(4097), 500)
    monitor = ChanceMonitor(math.log(4097))
    run(monitor, losses[:300])
    resumed = ChanceMonitor(math.log(4097))
    resumed.load_state_dict(monitor.state_dict())
    assert run(resumed, losses[300:]) == run(ChanceMonitor(math.log(4097)), losses)
