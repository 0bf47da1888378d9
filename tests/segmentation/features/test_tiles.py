"""Pictures at their own size through tiles: one map without seams, of any picture, with a tile's memory."""

from __future__ import annotations

import signal

import cv2
import numpy as np
import pytest
import torch
import torch.nn.functional as F

from densessl.backbones import create_backbone
from densessl.errors import RunStopped, UserError
from densessl.progress import silent
from densessl.segmentation import segment
from densessl.segmentation.features import squares
from densessl.segmentation.features.cache import Cache
from densessl.segmentation.features.colour import ColourBackbone
from densessl.segmentation.features.extractor import Extractor
from densessl.segmentation.features.kept import extract
from densessl.segmentation.features.squares import Squares
from densessl.segmentation.features.tiles import TileFrame, starts, weights
from densessl.segmentation.masks import MaskRun
from densessl.segmentation.model import Segmenter, load_model
from densessl.segmentation.predict import Refinement, best, scores, tiled_scores
from densessl.segmentation.refinement.crf import CRFConfig
from tests.segmentation import filming
from tests.segmentation.conftest import scene
from tests.segmentation.runs import contents, settings, unsaid


def photograph(height: int, width: int, seed: int = 0) -> np.ndarray:
    """Blotches of all sizes, in colours."""
    random = np.random.default_rng(seed)
    total = np.zeros((height, width, 3))
    for size in (4, 16, 64):
        noise = random.normal(0, 1, (height // size + 2, width // size + 2, 3))
        total += cv2.resize(noise, (width, height), interpolation=cv2.INTER_CUBIC)
    return (128 + 40 * total).clip(0, 255).astype(np.uint8)


def whole(extractor: Extractor, image: np.ndarray) -> torch.Tensor:
    """The map of the picture in one piece."""
    pixels = torch.from_numpy(extractor.frame.show(image)).permute(2, 0, 1)[None]
    with torch.no_grad():
        return extractor.maps(pixels)[0]


def steepest(map_: torch.Tensor, reference: torch.Tensor) -> float:
    """How much farther the map goes from one column, or row, to the next than the reference does; the worst of all."""
    worst = 0.0
    for dim in (1, 2):
        steps = [each.diff(dim=dim).norm(dim=0).mean(dim=2 - dim) for each in (map_, reference)]
        worst = max(worst, float((steps[0] / steps[1]).max()))
    return worst


def network() -> torch.nn.Module:
    torch.manual_seed(0)
    made = create_backbone("resnet18", 64, {"channels": [8, 16, 24, 32], "layers": [1, 1, 1, 1]})
    for name, weight in made.named_parameters():
        if name.endswith("bn2.weight"):
            torch.nn.init.ones_(weight)  # zero at first, which leaves blocks out
    return made.eval()


def transformer() -> torch.nn.Module:
    torch.manual_seed(0)
    made = create_backbone("vit_tiny_patch16_224", 128, {"depth": 2, "embed_dim": 48, "num_heads": 3}).eval()
    table = made.model.pos_embed.data  # as smooth and as long as learned ones, so that each tile begins anew
    corners = torch.randn(1, 48, 2, 2)
    table[:, 1:] = F.interpolate(corners, (8, 8), mode="bicubic", align_corners=True).flatten(2).transpose(1, 2) * 0.4
    return made


@pytest.mark.parametrize(("length", "tile"), [(40, 16), (17, 16), (16, 16), (3, 16), (100, 3), (5, 2)])
def test_tiles_cover_a_side_and_their_weights_sum_to_1_at_every_place(length, tile):
    tile = min(tile, length)
    overlap = max(1, round(0.375 * tile))
    begin = starts(length, tile, overlap)
    assert begin[0] == 0 and begin[-1] + tile == length
    assert all(0 < b - a <= tile - overlap for a, b in zip(begin, begin[1:], strict=False))
    found = weights(begin, tile, length, overlap)
    total = torch.zeros(length)
    for first, each in zip(begin, found, strict=True):
        total[first : first + tile] += each
    torch.testing.assert_close(total, torch.ones(length))
    assert float(found.min()) >= 0


def test_a_weight_is_nothing_beside_a_border_within_the_picture_and_rises_in_small_steps():
    first, second = weights([0, 20], 32, 52, 12)
    assert first[:20].eq(1).all() and second[12:].eq(1).all()
    assert second[:3].eq(0).all() and first[-3:].eq(0).all()
    assert second.diff().min() >= 0 and second.diff().max() < 0.26
    torch.testing.assert_close(first[20:] + second[:12], torch.ones(12))


@pytest.mark.parametrize("size", [(520, 720), (384, 1200), (900, 200)])
def test_without_context_the_joined_map_is_that_of_the_whole_picture(size):
    """Colours look 36 pixels around, and 40 count nothing in tiles of 384."""
    extractor, image = Extractor(ColourBackbone(), tile=384), photograph(*size)
    (found,), expected = extractor([extractor.frame.show(image)]), whole(extractor, image)
    assert found.shape == expected.shape == (42, size[0] // 8, size[1] // 8)
    inside = found[:, :18, :18], expected[:, :18, :18]
    assert torch.equal(*inside)  # of one tile alone
    torch.testing.assert_close(found, expected, rtol=0, atol=2e-3)  # a root near 0 makes much of rounding


@pytest.mark.parametrize(("make", "bound"), [(network, 1.05), (transformer, 1.3)])
def test_seams_are_small_where_the_backbone_has_context(make, bound):
    extractor, image = Extractor(make(), tile=128), photograph(288, 352)
    (found,), expected = extractor([image]), whole(extractor, image)
    tile, side = extractor.maps.stride, 128
    parts = [
        torch.cat([whole(extractor.of_tiles(), image[y : y + side, x : x + side]) for x in range(0, 352, side)], dim=2)
        for y in range(0, 288, side)
    ]
    hard = torch.cat(parts, dim=1)
    assert found.shape == expected.shape == hard.shape == (len(found), 288 // tile, 352 // tile)
    assert steepest(found, expected) < bound < steepest(hard, expected)


def test_several_layers_and_keys_are_those_of_the_whole_picture_but_for_context():
    image = photograph(256, 320)
    for make, options in (
        (network, {"layers": ("colour", -1, -2)}),
        (transformer, {"facet": "keys", "layers": (-1, -2)}),
    ):
        extractor = Extractor(make(), tile=128, **options)
        (found,), expected = extractor([image]), whole(extractor, image)
        assert found.shape == expected.shape
        assert float(F.cosine_similarity(found, expected, dim=0).mean()) > 0.9


def test_bands_hold_no_more_rows_than_a_tile_and_make_up_the_map():
    extractor, image = Extractor(ColourBackbone(), tile=64), photograph(1000, 96)
    bands = list(extractor.bands(image, "a.png"))
    assert len(bands) > 20 and max(each.shape[1] for each in bands) <= 8
    assert torch.equal(torch.cat(bands, dim=1), extractor([image])[0])


@pytest.mark.parametrize("window", [3, 7, 21])
@pytest.mark.parametrize("size", [(1000, 96), (200, 264), (8, 70), (40, 24)])
def test_a_window_takes_its_means_of_the_joined_map_across_the_borders_of_tiles(size, window):
    plain, image = Extractor(ColourBackbone(), tile=64), photograph(*size)
    extractor = Extractor(ColourBackbone(), tile=64, window=window)
    map_, reach = plain.bands(image, "a").joined().double(), window // 2
    slow = torch.empty_like(map_)
    for y in range(map_.shape[1]):
        for x in range(map_.shape[2]):
            around = map_[:, max(0, y - reach) : y + reach + 1, max(0, x - reach) : x + reach + 1]
            slow[:, y, x] = around.mean((1, 2))
    bands = list(extractor.bands(image, "a"))
    torch.testing.assert_close(torch.cat(bands, dim=1), slow.float())
    torch.testing.assert_close(extractor([extractor.frame.show(image)])[0], slow.float())
    assert max(each.shape[1] for each in bands) <= 8 + reach


def test_squares_that_are_learned_from_have_a_window_too():
    (plain,), (wide,) = (
        Extractor(ColourBackbone(), tile=64, window=window).of_tiles()([photograph(64, 64)]) for window in (1, 3)
    )
    torch.testing.assert_close(wide[:, 0, 0], plain[:, :2, :2].mean((1, 2)))
    torch.testing.assert_close(wide[:, 4, 7], plain[:, 3:6, 6:].mean((1, 2)))


def test_at_its_own_size_no_pixel_is_blurred_and_the_map_covers_the_picture():
    frame, image = TileFrame(256, None, 16), np.random.default_rng(0).integers(0, 256, (301, 187, 3), np.uint8)
    shown = frame.show(image)
    assert shown.shape == (304, 192, 3) == (*frame.size(301, 187), 3)
    assert {each.tobytes() for each in shown.reshape(-1, 3)} <= {each.tobytes() for each in image.reshape(-1, 3)}
    assert np.array_equal(shown[[0, -1]][:, [0, -1]], image[[0, -1]][:, [0, -1]])
    assert frame.show(image[:288, :176]) is not None and np.shares_memory(frame.show(image[:288, :176]), image)
    assert TileFrame(256, 512, 16).size(1000, 8000) == (512, 4096)  # long pictures are not made smaller


@pytest.mark.parametrize("size", [(5, 7), (40, 300), (64, 64), (200, 33)])
def test_a_picture_of_any_size_is_seen_even_one_smaller_than_a_tile(size):
    extractor, image = Extractor(ColourBackbone(), tile=128), photograph(*size)
    found = extractor.bands(image, "a.png").joined()
    assert found.shape[1:] == tuple(max(1, round(side / 8)) for side in size)
    if max(size) <= 128:
        assert torch.equal(found, whole(extractor, image))


class OneSize(ColourBackbone):
    """Colours for a network that takes squares of 64 pixels alone."""

    fixed_size = (64, 64)

    def feature_maps(self, images, layers=(-1,)):
        assert images.shape[2:] == (64, 64)
        return super().feature_maps(images, layers)


def test_a_backbone_of_one_size_sees_whole_tiles_and_a_mirrored_border_where_the_picture_is_smaller():
    extractor, image = Extractor(OneSize(), tile=64), photograph(40, 150)
    found = extractor.bands(image, "a.png").joined()
    assert found.shape == (42, 5, 19)
    mirrored = cv2.copyMakeBorder(extractor.frame.show(image), 0, 24, 0, 0, cv2.BORDER_REFLECT)
    plain = Extractor(ColourBackbone(), tile=64).bands(mirrored, "a.png").joined()
    assert torch.equal(found, plain[:, :5])
    with pytest.raises(UserError, match=r"tile=128, but .* 64 x 64 pixels alone: give tile=64"):
        Extractor(OneSize(), tile=128)


@pytest.mark.parametrize(("tile", "advice"), [(4, "tile=16"), (8, "tile=16"), (100, "tile=96"), (250, "tile=248")])
def test_a_tile_that_the_stride_does_not_divide_or_that_is_smaller_is_a_sentence(tile, advice):
    with pytest.raises(UserError, match=f"tile={tile} is no multiple of the 8 pixels .*{advice}"):
        Extractor(ColourBackbone(), tile=tile)


def test_nan_in_a_tile_ends_the_run_with_the_picture_s_name():
    extractor = Extractor(ColourBackbone(), tile=64)
    extractor.maps.backbone.spread.zero_()
    with pytest.raises(RunStopped, match="b/a.png"):
        list(extractor.bands(np.zeros((128, 128, 3), np.uint8), "b/a.png"))


def test_probabilities_made_by_bands_are_those_of_the_joined_map():
    extractor, image = Extractor(ColourBackbone(), tile=96), photograph(200, 264)
    model = Segmenter(None, torch.randn(5, 42, generator=torch.Generator().manual_seed(0)))
    found = tiled_scores(model, extractor.bands(image, "a"), 2.0)
    map_ = extractor.bands(image, "a").joined()
    expected = (2 * torch.einsum("chw,kc->khw", F.normalize(map_, dim=0), model.centres)).softmax(0)
    torch.testing.assert_close(found, expected)
    tokens, shape = map_.flatten(1).T, tuple(map_.shape[1:])
    same = best(found, image.shape[:2]) == best(scores(model, tokens, shape), image.shape[:2])
    assert same.mean() > 0.98  # lengths of the codes count between places


def test_masks_are_refined_at_the_size_of_a_map_that_is_larger():
    image, shares = photograph(120, 160), torch.rand(3, 60, 80, generator=torch.Generator().manual_seed(0)).softmax(0)
    for size, expected in ((40, (60, 80)), (100, (75, 100)), (400, (120, 160))):
        for method in ("none", "guided", "crf"):
            found = Refinement(method, size, 2.0, CRFConfig(iterations=1)).follow(shares, image)
            assert found.shape == (3, *expected)
            torch.testing.assert_close(found.sum(dim=0), torch.ones(expected), atol=1e-3, rtol=0)


def test_squares_cover_their_picture_and_are_shown_as_they_are(scenes):
    source, _ = scenes
    found = Squares(Encoded(source), TileFrame(64, None, 8), [0, 3], seed=0)
    assert [found.name(index) for index in range(len(found))] == ["000.jpg"] * 4 + ["003.jpg"] * 4
    shown = TileFrame(64, None, 8).show(source.images[0])
    assert np.array_equal(found.read(0), shown[:64, :64]) and np.array_equal(found.read(3), shown[-64:, -64:])
    small = Squares(Encoded(source), TileFrame(256, None, 8), [0, 1], seed=0)
    assert [small.read(index).shape[:2] for index in range(2)] == [(96, 128), (128, 96)]
    assert small.fingerprint() != found.fingerprint()


def test_so_many_squares_are_drawn_by_the_seed_that_each_picture_has_its_share(scenes, monkeypatch):
    monkeypatch.setattr(squares, "SQUARES", 8)
    make = [Squares(Encoded(scenes[0]), TileFrame(16, None, 8), range(4), seed) for seed in (0, 0, 1)]
    names = [make[0].name(index) for index in range(len(make[0]))]
    assert names == [f"{number:03}.jpg" for number in range(4) for _ in range(2)]
    prints = [each.fingerprint() for each in make]
    assert prints[0] == prints[1] != prints[2]


class Encoded:
    """A source of arrays as files."""

    classes, notes = None, ()

    def __init__(self, source) -> None:
        self.source = source

    def __getattr__(self, name):
        return getattr(self.source, name)

    def read_bytes(self, index: int) -> bytes:
        return cv2.imencode(".png", self.source.read(index))[1].tobytes()


def test_features_of_other_tiles_are_never_handed_out(scenes, tmp_path):
    cache, source = Cache(tmp_path, 1e9), scenes[0]
    for options in (
        {"tile": 64},
        {"tile": 96},
        {"tile": 64, "image_size": 200},
        {"tile": 64, "window": 3},
        {"window": 3},
    ):
        extractor = Extractor(ColourBackbone(), **options)
        kept = extract(source, extractor, range(4), cache=cache)
        fresh = extract(source, extractor, range(4))
        assert kept.shapes == fresh.shapes
        assert all(np.array_equal(np.asarray(a), np.asarray(b)) for a, b in zip(kept.arrays, fresh.arrays, strict=True))
    assert len(list(tmp_path.iterdir())) == 5


def own(folder, out, **changes):
    return settings(folder, out, **{"image_size": None, "tile": 64, **changes})


def test_a_run_through_tiles_writes_masks_of_all_sizes_and_goes_on_where_it_stopped(png_folder, tmp_path):
    cv2.imwrite(str(png_folder / "large.png"), scene(9, 150, 700)[0])
    cv2.imwrite(str(png_folder / "small.png"), scene(8, 30, 20)[0])
    (png_folder / "broken.png").write_bytes(b"this is text")
    out = tmp_path / "out"
    summary = segment(own(png_folder, out, method="kmeans"), silent)
    assert (summary.pictures, summary.unreadable) == (6, 1)
    for path in png_folder.rglob("*.png"):
        if path.stem != "broken":
            mask = cv2.imread(str(out / "labels" / path.relative_to(png_folder)), cv2.IMREAD_UNCHANGED)
            assert mask.shape == cv2.imread(str(path)).shape[:2] and mask.max() < 3
    written = contents(out)
    (out / "labels/large.png").unlink()
    (out / "overlays/small.jpg").unlink()
    segment(own(png_folder, out, method="kmeans"), silent)
    assert contents(out) == written
    segment(own(png_folder / "sub", tmp_path / "two", method="kmeans", model=str(out), tile=None, classes=8), silent)
    assert (tmp_path / "two/labels/c.png").read_bytes() == written["labels/sub/c.png"]
    assert load_model(out)[1].tile == 64 and load_model(out)[1].image_size is None


def test_other_numbers_of_segments_are_learned_from_what_is_kept(png_folder, tmp_path, counts):
    out = tmp_path / "out"
    segment(own(png_folder, out, method="stego", cache=str(tmp_path / "cache")), silent)
    seen = counts["backbone"]
    summary = segment(own(png_folder, out, method="stego", cache=str(tmp_path / "cache"), classes=4), silent, unsaid)
    assert counts["training"] == 1 and summary.head == "kept" and summary.segments == 4
    assert counts["backbone"] - seen < seen  # the masks' alone


def test_probabilities_and_the_crf_go_with_tiles(png_folder, tmp_path):
    segment(
        own(png_folder, tmp_path / "out", method="kmeans", probabilities=True, refine="crf", refine_size=40), silent
    )
    found = np.load(tmp_path / "out/probabilities/sub/c.npz")["probabilities"]
    assert found.shape == (3, 27, 40)
    np.testing.assert_allclose(found.astype(np.float32).sum(axis=0), 1, atol=2e-3)


def test_films_are_seen_through_tiles_frame_by_frame(tmp_path):
    film = filming.write(tmp_path / "film.avi", filming.shots(3, 3, size=(96, 136)))
    segment(filming.settings(film, tmp_path / "out", tile=48, image_size=None), silent)
    found = filming.labels(tmp_path / "out", "film")
    assert len(found) == 6 and all(each.shape == (96, 136) for each in found)


def test_spectral_segments_take_no_tile(png_folder, tmp_path):
    with pytest.raises(UserError, match="method=spectral .* takes no tile"):
        segment(own(png_folder, tmp_path / "out", method="spectral"), silent)


def test_a_signal_ends_a_run_within_a_picture_and_the_same_command_goes_on(png_folder, tmp_path, monkeypatch):
    whole = own(png_folder, tmp_path / "whole", method="kmeans")
    segment(whole, silent)
    score = MaskRun._score_tiled

    def interrupted(self, *given):
        self.stop.asked = signal.SIGTERM
        return score(self, *given)

    with monkeypatch.context() as patch:
        patch.setattr(MaskRun, "_score_tiled", interrupted)
        with pytest.raises(RunStopped, match="SIGTERM ended the run with 0 of 4 pictures done"):
            segment(own(png_folder, tmp_path / "out", method="kmeans"), silent)
    segment(own(png_folder, tmp_path / "out", method="kmeans"), silent)
    assert contents(tmp_path / "out") == contents(tmp_path / "whole")
