"""CMC: what its paper and official code say, against the formulas written slowly."""

from __future__ import annotations

import copy
import math

import pytest
import torch
import torch.nn.functional as F

from densessl.backbones import SplitBackbone
from densessl.data.views import ViewSpec
from densessl.errors import UserError
from densessl.methods import methods
from densessl.methods.cmc import CMCConfig
from tests.methods.conftest import batch_for, build, one_step, progress

DATA = 64  # images of the data in `build`


def exact(**changes: object) -> torch.nn.Module:
    """The method in float64, its banks at length 1 in that precision."""
    method = build("cmc", **changes).double()
    for bank in method.banks:
        bank.rows = F.normalize(bank.rows, dim=1)
    return method


def images_for(method: torch.nn.Module, count: int = 6, seed: int = 0) -> dict:
    """Views with pixels in [0, 1], in float64, and the layers that the method asks for."""
    generator = torch.Generator().manual_seed(seed)
    batch = batch_for(method, count, seed)
    batch["views"] = [torch.rand(count, 3, 16, 16, generator=generator, dtype=torch.float64)]
    shapes = {name: 1 if name == "labels" else channels for name, channels in method.config.beside.items()}
    batch["layers"] = [
        torch.randint(0, 5 if name == "labels" else 256, (count, channels, 16, 16), generator=generator).to(torch.uint8)
        for name, channels in shapes.items()
    ]
    batch["index"] = 3 * torch.arange(count) + 1
    return batch


def vectors(method: torch.nn.Module, batch: dict) -> list[torch.Tensor]:
    """z of every view, the slow way: part by part through encoder and linear layer."""
    parts = method.parts(batch)
    return [
        F.normalize(head(method.encoder(name)(part)), dim=1)
        for name, head, part in zip(method.names, method.projectors, parts, strict=True)
    ]


def slow_loss(method, z, banks, index, drawn, pairs, log_z=None, group=None):
    """Sum over pairs of the mean over images; of the images and videos in `drawn` that are not the query's own."""
    group = torch.arange(DATA) if group is None else group
    tau, total = method.config.temperature, 0.0
    for place, (i, j) in enumerate(pairs):
        for row, image in enumerate(index.tolist()):
            query, bank = z[i][row], banks[j]
            others = [k for k in drawn.tolist() if group[k] != group[image]]
            h = {k: torch.exp(query @ bank[k] / tau) for k in [image, *others]}
            if log_z is None:
                term = -torch.log(h[image] / (h[image] + sum(h[k] for k in others)))
            else:
                noise = len(others) / DATA
                p = {k: value / math.exp(log_z[place]) for k, value in h.items()}
                term = -torch.log(p[image] / (p[image] + noise))
                term = term - sum(torch.log(1 - p[k] / (p[k] + noise)) for k in others)
            total = total + term / len(index)
    return total


def drawn_at(method: torch.nn.Module, seed: int) -> torch.Tensor:
    torch.manual_seed(seed)
    return method.draw(torch.device("cpu"))


@pytest.mark.parametrize("objective", ["nce", "softmax"])
@pytest.mark.parametrize(("split", "graph", "count"), [("lab", "core", 2), ("rgb", "core", 4), ("rgb", "full", 6)])
def test_each_view_is_told_by_the_bank_of_the_other(objective, split, graph, count):
    """Core view: the first with each other, both ways; full graph: every pair. L is compared with ab's bank."""
    method = exact(objective=objective, split=split, graph=graph)
    pairs = [(i, j) for i in range(3) for j in range(3) if i != j and (graph == "full" or 0 in (i, j))]
    pairs = [pair for pair in pairs if max(pair) < len(method.names)]
    assert method.pairs == pairs and len(pairs) == count
    for seed in (1, 2):  # the second batch meets a Z that stands and a bank that has moved
        batch = images_for(method, seed=seed)
        banks = [bank.rows.clone() for bank in method.banks]
        drawn = drawn_at(method, seed)
        assert len(set(drawn.tolist())) < len(drawn) == 24  # with replacement
        z = [each.detach() for each in vectors(copy.deepcopy(method), batch)]
        torch.manual_seed(seed)
        loss = float(method(batch).loss.detach())
        log_z = method.log_z.tolist() if objective == "nce" else None
        assert loss == pytest.approx(float(slow_loss(method, z, banks, batch["index"], drawn, pairs, log_z)), rel=1e-9)


def test_z_is_the_mean_of_the_first_batch_and_stays_through_a_restart():
    method = exact()
    assert torch.isnan(method.log_z).all() and "log_z" in method.state_dict()
    batch, banks = images_for(method), [bank.rows.clone() for bank in method.banks]
    drawn, z = drawn_at(method, 5), vectors(copy.deepcopy(method), batch)
    torch.manual_seed(5)
    method(batch)
    for place, (i, j) in enumerate(method.pairs):
        scores = []
        for row, image in enumerate(batch["index"].tolist()):
            kept = [image] + [k for k in drawn.tolist() if k != image]
            scores += [float(torch.exp(z[i][row] @ banks[j][k] / 0.07).detach()) for k in kept]
        assert float(method.log_z[place]) == pytest.approx(math.log(DATA * sum(scores) / len(scores)), rel=1e-9)
    first = method.log_z.clone()
    again = exact()
    again.load_state_dict(method.state_dict())
    for each in (method, again):
        each(images_for(each, seed=3))
        assert torch.equal(each.log_z, first)


def test_the_bank_moves_after_the_loss_by_index_and_stays_at_length_1():
    method = exact(momentum=0.25)
    batch = images_for(method)
    before, z = [bank.rows.clone() for bank in method.banks], vectors(copy.deepcopy(method), batch)
    method(batch)
    others = [k for k in range(DATA) if k not in batch["index"].tolist()]
    for bank, old, new in zip(method.banks, before, z, strict=True):
        expected = F.normalize(0.25 * old[batch["index"]] + 0.75 * new.detach(), dim=1)
        torch.testing.assert_close(bank.rows[batch["index"]], expected)
        assert torch.equal(bank.rows[others], old[others])
        torch.testing.assert_close(bank.rows.norm(dim=1), torch.ones(DATA, dtype=torch.float64))


def test_frames_of_the_same_video_are_no_negatives():
    """What came with a batch is known of later batches too."""
    method = exact(objective="softmax", negatives=DATA)
    group = torch.arange(DATA)
    for seed in (0, 1):
        batch = images_for(method, seed=seed)
        batch["index"] = batch["index"] + seed
        batch["group"] = 1000 + batch["index"] // 9
        group[batch["index"]] = batch["group"]
        banks = [bank.rows.clone() for bank in method.banks]
        z = [each.detach() for each in vectors(copy.deepcopy(method), batch)]
        loss = float(method(batch).loss.detach())
        expected = slow_loss(method, z, banks, batch["index"], torch.arange(DATA), method.pairs, group=group)
        assert loss == pytest.approx(float(expected), rel=1e-9)
    assert torch.equal(method.group, group)


def test_each_encoder_sees_its_channels_alone():
    """A grey picture has no ab; what changes L alone leaves the vector of ab as it is."""
    method = build("cmc").double().eval()
    grey = torch.rand(2, 1, 16, 16, dtype=torch.float64).expand(-1, 3, -1, -1)
    other = torch.rand(2, 1, 16, 16, dtype=torch.float64).expand(-1, 3, -1, -1)
    with torch.no_grad():
        (l_one, ab_one), (l_two, ab_two) = (
            method.backbone.vectors(method.backbone.groups(each)) for each in (grey, other)
        )
    # The white of the matrix and that of the formula differ in the sixth digit.
    torch.testing.assert_close(ab_one, ab_two, atol=1e-3, rtol=1e-3)
    assert float((l_one - l_two).abs().max()) > 1e-3 * float(l_one.abs().max())


def test_colours_are_converted_in_float32_under_autocast():
    method = build("cmc")
    images = torch.rand(2, 3, 16, 16)
    plain = method.backbone.groups(images)
    with torch.autocast("cpu", torch.bfloat16):
        assert all(torch.equal(a, b) for a, b in zip(method.backbone.groups(images), plain, strict=True))


ALL = {"depth": ".", "normals": ".", "labels": ".", "label_classes": 4, "later": 3, "flow": 2}


def test_views_beside_the_image_have_encoders_of_their_own_and_are_not_exported():
    method = exact(**ALL)
    assert method.names == ["L", "ab", "depth", "normals", "labels", "later", "flow"]
    channels = [each.model.conv1.in_channels for each in method.encoders.values()]
    assert dict(zip(method.encoders, channels, strict=True)) == {"depth": 1, "normals": 3, "labels": 4, "flow": 4}
    batch = images_for(method)
    output = method(batch)
    output.loss.backward()
    assert all(parameter.grad is not None for parameter in method.parameters())
    assert isinstance(method.backbone, SplitBackbone) and len(method.backbone.encoders) == 2
    assert output.embedding.shape == (6, method.backbone.channels) == (6, 32)
    assert len(method.pairs) == 12  # the first view with six others, both ways
    assert len(build("cmc", graph="full", **ALL).pairs) == 42


def test_what_the_encoders_beside_the_image_see():
    method = build("cmc", **ALL)
    batch = images_for(method)
    batch["views"] = [view.float() for view in batch["views"]]
    parts = dict(zip(method.names, method.parts(batch), strict=True))
    depth, normals, labels, later, flow = batch["layers"]
    torch.testing.assert_close(parts["depth"], depth / 127.5 - 1)
    assert float(parts["normals"].abs().max()) <= 1
    assert torch.equal(parts["labels"].argmax(1)[labels[:, 0] < 4], labels[:, 0][labels[:, 0] < 4].long())
    assert not parts["labels"].sum(1)[labels[:, 0] >= 4].any()  # no class
    still = torch.full_like(flow, 128)
    assert not method.parts(batch | {"layers": [depth, normals, labels, later, still]})[-1].any()
    assert torch.equal(parts["later"], method.backbone.groups(later / 255)[0])


def test_a_later_frame_is_seen_by_the_encoder_of_the_first_group():
    method = build("cmc", split="r,g,b", later=1)
    assert method.encoder("later") is method.backbone.encoders[0] and method.projectors[0] is method.projectors[1]
    batch = images_for(method)
    levels = torch.randint(0, 256, (6, 3, 16, 16), dtype=torch.uint8)
    batch = batch | {"views": [method.backbone.normalise(levels)], "layers": [levels]}
    z, z_later = vectors(method, batch)
    torch.testing.assert_close(z, z_later)


def test_the_chance_level_is_that_of_vectors_that_are_all_alike():
    for objective in ("nce", "softmax"):
        for negatives, k in ((24, 24), (10**6, DATA - 1)):
            method = exact(objective=objective, negatives=negatives)
            for bank in method.banks:
                bank.rows = bank.rows[:1].repeat(DATA, 1)
            with torch.no_grad():
                for head, bank in zip(method.projectors, method.banks, strict=True):
                    head.weight.zero_()
                    head.bias.copy_(bank.rows[0])
            batch = images_for(method)
            batch["index"] += 24
            torch.manual_seed(0)
            loss = float(method(batch).loss.detach())
            # An image that is drawn as its own negative is left out, so that K is less by it now and then.
            assert loss == pytest.approx(method.chance(6), rel=1e-9 if k == DATA - 1 else 0.02)
            expected = math.log(k + 1) + (k * math.log(1 + 1 / k) if objective == "nce" else 0)
            assert method.chance(6) == pytest.approx(2 * expected)


def test_the_defaults_are_the_official_codes():
    config = methods()["cmc"].config()
    assert (config.split, config.objective, config.graph) == ("lab", "nce", "core")
    assert (config.negatives, config.temperature, config.momentum, config.dim) == (16384, 0.07, 0.5, 128)
    assert config.view == ViewSpec(count=1, scale=(0.2, 1.0), flip=0.5, jitter=0, grey=0, blur=0, solarize=0)


def test_it_goes_on_from_a_split_backbone_and_refuses_another_split():
    first = build("cmc")
    one_step(first, torch.optim.SGD(first.parameters(), lr=0.1), batch_for(first), progress())
    entry = methods()["cmc"]
    again = entry.cls(first.backbone, entry.config(dim=8), DATA)
    assert again.backbone is first.backbone
    with pytest.raises(UserError, match="trained on"):
        entry.cls(first.backbone, entry.config(split="rgb"), DATA)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"split": "lob"}, "splits no image"),
        ({"split": "r,g,b"}, "single view"),
        ({"graph": "ful"}, "graph=ful is not one of: core, full; did you mean 'full'"),
        ({"objective": "bce"}, "objective=bce"),
        ({"flow_algorithm": "tvl1"}, "flow_algorithm=tvl1"),
        ({"negatives": 0}, "negatives=0"),
        ({"temperature": 0}, "temperature=0"),
        ({"momentum": 1.5}, "momentum=1.5"),
        ({"flow": -1}, "flow=-1"),
        ({"flow_bound": 0}, "flow_bound=0"),
        ({"labels": "maps"}, "label_classes"),
        ({"label_classes": 3}, "go together"),
        ({"labels": "maps", "label_classes": 1}, "from 2 to 255"),
        ({"depth_extent": (0, 1)}, "give that folder too"),
        ({"depth": "d", "depth_extent": (1, 0)}, "smaller one first"),
        ({"view": ViewSpec(jitter=0.8, grey=0)}, r"view.jitter=0.8 would break the split"),
        ({"view": ViewSpec(jitter=0, grey=0.2)}, "view.grey=0.2"),
        ({"view": ViewSpec(jitter=0, grey=0, count=2)}, "view.count=2"),
    ],
)
def test_what_does_not_fit_costs_a_sentence_that_names_the_key(options, words):
    with pytest.raises(UserError, match=words):
        CMCConfig(**options)
