"""What SwAV's paper says: prototypes, codes, queue, crops."""

from __future__ import annotations

import math
import os
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
import torch.nn.functional as F

from densessl.backbones import create_backbone
from densessl.data.views import REFERENCE_SIZE
from densessl.methods import methods
from densessl.training.sync import synchronise
from tests.methods.conftest import batch_for, build, one_step, progress


def in_double(method: torch.nn.Module) -> tuple[torch.nn.Module, dict]:
    """The method and a batch in float64, the prototypes of length 1."""
    batch = batch_for(method.double())
    with torch.no_grad():
        method.prototypes.weight.copy_(F.normalize(method.prototypes.weight, dim=1))
    return method, batch | {"views": [view.double() for view in batch["views"]]}


def sinkhorn_in_full(scores: torch.Tensor, epsilon: float) -> torch.Tensor:
    """Three iterations on the matrix itself."""
    q = (scores / epsilon).exp()
    for _ in range(3):
        q = q / q.sum(0)
        q = q / q.sum(1, keepdim=True)
    return q


def embeddings(method: torch.nn.Module, batch: dict) -> list[torch.Tensor]:
    """Per view; each size of crops is one batch to batch norm, the projector sees all."""
    h = torch.cat([method.backbone(torch.cat(batch["views"][:2])), method.backbone(torch.cat(batch["views"][2:]))])
    return list(F.normalize(method.projector(h), dim=1).chunk(4))


def loss_in_full(method: torch.nn.Module, batch: dict, earlier: list[torch.Tensor] | None = None) -> torch.Tensor:
    c = method.prototypes.weight
    scores = [z @ c.T for z in embeddings(method, batch)]
    total = 0.0
    for i in range(2):
        rows = scores[i] if earlier is None else torch.cat([scores[i], earlier[i] @ c.T])
        q = sinkhorn_in_full(rows, method.config.epsilon)[: len(scores[i])].detach()
        others = [F.log_softmax(scores[v] / method.config.temperature, dim=1) for v in range(4) if v != i]
        total = total - sum((q * log_p).sum(1).mean() for log_p in others) / 3
    return total / 2


def test_every_view_predicts_the_codes_of_the_other_global_views():
    method, batch = in_double(build("swav"))
    learning = list(method.parameters())
    expected = loss_in_full(method, batch)
    slow = torch.autograd.grad(expected, learning)
    loss = method(batch).loss
    assert float(loss.detach()) == pytest.approx(float(expected.detach()), rel=1e-9)
    for ours, theirs in zip(torch.autograd.grad(loss, learning), slow, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-6, atol=1e-10)


def test_the_prototypes_have_length_1_before_every_forward_pass():
    method = build("swav", frozen_epochs=0)
    with torch.no_grad():
        method.prototypes.weight.mul_(3)
    method(batch_for(method))
    torch.testing.assert_close(method.prototypes.weight.norm(dim=1), torch.ones(24))
    optimizer = torch.optim.SGD(method.parameters(), lr=5.0)
    one_step(method, optimizer, batch_for(method), progress(20))
    moved = method.prototypes.weight.detach().clone()
    assert float((moved.norm(dim=1) - 1).abs().max()) > 1e-3
    method(batch_for(method))
    torch.testing.assert_close(method.prototypes.weight, F.normalize(moved, dim=1))


def test_the_prototypes_stand_still_in_the_first_epoch_even_under_weight_decay():
    method = build("swav")
    method(batch_for(method))
    before = method.prototypes.weight.detach().clone()
    optimizer = torch.optim.SGD(method.parameters(), lr=0.1, momentum=0.9, weight_decay=0.5)
    one_step(method, optimizer, batch_for(method), progress(step=9))
    torch.testing.assert_close(method.prototypes.weight, before)
    assert method.prototypes.weight.grad is None
    one_step(method, optimizer, batch_for(method), progress(step=10))
    assert float((F.normalize(method.prototypes.weight.detach(), dim=1) - before).abs().max()) > 1e-4


def test_the_queue_begins_at_its_epoch_and_serves_once_it_is_full():
    method, _ = in_double(build("swav", queue=16, queue_epoch=2, local_crops=2))
    seen: list[torch.Tensor] = []
    for step, seed in ((19, 0), (20, 1), (21, 2), (22, 3), (23, 4)):
        _, batch = in_double(method)
        batch = {**batch, "views": [view + seed for view in batch["views"]]}
        method.before_step(progress(step))
        full = len(seen) >= 2
        earlier = [torch.cat([pair[i] for pair in seen[-2:]]) for i in range(2)] if full else None
        expected = loss_in_full(method, batch, earlier)
        assert float(method(batch).loss.detach()) == pytest.approx(float(expected.detach()), rel=1e-9), step
        if step >= 20:  # filled after the codes, with what was just embedded
            z = [each.detach() for each in embeddings(method, batch)]
            seen.append(torch.stack(z[:2]))
            kept = method.queue.keys.chunk(2, dim=1)
            place = (step - 20) % 2 * 8
            torch.testing.assert_close(torch.stack([each[place : place + 8] for each in kept]), seen[-1])
        else:
            assert int(method.queued) == 0
    assert not method.queue.keys.requires_grad and {"queue.keys", "queued"} <= set(method.state_dict())


def test_the_queue_holds_half_of_the_data_at_most_and_may_be_left_out():
    assert len(build("swav", data_size=10).queue.keys) == 5
    method = build("swav", queue=0)
    one_step(method, torch.optim.SGD(method.parameters(), lr=0.1), batch_for(method), progress(50))
    assert method.queue is None


def measure(rank: int = 0, world: int = 1) -> dict[str, torch.Tensor]:
    """Loss and gradients with a full queue."""
    method, batch = in_double(build("swav", queue=13))
    if world > 1:
        synchronise(method, "cpu")
    generator = torch.Generator().manual_seed(5)
    z = torch.randn(13, 2, 8, dtype=torch.float64, generator=generator)
    method.queue.keys.copy_(F.normalize(z, dim=2).flatten(1))
    method.queued.fill_(13)
    share = slice(rank * 8 // world, (rank + 1) * 8 // world)
    method.before_step(progress(20))
    loss = method({"views": [view[share] for view in batch["views"]], "index": batch["index"][share]}).loss
    loss.backward()
    found = {"loss": loss.detach()} | {key: each.grad for key, each in method.named_parameters()}
    for value in found.values() if world > 1 else ():
        dist.all_reduce(value)
        value /= world
    return found | {"queue": method.queue.keys.clone()}


def worker(rank: int, folder: str) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2)
    found = measure(rank, 2)
    if rank == 0:
        torch.save(found, Path(folder) / "found.pt")
    dist.destroy_process_group()


def test_two_processes_share_one_queue(tmp_path):
    """Each takes its part of the 13 embeddings, seven and six, into the iterations."""
    os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
    mp.spawn(worker, (str(tmp_path),), nprocs=2)
    two, one = torch.load(tmp_path / "found.pt", weights_only=True), measure()
    for key, expected in one.items():
        torch.testing.assert_close(two[key], expected, rtol=1e-6, atol=1e-9, msg=key)


def test_the_picture_shows_what_each_image_was_nearest_to():
    method = build("swav")
    for seed in range(3):
        batch = batch_for(method, seed=seed)
        batch["index"] = torch.arange(8) + 8 * seed
        method(batch)
    assert (method.nearest[:24] >= 0).all() and (method.nearest[24:] == -1).all()
    with torch.no_grad():
        scores = method.scores(embeddings(method, batch)[0])
    assert torch.equal(method.nearest[16:24].long(), scores.argmax(1))
    torch.testing.assert_close(method.closeness[16:24], scores.amax(1))
    sheet = method.pictures(batch, lambda index: np.full((4, 4, 3), index, np.uint8))["prototypes"]
    for row, label in zip(sheet.rows, sheet.labels, strict=True):
        prototype = int(label.split(":")[0])
        filled = [int(cell[0, 0, 0]) for cell in row if cell.min() < 255]
        assert filled and all(int(method.nearest[index]) == prototype for index in filled)


def test_local_crops_are_smaller_and_fit_the_backbone():
    method = build("swav", "vit")
    assert [view.count for view in method.views] == [2, 2]
    assert method.views[1].size % method.backbone.stride == 0 and method.views[1].size < 16
    assert len(build("swav", local_crops=0).views) == 1


def test_the_defaults_are_the_papers():
    config = methods()["swav"].config()
    assert (config.prototypes, config.temperature, config.epsilon, config.iterations) == (3000, 0.1, 0.05, 3)
    assert (config.hidden, config.dim, config.queue, config.queue_epoch) == (2048, 128, 3840, 15)
    assert (config.local_crops, config.view.scale, config.local.scale) == (6, (0.14, 1.0), (0.05, 0.14))
    assert (config.view.brightness, config.view.hue, config.view.grey, config.view.blur) == (0.8, 0.2, 0.2, 0.5)
    assert build("swav").chance(8) == pytest.approx(math.log(24))


def test_local_crops_are_blurred_by_as_many_pixels_as_global_ones():
    method = methods()["swav"].cls(create_backbone("resnet18", 224), methods()["swav"].config(), 100)
    whole, local = method.views
    sigmas = [spec.blur_sigma[1] * size / REFERENCE_SIZE for spec, size in ((whole, 224), (local, local.size))]
    assert local.size == 96 and sigmas == pytest.approx([2.0, 2.0])
