"""TIFF files of several pages: which pages there are, what they show, and how hostile ones end."""

from __future__ import annotations

import struct

import numpy as np
import pytest
from PIL import Image

from densessl.data.images import UnreadableImage, decode
from densessl.data.pages import tiff
from densessl.data.sources import open_source
from tests.data.documents import names, values, write


def pattern(seed: int, mode: str) -> Image.Image:
    values = np.random.default_rng(seed).integers(0, 256, (37, 53, 3), np.uint8)
    return Image.fromarray(values).convert(mode)


@pytest.mark.parametrize(
    ("mode", "options"),
    [
        ("RGB", {}),
        ("L", {"compression": "tiff_lzw"}),
        ("1", {"compression": "group4"}),
        ("RGB", {"compression": "jpeg", "quality": 90}),
        ("P", {"compression": "tiff_adobe_deflate"}),
        ("I;16", {}),
        ("RGB", {"big_tiff": True}),
    ],
)
def test_pages_of_a_tiff_are_those_that_pillow_reads(tmp_path, mode, options):
    grey = [Image.fromarray((np.arange(37 * 53, dtype=np.uint16) * seed).reshape(37, 53)) for seed in (1, 9, 30)]
    pages = grey if mode == "I;16" else [pattern(seed, mode) for seed in range(3)]
    path = tmp_path / "scan.tiff"
    pages[0].save(path, save_all=True, append_images=pages[1:], **options)
    source = open_source(path)
    assert names(source) == [f"scan.tiff/p000{number}.png" for number in (1, 2, 3)]
    with Image.open(path) as picture:
        for number in (2, 0, 1):
            picture.seek(number)
            alone = tmp_path / f"{number}.png"
            picture.save(alone)
            assert np.array_equal(source.read(number), decode(alone.read_bytes()))
            assert source.size(number) == (37, 53)


def test_of_a_long_tiff_only_the_page_is_read(tmp_path):
    pages = [Image.new("L", (200, 100), value) for value in range(50)]
    pages[0].save(tmp_path / "long.tif", save_all=True, append_images=pages[1:])
    alone = tiff.read_page(tmp_path / "long.tif", 30)
    assert len(alone) < 22_000 < (tmp_path / "long.tif").stat().st_size / 40 and decode(alone)[0, 0, 0] == 30


def test_the_chain_of_directories_is_followed_once_and_anew_when_the_file_has_changed(tmp_path, monkeypatch):
    path, read, whole = tmp_path / "long.tif", [], tiff._Tiff.directory
    monkeypatch.setattr(tiff._Tiff, "directory", lambda self, at: read.append(at) or whole(self, at))
    pages = [Image.new("L", (8, 8), value) for value in range(60)]
    pages[0].save(path, save_all=True, append_images=pages[1:])
    source = open_source(path)
    assert [source.read(number)[0, 0, 0] for number in reversed(range(60))] == list(reversed(range(60)))
    assert len(source) == 60 and len(read) == 120
    pages[59].save(path, save_all=True, append_images=pages[50:59])
    assert [source.read(number)[0, 0, 0] for number in (0, 9)] == [59, 58]
    with pytest.raises(UnreadableImage, match="has no page 11 any more"):
        source.read(10)


def directory(order: str, entries: list[tuple[int, int, int, int]], following: int) -> bytes:
    """Entries (tag, type, count, value) as TIFF 6.0 has them; a short lies at the beginning of its field."""
    rows = b""
    for tag, kind, count, value in entries:
        field = struct.pack(order + ("HH" if kind == 3 else "I"), *((value, 0) if kind == 3 else (value,)))
        rows += struct.pack(order + "HHI", tag, kind, count) + field
    return struct.pack(order + "H", len(entries)) + rows + struct.pack(order + "I", following)


def grey_tiff(order: str, subfile: tuple[int, ...], last: int | None = None) -> bytes:
    """Pages of 2 x 1 pixels of value 10, 20, ..., whose directories have 10 entries each, and so 126 bytes.

    subfile: NewSubfileType of each. last: where the chain goes at its end.
    """
    data = {"<": b"II*\0", ">": b"MM\0*"}[order] + struct.pack(order + "I", 8)
    for number, about in enumerate(subfile):
        at = 8 + number * 128
        after = at + 128 if number + 1 < len(subfile) else 0 if last is None else last
        entries = [(254, 4, 1, about), (256, 3, 1, 2), (257, 3, 1, 1), (258, 3, 1, 8), (259, 3, 1, 1), (262, 3, 1, 1)]
        entries += [(273, 4, 1, at + 126), (277, 3, 1, 1), (278, 3, 1, 1), (279, 4, 1, 2)]
        data += directory(order, entries, after) + bytes([10 * number + 10] * 2)
    return data


@pytest.mark.parametrize("order", "<>")
def test_previews_and_masks_in_a_tiff_are_no_pages(tmp_path, order):
    source = open_source(write(tmp_path / "a.tif", grey_tiff(order, (0, 1, 2, 4, 0))))
    assert values(source) == [10, 30, 50]


def test_hostile_tiffs_end(tmp_path):
    circle = write(tmp_path / "circle.tif", grey_tiff("<", (0, 0, 0), last=8))
    assert tiff.count(circle) == 3 and values(open_source(circle)) == [10, 20, 30]
    whole = grey_tiff("<", (0, 0, 0))
    for length in range(len(whole)):
        cut = write(tmp_path / "cut.tif", whole[:length])
        assert 1 <= tiff.count(cut) <= 3
        for number in range(tiff.count(cut)):
            try:
                assert tiff.read_page(cut, number)
            except UnreadableImage as error:
                assert str(error)
    huge = whole.replace(struct.pack("<HHI", 279, 4, 1), struct.pack("<HHI", 279, 4, 1 << 31))
    with pytest.raises(UnreadableImage, match="damaged"):
        tiff.read_page(write(tmp_path / "huge.tif", huge), 1)
    with pytest.raises(UnreadableImage, match="no page 4 any more"):
        tiff.read_page(circle, 3)
