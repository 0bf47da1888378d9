"""A pass over all images gives one row per image, in order, whatever the batches and workers."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from densessl.data.dataset import ViewDataset
from densessl.data.sources import open_source
from densessl.errors import UserError
from densessl.training.config import resolve
from densessl.training.images import RunImages
from densessl.training.results import WHOLE
from densessl.training.run import Job, _method, _module
from tests.training.conftest import SMALL, heads


@pytest.fixture
def parts(pictures):
    config = resolve("simclr-cifar", [f"data={pictures}", *SMALL, *heads("simclr")])
    source = open_source(config.data, None)
    module, dataset = _module(config, source, Job(_method))
    return module, dataset


@pytest.mark.parametrize("workers", [0, 2])
def test_rows_are_the_images_in_order(parts, workers):
    module, dataset = parts
    images = RunImages(module, dataset, workers)
    rows = images.vectors(lambda view: view.mean((2, 3)), [WHOLE, WHOLE])
    assert rows.shape == (len(dataset), 2, 3) and len(images) == 26
    whole = ViewDataset(dataset.source, [WHOLE], 16, seed=0)
    for index in (0, 7, 25):
        pixels = torch.from_numpy(np.ascontiguousarray(whole[0, index]["views"][0])).permute(2, 0, 1)[None]
        expected = module.method.backbone.normalise(pixels).mean((2, 3))[0]
        torch.testing.assert_close(rows[index], expected.expand(2, 3))


def test_no_batch_is_a_single_image_which_batch_norm_would_refuse(parts):
    module, dataset = parts
    module.config.batch_size = 5
    norm, seen = torch.nn.BatchNorm1d(3), []

    def network(view: torch.Tensor) -> torch.Tensor:
        seen.append(len(view))
        return norm(view.mean((2, 3)))

    rows = RunImages(module, dataset, 0).vectors(network, [WHOLE])
    assert rows.shape == (26, 1, 3) and sum(seen) == 26 and min(seen) >= 2 and max(seen) <= 5


def test_no_readable_image_ends_the_pass_with_a_sentence(parts, tmp_path, monkeypatch):
    module, dataset = parts
    monkeypatch.setattr(type(dataset), "_read", lambda *rest: (_ for _ in ()).throw(UserError("nothing to read")))
    with pytest.raises(UserError, match="nothing to read"):
        RunImages(module, dataset, 0).vectors(lambda view: view.mean((2, 3)), [WHOLE])
