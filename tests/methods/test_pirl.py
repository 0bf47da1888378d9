"""What PIRL's paper says and the suite cannot know: its bank, its negatives, its jigsaw, its turns."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F

from densessl.backbones import create_backbone
from densessl.data.views import PatchSpec
from densessl.errors import UserError
from densessl.methods import methods
from densessl.methods.parts import MemoryBank
from tests.methods.conftest import NETWORKS, batch_for, build, one_step, progress


def nce_by_loops(z: torch.Tensor, m: torch.Tensor, negatives: torch.Tensor, noise: float, tau: float) -> float:
    """-log h(m, z) - sum of log(1 - h(n, z)), of one image, in the paper's own words."""

    def h(a: torch.Tensor, b: torch.Tensor) -> float:
        e = math.exp(float(F.cosine_similarity(a, b, dim=0)) / tau)
        return e / (e + noise)

    return -math.log(h(m, z)) - sum(math.log(1 - h(n, z)) for n in negatives)


@pytest.mark.parametrize("weight", [0.5, 0.2])
def test_the_loss_is_the_formula_with_the_bank_as_the_positive_of_both_terms(weight):
    method = build("pirl", data_size=20, partition=1.0, weight=weight, temperature=0.5).double()
    batch = batch_for(method, 4)
    batch["views"] = [view.double() for view in batch["views"]]
    bank = method.bank.rows.clone()
    torch.manual_seed(3)
    loss = float(method(batch).loss.detach())
    image, patches = batch["views"]
    torch.manual_seed(3)
    order = torch.rand(4, 9).argsort(1)
    with torch.no_grad():
        f = method.f(method.backbone(image))
        shown = torch.stack([each[places] for each, places in zip(patches, order, strict=True)])
        v = method.backbone(shown.flatten(0, 1)).view(4, 9, -1)
        each = torch.stack([method.g.patch(v[:, place]) for place in range(9)], dim=1)
        g = method.g.all(torch.cat(list(each.unbind(1)), dim=1))
    total = 0.0
    for i in range(4):  # all 16 images that are not in the batch are negatives
        settings = (bank[i], bank[4:], 16 / 20, 0.5)
        total += weight * nce_by_loops(g[i], *settings) + (1 - weight) * nce_by_loops(f[i], *settings)
    assert loss == pytest.approx(total / 4, rel=1e-6)


def test_the_cross_entropy_is_that_of_the_positive_among_the_negatives():
    method = build("pirl", data_size=20, objective="cross_entropy", weight=0.0).double()
    batch = batch_for(method, 4)
    batch["views"] = [view.double() for view in batch["views"]]
    bank = method.bank.rows.clone()
    with torch.no_grad():
        f = F.normalize(method.f(method.backbone(batch["views"][0])), dim=1)
    logits = torch.cat([(f * bank[:4]).sum(1, keepdim=True), f @ bank[4:].T], dim=1) / method.config.temperature
    expected = F.cross_entropy(logits, torch.zeros(4, dtype=torch.long))
    assert float(method(batch).loss.detach()) == pytest.approx(float(expected), rel=1e-6)
    assert method.chance(4) == pytest.approx(math.log(17))


def test_the_bank_follows_the_image_embedding_alone_after_the_loss():
    method = build("pirl", data_size=20)
    batch = batch_for(method, 4) | {"index": torch.tensor([7, 3, 11, 0])}
    before = method.bank.rows.clone()
    with torch.no_grad():
        f = F.normalize(method.f(method.backbone(batch["views"][0])), dim=1)
        method(batch)
        # Whatever the jigsaw's head says, the bank is the same.
        other = build("pirl", data_size=20)
        other.g.all.weight.mul_(-3)
        other(batch)
    expected = F.normalize(0.5 * before[batch["index"]] + 0.5 * f, dim=1)
    torch.testing.assert_close(method.bank.rows[batch["index"]], expected, rtol=1e-4, atol=1e-5)
    rest = [index for index in range(20) if index not in batch["index"]]
    assert torch.equal(method.bank.rows[rest], before[rest])
    assert torch.equal(other.bank.rows, method.bank.rows)


def test_the_bank_begins_as_unit_vectors_and_survives_a_restart():
    bank = MemoryBank(50, 6)
    torch.testing.assert_close(bank.rows.norm(dim=1), torch.ones(50))
    assert set(bank.state_dict()) == {"rows"}
    assert {"bank.rows", "partition"} <= set(build("pirl").state_dict())


def test_negatives_are_other_images_each_once():
    bank = MemoryBank(30, 4)
    with torch.no_grad():
        bank.rows.copy_(torch.arange(30.0)[:, None].expand(30, 4))
    index, seen = torch.tensor([2, 5, 29]), set()
    for _ in range(20):
        found = bank.others(10, index)[:, 0].int().tolist()
        assert len(found) == 10 == len(set(found)) and not {2, 5, 29} & set(found)
        seen |= set(found)
    assert seen == set(range(30)) - {2, 5, 29}
    assert len(bank.others(1000, index)) == 27


def test_a_batch_of_all_images_is_a_sentence():
    method = build("pirl", data_size=8)
    with pytest.raises(UserError, match="A batch of 8 leaves none of 8 images .* lower batch_size"):
        method(batch_for(method, 8))


def test_no_gradient_reaches_the_bank_and_both_heads_learn():
    method = build("pirl")
    method(batch_for(method)).loss.backward()
    assert not method.bank.rows.requires_grad
    assert all(
        float(each.grad.abs().max()) > 0 for each in (method.f.weight, method.g.patch.weight, method.g.all.weight)
    )


def test_the_heads_are_linear():
    method = build("pirl")
    x, y = torch.randn(2, 2, 9, method.backbone.channels)
    zero = method.g(torch.zeros_like(x))
    torch.testing.assert_close(method.g(x + y) - zero, method.g(x) - zero + method.g(y) - zero, rtol=1e-3, atol=1e-5)
    assert isinstance(method.f, torch.nn.Linear) and method.g.all.in_features == 9 * method.config.dim


def test_patches_come_in_an_order_of_each_image_and_the_order_matters():
    method = build("pirl")
    patches = torch.arange(9.0).view(1, 9, 1, 1, 1).expand(64, 9, 3, 2, 2)
    shown = method.transformed(patches)[:, :, 0, 0, 0]
    assert (
        all(sorted(row.tolist()) == list(range(9)) for row in shown)
        and len({tuple(row.tolist()) for row in shown}) > 50
    )
    # Every patch comes to every place about as often: 7 of 64 on average.
    assert max(int((shown[:, place] == patch).sum()) for place in range(9) for patch in range(9)) < 20
    v = torch.randn(1, 9, method.backbone.channels)
    assert not torch.allclose(method.g(v), method.g(v.flip(1)))


def test_a_turned_image_is_turned_by_quarters():
    method = build("pirl", pretext="rotation")
    image = torch.arange(64 * 3 * 16.0).view(64, 3, 4, 4)
    turned, counts = method.transformed(image), [0] * 4
    for before, after in zip(image, turned, strict=True):
        (found,) = [turn for turn in range(4) if torch.equal(after, torch.rot90(before, turn, (1, 2)))]
        counts[found] += 1
    assert min(counts) >= 5
    assert method.views == [method.config.view] * 2
    optimizer = torch.optim.SGD(method.parameters(), lr=0.1)
    assert torch.isfinite(one_step(method, optimizer, batch_for(method), progress()))


def test_the_partition_is_measured_on_the_first_batch_and_kept():
    method = build("pirl", data_size=20, temperature=0.5).double()
    batch = batch_for(method, 4)
    batch["views"] = [view.double() for view in batch["views"]]
    negatives = method.bank.rows[4:].clone()
    torch.manual_seed(1)
    method(batch)
    torch.manual_seed(1)
    with torch.no_grad():
        f = method.f(method.backbone(batch["views"][0]))
        g = method.g(method.represent(method.transformed(batch["views"][1])))
        s = F.normalize(torch.cat((f, g)), dim=1) @ negatives.T
    found = float(method.partition)
    assert found == pytest.approx(20 * float((s / 0.5).exp().mean()), rel=1e-6)
    method(batch | {"views": [2 * view for view in batch["views"]]})
    assert float(method.partition) == found
    again = build("pirl", data_size=20, temperature=0.5).double()
    again.load_state_dict(method.state_dict())
    again(batch)
    assert float(again.partition) == found
    assert float(build("pirl", partition=3.0).partition) == 3


def test_the_chance_level_is_the_loss_of_embeddings_that_point_anywhere():
    method = build("pirl", data_size=5000, dim=32, negatives=500, temperature=0.2)
    generator = torch.Generator().manual_seed(0)
    z, m, n = (F.normalize(torch.randn(rows, 32, generator=generator), dim=1) for rows in (4000, 4000, 500))
    s, negative = (z * m).sum(1) / 0.2, z @ n.T / 0.2
    noise = float(negative.exp().mean()) * 500
    loss = -(s.exp() / (s.exp() + noise)).log().mean() - (noise / (negative.exp() + noise)).log().sum(1).mean()
    assert method.chance(8) == pytest.approx(float(loss), rel=0.01)


@pytest.mark.parametrize(("image_size", "stride", "expected"), [(224, 32, (64, 85, 255)), (32, 8, (8, 12, 36))])
def test_the_jigsaw_is_cut_as_in_the_paper(image_size, stride, expected):
    backbone = create_backbone(
        "resnet18", image_size, NETWORKS["resnet"][1] | {"stem": "small" if stride == 8 else "standard"}
    )
    entry = methods()["pirl"]
    spec = entry.cls(backbone, entry.config(), 100).views[1]
    patches = spec.patches
    assert (patches.size, patches.step, patches.whole) == expected and patches.grid == 3
    assert patches.wander == patches.step - patches.size and patches.flip == 0.5
    assert spec.scale == (0.6, 1.0) and spec.flip == 0 and entry.config().view.scale == (0.08, 1.0)


def test_a_grid_of_the_users_own_is_taken():
    config = methods()["pirl"].config()
    jigsaw = type(config.jigsaw)(patches=PatchSpec(grid=2, size=8, step=8))
    method = build("pirl", jigsaw=jigsaw)
    assert method.g.all.in_features == 4 * method.config.dim
    assert torch.isfinite(method(batch_for(method)).loss)


@pytest.mark.parametrize("pretext", ["jigsaw", "rotation"])
def test_its_picture_shows_each_image_what_is_cut_and_what_is_shown(pretext):
    method = build("pirl", pretext=pretext).eval()
    batch = batch_for(method, 3)
    sheet = method.pictures(batch, lambda index: torch.full((16, 16, 3), index, dtype=torch.uint8).numpy())["pretext"]
    assert len(sheet.rows) == 3 and len(sheet.headers) == 3
    for number, (image, before, after) in enumerate(sheet.rows):
        assert image[0, 0, 0] == number and before.shape == after.shape and before.dtype == "uint8"
        width = before.shape[-2] * (3 if pretext == "jigsaw" else 1)
        assert 2 / 3 <= image.shape[1] / width <= 3 / 2
        assert before.ndim == (4 if pretext == "jigsaw" else 3)
        assert sorted(before.ravel()) == sorted(after.ravel())
    assert any((before != after).any() for _, before, after in sheet.rows)


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"pretext": "colour"}, "pirl.pretext=colour is not one of: jigsaw, rotation"),
        ({"objective": "hinge"}, "pirl.objective=hinge is not one of: nce, cross_entropy"),
        ({"partition": 0.0}, "pirl.partition=0.0"),
        ({"weight": 1.5}, "pirl.weight=1.5"),
        ({"negatives": 0}, "pirl.negatives=0"),
        ({"temperature": 0}, "pirl.temperature=0"),
    ],
)
def test_mistakes_name_their_key(wrong, words):
    with pytest.raises(UserError, match=words):
        methods()["pirl"].config(**wrong)


def test_the_defaults_are_the_papers():
    config = methods()["pirl"].config()
    known = {"temperature": 0.07, "weight": 0.5, "negatives": 32000, "momentum": 0.5, "dim": 128, "pretext": "jigsaw"}
    known |= {"objective": "nce", "partition": None}
    assert {key: getattr(config, key) for key in known} == known
