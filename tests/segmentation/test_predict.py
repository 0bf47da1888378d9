"""Masks are exact at the picture's own size, and nothing overwrites anything."""

from __future__ import annotations

import json
import re
import subprocess
import sys

import cv2
import numpy as np
import pytest
import torch
import torch.nn.functional as F

from densessl.errors import UserError
from densessl.files import stems
from densessl.segmentation import predict
from densessl.segmentation.model import FORMAT, Saved, Segmenter, load_model, save_model
from densessl.segmentation.outputs.names import Classes
from densessl.segmentation.outputs.overlay import overlay, palette
from densessl.segmentation.outputs.tally import Tally, write_segments
from densessl.segmentation.outputs.writer import MaskWriter
from densessl.segmentation.predict import Refinement, interpolated_log_odds, mask
from densessl.segmentation.refinement.crf import CRFConfig
from densessl.segmentation.stego.head import StegoHead


def segmenter(classes: int = 5) -> Segmenter:
    torch.manual_seed(0)
    return Segmenter(StegoHead(6, 4), torch.randn(classes, 4)).eval()


@pytest.mark.parametrize("size", [(37, 53), (3, 4), (2, 1), (80, 7)])
def test_the_mask_is_the_nearest_centre_of_the_interpolated_normalised_code(size, monkeypatch):
    model, tokens = segmenter(), torch.randn(12, 6)
    codes = model.codes(tokens).T.reshape(1, 4, 3, 4)
    upsampled = F.interpolate(codes, size=size, mode="bilinear", align_corners=False)
    cosine = torch.einsum("bchw,kc->bkhw", F.normalize(upsampled, dim=1), model.centres)
    best = cosine[0].topk(2, dim=0).values
    clear = (best[0] - best[1] > 1e-5).numpy()
    found = mask(model, tokens, (3, 4), size)
    assert found.shape == size and found.dtype == np.uint8 and clear.mean() > 0.95
    np.testing.assert_array_equal(found[clear], cosine[0].argmax(dim=0).numpy()[clear])
    monkeypatch.setattr(predict, "CHUNK", 1)
    np.testing.assert_array_equal(mask(model, tokens, (3, 4), size), found)


def test_more_than_256_segments_are_written_with_16_bits(tmp_path):
    model = Segmenter(None, torch.eye(300))
    labels = mask(model, torch.eye(300)[[0, 299, 255, 256]], (2, 2), (2, 2))
    assert labels.dtype == np.uint16 and labels.tolist() == [[0, 299], [255, 256]]
    MaskWriter(tmp_path, Classes.unnamed(300)).write("a", np.zeros((2, 2, 3), np.uint8), labels)
    read = cv2.imread(str(tmp_path / "labels" / "a.png"), cv2.IMREAD_UNCHANGED)
    assert read.dtype == np.uint16 and read.tolist() == [[0, 299], [255, 256]]


def test_names_that_differ_by_suffix_alone_keep_it():
    assert stems(["x/y.jpg", "x/z.png"]) == ["x/y", "x/z"]
    assert stems(["a.jpg", "a.png", "b.jpg"]) == ["a.jpg", "a.png", "b"]
    for names in (["a.jpg", "a.png", "a.jpg.tif"], ["a.jpg", "a.png", "a.jpg.tif", "a.jpg.png"], ["a.jpg", "a.jpg"]):
        assert len(set(stems(names))) == len(names)


def test_segments_json_counts_and_lists(tmp_path):
    tally = Tally(Classes.unnamed(3), crops=0)
    tally.add(0, np.array([[0, 0, 2], [0, 0, 2]], dtype=np.uint8))
    tally.add(1, np.array([[0, 0]], dtype=np.uint8))
    write_segments(tmp_path / "segments.json", tally, {"x/a.jpg": "labels/x/a.png", "b.jpg": "labels/b.png"})
    written = json.loads((tmp_path / "segments.json").read_text())
    assert [each["pixels"] for each in written["classes"]] == [6, 0, 2]
    assert [each["images"] for each in written["classes"]] == [2, 0, 1]
    assert all(each["name"] is None and len(each["colour"]) == 3 for each in written["classes"])
    assert written["files"] == {"x/a.jpg": "labels/x/a.png", "b.jpg": "labels/b.png"}


def test_colours_are_distinct_and_stay_with_their_class():
    colours = np.array(palette(30), dtype=np.float32) / 255
    assert palette(30)[:8] == palette(8)
    lab = cv2.cvtColor(colours[None], cv2.COLOR_RGB2LAB)[0]
    apart = np.linalg.norm(lab[:, None] - lab[None], axis=2) + 1e3 * np.eye(30)
    assert apart[:12, :12].min() > 25 and apart.min() > 14
    assert len(palette(1000)) == 1000


def test_an_overlay_shows_picture_tint_and_border():
    image = np.random.default_rng(0).integers(0, 256, (40, 60, 3), dtype=np.uint8)
    labels = np.zeros((40, 60), np.uint8)
    labels[:, 30:] = 1
    shown = overlay(image, labels, palette(2)).astype(int)
    assert shown.shape == image.shape
    # The border is lighter than what it parts, each half leans to its colour, and the picture's detail remains.
    assert shown[:, 30].mean() > shown[:, :28].mean() + 30
    for part, colour in ((shown[:, :28], palette(2)[0]), (shown[:, 33:], palette(2)[1])):
        assert np.linalg.norm(part.mean(axis=(0, 1)) - colour) < np.linalg.norm(np.array([128] * 3) - colour)
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)[:, :28].ravel()
    assert np.corrcoef(grey, shown[:, :28].mean(axis=2).ravel())[0, 1] > 0.9


def test_a_saved_model_reads_back_as_it_was(tmp_path):
    model, saved = segmenter(), Saved("colour", "abc", 96, {"classes": 5})
    save_model(tmp_path / "model.safetensors", model, saved)
    for path in (tmp_path, tmp_path / "model.safetensors"):
        again, origin = load_model(path)
        assert origin == saved
        tokens = torch.randn(9, 6)
        assert torch.equal(again(tokens), model(tokens))


def test_reading_a_model_draws_no_random_number(tmp_path):
    save_model(tmp_path / "model.safetensors", segmenter(), Saved("colour", "abc", 96, {}))
    before = torch.get_rng_state()
    load_model(tmp_path)
    assert torch.equal(torch.get_rng_state(), before)


def test_a_model_of_another_format_is_told_from_what_is_none(tmp_path):
    path = tmp_path / "model.safetensors"
    save_model(path, segmenter(), Saved("colour", "abc", 96, {}))
    path.write_bytes(path.read_bytes().replace(FORMAT.encode(), b"densessl-segment-1"))
    with pytest.raises(UserError, match=f"format densessl-segment-1, where this release reads {FORMAT}: learn"):
        load_model(path)


def test_a_model_on_a_full_disk_leaves_the_old_one_and_is_a_sentence(tmp_path):
    path = tmp_path / "model.safetensors"
    save_model(path, Segmenter(None, torch.randn(100, 100)), Saved("colour", "abc", 96, {}))
    before = path.read_bytes()
    program = f"""
import resource
from densessl.errors import UserError
from densessl.segmentation.model import load_model, save_model
model, saved = load_model({str(path)!r})
resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
try:
    save_model({str(path)!r}, model, saved)
except UserError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert re.fullmatch(r"The disk is full.*model\.safetensors could not be written\. .*\n", done.stdout), done
    assert len(before) > 20_000 and [each.read_bytes() for each in tmp_path.iterdir()] == [before]


@pytest.mark.parametrize("content", [b"", b"hello", b"\x08\0\0\0\0\0\0\0{}      "])
def test_a_file_that_is_no_model_is_refused(tmp_path, content):
    path = tmp_path / "model.safetensors"
    path.write_bytes(content)
    with pytest.raises(UserError, match="not a model"):
        load_model(path)
    with pytest.raises(UserError, match="no model at"):
        load_model(tmp_path / "other.safetensors")


@pytest.mark.parametrize(("method", "wrong_left"), [("crf", 0.05), ("guided", 0.7)])
def test_refined_masks_follow_the_edges_that_coarse_features_miss(method, wrong_left):
    side, centre = 96, (50, 43)
    y, x = np.mgrid[:side, :side]
    disc = np.hypot(y - centre[0], x - centre[1]) < 30
    picture = np.where(disc[..., None], (200, 60, 40), (30, 90, 160)).astype(np.uint8)
    coarse = cv2.resize(disc.astype(np.float32), (6, 6), interpolation=cv2.INTER_AREA)
    model = Segmenter(None, torch.eye(2))
    tokens = torch.from_numpy(np.stack((1 - coarse, coarse), axis=2).reshape(36, 2))
    plain = mask(model, tokens, (6, 6), (side, side))
    refinement = Refinement(method, 96, 2.0, CRFConfig())
    refined = mask(model, tokens, (6, 6), (side, side), picture, refinement)
    assert (refined != disc).mean() < wrong_left * (plain != disc).mean()
    smaller = mask(model, tokens, (6, 6), (side, side), picture, Refinement(method, 48, 2.0, CRFConfig()))
    assert smaller.shape == (side, side) and (smaller != disc).mean() < (plain != disc).mean()


@pytest.mark.parametrize("biased", [False, True])
@pytest.mark.parametrize(("shape", "size"), [((5, 7), (40, 33)), ((1, 4), (9, 8)), ((6, 1), (6, 3)), ((8, 9), (3, 5))])
def test_log_odds_at_pixels_are_those_of_codes_that_were_interpolated(shape, size, biased):
    model = Segmenter(None, torch.randn(4, 11), torch.randn(4) if biased else None)
    tokens = 3 * torch.randn(shape[0] * shape[1], 11)
    tokens[0] = -tokens[-1]  # of small and of large lengths between them
    codes = F.interpolate(tokens.T.reshape(1, 11, *shape), size, mode="bilinear", align_corners=False)
    found = interpolated_log_odds(model, tokens, shape, size, 2.0)
    torch.testing.assert_close(found, model.log_odds(codes, 2.0), rtol=1e-4, atol=1e-5)
