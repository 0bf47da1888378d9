"""The protocol of segments: figures that are those of the masks, pictures, several seeds, models of files."""

from __future__ import annotations

import tempfile

import cv2
import numpy as np
import pytest
import torch

from densessl.data.sources.files import Files
from densessl.data.synthetic import CLASSES
from densessl.errors import UserError
from densessl.evaluation import segments
from densessl.evaluation.cooccurrence import BINS, sample_places
from densessl.evaluation.judged import Judged, mean_of_classes
from densessl.evaluation.segmentation import confusion_matrix, segmentation_scores
from densessl.evaluation.twins import twins
from densessl.progress import silent
from densessl.segmentation.config import SegmentConfig, StegoConfig
from densessl.segmentation.features import remade
from densessl.segmentation.features.extractor import Extractor
from densessl.segmentation.features.kept import Features
from densessl.segmentation.refinement import crf
from densessl.segmentation.run import segment
from densessl.segmentation.sets import open_labelled
from tests.evaluation.judging import judge


def test_the_figures_are_those_of_the_masks_that_segment_writes(data, tmp_path):
    record = judge(
        data, "methods=[kmeans]", "refine=[none,crf]", "seeds=1", "seed=3", "learn_split=val", "least_area=0.01"
    )
    for refine, title in (("none", "kmeans"), ("crf", "kmeans, crf")):
        out = tmp_path / refine
        config = SegmentConfig(
            data=str(data / "images" / "val"), out=str(out), classes=len(CLASSES), method="kmeans", seed=3,
            refine=refine, refine_size=80, devices="cpu", backbone="colour", least_area=0.01,
        )  # fmt: skip
        segment(config, lambda *told: None)
        total = np.zeros((len(CLASSES), len(CLASSES)), dtype=np.int64)
        for path in sorted((data / "labels" / "val").iterdir()):
            truth = cv2.imread(str(path), cv2.IMREAD_UNCHANGED).astype(int)
            found = cv2.imread(str(out / "labels" / path.name), cv2.IMREAD_UNCHANGED)
            total += confusion_matrix(found, np.where(truth == 255, -1, truth), *total.shape)
        scores = segmentation_scores(total, absent="all")
        assert record["figures"][title] == {
            "miou": pytest.approx(scores.miou),
            "accuracy": pytest.approx(scores.accuracy),
        }


def test_several_seeds_pictures_and_baselines(data, tmp_path):
    from densessl.backbones import create_backbone, save_backbone

    network = create_backbone("resnet18", 32, {"channels": [8, 8, 16, 16], "layers": [1, 1, 1, 1], "stem_width": 8})
    save_backbone(network, tmp_path / "run", {"method": "none"})
    settings = ("seeds=2", "refine=[none]", "baselines=true", f"pictures={tmp_path / 'pictures'}", "stego.dim=8")
    record = judge(data, *settings, backbone=str(tmp_path / "run"))
    figures = record["figures"]
    assert {"kmeans", "stego", "features", "codes of stego", "always the commonest class"} == figures.keys()
    assert 0 < figures["stego"]["miou"] < 1 and figures["stego"]["miou_deviation"] > 0
    assert 0 < figures["features"]["chance_across"] < figures["features"]["ap_across"] < 1
    assert record["baselines"].keys() == {"untrained", "colours and gradients"}
    assert "batch norms with the statistics of up to 1024 training images" in record["baselines"]["untrained"]["what"]
    for name in ("curves.png", "panel.png"):
        assert cv2.imread(str(tmp_path / "pictures" / name)).std() > 10
    assert record["settings"]["seeds"] == 2 and "without their labels" in record["data"]["learned from"]


def test_features_and_segments_are_those_of_means_of_3_by_3_places_unless_told(data):
    settings = ("methods=[kmeans]", "refine=[none]", "seeds=1")
    plain, wide = (judge(data, *settings, f"window={window}")["figures"] for window in (1, 3))
    assert plain["kmeans"] != wide["kmeans"] and plain["features"] != wide["features"]
    assert judge(data, *settings)["figures"] == wide


def test_twins_have_the_window_of_the_judged_one(data):
    from densessl.backbones import create_backbone

    network = create_backbone("resnet18", 32, {"channels": [8, 8, 16, 16], "layers": [1, 1, 1, 1], "stem_width": 8})
    source = open_labelled(f"folder:{data}", "train").source
    for options in ({"window": 1}, {"window": 3}, {"window": 3, "tile": 64}):
        extractor = Extractor(network, 32, **options)
        for twin in twins(extractor, source, range(4), 0, silent).values():
            assert twin.extractor.window == options["window"] and twin.extractor.tiled == extractor.tiled


def test_the_window_of_a_model_is_that_of_what_is_judged_in_either_way(data, tmp_path, monkeypatch):
    config = SegmentConfig(
        data=str(data / "images" / "train"), out=str(tmp_path), classes=len(CLASSES), window=5, refine="none",
        devices="cpu", backbone="colour", cache="none",
    )  # fmt: skip
    segment(config, silent)
    seen, extracted = [], remade.features_of

    def noting(source, extractor, *given, **more):
        seen.append(extractor.window)
        return extracted(source, extractor, *given, **more)

    monkeypatch.setattr(remade, "features_of", noting)
    figures = judge(data, "judge=[honest,official]", "refine=[none]", "seeds=1", backbone=str(tmp_path))["figures"]
    assert seen == [5, 5, 5] and {"honest: model", "official: model"} < figures.keys()
    total = np.zeros((len(CLASSES), len(CLASSES)), dtype=np.int64)
    written = SegmentConfig(
        data=str(data / "images" / "val"), out=str(tmp_path / "val"), model=str(tmp_path), refine="none", devices="cpu",
        cache="none", least_area=0,
    )  # fmt: skip
    segment(written, silent)
    for path in sorted((data / "labels" / "val").iterdir()):
        truth = cv2.imread(str(path), cv2.IMREAD_UNCHANGED).astype(int)
        found = cv2.imread(str(tmp_path / "val" / "labels" / path.name), cv2.IMREAD_UNCHANGED)
        total += confusion_matrix(found, np.where(truth == 255, -1, truth), *total.shape)
    assert figures["honest: model"]["miou"] == pytest.approx(segmentation_scores(total, absent="all").miou)


def test_the_panel_shows_the_images_that_were_named_in_their_order(data, tmp_path, monkeypatch):
    drawn = []
    monkeypatch.setattr(segments, "panel_picture", lambda rows, *more: drawn.append(rows) or b"")
    settings = ("methods=[kmeans]", "refine=[none]", "seeds=1", f"pictures={tmp_path}", "image_size=32")
    judge(data, *settings, "panel=[104.png,101]")
    assert [len(row) for row in drawn[0]] == [3, 3]
    for row, name in zip(drawn[0], ("104", "101"), strict=True):
        image = cv2.imread(str(data / "images" / "val" / f"{name}.png"))[:, :, ::-1]
        np.testing.assert_array_equal(row[0], image)
        assert row[1].shape == row[2].shape == image.shape[:2]
    monkeypatch.setattr(remade, "extract", lambda *given, **more: pytest.fail("features were read"))
    with pytest.raises(UserError, match="no image '1004' among the 6 of val that are judged.*104"):
        judge(data, *settings, "panel=[1004]")


def test_the_batch_norms_of_random_weights_have_the_statistics_of_the_training_pictures(data):
    from densessl.backbones import create_backbone

    network = create_backbone("resnet18", 32, {"channels": [8, 8, 16, 16], "layers": [1, 1, 1, 1], "stem_width": 8})
    source = open_labelled(f"folder:{data}", "train").source
    twin = twins(Extractor(network, 32), source, [0, 2, 3, 5], 1, silent)["untrained"].extractor
    shown = []
    for index in (0, 2, 3, 5):
        image = twin.frame.show(source.read(index))
        left = (image.shape[1] - 32) // 2
        shown.append(torch.from_numpy(image[:, left : left + 32].copy()).permute(2, 0, 1))
    seen, hook = [], lambda module, given, made: seen.append(given[0])
    norm = next(part for part in twin.backbone.modules() if isinstance(part, torch.nn.BatchNorm2d))
    norm.register_forward_hook(hook)
    with torch.no_grad():
        twin.maps(torch.stack(shown))
    assert not norm.training
    torch.testing.assert_close(norm.running_mean, seen[0].mean((0, 2, 3)), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(norm.running_var, seen[0].transpose(0, 1).flatten(1).var(1), rtol=1e-4, atol=1e-5)
    last = [part for part in twin.backbone.modules() if isinstance(part, torch.nn.BatchNorm2d)][-1]
    assert float(last.running_mean.abs().max()) > 0


def test_the_official_way_stands_beside_the_honest_one(data):
    record = judge(data, "methods=[kmeans]", "refine=[none]", "seeds=1", "judge=[honest,official]", "crops=five")
    figures = record["figures"]
    assert {"honest: kmeans", "official: kmeans"} <= figures.keys() and record["rule"].keys() == {"honest", "official"}
    assert figures["honest: kmeans"] != figures["official: kmeans"]
    for way in ("honest", "official"):
        ious = record["per_class"][f"{way}: kmeans"]
        assert list(ious) == list(map(str, CLASSES))
        assert np.nanmean(list(ious.values())) == pytest.approx(figures[f"{way}: kmeans"]["miou"])


@pytest.mark.parametrize("named", [False, True])
def test_the_honest_way_is_never_more_lenient_than_the_official_one(named):
    random = np.random.default_rng(0)
    for _ in range(200):
        segments, classes = (4, 4) if named else np.sort(random.integers(2, 6, 2))  # as many as classes at most
        confusion = random.integers(0, 30, (segments, classes)) * (random.random((segments, classes)) < 0.6)
        confusion[:, random.random(classes) < 0.3] = 0
        confusion[0, 0] += 1
        honest, official = (Judged(way, None, None).scores(confusion, named) for way in ("honest", "official"))
        assert honest["miou"] <= official["miou"] + 1e-12 and honest["accuracy"] <= official["accuracy"] + 1e-12


def test_the_official_way_leaves_segments_beyond_the_number_of_classes_out_before_it_matches():
    confusion = np.array([[5, 5], [10, 0], [0, 10]])
    official, honest = (Judged(way, None, None).scores(confusion) for way in ("official", "honest"))
    assert official == {"miou": pytest.approx((10 / 15 + 5 / 10) / 2), "accuracy": pytest.approx(15 / 20)}
    assert honest == {"miou": pytest.approx((10 / 15 + 10 / 15) / 2), "accuracy": pytest.approx(20 / 30)}


def test_a_class_without_labelled_pixels_counts_as_0_in_the_honest_way():
    # Class 2 is predicted where class 1 is; a linear probe has it too, as its third class.
    confusion = np.array([[4, 0, 0], [0, 4, 0], [0, 2, 0]])
    for named in (False, True):
        found = Judged("honest", None, None).scores(confusion, named)
        assert found == {"miou": pytest.approx((1 + 4 / 6 + 0) / 3), "accuracy": pytest.approx(8 / 10)}
        ious = Judged("honest", None, None).per_class(confusion, named)
        np.testing.assert_allclose(ious, [1, 4 / 6, 0])


def test_the_iou_of_a_class_is_the_mean_over_the_runs_that_count_it():
    found = mean_of_classes([np.array([0.5, np.nan, np.nan]), np.array([0.7, 0.3, np.nan])], ["sky", "tree", "car"])
    assert found == {"sky": pytest.approx(0.6), "tree": pytest.approx(0.3), "car": pytest.approx(np.nan, nan_ok=True)}


def test_pairs_are_the_same_whether_their_vectors_lie_in_memory_or_in_a_file(data, tmp_path, monkeypatch):
    scenes, shape = open_labelled(f"folder:{data}", "val"), (4, 5)
    kept = Features(list(range(6)), [shape] * 6, [torch.randn(20, 7).numpy() for _ in range(6)])
    judged = Judged("honest", scenes, kept)
    # Places and partners drawn from one generator, places of all images first, compared one by one.
    generator = torch.Generator().manual_seed(4)
    places = [
        sample_places(kept.tokens(row).T.unflatten(1, shape), scenes.labels(row), 100, generator) for row in range(6)
    ]
    same, other = np.zeros(BINS, int), np.zeros(BINS, int)
    for row, (vectors, labels) in enumerate(places):
        for partner in (torch.randperm(5, generator=generator)[:5] + row + 1) % 6:
            cosine = ((vectors @ places[partner][0].T + 1) * (BINS / 2)).long().clamp(0, BINS - 1)
            alike = labels[:, None] == places[partner][1]
            same += np.bincount(cosine[alike], minlength=BINS)
            other += np.bincount(cosine[~alike], minlength=BINS)
    files = []
    opened = tempfile.TemporaryFile
    monkeypatch.setattr(tempfile, "TemporaryFile", lambda **given: files.append(1) or opened(**given))
    for memory, spilled in ((1 << 20, 0), (5000, 1)):
        found = judged.pairs(None, 4, memory=memory)
        assert len(files) == spilled
        np.testing.assert_array_equal(found["across images"].same, same)
        np.testing.assert_array_equal(found["across images"].other, other)
        assert found["within images"].same.sum() + found["within images"].other.sum() == 6 * 100 * 99 // 2


def test_codes_of_mirrored_pictures_are_turned_back(data):
    class Model:
        centres = torch.zeros(1)

        def codes(self, tokens):
            return tokens

    shape, tokens = (2, 3), torch.randn(6, 4)
    turned = tokens.unflatten(0, shape).flip(1).flatten(0, 1)
    kept, mirrored = (Features([0], [shape], [each.numpy()]) for each in (tokens, turned))
    torch.testing.assert_close(Judged("official", None, kept, mirrored).codes(Model(), 0), tokens)
    torch.testing.assert_close(Judged("honest", None, kept).codes(Model(), 0), tokens)


def test_the_linear_probe_learns_from_labels_and_is_judged_without_matching(data):
    settings = ("methods=[stego,linear]", "refine=[none]", "seeds=2", "steps=40", "image_size=64")
    record = judge(data, *settings, "judge=[honest,official]")
    figures = record["figures"]
    for title in ("linear probe of features", "linear probe of stego"):
        for way in ("honest", "official"):
            assert figures[f"{way}: {title}"].keys() == {"miou", "accuracy", "miou_deviation", "accuracy_deviation"}
    commonest = figures["always the commonest class"]["accuracy"]
    assert figures["honest: linear probe of features"]["accuracy"] > commonest + 0.1
    assert "labels of the learned split" in record["rule"]["linear"]


def test_segments_do_not_depend_on_whether_a_probe_is_learned_beside(data):
    settings = ("refine=[none]", "seeds=1", "stego.dim=8")
    alone = judge(data, "methods=[stego]", *settings)["figures"]
    beside = judge(data, "methods=[linear,stego]", *settings)["figures"]
    assert beside["stego"] == alone["stego"] and beside["codes of stego"] == alone["codes of stego"]


def test_a_model_of_spectral_segments_is_judged_by_the_masks_that_segment_writes(data, tmp_path):
    config = SegmentConfig(data=str(data / "images" / "train"), out=str(tmp_path / "run"), classes=4, devices="cpu",
                           method="spectral", refine="none", backbone="colour", least_area=0)  # fmt: skip
    segment(config, lambda *told: None)
    config.data, config.out, config.model = str(data / "images" / "val"), str(tmp_path / "val"), str(tmp_path / "run")
    segment(config, lambda *told: None)
    total = np.zeros((4, len(CLASSES)), dtype=np.int64)
    for path in sorted((data / "labels" / "val").iterdir()):
        truth = cv2.imread(str(path), cv2.IMREAD_UNCHANGED).astype(int)
        found = cv2.imread(str(tmp_path / "val" / "labels" / path.name), cv2.IMREAD_UNCHANGED)
        total += confusion_matrix(found, np.where(truth == 255, -1, truth), *total.shape)
    expected = segmentation_scores(total, absent="all")
    found = judge(data, "refine=[none]", backbone=str(tmp_path / "run"))["figures"]["model"]
    assert found == {"miou": pytest.approx(expected.miou), "accuracy": pytest.approx(expected.accuracy)}


def test_each_image_is_read_once_and_its_lattice_made_once_for_all_models_and_refinements(data, monkeypatch):
    lattices, reads = [], []
    made, read = crf.Bilateral.__init__, Files.read
    monkeypatch.setattr(crf.Bilateral, "__init__", lambda *given: lattices.append(1) or made(*given))
    monkeypatch.setattr(Files, "read", lambda self, index: reads.append(self.path(index)) or read(self, index))
    settings = ("methods=[kmeans,stego,linear]", "seeds=2", "limit=3", "steps=2", "stego.dim=4")
    judge(data, *settings, "refine=[none,crf,guided]")
    # For each of two seeds; images once more for the features.
    assert len(lattices) == 2 * 3
    assert len(set(reads)) == 6 and all(reads.count(path) == (3 if "/val/" in path else 1) for path in reads)


def test_a_model_that_segment_wrote_is_judged_as_it_is(data, tmp_path):
    config = SegmentConfig(
        data=str(data / "images" / "train"), out=str(tmp_path), classes=5, method="stego", steps=5, least_area=0,
        devices="cpu", refine="none", stego=StegoConfig(dim=8), backbone="colour",
    )  # fmt: skip
    segment(config, lambda *told: None)
    for place in (tmp_path, tmp_path / "model.safetensors"):
        record = judge(data, "refine=[none]", backbone=str(place))
        assert {"always the commonest class", "features", "model", "codes of model"} == record["figures"].keys()
        assert record["data"]["learned from"] == "nothing: the file has segments"
    config.data, config.out, config.model = str(data / "images" / "val"), str(tmp_path / "val"), str(tmp_path)
    segment(config, lambda *told: None)
    total = np.zeros((5, len(CLASSES)), dtype=np.int64)
    for path in sorted((data / "labels" / "val").iterdir()):
        truth = cv2.imread(str(path), cv2.IMREAD_UNCHANGED).astype(int)
        found = cv2.imread(str(tmp_path / "val" / "labels" / path.name), cv2.IMREAD_UNCHANGED)
        total += confusion_matrix(found, np.where(truth == 255, -1, truth), *total.shape)
    assert record["figures"]["model"]["miou"] == pytest.approx(segmentation_scores(total, absent="all").miou)
    both = judge(data, "refine=[none]", "seeds=1", "methods=[kmeans,linear]", backbone=str(tmp_path))["figures"]
    assert both["model"] == record["figures"]["model"]
    assert {"kmeans", "linear probe of features", "linear probe of model"} <= both.keys()
