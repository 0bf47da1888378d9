"""The linear probe's loss and steps equal the paper's written out; batches without labels; released checkpoints."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch
import torch.nn.functional as F

from densessl.errors import UserError
from densessl.evaluation import evaluate
from densessl.evaluation.probe import learn_probe, probe_loss, shown_labels
from densessl.evaluation.segmentation import confusion_matrix, segmentation_scores
from densessl.segmentation.features.kept import Features
from densessl.segmentation.features.transform import Frame
from densessl.segmentation.sets.official import centre_square
from densessl.segmentation.stego.head import StegoHead
from tests.segmentation.conftest import scene
from tests.segmentation.stego.stego_files import codes, features, save, weights

SHAPES = [(2, 3), (4, 2)]


class Labels:
    """Label maps of two images whose features have `SHAPES` at stride 8; `void`: of those, none has a label."""

    classes = ("a", "b", "c")

    def __init__(self, void: tuple[int, ...] = ()) -> None:
        random = np.random.default_rng(0)
        self.maps = [random.integers(-1, 3, (16 * h, 16 * w)).astype(np.int16) for h, w in SHAPES]
        for index in void:
            self.maps[index][:] = -1

    def labels(self, index: int) -> np.ndarray:
        return self.maps[index]


def kept(channels: int = 5) -> Features:
    generator = torch.Generator().manual_seed(0)
    arrays = [torch.randn(h * w, channels, generator=generator).numpy() for h, w in SHAPES]
    return Features([0, 1], list(SHAPES), arrays)


class Fixed(Frame):
    """Half of the label map's size, which is 8 times the map's."""

    def size(self, height: int, width: int) -> tuple[int, int]:
        return height // 2, width // 2


def test_the_loss_is_the_mean_over_all_labelled_pixels_of_the_batch():
    generator = torch.Generator().manual_seed(0)
    scores = [torch.randn(3, *shape, generator=generator, dtype=torch.float64, requires_grad=True) for shape in SHAPES]
    labels = [torch.randint(-1, 3, (6, 7), generator=generator), torch.randint(-1, 3, (5, 9), generator=generator)]
    total, count = 0.0, 0
    for each, target in zip(scores, labels, strict=True):
        resized = F.interpolate(each[None], target.shape, mode="bilinear", align_corners=False)[0]
        for y, x in (target >= 0).nonzero().tolist():
            total = total + resized[:, y, x].logsumexp(0) - resized[int(target[y, x]), y, x]
            count += 1
    torch.testing.assert_close(probe_loss(scores, labels), total / count)


def test_a_batch_without_a_label_gives_no_gradient_and_no_nan():
    scores = [torch.randn(3, 2, 2, requires_grad=True)]
    loss = probe_loss(scores, [torch.full((4, 4), -1)])
    loss.backward()
    assert float(loss.detach()) == 0 and not scores[0].grad.any()
    made = learn_probe(kept(), Labels(void=(0, 1)), Fixed(16, 8), None, 3, 2, 5e-3, seed=0)
    assert torch.isfinite(made.centres).all() and torch.isfinite(made.bias).all()
    made = learn_probe(kept(), Labels(void=(0,)), Fixed(16, 8), None, 6, 1, 5e-3, seed=0)
    assert torch.isfinite(made.centres).all()


@pytest.mark.parametrize("coded", [False, True])
def test_the_probe_is_that_of_adam_on_a_1x1_convolution_and_leaves_the_head_alone(coded):
    torch.manual_seed(3)
    head = StegoHead(5, 4) if coded else None
    before = {name: value.clone() for name, value in head.state_dict().items()} if coded else {}
    made = learn_probe(kept(), Labels(), Fixed(16, 8), head, 7, 2, 5e-3, seed=1)
    torch.manual_seed(1)
    convolution = torch.nn.Conv2d(4 if coded else 5, 3, 1)
    adam = torch.optim.Adam(convolution.parameters(), lr=5e-3)
    for _ in range(7):  # a batch is both images, in either order
        loss, count = 0.0, 0
        for row, (h, w) in enumerate(SHAPES):
            tokens = kept().tokens(row)
            code = tokens if head is None else head.eval()(tokens).detach()
            target = torch.from_numpy(Labels().maps[row][1::2, 1::2].astype(np.int64))[None]
            logits = F.interpolate(convolution(code.T.reshape(1, -1, h, w)), target.shape[1:], mode="bilinear")
            loss = loss + F.cross_entropy(logits, target, ignore_index=-1, reduction="sum")
            count += int((target >= 0).sum())
        adam.zero_grad()
        (loss / count).backward()
        adam.step()
    torch.testing.assert_close(made.centres, convolution.weight.flatten(1), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(made.bias, convolution.bias, rtol=1e-4, atol=1e-5)
    assert all(torch.equal(value, head.state_dict()[name]) for name, value in before.items())


def test_label_maps_are_taken_at_the_size_at_which_the_image_is_shown():
    labels = np.arange(12, dtype=np.int16).reshape(3, 4)
    found = shown_labels(np.kron(labels, np.ones((16, 16), np.int16)), Frame(24, 8))
    assert found.shape == (24, 32) and found.dtype == torch.int16
    assert (found[4::8, 4::8].numpy() == labels).all()


@pytest.fixture(scope="module")
def coco(tmp_path_factory):
    """COCO-Stuff's layout with two images per split, whose stored ids are 90 to 181 (stuff), some 255."""
    root = tmp_path_factory.mktemp("coco")
    random = np.random.default_rng(0)
    for split in ("train2017", "val2017"):
        for folder in ("images", "annotations"):
            (root / folder / split).mkdir(parents=True)
        for index in range(2):
            image = cv2.resize(scene(index, 48, 64)[0], (480, 360), interpolation=cv2.INTER_NEAREST)
            cv2.imwrite(str(root / "images" / split / f"{index}.jpg"), image)
            blocks = random.integers(91, 182, (6, 8)).astype(np.uint8)
            blocks[0, 0] = 255
            values = np.kron(blocks, np.ones((60, 60), np.uint8))
            cv2.imwrite(str(root / "annotations" / split / f"{index}.png"), values)
    return root


def test_a_released_checkpoint_is_judged_both_ways_by_both_of_its_probes(coco, tmp_path):
    state = weights(depth=1, patch=16)
    path = save(tmp_path / "cocostuff27_vit_small_1.ckpt", state)
    settings = ["devices=cpu", "image_size=48", "judge=[honest,official]", "refine=[none]"]
    record = evaluate(str(path), "segments", f"cocostuff27:{coco}", settings)
    figures = record["figures"]
    ways = [f"{way}: {probe} probe" for way in ("honest", "official") for probe in ("cluster", "linear")]
    assert set(ways) < figures.keys() and "codes of cluster probe" in figures
    assert record["backbone"]["spec"] == str(path)
    # The official way, written plainly: squares of 320 px, mirrored too, codes resized, a matching for clusters alone.
    totals = {"cluster": np.zeros((27, 27), np.int64), "linear": np.zeros((27, 27), np.int64)}
    from densessl.segmentation.sets import open_labelled

    held = open_labelled(f"cocostuff27:{coco}", "val")
    for index in range(2):
        square = torch.from_numpy(centre_square(held.source.read(index), 320)).permute(2, 0, 1)
        truth = centre_square(held.labels(index), 320)
        one = codes(state, features(state, square, 6, 16)).T.reshape(1, -1, 20, 20)
        two = codes(state, features(state, square.flip(2), 6, 16)).T.reshape(1, -1, 20, 20).flip(3)
        code = F.interpolate((one + two) / 2, (320, 320), mode="bilinear", align_corners=False)
        centres = F.normalize(state["cluster_probe.clusters"], dim=1)
        cluster = torch.einsum("bdhw,kd->bkhw", F.normalize(code, dim=1), centres).argmax(1)[0].numpy()
        linear = F.conv2d(code, state["linear_probe.weight"], state["linear_probe.bias"]).argmax(1)[0].numpy()
        totals["cluster"] += confusion_matrix(cluster, truth, 27, 27)
        totals["linear"] += confusion_matrix(linear, truth, 27, 27)
    for probe, total in totals.items():
        given = np.arange(27) if probe == "linear" else None
        slow = segmentation_scores(total, given, absent="official", unmatched="out")
        assert figures[f"official: {probe} probe"]["miou"] == pytest.approx(slow.miou, abs=1e-4)
        assert figures[f"official: {probe} probe"]["accuracy"] == pytest.approx(slow.accuracy, abs=1e-4)


def test_on_other_classes_only_the_clusters_of_a_released_checkpoint_are_judged(coco, tmp_path):
    path = save(tmp_path / "x.ckpt", weights(depth=1, patch=16))
    settings = ["devices=cpu", "image_size=48", "refine=[none]"]
    record = evaluate(str(path), "segments", f"cocostuff15:{coco}", settings)
    assert "cluster probe" in record["figures"] and "linear probe" not in record["figures"]
    assert "left out" in record["notes"][0]


def test_a_method_that_is_none_is_a_sentence(coco):
    with pytest.raises(UserError, match="give one or more of kmeans, stego, linear"):
        evaluate("colour", "segments", f"cocostuff27:{coco}", ["methods=[probe]"])
