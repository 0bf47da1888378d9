"""The figures of a protocol of segments in columns."""

from __future__ import annotations

from densessl.evaluation.record import describe


def test_ways_of_judging_stand_side_by_side_in_per_cent_with_their_deviations():
    scores = {"miou": 0.3046, "miou_deviation": 0.0123, "accuracy": 0.6}
    record = {
        "protocol": "segments",
        "settings": {"judge": ["honest", "official"]},
        "per_class": {"kmeans": {"sky": 0.9}},
        "figures": {
            "always the commonest class": {"miou": 0.027, "accuracy": 0.295},
            "features": {"ap_within": 0.687, "chance_within": 0.21},
            "honest: kmeans, crf": scores,
            "official: kmeans, crf": {"miou": 0.25, "accuracy": 0.5},
        },
        "baselines": {"untrained": {"what": "random", "honest: kmeans, crf": {"miou": 0.2, "accuracy": 0.4}}},
    }
    *_, head, commonest, own, other, empty, pairs, features = describe(record).split("\n")
    assert head.split("  ")[-1].strip() == "official: accuracy" and "honest: mIoU" in head
    assert commonest.split()[-4:] == ["2.7", "29.5", "-", "-"]
    assert own.split("crf")[1].split() == ["30.5", "±", "1.2", "60.0", "25.0", "50.0"]
    assert other.startswith("untrained: kmeans, crf") and other.split()[-4:] == ["20.0", "40.0", "-", "-"]
    assert not empty and pairs.startswith("AP of pairs") and features.split() == ["features", "68.7", "21.0", "-", "-"]
    assert "sky" not in describe(record)
