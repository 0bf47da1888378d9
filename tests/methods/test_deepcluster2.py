"""What DeepCluster-v2 is: a bank of the last epoch, a clustering per head, centroids that no gradient moves."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F

from densessl.methods import methods
from densessl.methods.deepcluster2 import IGNORED
from tests.methods.conftest import RandomImages, batch_for, begin_epoch, build, one_step, progress


def test_the_loss_is_the_mean_over_heads_of_what_all_views_say_of_the_images_cluster():
    method = build("deepcluster2").double()
    batch = batch_for(method)
    batch["views"] = [view.double() for view in batch["views"]]
    h = [method.backbone(torch.cat(views)) for views in (batch["views"][:2], batch["views"][2:])]
    z = F.normalize(method.projector(torch.cat(h)), dim=1)
    total = 0.0
    for head in range(3):
        for row, embedding in enumerate(z):  # view after view, the images of each in order
            p = F.softmax(method.prototypes[head] @ embedding / 0.1, dim=0)
            total = total - p[method.targets[head, batch["index"][row % 8]]].log()
    assert len(z) == 32
    assert float(method(batch).loss.detach()) == pytest.approx(float(total.detach()) / (3 * 32), rel=1e-9)


def test_the_bank_holds_the_embeddings_of_both_global_views_as_they_were_trained():
    method = build("deepcluster2")
    batch = batch_for(method)
    batch["index"] = torch.tensor([3, 9, 1, 60, 7, 2, 0, 33])
    with torch.no_grad():
        h = [method.backbone(torch.cat(views)) for views in (batch["views"][:2], batch["views"][2:])]
        z = F.normalize(method.projector(torch.cat(h)), dim=1).chunk(4)
    before = method.bank.clone()
    method(batch)
    torch.testing.assert_close(method.bank[batch["index"]], torch.stack(z[:2], dim=1))
    others = torch.ones(64, dtype=torch.bool)
    others[batch["index"]] = False
    assert torch.equal(method.bank[others], before[others])
    assert torch.equal(method.banked, ~others)


def test_the_first_bank_comes_from_training_mode_without_gradient():
    method = build("deepcluster2")
    # The pass moved the running statistics, and each view was normalised by its own batch.
    assert any(int(buffer) == 2 for name, buffer in method.named_buffers() if "num_batches" in name)
    images, embed = RandomImages(method, 64), lambda view: method.embed(method.backbone(view))
    expected = images.vectors(embed, [method.config.view])
    torch.testing.assert_close(method.bank, expected)
    assert not method.bank.requires_grad and method.training


def test_images_that_fell_off_the_end_of_an_epoch_have_no_target_and_no_part_in_the_loss():
    method = build("deepcluster2", prototypes=6)
    for start in (0, 8, 16, 24):
        batch = batch_for(method, seed=start)
        batch["index"] = torch.arange(8) + start
        method(batch)
    begin_epoch(method, progress(10))
    assert (method.targets[:, :32] >= 0).all() and (method.targets[:, 32:] == IGNORED).all()
    batch["index"] = torch.tensor([0, 1, 2, 3, 40, 41, 42, 43])
    loss = float(method(batch).loss.detach())
    method.targets[:, 40:44] = method.targets[:, :4]
    assert float(method(batch).loss.detach()) != pytest.approx(loss, rel=1e-3)
    batch["index"] = torch.arange(8) + 50
    loss = method(batch).loss
    loss.backward()
    assert float(loss.detach()) == 0 and not any(p.grad.any() for p in method.parameters())


def test_the_next_epoch_clusters_the_bank_of_the_last_and_no_new_pass():
    method = build("deepcluster2", prototypes=6)
    index = torch.arange(64)
    for part in index.split(8):
        batch = batch_for(method, seed=int(part[0]))
        batch["index"] = part
        method(batch)
    before = method.bank.clone()
    images = RandomImages(method, 64)
    images.vectors = None  # there is nothing to look at
    method.epoch_start(progress(10), images)
    assert torch.equal(method.bank, before) and not method.banked.any()
    for head in range(3):
        points, centroids = before[:, head % 2], method.prototypes[head]
        torch.testing.assert_close(centroids.norm(dim=1), torch.ones(6))
        assert torch.equal(method.targets[head], (points @ centroids.T).argmax(1))
        # Ten iterations on 64 points have come to rest: each centroid is the direction of its points' mean.
        for k in method.targets[head].unique():
            mean = F.normalize(points[method.targets[head] == k].mean(0), dim=0)
            torch.testing.assert_close(centroids[k], mean, rtol=1e-4, atol=1e-5)
    # Heads of one bank begin apart.
    assert not torch.equal(method.targets[0], method.targets[2])


def test_no_gradient_or_decay_moves_the_centroids():
    method = build("deepcluster2")
    before = method.prototypes.clone()
    optimizer = torch.optim.SGD(method.parameters(), lr=0.5, momentum=0.9, weight_decay=0.5)
    for step in range(3):
        one_step(method, optimizer, batch_for(method, seed=step), progress(step))
    assert torch.equal(method.prototypes, before)
    assert "prototypes" not in dict(method.named_parameters()) and "prototypes" in method.state_dict()


def test_there_are_half_as_many_clusters_as_images_at_most():
    method = build("deepcluster2", data_size=20)
    assert method.prototypes.shape == (3, 10, 8) and method.chance(8) == pytest.approx(math.log(10))


def test_the_defaults_are_the_official_ones():
    config = methods()["deepcluster2"].config()
    assert (config.prototypes, config.heads, config.temperature, config.iterations) == (3000, 3, 0.1, 10)
    assert (config.hidden, config.dim, config.local_crops) == (2048, 128, 6)
    assert (config.view.scale, config.local.scale) == ((0.14, 1.0), (0.05, 0.14))
