"""coco.json is what pycocotools reads, mask by mask."""

from __future__ import annotations

import json

import numpy as np
import pytest

from densessl.segmentation.outputs.coco import compress, encode, write_coco

MAPS = [
    np.random.default_rng(0).integers(0, 5, (37, 23)),
    np.repeat(np.arange(300), 40).reshape(120, 100),
    np.zeros((1, 1)),
    np.arange(7)[None],
    np.arange(7)[:, None],
    (np.hypot(*np.mgrid[-300:300, -500:500]) < 280).astype(np.uint8),
]


def decoded(segmentation: dict) -> np.ndarray:
    """The format read slowly, after its description."""
    counts, letters = [], iter(segmentation["counts"].encode())
    for letter in letters:
        value, shift = 0, 0
        while True:
            value |= (letter - 48 & 31) << shift
            shift += 5
            if not (letter - 48) & 32:
                break
            letter = next(letters)
        if letter - 48 & 16:
            value -= 1 << shift
        counts.append(value + (counts[-2] if len(counts) > 2 else 0))
    high, wide = segmentation["size"]
    return np.repeat(np.arange(len(counts)) % 2, counts).reshape(wide, high).T


@pytest.mark.parametrize("labels", MAPS)
def test_every_mask_reads_back(labels):
    found = encode(labels.astype(np.uint16))
    assert list(found) == np.unique(labels).tolist()
    for value, annotation in found.items():
        mask = labels == value
        rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
        assert np.array_equal(decoded(annotation["segmentation"]), mask)
        assert annotation["area"] == mask.sum()
        box = [columns[0], rows[0], columns[-1] - columns[0] + 1, rows[-1] - rows[0] + 1]
        assert annotation["bbox"] == box


def test_counts_of_any_size_are_compressed_as_pycocotools_does():
    tools = pytest.importorskip("pycocotools.mask")
    for seed in range(20):
        random = np.random.default_rng(seed)
        counts = (10 ** random.uniform(0, 5, random.integers(1, 50))).astype(int)
        size = [1, int(counts.sum())]
        theirs = tools.frPyObjects({"size": size, "counts": counts.tolist()}, *size)["counts"].decode()
        assert compress(counts) == theirs


def test_pycocotools_opens_the_file(tmp_path):
    coco = pytest.importorskip("pycocotools.coco")
    pictures = [(f"sub/ä{index}.jpg", labels.astype(np.uint16)) for index, labels in enumerate(MAPS)]
    write_coco(tmp_path / "coco.json", [f"class {index}" for index in range(300)], pictures)
    opened = coco.COCO(str(tmp_path / "coco.json"))
    assert opened.cats[3]["name"] == "class 2"
    for image, (name, labels) in enumerate(pictures, start=1):
        about = opened.loadImgs(image)[0]
        assert (about["file_name"], about["height"], about["width"]) == (name, *labels.shape)
        read = np.full(labels.shape, -1)
        for annotation in opened.loadAnns(opened.getAnnIds(imgIds=image)):
            read[opened.annToMask(annotation) == 1] = annotation["category_id"] - 1
        assert np.array_equal(read, labels)


def test_no_picture_is_valid_json_too(tmp_path):
    write_coco(tmp_path / "coco.json", ["sky"], [])
    written = json.loads((tmp_path / "coco.json").read_text())
    assert written["annotations"] == written["images"] == [] and written["categories"][0]["id"] == 1
