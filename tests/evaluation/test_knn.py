"""The votes are those of a slow loop and of scikit-learn; the protocol holds its sets apart and says what it did."""

import json
import math

import cv2
import numpy as np
import pytest
import torch
from sklearn.neighbors import KNeighborsClassifier

from densessl.backbones import create_backbone, save_backbone
from densessl.data.vectors import vectors
from densessl.errors import UserError
from densessl.evaluation import knn, protocol
from densessl.evaluation.baselines import fit_batch_norms
from densessl.evaluation.knn import KnnConfig, evaluate_knn, knn_predict
from densessl.evaluation.record import describe, write_record
from densessl.progress import silent
from tests.data import documents


def blobs(n: int, classes: int = 7, channels: int = 16, spread: float = 1.2, seed: int = 0):
    """Overlapping classes, so that neighbours disagree: z (n, D) float32, labels (n,)."""
    random = torch.Generator().manual_seed(seed)
    centres = torch.randn(classes, channels, generator=torch.Generator().manual_seed(99))
    labels = torch.randint(classes, (n,), generator=random)
    return centres[labels] + spread * torch.randn(n, channels, generator=random), labels


def slow(train, labels, test, k, temperature):
    """One test vector at a time, in float64: the votes (M, C)."""
    votes = []
    for vector in test.double():
        cosine = [float(vector @ other / vector.norm() / other.norm()) for other in train.double()]
        nearest = sorted(range(len(cosine)), key=lambda i: -cosine[i])[:k]
        counts = [0.0] * (int(labels.max()) + 1)
        for neighbour in nearest:
            counts[int(labels[neighbour])] += math.exp(cosine[neighbour] / temperature)
        votes.append(counts)
    return np.array(votes)


@pytest.mark.parametrize("k, temperature", [(1, 0.1), (20, 0.1), (200, 0.07), (20, 10.0)])
def test_predictions_are_those_of_a_slow_loop(k, temperature):
    (train, labels), (test, _) = blobs(250), blobs(60, seed=1)
    votes = slow(train, labels, test, k, temperature)
    ranked = knn_predict(train, labels, test, k, temperature)
    assert ranked.shape == (60, 5)
    assert np.array_equal(ranked[:, 0].numpy(), votes.argmax(axis=1))
    if k == 200:
        assert np.array_equal(ranked.numpy(), np.argsort(-votes, axis=1, kind="stable")[:, :5])


def test_predictions_are_those_of_scikit_learn():
    (train, labels), (test, _) = blobs(400), blobs(150, seed=1)
    unit = [torch.nn.functional.normalize(each.double(), dim=1).numpy() for each in (train, test)]

    def weights(distance):
        # On the unit sphere |a - b|^2 = 2 - 2 cos.
        return np.exp((1 - distance**2 / 2) / 0.1)

    peer = KNeighborsClassifier(30, weights=weights, algorithm="brute").fit(unit[0], labels.numpy())
    assert np.array_equal(knn_predict(train, labels, test, 30)[:, 0].numpy(), peer.predict(unit[1]))


def test_blocks_change_nothing(monkeypatch):
    (train, labels), (test, _) = blobs(333), blobs(101, seed=1)
    whole = knn_predict(train, labels, test, 50)
    for rows, columns in ((7, 1000), (1000, 13), (10, 40), (1, 1)):
        monkeypatch.setattr(knn, "ROWS", rows)
        monkeypatch.setattr(knn, "COLUMNS", columns)
        assert torch.equal(knn_predict(train, labels, test, 50), whole)


def test_k_beyond_the_training_set_lets_all_vote():
    (train, labels), (test, _) = blobs(30), blobs(20, seed=1)
    assert torch.equal(knn_predict(train, labels, test, 200), knn_predict(train, labels, test, 30))


def test_of_equal_votes_the_smaller_class_comes_first():
    train = torch.eye(4)
    assert knn_predict(train, torch.tensor([3, 1, 2, 0]), torch.ones(1, 4)).tolist() == [[0, 1, 2, 3]]
    assert knn_predict(train, torch.tensor([1, 1, 0, 0]), torch.ones(1, 4)).tolist() == [[0, 1]]


def test_a_near_neighbour_outvotes_several_far_ones_at_a_low_temperature_alone():
    train = torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.0, 1.0], [0.0, 1.0]])
    labels, test = torch.tensor([0, 1, 1, 1]), torch.tensor([[1.0, 0.2]])
    assert knn_predict(train, labels, test, 4, 0.1)[0, 0] == 0
    assert knn_predict(train, labels, test, 4, 10.0)[0, 0] == 1


def test_lengths_and_precision_of_vectors_do_not_matter():
    (train, labels), (test, _) = blobs(200), blobs(50, seed=1)
    expected = knn_predict(train, labels, test, 20)
    assert torch.equal(knn_predict(train * 1000, labels, test / 1000, 20), expected)
    assert torch.equal(knn_predict(train.double(), labels, test.double(), 20), expected)
    assert knn_predict(train, labels, test, 20, 1e-3).shape == expected.shape


def test_no_test_vectors_give_no_predictions():
    train, labels = blobs(20)
    assert knn_predict(train, labels, train[:0]).shape == (0, 5)


def write_images(folder, per_class: int, seed: int = 0, colours=("blue", "red")) -> None:
    """A folder per class of noise in that colour."""
    random = np.random.default_rng(seed)
    tints = {"blue": (200, 40, 30), "red": (30, 40, 200), "green": (30, 200, 40)}
    for colour in colours:
        (folder / colour).mkdir(parents=True)
        for number in range(per_class):
            image = (random.normal(tints[colour], 40, (32, 32, 3))).clip(0, 255).astype(np.uint8)
            cv2.imwrite(str(folder / colour / f"{number:03}.png"), image)


@pytest.fixture(scope="module")
def backbone(tmp_path_factory):
    folder = tmp_path_factory.mktemp("backbone")
    torch.manual_seed(3)
    save_backbone(create_backbone("test_vit", 32), folder, {"method": "none"})
    return str(folder)


def evaluate(backbone, data, **settings):
    return evaluate_knn(KnnConfig(backbone, str(data), workers=0, devices="cpu", **settings), silent)


def test_a_folder_with_splits_is_judged_on_its_test_split(tmp_path, backbone):
    write_images(tmp_path / "train", 12)
    write_images(tmp_path / "test", 5, seed=1)
    record = evaluate(backbone, tmp_path, k=5, baselines=True, seed=4)
    assert record["figures"]["top1"] > 0.9 and "top5" not in record["figures"]
    assert record["data"]["train"].startswith("24 images") and record["data"]["test"] == "10 images, split test"
    assert record["baselines"]["raw_pixels"]["top1"] > 0.9
    assert record["baselines"]["untrained"]["seed"] == 4
    assert record["figures"]["always_the_largest_class"] == 0.5
    assert "k = 5" in record["rule"] and "32 x 32" in record["rule"]
    assert {"command", "environment", "seconds", "settings", "backbone", "seed"} <= record.keys()
    assert record["backbone"]["trained"]["method"] == "none"


def test_without_a_test_set_a_fifth_is_held_out_whatever_the_seed(tmp_path, backbone):
    write_images(tmp_path, 15)
    first, second = (evaluate(backbone, tmp_path, seed=seed) for seed in (0, 1))
    assert first["data"]["test"].startswith("6 images, 1 in 5 of the images held out by the hash")
    assert first["data"]["train"].startswith("24 images")
    assert first["figures"] == second["figures"]
    assert "k = 24 (of 200 asked for)" in first["rule"]


def test_pages_are_held_out_with_their_document(tmp_path):
    for name, greys in {"a/1": 7, "a/2": 1, "a/3": 4, "b/4": 3, "b/5": 5, "b/6": 2, "b/7": 2}.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / f"{name}.pdf").write_bytes(documents.pages([0.5] * greys))
    train, test = protocol.find_sets(protocol.ProtocolConfig(backbone="", data=str(tmp_path)))
    of = [{each.source.document(index) for index in each.indices} for each in (train, test)]
    assert not of[0] & of[1] and len(of[0] | of[1]) == 7
    assert len(train.indices) + len(test.indices) == 24 and 1 <= len(test.indices) <= 8
    assert "documents' names" in test.how


def test_held_out_images_do_not_vote(tmp_path, backbone, monkeypatch):
    write_images(tmp_path, 15)
    asked = []

    def spy(source, indices, *rest):
        asked.append({source.name(int(index)) for index in indices})
        return vectors(source, indices, *rest)

    monkeypatch.setattr(protocol, "vectors", spy)
    evaluate(backbone, tmp_path)
    assert not asked[0] & asked[1] and len(asked[0] | asked[1]) == 30


def test_a_test_set_of_its_own_is_matched_by_the_names_of_classes(tmp_path, backbone):
    write_images(tmp_path / "a", 10, colours=("blue", "green", "red"))
    write_images(tmp_path / "b", 6, seed=1, colours=("green", "red"))
    record = evaluate(backbone, tmp_path / "a", test=str(tmp_path / "b"), k=5)
    assert record["figures"]["top1"] > 0.9
    with pytest.raises(UserError, match="class 'blue', which the training images lack"):
        evaluate(backbone, tmp_path / "b", test=str(tmp_path / "a"))


def test_a_limit_is_drawn_by_the_seed(tmp_path, backbone):
    write_images(tmp_path, 15)
    record = evaluate(backbone, tmp_path, limit=4, seed=2)
    assert record["data"]["train"].startswith("4 images, drawn by seed 2 from 24")
    assert record["data"]["test"].startswith("4 images")


def test_unreadable_images_are_counted_and_too_many_end_it(tmp_path, backbone):
    write_images(tmp_path, 15)
    (tmp_path / "red" / "000.png").write_bytes(b"no picture")
    record = evaluate(backbone, tmp_path)
    assert record["figures"]["unreadable_images"] == 1
    with pytest.raises(UserError, match="000.png"):
        evaluate(backbone, tmp_path, unreadable=0.0)


def test_mistakes_are_sentences(tmp_path, backbone):
    write_images(tmp_path / "labelled", 4)
    bare = tmp_path / "bare"
    bare.mkdir()
    for number in range(3):
        cv2.imwrite(str(bare / f"{number}.png"), np.zeros((32, 32, 3), np.uint8))
    with pytest.raises(UserError, match="A protocol needs labels, and none of the 3 images"):
        evaluate(backbone, bare)
    with pytest.raises(UserError, match="are the training images"):
        evaluate(backbone, tmp_path / "labelled", test=str(tmp_path / "labelled"))
    with pytest.raises(UserError, match="k=0 is too small"):
        evaluate(backbone, tmp_path / "labelled", k=0)
    with pytest.raises(UserError, match="temperature=0"):
        evaluate(backbone, tmp_path / "labelled", temperature=0.0)
    with pytest.raises(UserError, match="one class"):
        write_images(tmp_path / "single", 9, colours=("red",))
        evaluate(backbone, tmp_path / "single")
    with pytest.raises(UserError):
        evaluate(backbone, tmp_path / "labelled", image_size=33)


def test_the_untrained_baseline_has_batch_norms_of_the_data_and_the_seeds_weights(tmp_path):
    torch.manual_seed(5)
    backbone = create_backbone("test_resnet", 32)
    save_backbone(backbone, tmp_path / "backbone", {})
    write_images(tmp_path / "data", 20)
    found = evaluate(str(tmp_path / "backbone"), tmp_path / "data", seed=5, baselines=True, batch_size=32)["baselines"]
    assert "batch norms with the statistics of up to 1024 training images" in found["untrained"]["what"]
    images = torch.rand(64, 3, 32, 32)
    untouched = backbone.eval()(images)
    fit_batch_norms(backbone, lambda: backbone(images))
    norms = [part for part in backbone.modules() if isinstance(part, torch.nn.BatchNorm2d)]
    assert not any(part.training for part in norms) and norms[0].momentum == 0.1
    fitted = backbone(images)
    assert not torch.allclose(fitted, untouched)
    assert torch.allclose(fitted, backbone.train()(images), atol=0.05)


def test_a_record_is_written_whole_and_reads_back(tmp_path, backbone):
    write_images(tmp_path / "data", 8)
    record = evaluate(backbone, tmp_path / "data")
    write_record(
        record | {"odd": [math.nan, np.float32(0.5), torch.tensor([1, 2]), tmp_path]}, tmp_path / "record.json"
    )
    back = json.loads((tmp_path / "record.json").read_text())
    assert back["figures"] == record["figures"]
    assert back["odd"] == [None, 0.5, [1, 2], str(tmp_path)]
    assert f"top1                      {record['figures']['top1']:.4g}" in describe(record)
