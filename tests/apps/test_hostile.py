"""Uploads that were made to do harm get a sentence, and the next one is opened as ever."""

from __future__ import annotations

import io
import struct
import zipfile
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from densessl.apps.config import AppConfig
from densessl.apps.service import Upload
from densessl.apps.worker import Worker, stem
from densessl.errors import UserError
from tests.apps.conftest import PHOTOGRAPHS

PHOTOGRAPH = (PHOTOGRAPHS / "cat.jpg").read_bytes()


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def huge_png(side: int) -> bytes:
    """A PNG that declares so many pixels a side, and has none."""
    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


def zipped() -> bytes:
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("x", bytes(10_000_000))
    return data.getvalue()


CASES = {
    "empty": (b"", "it is empty"),
    "text": (b"no picture at all", "not an image of a known format"),
    "archive": (zipped(), "not an image of a known format"),
    "cut": (PHOTOGRAPH[: len(PHOTOGRAPH) // 2], "truncated"),
    "60,000 px": (huge_png(60_000), "60000 x 60000 pixels|60,000 x 60,000 pixels|more than the"),
    "svg": (b"<svg xmlns='http://www.w3.org/2000/svg'><script>alert(1)</script></svg>", "not an image"),
    "postscript": (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "not an image"),
    "broken pdf": (b"%PDF-1.7\n" + bytes(2000), "is a PDF|damaged"),
}


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("suffix", ["jpg", "tif"])
def test_what_is_no_picture_gets_a_sentence(service, photographs, tmp_path, case, suffix):
    data, sentence = CASES[case]
    path = tmp_path / f"upload.{suffix}"
    path.write_bytes(data)
    with pytest.raises(UserError, match=sentence):
        service.worker.picture(str(path), path.name)
    with pytest.raises(UserError, match=r"^upload\.\w+ cannot be read: [^\n]*\.$"):
        service.worker.document(str(path), path.name, tmp_path)
    assert service.worker.picture(photographs[0].path, "x").image.shape[2] == 3


def test_files_and_pictures_over_the_limits_are_refused_before_they_are_decoded(service, tmp_path):
    large = tmp_path / "large.bin"
    with open(large, "wb") as file:
        file.truncate(21_000_000)
    with pytest.raises(UserError, match="larger than the 20 MB"):
        service.worker.picture(str(large), "large.bin")
    Image.new("L", (6000, 6000)).save(tmp_path / "wide.png")
    with pytest.raises(UserError, match="more than the 30"):
        service.worker.picture(str(tmp_path / "wide.png"), "wide.png")


def test_a_process_that_takes_too_long_or_too_much_is_lost_and_replaced(tmp_path, photographs):
    worker = Worker(AppConfig(open_seconds=0.3, memory=1.0, pixels=400), processes=1)
    try:
        Image.new("L", (15_000, 15_000)).save(tmp_path / "black.png", compress_level=1)
        with pytest.raises(UserError, match="takes more than the 0.3 s|needs more"):
            worker.picture(str(tmp_path / "black.png"), "black.png")
        assert worker.picture(photographs[0].path, "x").image.any()
    finally:
        worker.close()


def test_a_process_that_is_killed_while_it_waits_costs_no_upload(photographs):
    worker = Worker(AppConfig(), processes=1)
    try:
        worker.picture(photographs[0].path, "x")
        waiting = worker._idle.queue[0].process
        waiting.kill()
        waiting.wait()
        assert worker.picture(photographs[0].path, "x").image.any()
    finally:
        worker.close()


def test_decoding_is_bounded_in_memory(tmp_path):
    worker = Worker(AppConfig(memory=0.7, pixels=400), processes=1)
    try:
        Image.new("L", (15_000, 15_000)).save(tmp_path / "black.png", compress_level=1)  # 0.7 GB in three channels
        with pytest.raises(UserError, match="memory|needs more"):
            worker.picture(str(tmp_path / "black.png"), "black.png")
    finally:
        worker.close()


@pytest.mark.parametrize(
    "name, kept",
    [
        ("../../etc/passwd", "passwd"),
        ("..\\..\\x.png", "x"),
        ("a/b/c.tar.gz", "c_tar"),
        ("...", "upload"),
        ("\x00\n<b>.pdf", "b"),
        ("Übersicht 3.pdf", "Übersicht 3"),
        ("x" * 300 + ".pdf", "x" * 60),
    ],
)
def test_names_of_ours_have_no_folders(name, kept):
    assert stem(name) == kept


def test_documents_stay_in_their_folder_and_are_written_anew(service, tmp_path):
    pages = [Image.fromarray(np.full((300, 200, 3), value, np.uint8)) for value in (40, 120, 200)]
    pages[0].save(tmp_path / "scan.tif", save_all=True, append_images=pages[1:], dpi=(150, 150))
    inside = tmp_path / "inside"
    inside.mkdir()
    path, count = service.worker.document(str(tmp_path / "scan.tif"), "../../scan.tif", inside)
    assert path == inside / "scan.tif" and count == 3
    with Image.open(path) as clean:
        assert clean.n_frames == 3 and clean.info["dpi"] == (150, 150)
        for number, value in enumerate((40, 120, 200)):
            clean.seek(number)
            assert np.asarray(clean.convert("RGB")).min() == np.asarray(clean.convert("RGB")).max() == value
    (tmp_path / "photo.jpg").write_bytes(PHOTOGRAPH)
    path, count = service.worker.document(str(tmp_path / "photo.jpg"), "photo.jpg", inside)
    assert path == inside / "photo.png" and count == 1
    np.testing.assert_array_equal(
        np.asarray(Image.open(path)), service.worker.picture(str(tmp_path / "photo.jpg"), "x").image
    )


def test_a_long_scan_is_written_anew_in_flat_memory(tmp_path):
    page = Image.new("1", (2480, 3508), 1)
    page.paste(0, (300, 400, 900, 500))
    page.save(tmp_path / "scan.tif", save_all=True, append_images=[page] * 23, compression="group4")
    worker = Worker(AppConfig(memory=1.0), processes=1)  # Pillow's pixels of all pages would take 0.8 GB of that
    try:
        path, count = worker.document(str(tmp_path / "scan.tif"), "scan.tif", tmp_path.parent)
        with pytest.raises(UserError, match="more than 0.02 GB"):
            worker.document(str(tmp_path / "scan.tif"), "again.tif", tmp_path, room=20e6)
    finally:
        worker.close()
    with Image.open(path) as clean:
        assert count == clean.n_frames == 24
        clean.seek(23)
        np.testing.assert_array_equal(np.asarray(clean.convert("1")), np.asarray(page))


def test_very_narrow_pictures_are_segmented(service, tmp_path):
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (3, 3000, 3), np.uint8)).save(tmp_path / "line.png")
    found = service.segment([Upload(str(Path(tmp_path, "line.png")), "line.png")], 2).payload
    assert found.labels(0).shape == (3, 3000)
