"""Every kind of picture is read right, ordinary ones by OpenCV as Pillow reads them, and bad ones end in one reason."""

from __future__ import annotations

import io
import os
import struct
import tracemalloc
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image, ImageOps

from densessl.data import images
from densessl.data.images import UnreadableImage, decode, read_image

PHOTOS = Path(__file__).parents[2].parent / "shared" / "data" / "photos"


def scene(height: int = 60, width: int = 90) -> np.ndarray:
    """A smooth picture with a different colour in each corner, so that turning it shows."""
    corners = np.array([[[255, 0, 0], [0, 255, 0]], [[0, 0, 255], [250, 250, 20]]], np.uint8)
    return cv2.resize(corners, (width, height), interpolation=cv2.INTER_LINEAR)


def encoded(picture: Image.Image | np.ndarray, kind: str, **options) -> bytes:
    picture = picture if isinstance(picture, Image.Image) else Image.fromarray(picture)
    file = io.BytesIO()
    picture.save(file, kind, **options)
    return file.getvalue()


def by_pillow(data: bytes) -> np.ndarray:
    return np.asarray(ImageOps.exif_transpose(Image.open(io.BytesIO(data))).convert("RGB"))


def by_opencv(image: np.ndarray, suffix: str) -> bytes:
    return cv2.imencode(suffix, image)[1].tobytes()


def distance(one: np.ndarray, two: np.ndarray) -> float:
    assert one.shape == two.shape and one.dtype == np.uint8 and one.flags.c_contiguous
    return float(np.abs(one.astype(float) - two).mean())


@pytest.mark.parametrize(
    ("kind", "mode", "options"),
    [
        ("JPEG", "RGB", {"quality": 90}),
        ("JPEG", "RGB", {"progressive": True}),
        ("JPEG", "RGB", {"subsampling": 0}),
        ("JPEG", "L", {}),
        ("PNG", "RGB", {}),
        ("PNG", "L", {}),
    ],
)
def test_ordinary_pictures_go_through_opencv_and_are_what_pillow_reads(kind, mode, options, monkeypatch):
    data = encoded(Image.fromarray(scene()).convert(mode), kind, **options)
    monkeypatch.setattr(images, "_pillow", lambda data: pytest.fail("took the slow path"))
    assert distance(decode(data), by_pillow(data)) <= 0.5


@pytest.mark.skipif(not PHOTOS.is_dir(), reason="needs ../shared/data/photos")
def test_photographs_are_what_pillow_reads():
    for path in sorted(PHOTOS.glob("*.jpg"))[:40]:
        assert distance(read_image(path), by_pillow(path.read_bytes())) <= 0.5


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF", "WEBP"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_orientation_comes_out_upright(kind, orientation):
    back = {5: 5, 6: 8, 7: 7, 8: 6}.get(orientation, orientation)
    stored = images.upright(scene(), back)
    exif = Image.Exif()
    exif[0x0112] = orientation
    lossless = {"JPEG": {"quality": 95, "subsampling": 0}, "WEBP": {"lossless": True}}.get(kind, {})
    assert distance(decode(encoded(stored, kind, exif=exif, **lossless)), scene()) < 2


@pytest.mark.parametrize("orientation", range(10))  # 0 and 9 mean nothing
def test_a_header_tells_the_size_as_stored_and_the_orientation(orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = encoded(scene(20, 30), "JPEG", exif=exif)
    assert images.frame(data) == (20, 30, orientation if 0 < orientation < 9 else 1)
    assert decode(data).shape[:2] == ((30, 20) if 5 <= orientation <= 8 else (20, 30))


def test_a_header_alone_is_enough_and_without_one_there_is_a_reason():
    data = encoded(scene(20, 30), "JPEG")
    assert images.frame(data[:-100]) == (20, 30, 1)
    for broken, reason in ((b"", "empty"), (b"text", "not an image")):
        with pytest.raises(UnreadableImage, match=reason):
            images.frame(broken)


def test_a_deep_picture_is_turned_too():
    assert np.array_equal(images.upright(scene(), 6), np.rot90(scene(), -1))
    assert np.array_equal(images.upright(scene(), 8), np.rot90(scene()))
    assert np.array_equal(images.upright(scene(), 7), np.rot90(scene(), 2).transpose(1, 0, 2))


@pytest.mark.parametrize("suffix", [".png", ".tiff"])
@pytest.mark.parametrize(("top", "bits"), [(65535, 16), (4095, 12), (255, 8)])
@pytest.mark.parametrize("channels", [1, 3])
def test_16_bits_become_8_over_the_range_in_use(suffix, top, bits, channels):
    ramp = np.linspace(0, top, 64).round().astype(np.uint16)
    image = np.stack([np.tile(ramp, (5, 1)), np.zeros((5, 64)), np.tile(ramp[::-1], (5, 1))], 2).astype(np.uint16)
    image = image if channels == 3 else image[:, :, 0]
    read = decode(by_opencv(image, suffix))
    wanted = image[:, :, ::-1] if channels == 3 else np.repeat(image[:, :, None], 3, 2)
    assert distance(read, wanted * (255 / ((1 << bits) - 1))) <= 0.5


def test_16_bits_with_transparency_are_blended_on_white():
    image = np.zeros((4, 4, 4), np.uint16)
    image[:, :2, 3] = 65535
    image[:, 3] = (0, 0, 65535, 32768)
    read = decode(by_opencv(image, ".png"))
    assert read[0, :3].tolist() == [[0, 0, 0], [0, 0, 0], [255, 255, 255]]
    assert read[0, 3].tolist() == [255, 127, 127]


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_transparency_is_blended_on_white(mode, kind):
    picture = Image.new(mode, (3, 1), (0,) * len(mode))
    picture.putpixel((1, 0), (0,) * (len(mode) - 1) + (255,))
    picture.putpixel((2, 0), (100,) * (len(mode) - 1) + (128,))
    assert decode(encoded(picture, kind))[0, :, 0].tolist() == [255, 0, pytest.approx(177, abs=1)]


@pytest.mark.parametrize("kind", ["PNG", "GIF"])
def test_a_transparent_colour_of_a_palette_is_white(kind):
    picture = Image.new("P", (2, 1))
    picture.putpalette([10, 20, 30, 200, 100, 50])
    picture.putpixel((1, 0), 1)
    assert decode(encoded(picture, kind))[0].tolist() == [[10, 20, 30], [200, 100, 50]]
    assert decode(encoded(picture, kind, transparency=0))[0].tolist() == [[255, 255, 255], [200, 100, 50]]


def test_a_transparent_colour_without_a_palette_is_white():
    picture = Image.fromarray(np.array([[[9, 8, 7], [1, 2, 3]]], np.uint8))
    assert decode(encoded(picture, "PNG", transparency=(9, 8, 7)))[0].tolist() == [[255, 255, 255], [1, 2, 3]]


@pytest.mark.parametrize("kind", ["JPEG", "TIFF"])
def test_cmyk_is_converted_and_not_inverted(kind):
    picture = Image.fromarray(scene()).convert("CMYK")
    data = encoded(picture, kind)
    assert b"Adobe" in data or kind == "TIFF"
    assert distance(decode(data), scene()) < 3


def test_one_bit_is_black_and_white():
    picture = Image.fromarray(np.array([[0, 255], [255, 0]], np.uint8)).convert("1")
    for kind in ("PNG", "TIFF", "BMP"):
        assert decode(encoded(picture, kind))[:, :, 1].tolist() == [[0, 255], [255, 0]]


@pytest.mark.parametrize(
    ("values", "wanted"),
    [
        ([0.0, 0.5, 1.0], [0, 128, 255]),
        ([0.0, 7.0, 255.0], [0, 7, 255]),
        ([-100.0, 20.0, 100.0], [0, 153, 255]),
        ([np.nan, 0.5, 1.0], [0, 128, 255]),
    ],
)
def test_floats_are_scaled_by_their_range(values, wanted):
    data = encoded(np.array([values], np.float32), "TIFF")
    assert decode(data)[0, :, 2].tolist() == wanted


def test_floats_in_three_channels_are_read():
    image = np.linspace(0, 1, 36, dtype=np.float32).reshape(3, 4, 3)
    assert distance(decode(by_opencv(image, ".tiff")), image[:, :, ::-1] * 255) <= 0.5


@pytest.mark.parametrize("kind", ["GIF", "PNG", "WEBP", "TIFF"])
def test_of_an_animation_the_first_frame_is_read(kind):
    frames = [Image.new("RGB", (8, 6), colour) for colour in ("red", "blue", "lime")]
    options = {"lossless": True} if kind == "WEBP" else {}
    data = encoded(frames[0], kind, save_all=True, append_images=frames[1:], **options)
    assert distance(decode(data), np.full((6, 8, 3), (255, 0, 0))) < 2


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF", "PPM"])
def test_a_picture_of_one_pixel_is_read(kind):
    assert decode(encoded(Image.new("RGB", (2, 1), "white"), kind)).tolist() == [[[255, 255, 255]] * 2]
    with pytest.raises(UnreadableImage, match="single pixel"):
        decode(encoded(Image.new("RGB", (1, 1), "white"), kind))


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF", "WEBP", "GIF", "BMP"])
@pytest.mark.parametrize("share", [0.3, 0.7, 0.95])
def test_a_file_cut_short_is_refused(kind, share):
    noise = np.random.default_rng(0).integers(0, 255, (80, 90, 3), dtype=np.uint8)
    data = encoded(noise, kind)
    with pytest.raises(UnreadableImage, match="truncated|damaged|not an image"):
        decode(data[: int(len(data) * share)])


@pytest.mark.parametrize("progressive", [False, True])
@pytest.mark.parametrize("opencv_is_silent", [False, True])
def test_a_jpeg_with_a_thumbnail_cut_short_is_truncated(progressive, opencv_is_silent, monkeypatch):
    """Its thumbnail has an end of image of its own; OpenCV before version 5 returns such a picture half grey."""
    exif = b"Exif\0\0" + encoded(scene(20, 30), "JPEG")
    data = encoded(scene(200, 300), "JPEG", exif=exif, progressive=progressive)
    assert decode(data).shape == (200, 300, 3)
    if opencv_is_silent:
        monkeypatch.setattr(images, "_opencv", lambda data, flags: np.zeros((200, 300, 3), np.uint8))
    for share in (0.5, 0.8, 0.99):
        with pytest.raises(UnreadableImage, match="it is truncated"):
            decode(data[: int(len(data) * share)])


def test_bytes_after_the_end_of_a_picture_do_no_harm():
    for kind in ("JPEG", "PNG"):
        data = encoded(scene(), kind)
        assert np.array_equal(decode(data + b"\0" * 100), decode(data))


def test_a_damaged_png_is_refused():
    data = bytearray(encoded(np.random.default_rng(0).integers(0, 255, (50, 50, 3), dtype=np.uint8), "PNG"))
    data[len(data) // 2] ^= 255
    with pytest.raises(UnreadableImage, match="damaged|truncated"):
        decode(bytes(data))


def bomb_jpeg(width: int, height: int) -> bytes:
    data = bytearray(encoded(scene(), "JPEG"))
    frame = data.index(b"\xff\xc0")
    data[frame + 5 : frame + 9] = struct.pack(">HH", height, width)
    return bytes(data)


def bomb_png(width: int, height: int, depth: int = 8) -> bytes:
    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", width, height, depth, 2, 0, 0, 0)
    return images._PNG + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(10000))) + chunk(b"IEND", b"")


def bomb_tiff(width: int, height: int) -> bytes:
    data = bytearray(encoded(scene(), "TIFF"))
    for tag, old, new in ((256, 90, width), (257, 60, height)):
        entry = next(
            data.index(struct.pack("<HHI", tag, kind, 1))
            for kind in (3, 4)
            if struct.pack("<HHI", tag, kind, 1) in data
        )
        assert struct.unpack_from("<I", data, entry + 8) == (old,)
        struct.pack_into("<HHII", data, entry, tag, 4, 1, new)
    return bytes(data)


@pytest.mark.parametrize(
    "data",
    [
        bomb_jpeg(60000, 40000),
        bomb_png(60000, 40000),
        bomb_png(60000, 40000, 16),
        bomb_tiff(60000, 40000),
        encoded(Image.new("1", (16000, 12000)), "TIFF"),
    ],
    ids=["jpeg", "png", "png of 16 bits", "tiff", "little over the limit"],
)
def test_a_bomb_is_refused_by_its_declared_size_without_taking_memory(data):
    tracemalloc.start()
    before = _resident()
    with pytest.raises(UnreadableImage, match="it declares .*more than the 178,956,970"):
        decode(data)
    assert tracemalloc.get_traced_memory()[1] < 20e6 and _resident() - before < 50e6
    tracemalloc.stop()


def _resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "it is empty"),
        (b"this is text", "not an image of a known format"),
        (b"\xff\xd8\xff", "damaged"),
        (images._PNG, "damaged|truncated"),
        (b"GIF89a", "not an image|truncated"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "not an image of a known format"),
    ],
)
def test_what_is_no_picture_has_a_reason(data, reason):
    with pytest.raises(UnreadableImage, match=reason):
        decode(data)


def test_what_is_no_file_has_a_reason(tmp_path, monkeypatch):
    (tmp_path / "folder.jpg").mkdir()
    os.mkfifo(tmp_path / "pipe.jpg")
    (tmp_path / "link.jpg").symlink_to(tmp_path / "nowhere.jpg")
    (tmp_path / "file.jpg").write_bytes(b"1234")
    reasons = {"folder.jpg": "it is a folder", "pipe.jpg": "not a file", "link.jpg": "no such file"}
    for name, reason in reasons.items():
        with pytest.raises(UnreadableImage, match=reason):
            read_image(tmp_path / name)
    monkeypatch.setattr(images, "MAX_BYTES", 3)
    with pytest.raises(UnreadableImage, match="it is larger"):
        read_image(tmp_path / "file.jpg")


def test_a_file_that_may_not_be_read_has_a_reason(tmp_path, monkeypatch):
    path = tmp_path / "file.jpg"
    path.write_bytes(encoded(scene(), "JPEG"))

    def refuse(*_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("builtins.open", refuse)
    with pytest.raises(UnreadableImage, match="permission denied"):
        read_image(path)
