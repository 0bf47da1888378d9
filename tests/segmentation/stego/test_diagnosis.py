"""What the weights and shifts do: counts are those of loops over pairs, verdicts fit extremes, and advice helps."""

from __future__ import annotations

import json
from itertools import islice
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from torch import Tensor

from densessl.progress import silent
from densessl.segmentation import SegmentConfig, segment
from densessl.segmentation.config import StegoConfig
from densessl.segmentation.features.colour import ColourBackbone
from densessl.segmentation.features.extractor import Extractor
from densessl.segmentation.features.kept import Features, extract
from densessl.segmentation.stego.diagnosis import BINS, LIMIT, Kind, measure, picture, read_verdict, write_diagnosis
from densessl.segmentation.stego.train import Trainer, train
from densessl.segmentation.stego.verdict import effective_shift, judge

NAMES = ("pos_intra", "pos_inter", "neg_inter")


def settings(classes: int = 2, steps: int = 0, **stego) -> SegmentConfig:
    return SegmentConfig(data="", out="", classes=classes, method="stego", steps=steps, stego=StegoConfig(**stego))


def read(scenes, pictures: int = 4) -> Features:
    return extract(scenes[0], Extractor(ColourBackbone(), 96), range(pictures))


def cosine(a: np.ndarray, b: np.ndarray) -> float:
    return float(a @ b / np.sqrt((a @ a) * (b @ b)))


def slow(one: Tensor, other: Tensor) -> np.ndarray:
    """(B, S * S, S * S) cosines of each place with each, pair by pair in float64."""
    one, other = (each.detach().flatten(2).double().numpy() for each in (one, other))
    batch, places = one.shape[0], range(one.shape[2])
    return np.array([[[cosine(one[b, :, i], other[b, :, j]) for j in places] for i in places] for b in range(batch)])


@pytest.mark.parametrize("pointwise", [True, False])
def test_counts_are_those_of_a_loop_over_all_pairs(scenes, pointwise):
    features = read(scenes)
    config = settings(feature_samples=3, neg_samples=2, pointwise=pointwise, pos_inter_shift=0.4)
    head = train(features, config).head
    kinds = measure(features, head, config, steps=2)
    assert tuple(kind.name for kind in kinds) == NAMES
    trainer = Trainer(features, config, torch.Generator().manual_seed(config.seed), "cpu")
    trainer.head = head
    found: dict[str, list[tuple[np.ndarray, ...]]] = {name: [] for name in NAMES}
    for anchors in islice(trainer.order(), 2):
        tokens, layout = features.batch(anchors.tolist())
        for each in trainer.compared(anchors, tokens, layout, head(tokens)):
            raw, codes = slow(each.f, each.g), slow(each.s, each.t)
            rows = raw - raw.mean(axis=2, keepdims=True)
            found[each.kind].append((raw, rows - rows.mean() + raw.mean() if pointwise else raw, codes))
    for kind in kinds:
        raw, target, codes = (np.concatenate([each[i].ravel() for each in found[kind.name]]) for i in range(3))
        assert kind.pairs == len(raw) == 2 * 4 * 81 * (2 if kind.name == "neg_inter" else 1)
        for histogram, values in ((kind.raw, raw), (kind.target, target), (kind.codes, codes)):
            # A place with itself has a cosine of 1, which rounding may put on either side of an edge.
            values = np.where(np.abs(values - 1) < 1e-6, 0.99, values)
            off = (histogram - np.histogram(values, BINS, (-LIMIT, LIMIT))[0]).cumsum()
            # So may it put one or two others.
            assert off[-1] == 0 and np.abs(off).max() <= 2
        attracts, alike = target > kind.shift, codes > 0.5
        assert kind.attract == pytest.approx(attracts.mean()) and kind.share_alike == pytest.approx(alike.mean())
        assert kind.followed == pytest.approx((alike[attracts].mean(), alike[~attracts].mean()))
        assert kind.apart == (codes < 0.2).sum() and kind.same == (codes > 0.8).sum()
        np.testing.assert_allclose(kind.totals, [raw.sum(), target.sum(), codes.sum()], rtol=1e-4, atol=1e-3)


def test_measuring_changes_nothing_and_repeats_itself(scenes):
    features, config = read(scenes), settings(clusters="probe")
    head = train(features, config).head
    weights, state = {key: value.clone() for key, value in head.state_dict().items()}, torch.get_rng_state()
    one, two = (measure(features, head, config) for _ in range(2))
    assert [kind.record() for kind in one] == [kind.record() for kind in two]
    assert torch.equal(state, torch.get_rng_state())
    assert all(torch.equal(value, head.state_dict()[key]) for key, value in weights.items())


def test_one_picture_has_pairs_within_it_alone_and_two_have_all(scenes, tmp_path):
    config = settings()
    for count, names in ((2, list(NAMES)), (1, ["pos_intra"])):
        features = read(scenes, count)
        head = train(features, config).head
        assert [kind.name for kind in measure(features, head, config)] == names
    verdict = write_diagnosis(tmp_path, features, head, config)
    assert read_verdict(tmp_path) == verdict.sentences[0]
    assert cv2.imread(str(tmp_path / "correspondences.png")).std() > 5


def groups() -> Features:
    """Eight pictures of 60 tokens about four directions, a cosine of about 0.4 within a group."""
    random = np.random.default_rng(0)
    directions = np.linalg.qr(random.normal(size=(32, 4)))[0].T
    features = Features(list(range(8)), [(6, 10)] * 8)
    for _ in range(8):
        tokens = directions[random.integers(4, size=60)] + random.normal(0, 1.3 * 32**-0.5, (60, 32))
        features.arrays.append(tokens.astype(np.float32))
    return features


def made(name: str, features: np.ndarray, codes: np.ndarray, shift: float, weight: float = 1.0) -> Kind:
    kind = Kind(name, weight, shift)
    kind.add(*(torch.from_numpy(each) for each in (features, features, codes)))
    return kind


def kinds(codes, shifts=(0.1, 0.1, 0.7), weights=(0.5, 0.25, 0.75), means=(0.5, 0.4, 0.1)) -> list[Kind]:
    """Three kinds of pairs of normal features; codes: a function of the features."""
    random = np.random.default_rng(0)
    found = []
    for name, mean, shift, weight in zip(NAMES, means, shifts, weights, strict=True):
        features = random.normal(mean, 0.2, 40000)
        found.append(made(name, features, codes(features), shift, weight))
    return found


def test_the_effective_shift_is_the_mean_of_the_shifts_by_weight():
    assert effective_shift(kinds(np.sign)) == pytest.approx((0.5 * 0.1 + 0.25 * 0.1 + 0.75 * 0.7) / 1.5)
    assert effective_shift(kinds(np.sign, weights=(0, 0, 0))) is None


def test_shares_and_thresholds_are_quantiles():
    values = np.random.default_rng(1).normal(0.2, 0.3, 50000)
    kind = made("neg_inter", values, values, 0.5)
    for share in (0.01, 0.2, 0.5, 0.9):
        assert kind.threshold(share) == pytest.approx(np.quantile(values, 1 - share), abs=0.01)
        assert kind.above(kind.threshold(share)) == pytest.approx(share, abs=1e-6)
    assert kind.above(5) == 0 and kind.above(-5) == 1


def moved(verdict, shifts) -> float:
    """The effective shift that the verdict asks for, of `kinds` with these shifts and the weights 2 : 1 : 3."""
    wanted = [verdict.change[f"stego.{name}_shift"] for name in NAMES]
    assert np.diff(np.subtract(wanted, shifts)) == pytest.approx([0, 0], abs=0.011)
    assert all(
        f"stego.{name}_shift={value:g}" in verdict.sentences[0] for name, value in zip(NAMES, wanted, strict=True)
    )
    return (2 * wanted[0] + wanted[1] + 3 * wanted[2]) / 6


ALIKE = "Too many codes are alike, 100% of random pairs: repel more. Raise the shifts by about 0.33: stego.pos_intra"
APART = "Too few codes are alike, 0% of pairs within a picture: attract more. Lower the shifts by about"


@pytest.mark.parametrize(
    ("cosine", "shifts", "state", "sentence", "middle"),
    [(0.97, (-0.3, -0.3, 0.1), "alike", ALIKE, 0.1), (0.1, (0.9, 0.9, 1.0), "apart", APART, 0.5)],
)
def test_codes_that_are_all_alike_or_none_are_told_with_the_shifts_that_would_mend_it(
    cosine, shifts, state, sentence, middle
):
    verdict = judge(kinds(lambda features: np.full_like(features, cosine), shifts), classes=8)
    assert verdict.state == state and verdict.sentences[0].startswith(sentence)
    # With them a quarter of these pairs, two eighths, lies above the effective shift.
    assert moved(verdict, shifts) == pytest.approx(middle + 0.2 * 0.6745, abs=0.02)


def test_codes_that_follow_the_features_are_good_whatever_the_number_of_segments():
    verdict = judge(kinds(lambda features: np.where(features > 0.4, 0.9, 0.0)), classes=8)
    assert (verdict.state, verdict.change) == ("good", {})
    assert "69% of pairs within a picture, 50% of pairs with a neighbour, 7% of random pairs" in verdict.sentences[0]
    assert len(verdict.sentences) == 5
    assert "Random pairs: 0% exceed their own shift of 0.7." in verdict.sentences[-1]


def test_half_of_the_random_pairs_are_too_many_of_eight_segments_and_right_for_two():
    found = kinds(lambda features: np.where(features > 0.08, 0.9, 0.0), shifts=(0, 0, 0))
    assert 0.5 < found[-1].share_alike < 0.6
    assert judge(found, classes=30).state == "alike" and judge(found, classes=2).state == "good"


def test_codes_that_do_not_follow_the_features_want_longer_training():
    random = np.random.default_rng(2)
    verdict = judge(kinds(lambda features: random.choice([0.0, 0.9], len(features), p=[0.7, 0.3])), classes=8)
    assert verdict.state == "unrelated" and "train longer" in verdict.sentences[0]


def test_shifts_that_repel_already_are_not_blamed():
    verdict = judge(kinds(np.ones_like, shifts=(0.9, 0.9, 0.9)), classes=8)
    assert verdict.state == "alike" and not verdict.change and "train longer" in verdict.sentences[0]


def test_random_pairs_without_weight_are_told():
    verdict = judge(kinds(np.ones_like, shifts=(0.9, 0.9, 0.9), weights=(1, 1, 0)), classes=8)
    assert "stego.neg_inter_weight=0 leaves random pairs out" in verdict.sentences[0]
    assert judge(kinds(np.ones_like, weights=(0, 0, 0)), classes=8).effective_shift is None


@pytest.mark.parametrize(("step", "state"), [(-1, "alike"), (1, "apart")])
def test_shifts_that_are_off_are_seen_after_training_and_the_advice_mends_them(step, state):
    kept = groups()

    def verdict(**shifts: float):
        config = settings(classes=4, steps=80, feature_samples=6, centre=False, **shifts)
        return judge(measure(kept, train(kept, config).head, config), classes=4)

    found = verdict(pos_intra_shift=0.08 + step, pos_inter_shift=0.02 + step, neg_inter_shift=0.66 + step)
    assert found.state == state
    assert verdict(**{name.removeprefix("stego."): value for name, value in found.change.items()}).state == "good"


def test_the_picture_has_the_shifts_and_a_panel_for_each_kind():
    found = kinds(lambda features: np.where(features > 0.4, 0.9, 0.0))
    image = cv2.imdecode(np.frombuffer(picture(found, judge(found, 8)), np.uint8), cv2.IMREAD_COLOR)
    assert image.shape[1] > 1500 and image.std() > 5


@pytest.fixture
def folder(scenes, tmp_path) -> Path:
    for index, image in enumerate(scenes[0].images):
        (tmp_path / "pictures").mkdir(exist_ok=True)
        cv2.imwrite(str(tmp_path / "pictures" / f"{index}.png"), image)
    return tmp_path / "pictures"


def run(folder: Path, out: Path, **changes):
    config = SegmentConfig(data=str(folder), out=str(out), classes=3, steps=5, image_size=64, devices="cpu", crops=0)
    config.backbone, config.method, config.window = "colour", "stego", 1
    for key, value in (changes | {"refine": "none"}).items():
        setattr(config, key, value)
    return segment(config, progress=silent)


def test_a_run_writes_the_report_and_says_its_first_sentence_each_time(folder, tmp_path):
    out = tmp_path / "out"
    summary = run(folder, out)
    record = json.loads((out / "correspondences.json").read_text())
    assert summary.verdict == record["verdict"][0] and summary.verdict in str(summary)
    assert list(record["kinds"]) == list(NAMES)
    for kind in record["kinds"].values():
        assert sum(kind["histograms"]["codes"]) == kind["pairs"] == sum(kind["histograms"]["target"])
        assert 0 <= kind["attract"] <= 1 and len(record["edges"]) == len(kind["histograms"]["target"]) + 1
    assert cv2.imread(str(out / "correspondences.png")).std() > 5
    assert run(folder, out).verdict == summary.verdict


def test_other_numbers_of_segments_are_judged_anew_on_the_same_pairs(folder, tmp_path):
    out, records = tmp_path / "out", []
    for classes in (3, 2):
        assert run(folder, out, classes=classes).head == ("trained" if classes == 3 else "kept")
        records.append(json.loads((out / "correspondences.json").read_text()))
    assert records[0]["kinds"] == records[1]["kinds"]


def test_without_training_there_is_no_report(folder, tmp_path):
    assert run(folder, tmp_path / "plain", method="kmeans").verdict == ""
    summary = run(folder, tmp_path / "given", model=str(tmp_path / "plain" / "model.safetensors"))
    assert summary.verdict == "" and "correspondences" not in str(summary)
    assert not list(tmp_path.rglob("correspondences.*"))
