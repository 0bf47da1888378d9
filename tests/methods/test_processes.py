"""One process against two with the same global batch: loss, gradients and buffers agree, for every method."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch.nn.parallel import DistributedDataParallel

from densessl.methods import methods
from densessl.training.sync import synchronise
from tests.methods.conftest import batch_for, build, moment, networks_of, progress

WORLD, COUNT = 2, 8
CASES = [(name, network) for name in methods() for network in networks_of(name)]


def measure(case: str, rank: int = 0, world: int = 1) -> dict[str, torch.Tensor]:
    """Mean loss, mean gradients and buffers after one batch, this process taking its share of it, in float64.

    case: a method, and a network where it is not the first that the method takes: "moco", "moco vit".
    """
    name, _, network = case.partition(" ")
    method = build(name, network or None).double()
    own = hasattr(getattr(method, "config", None), "batch_norm_splits")
    if world > 1 and not own:
        synchronise(method, "cpu")
    batch = batch_for(method, COUNT)
    share = slice(rank * COUNT // world, (rank + 1) * COUNT // world)
    batch = {key: value[share] for key, value in batch.items() if key != "views"} | {
        "views": [view[share].double() for view in batch["views"]]
    }
    moment(method, "before_step", progress(20))
    torch.manual_seed(7 + rank)
    run = DistributedDataParallel(method, broadcast_buffers=False) if world > 1 else method
    loss = run(batch).loss
    loss.backward()  # with the mean of the gradients over processes
    found = {"loss": loss.detach().clone()}
    found |= {f"{key} gradient": p.grad.clone() for key, p in method.named_parameters() if p.grad is not None}
    if world > 1:
        dist.all_reduce(found["loss"])
        found["loss"] /= world
    # Running statistics of parts depend on which part comes last; all other buffers must agree.
    buffers = {key: b for key, b in method.named_buffers() if not (own and "running" in key) and "num_" not in key}
    found |= {f"{key} buffer": buffer.clone() for key, buffer in buffers.items()}
    if world > 1:
        run(batch)  # DDP says only now if some parameter that learns got no gradient
    return found


def started(rank: int = 0, world: int = 1) -> torch.Tensor:
    """The logits' weights of a tokenizer whose tokens began as what its first batch shows."""
    method = build("dvae", "vit", spread_start=True, vocabulary=8).double()
    share = slice(rank * COUNT // world, (rank + 1) * COUNT // world)
    moment(method, "before_step", progress(0))
    torch.manual_seed(7 + rank)
    method({"views": [view[share].double() for view in batch_for(method, COUNT)["views"]]})
    return method.vae.head.weight.detach()


def several_sizes(name: str) -> bool:
    return len({spec.size for spec in build(name).views}) > 1


def worker(rank: int, folder: str, cases: list[str]) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=WORLD)
    found = {case: measure(case, rank, WORLD) for case in cases} | {"start": started(rank, WORLD)}
    if rank == 0:
        torch.save(found, Path(folder) / "found.pt")
    dist.destroy_process_group()


@pytest.fixture(scope="module")
def two(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> dict:
    folder = tmp_path_factory.mktemp("two")
    selected = {item.callspec.params.get("name") for item in request.session.items if hasattr(item, "callspec")}
    cases = [f"{name} {network}" for name, network in CASES if name in selected]
    os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
    mp.spawn(worker, (str(folder), cases), nprocs=WORLD)
    return torch.load(folder / "found.pt", weights_only=True)


@pytest.mark.parametrize(("name", "network"), CASES)
def test_two_processes_compute_what_one_does(name, network, two):
    one, both = measure(f"{name} {network}"), two[f"{name} {network}"]
    assert one.keys() == both.keys()
    for key, expected in one.items():
        # timm resizes position embeddings, as local crops need it, in float32: their gradient has its rounding.
        atol = 1e-8 if "pos_embed" in key and several_sizes(name) else 1e-9
        torch.testing.assert_close(
            both[key], expected, rtol=1e-6, atol=atol, msg=lambda text, key=key: f"{key}: {text}"
        )


def test_tokens_begin_in_two_processes_as_in_one(two):
    torch.testing.assert_close(two["start"], started())
    assert not torch.allclose(started(), build("dvae", "vit", vocabulary=8).double().vae.head.weight)


def test_a_batch_norm_with_an_activation_keeps_it():
    from timm.layers import BatchNormAct2d

    plain = BatchNormAct2d(3)
    twin = synchronise(BatchNormAct2d(3), "cpu")
    x = torch.randn(4, 3, 5, 5)
    torch.testing.assert_close(twin(x), plain(x))
    torch.testing.assert_close(twin.running_var, plain.running_var)
    assert type(twin) is not type(plain) and (twin(x) >= 0).all()
