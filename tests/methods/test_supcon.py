"""What SupCon's paper says and the suite cannot know."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from densessl.data.views import ViewSpec
from densessl.errors import UserError
from densessl.methods import methods
from densessl.methods.supcon import SupConConfig
from tests.methods.conftest import batch_for, build


@pytest.mark.parametrize("unit", [True, False])
def test_it_is_l_out_on_the_projections_of_unit_vectors(unit):
    method = build("supcon", unit_representation=unit).double()
    batch = batch_for(method, 6)
    batch["views"] = [view.double() for view in batch["views"]]
    r = method.backbone(torch.cat(batch["views"]))
    z = F.normalize(method.projector(F.normalize(r, dim=1) if unit else r), dim=1)
    logits = (z @ z.T / 0.1).fill_diagonal_(-torch.inf)
    labels = batch["target"].repeat(2)
    positive = (labels[:, None] == labels).fill_diagonal_(False)
    assert positive.sum(1).tolist() == [3] * 12
    expected = -(logits.log_softmax(1).masked_fill(~positive, 0).sum(1) / 3).mean()
    assert float(method(batch).loss.detach()) == pytest.approx(float(expected.detach()), rel=1e-10)


def test_labels_are_what_it_learns_from():
    method, batch = build("supcon"), batch_for(build("supcon"))
    losses = [float(method(batch | {"target": labels}).loss.detach()) for labels in (batch["target"], torch.arange(8))]
    assert losses[0] != pytest.approx(losses[1], rel=1e-3)
    # With a label for each image it is SimCLR's loss.
    h = method.backbone(torch.cat(batch["views"]))
    z = F.normalize(method.projector(F.normalize(h, dim=1)), dim=1)
    logits = (z @ z.T / 0.1).fill_diagonal_(-torch.inf)
    expected = F.cross_entropy(logits, torch.arange(16).roll(8))
    assert losses[1] == pytest.approx(float(expected.detach()), rel=1e-4)


def test_the_defaults_are_the_papers():
    config = SupConConfig()
    assert (config.temperature, config.hidden, config.dim, config.unit_representation) == (0.1, 2048, 128, True)
    assert config.view == ViewSpec(count=2) and methods()["supcon"].needs == ("target",)
    layers = [type(part).__name__ for part in build("supcon").projector]
    assert layers == ["Linear", "ReLU", "Linear"]


def test_mistakes_name_their_key():
    for changes, words in (({"temperature": 0.0}, "temperature=0"), ({"view": ViewSpec()}, "view.count=1")):
        with pytest.raises(UserError, match=f"supcon.{words}"):
            SupConConfig(**changes)
