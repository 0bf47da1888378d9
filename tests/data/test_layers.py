"""What lies beside images: side files, later frames, flow; cut with the image, never jittered."""

from __future__ import annotations

import pickle
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from PIL import Image

from densessl.data.augment import cut, render
from densessl.data.dataset import ViewDataset, collate, render_views
from densessl.data.images import UnreadableImage, decode_values
from densessl.data.sources import open_source
from densessl.data.sources.layers import Depth, Flow, Labels, Later, Layered, Normals
from densessl.data.sources.videos import Clips, Videos
from densessl.data.views import ViewSpec, draw, generator
from densessl.errors import UserError

SPEC = ViewSpec(scale=(0.2, 0.6), jitter=1.0, grey=0.5, blur=0.0)
PLAIN = ViewSpec(scale=(1.0, 1.0), ratio=(1.0, 1.0), flip=0.0, jitter=0.0, grey=0.0, blur=0.0)


def smooth(seed: int, height: int = 60, width: int = 80) -> np.ndarray:
    coarse = np.random.default_rng(seed).integers(0, 256, (5, 6, 3), dtype=np.uint8)
    return cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)


def save(path: Path, array: np.ndarray) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), array[:, :, ::-1] if array.ndim == 3 else array)
    return path


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    for number in range(6):
        save(tmp_path / "images" / f"{number}.png", smooth(number))
    return tmp_path


@pytest.fixture
def frames(tmp_path: Path) -> Path:
    """Two videos of frames: one moves 3 px to the right and 1 down a frame, the other stands."""
    wide = cv2.GaussianBlur(np.random.default_rng(0).integers(0, 256, (200, 260, 3), dtype=np.uint8), (0, 0), 2)
    for t in range(9):
        save(tmp_path / "frames" / "moving" / f"{t:02}.png", wide[60 - t : 160 - t, 60 - 3 * t : 200 - 3 * t])
        save(tmp_path / "frames" / "still" / f"{t:02}.png", wide[20:120, 20:160])
    return tmp_path / "frames"


@pytest.mark.parametrize("seed", range(8))
def test_a_cut_lies_on_the_view_without_its_colours(seed):
    """The same pixels as an image without jitter, whatever colours were drawn."""
    image = smooth(seed)
    drawn = draw(SPEC, *image.shape[:2], generator(seed, 0, 0), 24)
    plain = drawn._replace(brightness=1.0, contrast=1.0, saturation=1.0, hue=0.0, grey=False, sigma=0.0)
    assert np.array_equal(cut(image, drawn, 24, image.shape[:2]), render(image, plain, 24))
    many = np.concatenate([image, image[:, :, :2], image], axis=2)  # more channels than OpenCV takes at once
    assert np.array_equal(cut(many, drawn, 24, image.shape[:2])[:, :, 5:], render(image, plain, 24))


def test_a_smaller_layer_is_cut_at_the_same_place():
    image = smooth(3, 240, 320)
    half = cv2.resize(image, (160, 120), interpolation=cv2.INTER_AREA)
    for seed in range(6):
        drawn = draw(SPEC, 240, 320, generator(seed, 0, 0), 32)._replace(
            brightness=1.0, contrast=1.0, saturation=1.0, hue=0.0, grey=False
        )
        difference = cut(half, drawn, 32, (240, 320)).astype(int) - render(image, drawn, 32).astype(int)
        assert np.abs(difference).mean() < 4


def test_labels_are_cut_to_the_nearest_and_mix_no_classes():
    labels = np.random.default_rng(0).choice([3, 200], (50, 70)).astype(np.uint8)[:, :, None]
    for seed in range(8):
        for size in (16, 64):
            found = cut(labels, draw(SPEC, 50, 70, generator(seed, 0, 0), size), size, (50, 70), nearest=True)
            assert found.shape == (size, size, 1) and set(np.unique(found)) <= {3, 200}


def test_values_are_read_as_they_are_stored(tmp_path):
    deep = np.array([[0, 1000], [4095, 65535]], np.uint16)
    cv2.imwrite(str(tmp_path / "deep.png"), deep)
    assert np.array_equal(decode_values((tmp_path / "deep.png").read_bytes()), deep)
    colour = np.arange(12, dtype=np.uint16).reshape(2, 2, 3) * 5000
    cv2.imwrite(str(tmp_path / "colour.png"), colour[:, :, ::-1])
    assert np.array_equal(decode_values((tmp_path / "colour.png").read_bytes()), colour)
    palette = Image.fromarray(np.array([[0, 1], [2, 7]], np.uint8), "P")
    palette.putpalette([9, 9, 9] * 256)
    palette.save(tmp_path / "palette.png")
    assert decode_values((tmp_path / "palette.png").read_bytes()).tolist() == [[0, 1], [2, 7]]
    Image.fromarray(np.array([[0.5, 2.5]], np.float32)).save(tmp_path / "float.tif")
    assert decode_values((tmp_path / "float.tif").read_bytes()).tolist() == [[0.5, 2.5]]
    for data in (b"", b"no picture", (tmp_path / "deep.png").read_bytes()[:40]):
        with pytest.raises(UnreadableImage):
            decode_values(data)


def test_depth_of_16_bits_is_stretched_or_scaled(tmp_path):
    save(tmp_path / "x.png", np.array([[1000, 3000]], np.uint16))
    values = cv2.imread(str(tmp_path / "x.png"), cv2.IMREAD_UNCHANGED)
    assert Depth(str(tmp_path)).levels(values).ravel().tolist() == [0, 255]
    assert Depth(str(tmp_path), (0, 4000)).levels(values).ravel().tolist() == [64, 191]
    assert Depth(str(tmp_path)).levels(np.array([[np.nan, 1.0, 2.0]], np.float32)).ravel().tolist() == [0, 0, 255]
    assert Depth(str(tmp_path)).levels(np.array([[7, 9]], np.uint8)).ravel().tolist() == [7, 9]


def test_normals_and_flow_turn_with_the_picture():
    """A mirrored plane that faced the left faces the right; what moved left moves right; what stood stands."""
    normals = Normals.__new__(Normals).flipped(np.array([[[0, 10, 200], [255, 10, 200]]], np.uint8))
    assert normals.tolist() == [[[255, 10, 200], [0, 10, 200]]]
    flow = Flow.__new__(Flow).flipped(np.array([[[128, 128, 1, 40], [255, 255, 100, 3]]], np.uint8))
    assert flow.tolist() == [[[128, 128, 255, 40], [1, 255, 156, 3]]]


def test_side_files_come_with_their_images_in_every_batch(pictures):
    for number in range(6):
        save(pictures / "depth" / f"{number}.png", smooth(number)[:, :, 0])
        save(pictures / "normals" / f"{number}.jpg", smooth(number))
        save(pictures / "labels" / f"{number}.png", (smooth(number)[:, :, 0] // 50).astype(np.uint8))
    layers = [Depth(str(pictures / "depth")), Normals(str(pictures / "normals")), Labels(str(pictures / "labels"), 5)]
    source = Layered(open_source(str(pictures / "images")), layers)
    assert len(source) == 6 and not source.notes
    dataset = ViewDataset(source, [PLAIN], 32, seed=0)
    batch = collate([dataset[0, index] for index in (4, 1)])
    depth, normals, labels = batch["layers"]
    assert [tuple(each.shape) for each in batch["layers"]] == [(2, 1, 32, 32), (2, 3, 32, 32), (2, 1, 32, 32)]
    assert torch.equal(depth[:, 0], batch["views"][0][:, 0])  # the view's own red, without any jitter
    assert float((normals.float() - batch["views"][0].float()).abs().mean()) < 4  # JPEG
    assert int(labels.max()) == 255 and labels[labels < 255].max() <= 4
    assert batch["group"].tolist() == batch["index"].tolist() == [4, 1]
    on_device = ViewDataset(source, [PLAIN], 32, seed=0, device_views=True)
    other = render_views(collate([on_device[0, index] for index in (4, 1)]), on_device.sizes)
    assert all(torch.equal(a, b) for a, b in zip(other["layers"], batch["layers"], strict=True))


def test_flips_and_crops_of_a_layer_are_those_of_the_view(pictures):
    for number in range(6):
        save(pictures / "depth" / f"{number}.png", smooth(number)[:, :, 0])
    source = Layered(open_source(str(pictures / "images")), [Depth(str(pictures / "depth"))])
    dataset = ViewDataset(source, [ViewSpec(scale=(0.1, 0.5), jitter=0, grey=0, blur=0)], 16, seed=3)
    for epoch in range(4):
        batch = collate([dataset[epoch, index] for index in range(6)])
        assert torch.equal(batch["layers"][0][:, 0], batch["views"][0][:, 0])


def test_images_without_a_side_file_are_left_out_and_said_once(pictures):
    for number in (0, 1, 4):
        save(pictures / "depth" / f"{number}.png", smooth(number)[:, :, 0])
    source = Layered(open_source(str(pictures / "images")), [Depth(str(pictures / "depth"))])
    assert [source.name(index) for index in range(len(source))] == ["0.png", "1.png", "4.png"]
    (note,) = source.notes
    assert "3 of 6 images" in note and "2.png" in note and str(pictures / "depth") in note
    (pictures / "none").mkdir()
    with pytest.raises(UserError, match="None of the 6 images has normals"):
        Layered(open_source(str(pictures / "images")), [Normals(str(pictures / "none"))])
    with pytest.raises(UserError, match="no folder"):
        Depth(str(pictures / "nowhere"))


def test_side_files_that_do_not_fit_count_as_unreadable_images(pictures):
    for number in range(6):
        save(pictures / "depth" / f"{number}.png", smooth(number)[:, :, 0])
        save(pictures / "labels" / f"{number}.png", smooth(number)[:, :, 0] // 50)
    (pictures / "depth" / "0.png").write_bytes(b"broken")
    save(pictures / "depth" / "1.png", smooth(1, 80, 80)[:, :, 0])
    save(pictures / "labels" / "2.png", smooth(2))
    layers = [Depth(str(pictures / "depth")), Labels(str(pictures / "labels"), 9)]
    source = Layered(open_source(str(pictures / "images")), layers)
    dataset = ViewDataset(source, [PLAIN], 16, seed=0)
    item = dataset[0, 0]
    reasons = dict(item["unreadable"])
    assert item["index"] == 3 and "not an image" in reasons[0]
    assert "its depth is 80 x 80 pixels and it is 80 x 60" in reasons[1] and "colours" in reasons[2]


def test_the_later_frame_is_of_the_same_video_and_has_a_crop_of_its_own(frames):
    base = open_source(str(frames))
    clips = Clips(base)
    source = Layered(base, [Later(clips, 4)], clips.clip)
    assert len(source) == 10 and "8 of 18 images" in source.notes[0]
    for index in range(len(source)):
        folder, frame = source.name(index).split("/")
        expected = cv2.imread(str(frames / folder / f"{int(frame[:2]) + 4:02}.png"))[:, :, ::-1]
        assert np.array_equal(source.read_layer(source.layers[0], index, source.read(index)), expected)
    assert [source.group(index) for index in range(10)] == [0] * 5 + [1] * 5
    dataset = ViewDataset(source, [ViewSpec(scale=(0.2, 0.4), jitter=0, grey=0, blur=0)], 24, seed=0)
    item = dataset[0, 7]  # of the video that stands still
    assert not np.array_equal(item["views"][0], item["layers"][0])


@pytest.mark.parametrize("algorithm", ["dis", "farneback"])
def test_flow_is_what_moved_in_pixels_a_frame(frames, algorithm):
    base = open_source(str(frames))
    clips = Clips(base)
    source = Layered(base, [Flow(clips, 4, algorithm, bound=10.0)], clips.clip)
    assert {source.name(index) for index in range(len(source))} == {
        f"{folder}/{frame:02}.png" for folder in ("moving", "still") for frame in range(2, 7)
    }
    (layer,) = source.layers
    for index in range(len(source)):
        values = source.read_layer(layer, index, source.read(index))
        assert values.shape == (100, 140, 8)
        pixels = (values[30:-30, 30:-30].astype(float) - 128) * 10 / 127
        u, v = np.median(pixels[:, :, 0::2]), np.median(pixels[:, :, 1::2])
        expected = (3, 1) if source.name(index).startswith("moving") else (0, 0)
        assert (u, v) == pytest.approx(expected, abs=0.3)


def test_flow_does_not_hang_on_the_count_of_threads(frames):
    base = open_source(str(frames))
    source = Layered(base, [Flow(Clips(base), 2, "dis", 20.0)])
    before, found = cv2.getNumThreads(), []
    for threads in (1, 4):
        cv2.setNumThreads(threads)
        found.append(source.read_layer(source.layers[0], 3, source.read(3)))
        assert cv2.getNumThreads() == threads
    cv2.setNumThreads(before)
    assert np.array_equal(*found)


def test_clips_are_folders_in_order_of_names(tmp_path):
    for name in ("b/2.png", "b/1.png", "a/9.png", "c/d/3.png"):
        save(tmp_path / name, smooth(0))
    clips = Clips(open_source(str(tmp_path)))
    assert [int(each) for each in clips.starts] == [0, 1, 3, 4]
    assert clips.has(0, 1).sum() == 1 and clips.has(1, 0).sum() == 1


def write_video(path: Path, count: int, seed: int = 0) -> list[np.ndarray]:
    """A video whose every frame can be told from the others."""
    path.parent.mkdir(parents=True, exist_ok=True)
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"mp4v"), 10, (64, 48))
    assert writer.isOpened()
    shown = [np.full((48, 64, 3), (7 * t % 256, seed * 50, 255 - 7 * t % 256), np.uint8) for t in range(count)]
    for image in shown:
        writer.write(image[:, :, ::-1].copy())
    writer.release()
    return shown


def test_frames_of_a_video_are_images_in_whatever_order_they_are_asked_for(tmp_path):
    shown = write_video(tmp_path / "v" / "one.mp4", 60), write_video(tmp_path / "v" / "two.mp4", 10, seed=2)
    source = open_source(str(tmp_path / "v"))
    assert isinstance(source, Videos) and len(source) == 70
    assert source.name(0) == "one.mp4/000000.png" and source.name(69) == "two.mp4/000009.png"
    everything = shown[0] + shown[1]
    order = np.random.default_rng(0).permutation(70).tolist() + [50, 51, 52, 5, 69]
    again = pickle.loads(pickle.dumps(source))
    for index in order:
        for each in (source, again):
            assert np.abs(each.read(index).astype(int) - everything[index]).mean() < 4, index
    assert len(Clips(source).names) == 2
    single = open_source(str(tmp_path / "v" / "two.mp4"))
    assert len(single) == 10 and single.name(3) == "two.mp4/000003.png"
    assert single.fingerprint() != source.fingerprint()


def test_a_video_that_ends_early_has_unreadable_frames(tmp_path):
    write_video(tmp_path / "v.avi", 20)
    source = Videos(str(tmp_path), ["v.avi"])
    source.starts = np.array([0, 25])  # as a header that promises more than there is
    with pytest.raises(UnreadableImage, match="ends before frame 22"):
        source.read(22)
    assert source.read(3).shape == (48, 64, 3) and source.size(3) == (48, 64)


def test_videos_that_cannot_be_opened_are_said_once_or_refused(tmp_path):
    write_video(tmp_path / "good.mp4", 5)
    (tmp_path / "bad.mp4").write_bytes(b"no video")
    source = open_source(str(tmp_path))
    assert len(source) == 5 and "1 of 2 videos" in source.notes[0] and "bad.mp4" in source.notes[0]
    with pytest.raises(UserError, match="no frame of bad.mp4"):
        open_source(str(tmp_path / "bad.mp4"))


def test_a_video_among_photographs_is_left_alone(pictures):
    write_video(pictures / "images" / "clip.mp4", 60)
    assert len(open_source(str(pictures / "images"))) == 6
