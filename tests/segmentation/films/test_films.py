"""Films: learned from a few of their frames, a mask for every frame whatever the header says, and a video of them."""

from __future__ import annotations

import json
import re
import struct
import tracemalloc
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from densessl.data.sources import open_source
from densessl.data.sources.videos import Length, frames_of, measure
from densessl.errors import UserError
from densessl.progress import silent
from densessl.segmentation import segment
from densessl.segmentation.films.items import FEWEST, Items, count_frames
from densessl.segmentation.outputs.overlay import overlay, palette
from tests.segmentation.filming import contents, labels, settings, shots, write


def test_every_frame_has_a_mask_and_the_film_an_overlay_at_its_own_rate(tmp_path):
    film = write(tmp_path / "films" / "sub" / "film.mp4", shots(12), rate=12.5)
    write(tmp_path / "films" / "other.avi", shots(7, 4), "MJPG")
    out = tmp_path / "out"
    summary = segment(settings(film.parent.parent, out), silent)
    assert (summary.pictures, summary.unreadable, summary.notes) == (23, 0, ())
    assert sorted(path.name for path in (out / "labels" / "sub" / "film").iterdir()) == [
        f"{frame:06}.png" for frame in range(12)
    ]
    assert all(each.shape == (48, 64) and each.dtype == np.uint8 for each in labels(out, "sub/film"))
    assert measure(str(out / "overlays" / "sub" / "film.mp4")) == Length(12, 12, 12.5)
    assert measure(str(out / "overlays" / "other.mp4")).frames == 11
    written = json.loads((out / "segments.json").read_text())
    assert written["files"] == {"other.avi": "labels/other", "sub/film.mp4": "labels/sub/film"}
    assert sum(each["pixels"] for each in written["classes"]) == 23 * 48 * 64
    assert (out / "sheets" / "segment-00.png").exists() and not (out / "unfinished").exists()
    again = contents(out)
    assert segment(settings(film.parent.parent, out), silent).before == 23 and contents(out) == again


def test_the_overlay_video_shows_the_overlays_of_the_masks(tmp_path):
    film, out = write(tmp_path / "film.mp4", shots(6)), tmp_path / "out"
    segment(settings(film, out), silent)
    frames = [image for _, image in frames_of(str(film))]
    for (_, shown), image, mask in zip(
        frames_of(str(out / "overlays" / "film.mp4")), frames, labels(out, "film"), strict=True
    ):
        assert cv2.PSNR(shown, overlay(image, mask, palette(3))) > 25


def test_every_fifth_frame(tmp_path):
    film, out = write(tmp_path / "film.mp4", shots(12)), tmp_path / "out"
    assert segment(settings(film, out, every=5), silent).pictures == 3
    assert sorted(path.name for path in (out / "labels" / "film").iterdir()) == [
        "000000.png",
        "000005.png",
        "000010.png",
    ]
    assert measure(str(out / "overlays" / "film.mp4")).rate == pytest.approx(2)
    segment(settings(film, tmp_path / "all", stable=0, model=str(out), image_size=None), silent)
    segment(settings(film, tmp_path / "some", stable=0, model=str(out), image_size=None, every=5), silent)
    assert all(
        np.array_equal(*pair)
        for pair in zip(labels(tmp_path / "all", "film")[::5], labels(tmp_path / "some", "film"), strict=True)
    )


def test_frames_by_themselves_have_the_masks_that_they_have_as_pictures(tmp_path):
    film, out = write(tmp_path / "film.avi", shots(5), "MJPG"), tmp_path / "out"
    segment(settings(film, out, stable=0.0), silent)
    for number, image in frames_of(str(film)):
        (tmp_path / "pictures").mkdir(exist_ok=True)
        cv2.imwrite(str(tmp_path / "pictures" / f"{number}.png"), image[:, :, ::-1])
    given = {"model": str(out), "image_size": None}
    segment(settings(tmp_path / "pictures", tmp_path / "still", **given), silent)
    stills = [cv2.imread(str(tmp_path / "still" / "labels" / f"{number}.png"), -1) for number in range(5)]
    assert all(np.array_equal(*pair) for pair in zip(labels(out, "film"), stills, strict=True))


def test_films_beside_pictures_and_of_the_same_stem(tmp_path):
    film = write(tmp_path / "a" / "film.mp4", shots(4))
    cv2.imwrite(str(tmp_path / "film.png"), shots(1)[0])
    (tmp_path / "b" / "film").mkdir(parents=True)
    cv2.imwrite(str(tmp_path / "b" / "film" / "000001.png"), shots(1)[0])
    config = settings(film, tmp_path / "out")
    config.data = [str(tmp_path / "film.png"), str(film), str(tmp_path / "b")]
    assert segment(config, silent).pictures == 6
    files = json.loads((tmp_path / "out" / "segments.json").read_text())["files"]
    assert len(files) == 3 and len(set(files.values())) == 3
    assert len(list((tmp_path / "out" / "labels").rglob("*.png"))) == 6


def test_videos_among_pictures_are_left_out_and_that_is_said(tmp_path):
    write(tmp_path / "in" / "film.mp4", shots(4))
    for number, image in enumerate(shots(3)):
        cv2.imwrite(str(tmp_path / "in" / f"{number}.png"), image)
    summary = segment(settings(tmp_path / "in", tmp_path / "out"), silent)
    assert summary.pictures == 3 and "1 video among the pictures of" in str(summary)


def items(tmp_path: Path, lengths: dict[str, tuple[int, float]], pictures: int = 0) -> Items:
    """Films of these frames and rates, as if they had been counted so."""
    places = [str(write(tmp_path / name, shots(2), "MJPG")) for name in lengths]
    for number in range(pictures):
        tmp_path.mkdir(exist_ok=True)
        cv2.imwrite(str(tmp_path / f"{number}.png"), shots(1)[0])
    source = open_source([*places, *(str(tmp_path / f"{number}.png") for number in range(pictures))])
    counted = {
        place: Length(frames, frames, rate) for place, (frames, rate) in zip(places, lengths.values(), strict=True)
    }
    return Items(source, 1, counted)


def test_few_frames_are_learned_from_at_equal_distances(tmp_path):
    source = items(tmp_path, {"long.avi": (25 * 600, 25.0), "short.avi": (250, 25.0), "tiny.avi": (9, 25.0)})
    chosen = np.array(source.sample(5000, seed=0))
    long, short, tiny = (chosen[(chosen >= film.first) & (chosen < film.first + len(film))] for film in source.films)
    assert len(long) == 600 and set(np.diff(long)) == {25} and long[0] == 12
    assert len(short) == FEWEST and np.ptp(np.diff(short)) <= 1
    assert len(tiny) == 9
    fewer = np.array(source.sample(100, seed=0))
    assert len(fewer) <= 100 and {int(np.searchsorted(source._firsts, each, "right")) for each in fewer} == {1, 2, 3}


def test_sheets_show_one_place_of_each_stretch_of_a_film(tmp_path):
    source = items(tmp_path, {"long.avi": (1200, 25.0), "short.avi": (60, 25.0)}, pictures=1)
    long, short = source.films
    assert source.group(0, 12) == 0
    groups = [source.group(index, 12) for index in long.numbers]
    assert groups == [long.first + place // 100 * 100 for place in range(1200)]
    assert {source.group(index, 12) - short.first for index in short.numbers} == {0, 25, 50}


def test_pictures_alone_are_drawn_as_ever_and_beside_films_give_their_share(tmp_path):
    alone = items(tmp_path / "a", {}, pictures=10)
    order = torch.randperm(10, generator=torch.Generator().manual_seed(3))
    assert alone.sample(4, seed=3) == sorted(order[:4].tolist())
    both = items(tmp_path / "b", {"film.avi": (640, 10.0)}, pictures=10)
    chosen = both.sample(37, seed=0)
    assert sum(each < 10 for each in chosen) == 5 and len(chosen) == 37


def test_frames_can_be_asked_for_beyond_what_the_header_tells(tmp_path):
    path = write(tmp_path / "film.avi", shots(40), "MJPG")
    told(path, 10)
    source = Items(open_source(str(path)), 3, count_frames(open_source(str(path)), {}, silent))
    frames = dict(frames_of(str(path)))
    assert len(source) == 14 and source.name(13) == "film.avi/000039.png" and len(frames) == 40
    for index in (13, 2, 9, 12, 0):
        assert np.array_equal(source.read(index), frames[3 * index])


def told(path: Path, frames: int) -> None:
    """Have the header of an AVI tell of so many frames (AVIMAINHEADER.dwTotalFrames, AVISTREAMHEADER.dwLength)."""
    data = bytearray(path.read_bytes())
    for chunk, offset in ((b"avih", 16), (b"strh", 32)):
        place = data.index(chunk) + 8 + offset
        data[place : place + 4] = struct.pack("<I", frames)
    path.write_bytes(data)


def test_a_header_that_tells_too_few_or_too_many(tmp_path):
    for frames in (4, 100):
        film = write(tmp_path / f"told{frames}.avi", shots(12), "MJPG")
        told(film, frames)
        out = tmp_path / f"out{frames}"
        summary = segment(settings(film, out), silent)
        assert (summary.pictures, summary.unreadable) == (12, 0)
        assert measure(str(out / "overlays" / f"told{frames}.mp4")).frames == 12
        assert len(summary.notes) == 1 and summary.notes[0] in str(summary)
        assert re.search(
            {4: "has 12 frames, and not 4", 100: "Of the 100 frames .* 12 can be read"}[frames], str(summary)
        )


@pytest.mark.parametrize(("name", "codec"), [("film.avi", "MJPG"), ("film.mkv", "mp4v")])
def test_a_film_that_is_cut_short_keeps_the_frames_that_can_be_read(tmp_path, name, codec):
    film = write(tmp_path / name, shots(40), codec)
    film.write_bytes(film.read_bytes()[: film.stat().st_size // 2])
    summary = segment(settings(film, tmp_path / "out"), silent)
    assert 10 < summary.pictures < 30 and summary.unreadable == 0
    assert f"Of the 40 frames that {name} promises {summary.pictures} can be read" in str(summary)
    assert len(labels(tmp_path / "out", "film")) == summary.pictures
    before = contents(tmp_path / "out")
    assert segment(settings(film, tmp_path / "out"), silent).before == summary.pictures
    assert contents(tmp_path / "out") == before


def test_damage_in_the_midst_loses_no_more_than_the_frames_that_it_hit(tmp_path, capfd):
    film = write(tmp_path / "film.avi", shots(40), "MJPG")
    data = bytearray(film.read_bytes())
    middle = len(data) // 2
    data[middle : middle + 300] = np.random.default_rng(1).integers(0, 256, 300).astype(np.uint8).tobytes()
    film.write_bytes(data)
    summary = segment(settings(film, tmp_path / "out"), silent)
    assert summary.pictures >= 36 and summary.unreadable == 0 and not (tmp_path / "out" / "unreadable.txt").exists()
    assert capfd.readouterr().err == ""


def test_a_file_without_frames_beside_good_ones_and_alone(tmp_path):
    write(tmp_path / "films" / "good.mp4", shots(5))
    (tmp_path / "films" / "bad.mp4").write_bytes(b"no video")
    summary = segment(settings(tmp_path / "films", tmp_path / "out"), silent)
    assert summary.pictures == 5 and "1 of 2 videos cannot be read and are left out: bad.mp4" in str(summary)
    assert (tmp_path / "out" / "unreadable.txt").read_text() == "bad.mp4\tOpenCV can read no frame of it\n"
    with pytest.raises(UserError, match="can read no frame of bad.mp4: give another"):
        segment(settings(tmp_path / "films" / "bad.mp4", tmp_path / "other"), silent)
    assert not (tmp_path / "other").exists()


def test_a_film_that_is_cut_before_its_index_is_said_to_be_cut(tmp_path):
    film = write(tmp_path / "film" / "whole.mp4", shots(30))
    cut = tmp_path / "film" / "cut.mp4"
    cut.write_bytes(film.read_bytes()[: film.stat().st_size // 2])
    with pytest.raises(UserError, match="can read no frame of cut.mp4, since it is cut short.* copy it again, or give"):
        open_source(str(cut))
    assert "since it is cut short" in open_source(str(tmp_path / "film")).broken["cut.mp4"]


def test_a_film_of_two_sizes(tmp_path):
    parts = [write(tmp_path / f"{size[0]}.mpg", shots(10, size=size), "MPG2") for size in ((48, 64), (80, 96))]
    film = tmp_path / "film.mpg"
    film.write_bytes(b"".join(part.read_bytes() for part in parts))
    frames = [image for _, image in frames_of(str(film))]
    summary = segment(settings(film, tmp_path / "out"), silent)
    assert summary.pictures == len(frames) > 15
    assert [each.shape for each in labels(tmp_path / "out", "film")] == [image.shape[:2] for image in frames]
    assert measure(str(tmp_path / "out" / "overlays" / "film.mp4")).frames == len(frames)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"every": 0}, "every=0 is too small: give at least 1"),
        ({"stable": 1.0}, "stable=1.0 keeps nothing but the first frame"),
        ({"stable": -0.1}, "stable=-0.1 is too small"),
    ],
)
def test_mistakes_are_sentences(tmp_path, changes, words):
    with pytest.raises(UserError, match=words):
        segment(settings(write(tmp_path / "film.mp4", shots(2)), tmp_path / "out", **changes), silent)


def test_memory_does_not_grow_with_the_film(tmp_path):
    used = []
    model = segment(settings(write(tmp_path / "film.mp4", shots(4)), tmp_path / "model"), silent).folder
    for count in (8, 40):
        film = write(tmp_path / f"{count}.mp4", shots(count))
        config = settings(film, tmp_path / f"out{count}", model=str(model), image_size=None, crops=0)
        tracemalloc.start()
        segment(config, silent)
        used.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    # A frame is 9 KB and its scores are more.
    assert used[1] - used[0] < 32 * 1000
