"""From a source to batches: the same bytes whoever makes them, and what becomes of images that cannot be read."""

from __future__ import annotations

import re
import signal

import cv2
import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from densessl.data.augment import render
from densessl.data.dataset import MOST_UNREADABLE, ViewDataset, collate, render_views, worker_init
from densessl.data.images import UnreadableImage
from densessl.data.views import PatchSpec, ViewSpec, draw, generator
from densessl.errors import UserError

SPECS = (ViewSpec(count=2), ViewSpec(size=16, scale=(0.05, 0.3), solarize=0.2))

PATCHES = ViewSpec(patches=PatchSpec(grid=3, size=8, step=12, wander=4, flip=0.5))


class Pictures:
    """A source in memory: random pictures of several sizes, some of which cannot be read."""

    def __init__(self, count: int = 12, broken: tuple[int, ...] = (), labels: bool = True) -> None:
        self.count, self.broken, self.labels = count, broken, labels

    def __len__(self) -> int:
        return self.count

    def read(self, index: int) -> np.ndarray:
        if index in self.broken:
            raise UnreadableImage(f"picture {index} is truncated")
        coarse = np.random.default_rng(index).integers(0, 256, (5, 7, 3), dtype=np.uint8)
        return cv2.resize(coarse, (40 + 3 * index, 60 - 2 * index), interpolation=cv2.INTER_CUBIC)

    def name(self, index: int) -> str:
        return f"picture-{index}.jpg"

    def label(self, index: int) -> int | None:
        return index % 3 if self.labels else None


def batches(dataset: ViewDataset, epoch: int = 0, workers: int = 0, batch_size: int = 4) -> list[dict]:
    keys = [(epoch, index) for index in range(len(dataset))]
    options = {"num_workers": workers, "collate_fn": collate, "worker_init_fn": worker_init}
    return list(DataLoader(dataset, batch_size=batch_size, sampler=keys, **options))


def test_a_batch_has_a_tensor_per_view_in_the_order_of_the_specs():
    first = batches(ViewDataset(Pictures(), SPECS, 32, seed=0))[0]
    assert [tuple(view.shape) for view in first["views"]] == [(4, 3, 32, 32), (4, 3, 32, 32), (4, 3, 16, 16)]
    for view in first["views"]:
        assert view.dtype == torch.uint8 and view.is_contiguous(memory_format=torch.channels_last)
    assert first["index"].tolist() == [0, 1, 2, 3] and first["index"].dtype == torch.int64
    assert first["target"].tolist() == [0, 1, 2, 0] and first["target"].dtype == torch.int64
    assert first["unreadable"] == []


def test_a_view_in_patches_is_a_tensor_of_them():
    dataset = ViewDataset(Pictures(), (*SPECS, PATCHES), 32, seed=0)
    assert dataset.sizes == [32, 32, 16, (36, 8)] and dataset.canvas == 72
    view = batches(dataset)[0]["views"][3]
    assert view.shape == (4, 9, 3, 8, 8) and view.dtype == torch.uint8
    assert view.flatten(0, 1).is_contiguous(memory_format=torch.channels_last)


def test_the_views_are_those_drawn_for_seed_epoch_and_index():
    source = Pictures()
    item = ViewDataset(source, SPECS, 32, seed=5)[3, 7]
    rng, image = generator(5, 3, 7), source.read(7)
    for view, spec, size in zip(item["views"], (SPECS[0], SPECS[0], SPECS[1]), (32, 32, 16), strict=True):
        assert np.array_equal(view, render(image, draw(spec, *image.shape[:2], rng, size), size))


@pytest.mark.parametrize("device_views", [False, True])
def test_workers_do_not_change_a_byte(device_views):
    dataset = ViewDataset(Pictures(broken=(3, 4)), (*SPECS, PATCHES), 32, seed=0, device_views=device_views)
    torch.manual_seed(1), np.random.seed(1)
    alone = batches(dataset)
    torch.manual_seed(2), np.random.seed(2)
    for one, two in zip(alone, batches(dataset, workers=2), strict=True):
        one, two = render_views(one, dataset.sizes), render_views(two, dataset.sizes)
        assert all(torch.equal(a, b) for a, b in zip(one["views"], two["views"], strict=True))
        assert torch.equal(one["index"], two["index"]) and one["unreadable"] == two["unreadable"]


def test_epochs_and_seeds_differ_and_views_of_an_image_differ():
    source = Pictures()
    views = [ViewDataset(source, SPECS, 32, seed=seed)[epoch, 2]["views"] for seed, epoch in ((0, 0), (0, 1), (1, 0))]
    flat = [view.tobytes() for pair in views for view in pair]
    assert len(set(flat)) == len(flat)


def test_a_batch_without_all_labels_has_no_target():
    assert "target" not in batches(ViewDataset(Pictures(labels=False), SPECS, 32, seed=0))[0]
    some = [{"index": 0, "unreadable": [], "views": []}, {"index": 1, "unreadable": [], "views": [], "target": 1}]
    assert "target" not in collate(some)


def test_an_unreadable_image_is_replaced_by_the_next_readable_one_and_reported():
    dataset = ViewDataset(Pictures(broken=(3, 4, 11)), SPECS, 32, seed=0)
    item = dataset[0, 3]
    assert item["index"] == 5 and item["target"] == 5 % 3
    assert item["unreadable"] == [(3, "picture 3 is truncated"), (4, "picture 4 is truncated")]
    assert dataset[0, 11]["index"] == 0
    reported = [pair for batch in batches(dataset) for pair in batch["unreadable"]]
    assert [index for index, _ in reported] == [3, 4, 4, 11]


def test_an_image_that_stands_in_has_views_of_its_own():
    dataset = ViewDataset(Pictures(broken=(3,)), SPECS, 32, seed=0)
    assert not np.array_equal(dataset[0, 3]["views"][0], dataset[0, 4]["views"][0])


@pytest.mark.parametrize("workers", [0, 1])
@pytest.mark.parametrize("count", [3, MOST_UNREADABLE + 50])
def test_nothing_readable_is_a_batch_with_a_sentence_that_names_some(count, workers):
    dataset = ViewDataset(Pictures(count, broken=tuple(range(count))), SPECS, 32, seed=0)
    first = batches(dataset, workers=workers, batch_size=2)[0]
    assert set(first) == {"failed", "index", "unreadable"} and first["index"].tolist() == [0, 1]
    assert re.search(r"^\d+ images in a row .* picture-0\.jpg, picture-1\.jpg.*truncated", first["failed"])
    assert "\n" not in first["failed"] and "Traceback" not in first["failed"]
    assert first["unreadable"][0] == (0, "picture 0 is truncated")
    assert render_views(first, dataset.sizes) is first


class Gone(Pictures):
    """A source one of whose pictures lies in a file that the user has to bring back."""

    def read(self, index: int) -> np.ndarray:
        if index == 2:
            raise UserError("shard-3.tar is gone: put it back.")
        return super().read(index)


@pytest.mark.parametrize("device_views", [False, True])
def test_what_the_user_must_mend_comes_back_from_a_worker_as_its_sentence(device_views):
    dataset = ViewDataset(Gone(), SPECS, 32, seed=0, device_views=device_views)
    first, second, _ = batches(dataset, workers=1)
    assert first["failed"] == "shard-3.tar is gone: put it back." and first["index"].tolist() == [0, 1, 2, 3]
    assert "failed" not in second


def test_device_views_are_the_workers_views():
    specs = (SPECS[0], PATCHES, SPECS[1])
    made, sent = (ViewDataset(Pictures(), specs, 32, 0, device_views, canvas=80) for device_views in (False, True))
    for worker, device in zip(batches(made), batches(sent), strict=True):
        assert set(device) == {"canvas", "draws", "index", "target", "unreadable"}
        device = render_views(device, sent.sizes)
        assert set(device) == set(worker)
        for a, b in zip(worker["views"], device["views"], strict=True):
            assert a.shape == b.shape and a.dtype == b.dtype
            assert (a.float() - b.float()).abs().mean() < 0.4


def test_a_canvas_is_no_larger_than_asked():
    dataset = ViewDataset(Pictures(), SPECS, 32, seed=0, device_views=True)
    batch = batches(dataset, batch_size=12)[0]
    assert dataset.canvas == 64 and max(batch["canvas"].shape[2:]) <= 64
    assert max(batches(ViewDataset(Pictures(), SPECS, 32, 0, True, canvas=40))[0]["canvas"].shape[2:]) == 40


def test_views_made_by_the_workers_are_left_alone():
    batch = batches(ViewDataset(Pictures(), SPECS, 32, seed=0))[0]
    assert render_views(batch, [32, 32, 16]) is batch


class SignalOf(torch.utils.data.Dataset):
    """Says what a worker does on Ctrl-C, and with how many threads it works."""

    def __len__(self) -> int:
        return 1

    def __getitem__(self, index: int) -> list:
        return [signal.getsignal(signal.SIGINT) == signal.SIG_IGN, torch.get_num_threads()]


def test_a_worker_leaves_ctrl_c_to_the_main_process_and_uses_one_thread():
    assert next(iter(DataLoader(SignalOf(), None, num_workers=1, worker_init_fn=worker_init))) == [True, 1]
    assert signal.getsignal(signal.SIGINT) != signal.SIG_IGN
