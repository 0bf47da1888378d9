"""`tile=SIDE`: squares of pictures as images."""

import numpy as np
import pytest
from PIL import Image

from densessl.data.images import UnreadableImage
from densessl.data.sources import open_source
from densessl.data.sources.tiles import Tiled, tiled


def picture(path, height, width, **options):
    values = np.arange(height * width, dtype=np.uint32).reshape(height, width)
    pixels = np.stack([values % 251, values // 251 % 256, values % 7], axis=2).astype(np.uint8)
    Image.fromarray(pixels).save(path, **options)
    return pixels


def test_tiles_are_squares_of_the_pictures_that_overlap_by_half_and_end_at_the_edges(tmp_path):
    pixels = picture(tmp_path / "a.png", 40, 70)
    tiles = Tiled(open_source(tmp_path), 32)
    assert [tiles.name(i) for i in range(len(tiles))] == [
        *("a@0,0.png", "a@16,0.png", "a@32,0.png", "a@38,0.png"),
        *("a@0,8.png", "a@16,8.png", "a@32,8.png", "a@38,8.png"),
    ]
    assert np.array_equal(tiles.read(7), pixels[8:40, 38:70])


def test_every_pixel_lies_in_a_tile(tmp_path):
    for number, size in enumerate([(33, 32), (32, 100), (95, 64)]):
        picture(tmp_path / f"{number}.png", *size)
    source = open_source(tmp_path)
    tiles = Tiled(source, 32)
    seen = [np.zeros(source.read(i).shape[:2], bool) for i in range(3)]
    for index in range(len(tiles)):
        number, place = tiles.name(index).removesuffix(".png").split("@")
        left, top = map(int, place.split(","))
        seen[int(number)][top : top + 32, left : left + 32] = True
        assert tiles.read(index).shape == (32, 32, 3)
    assert all(each.all() for each in seen)


def test_a_picture_smaller_than_a_tile_is_one_tile(tmp_path):
    pixels = picture(tmp_path / "a.png", 20, 50)
    tiles = Tiled(open_source(tmp_path), 64)
    assert len(tiles) == 1
    assert np.array_equal(tiles.read(0), pixels)


def test_a_picture_is_turned_upright_before_it_is_cut(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    picture(tmp_path / "a.png", 16, 48, exif=exif)
    source = open_source(tmp_path)
    tiles = Tiled(source, 16)
    assert source.read(0).shape == (48, 16, 3)
    assert [tiles.name(i) for i in range(len(tiles))] == [f"a@0,{top}.png" for top in (0, 8, 16, 24, 32)]


def test_a_picture_that_cannot_be_read_is_a_tile_that_cannot(tmp_path):
    (tmp_path / "a.png").write_bytes(b"no picture")
    picture(tmp_path / "b.png", 8, 8)
    tiles = Tiled(open_source(tmp_path), 8)
    assert len(tiles) == 2
    with pytest.raises(UnreadableImage):
        tiles.read(0)


def test_tiles_have_the_labels_of_their_pictures_and_a_fingerprint_of_their_own(tmp_path):
    for name in ("cats", "dogs"):
        (tmp_path / name).mkdir()
        picture(tmp_path / name / "1.png", 8, 16)
    source = open_source(tmp_path)
    tiles = Tiled(source, 8)
    assert [tiles.label(i) for i in range(len(tiles))] == [0, 0, 0, 1, 1, 1]
    assert tiles.classes == ["cats", "dogs"]
    assert len({source.fingerprint(), tiles.fingerprint(), Tiled(source, 12).fingerprint()}) == 3
    assert tiled(source, None) is source


def test_of_more_pictures_than_can_be_kept_tiles_come_in_groups_of_pictures_that_can(tmp_path, monkeypatch):
    for number in range(24):
        picture(tmp_path / f"{number:02}.png", 40, 40)
    tiles = Tiled(open_source(tmp_path), 16)  # 4 x 4 tiles of each
    monkeypatch.setattr("densessl.data.sources.tiles.RECENT", 7 * 40 * 40 * 3)
    orders = [tiles.order(np.random.default_rng(seed)) for seed in (0, 0, 1)]
    assert np.array_equal(orders[0], orders[1]) and not np.array_equal(orders[0], orders[2])
    assert all(sorted(order) == list(range(24 * 16)) for order in orders)
    # 24 pictures of which 7 can be kept are 4 groups of 6.
    groups = [set(part // 16) for part in orders[0].reshape(4, -1)]
    assert [len(group) for group in groups] == [6] * 4 and len(set.union(*groups)) == 24
    assert groups != [set(part // 16) for part in orders[2].reshape(4, -1)]
    # Within a group tiles are mixed: a batch of 24 has most of its pictures.
    assert min(len(set(batch // 16)) for batch in orders[0].reshape(-1, 24)) >= 4


def test_of_pictures_that_can_be_kept_tiles_come_in_any_order(tmp_path):
    for number in range(3):
        picture(tmp_path / f"{number}.png", 40, 40)
    tiles = Tiled(open_source(tmp_path), 16)
    assert np.array_equal(tiles.order(np.random.default_rng(5)), np.random.default_rng(5).permutation(48))


def test_a_process_decodes_a_picture_once_an_epoch_though_it_cannot_keep_all(tmp_path, monkeypatch):
    for number in range(12):
        picture(tmp_path / f"{number:02}.png", 40, 40)
    monkeypatch.setattr("densessl.data.sources.tiles.RECENT", 4 * 40 * 40 * 3)
    source = open_source(tmp_path)
    read, count = source.read, []
    monkeypatch.setattr(source, "read", lambda index: count.append(index) or read(index))
    tiles = Tiled(source, 16)
    for index in tiles.order(np.random.default_rng(0)):
        tiles.read(int(index))
    assert sorted(count) == list(range(12))
