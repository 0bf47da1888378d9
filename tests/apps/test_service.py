"""What the application does, without its page."""

from __future__ import annotations

import io
import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from pycocotools import mask as coco_masks

from densessl import box
from densessl.apps import parsing
from densessl.apps.backbones import Backbones
from densessl.apps.config import AppConfig
from densessl.apps.jobs import Job, Stopped
from densessl.apps.page import correspond as correspond_tab
from densessl.apps.page import segment as segment_tab
from densessl.apps.service import Service, Upload
from densessl.apps.sessions import Gone, Sessions
from densessl.documents.parsing.config import ENGINES, FORMATS
from densessl.documents.parsing.writers import WRITERS
from densessl.errors import UserError
from densessl.segmentation import SegmentConfig, extractor_of, segment
from tests.apps.conftest import PHOTOGRAPHS


def picture(path: Path) -> np.ndarray:
    return cv2.imread(str(path), cv2.IMREAD_UNCHANGED)


def test_segments_are_those_of_densessl_segment(service, photographs, tmp_path):
    folder, out = tmp_path / "in", tmp_path / "out"
    folder.mkdir()
    for each in photographs:
        (folder / each.name).write_bytes(Path(each.path).read_bytes())
    segment(SegmentConfig(data=str(folder), out=str(out), classes=4, cache="none", devices="cpu", sheets=0))
    entry = service.segment(photographs, 4)
    for number, each in enumerate(photographs):
        service_mask = tmp_path / f"{number}.png"
        entry.payload.write_mask(service_mask, number)
        np.testing.assert_array_equal(picture(service_mask), picture(out / "labels" / f"{Path(each.name).stem}.png"))


def test_edits_change_masks_overlays_and_annotations(service, photographs, tmp_path):
    found = service.segment(photographs, 3).payload
    before = [found.labels(number) for number in range(2)]
    edits = [{"name": each.name, "colour": each.colour, "into": each.index} for each in found.segments]
    edits[0] |= {"name": "snow <b>", "colour": "#102030"}
    edits[2] |= {"into": 0}
    found.edit(edits)
    found.write_mask(tmp_path / "mask.png", 1)
    np.testing.assert_array_equal(picture(tmp_path / "mask.png"), np.where(before[1] == 1, 1, 0))
    found.write_zip(tmp_path / "all.zip")
    with zipfile.ZipFile(tmp_path / "all.zip") as archive:
        assert sorted(archive.namelist()) == [
            "classes.json", "coco.json", "masks/polar-bear.png", "masks/summit.png",
            "overlays/polar-bear.jpg", "overlays/summit.jpg",
        ]  # fmt: skip
        coco, classes = json.loads(archive.read("coco.json")), json.loads(archive.read("classes.json"))
        mask = cv2.imdecode(np.frombuffer(archive.read("masks/summit.png"), np.uint8), cv2.IMREAD_UNCHANGED)
    assert [(each["name"], each["segments"]) for each in classes] == [("snow <b>", [0, 2]), ("segment 2", [1])]
    assert classes[0]["colour"] == "#102030"
    assert [each["name"] for each in coco["categories"]] == ["snow <b>", "segment 2"]
    for each in coco["annotations"]:
        if each["image_id"] == 2:
            np.testing.assert_array_equal(coco_masks.decode(each["segmentation"]), mask == each["category_id"] - 1)


@pytest.mark.parametrize(
    "edit, sentence",
    [
        ({"colour": "red"}, "'red' is no colour"),
        ({"into": 7}, "'7' is no segment"),
        ({"into": True}, "'True' is no segment"),
    ],
)
def test_wrong_edits_change_nothing(service, photographs, edit, sentence):
    found = service.segment(photographs[:1], 2).payload
    before = list(found.segments)
    with pytest.raises(UserError, match=sentence):
        found.edit([edit, {}])
    with pytest.raises(UserError, match="one entry for each of the 2"):
        found.edit([{}])
    assert found.segments == before


def test_merging_into_what_is_merged_is_refused(service, photographs):
    found = service.segment(photographs[:1], 3).payload
    with pytest.raises(UserError, match="merged itself"):
        found.edit([{"into": 1}, {"into": 2}, {}])


def test_heats_are_cosines_of_the_backbones_features(service, photographs):
    found = service.correspond(photographs).payload
    extractor = extractor_of(SegmentConfig(data="", out="", window=1, devices="cpu"))[0]
    images = [cv2.cvtColor(cv2.imread(each.path), cv2.COLOR_BGR2RGB) for each in photographs]
    maps = extractor([extractor.frame.show(each) for each in images])
    rows, columns = maps[0].shape[1:]
    row, column = 5, 9
    heats = found.heats(0, (column + 0.5) / columns, (row + 0.5) / rows)  # the middle of a cell
    for heat, map_ in zip(heats, maps, strict=True):
        slowly = F.cosine_similarity(maps[0][:, row, column][:, None, None], map_, dim=0)
        torch.testing.assert_close(
            torch.tensor(heat.cosines).reshape(heat.rows, heat.columns), slowly, atol=3e-3, rtol=0
        )
    assert max(heats[0].cosines) == pytest.approx(1, abs=3e-3)
    assert heats[1].best != (0, 0) and all(0 <= each <= 1 for each in heats[1].best)


@pytest.mark.parametrize("place", [(2, 0.5, 0.5), (-1, 0.5, 0.5), (0, 1.2, 0.5), (0, float("nan"), 0.5)])
def test_a_place_in_no_picture_is_refused(service, photographs, place):
    with pytest.raises(UserError, match="no picture|outside"):
        service.correspond(photographs).payload.heats(*place)


@pytest.mark.parametrize("segments", ["many", "1", "0", "-3", "41", "²", "9" * 5000])
def test_numbers_of_segments_that_cannot_be(service, photographs, segments):
    with pytest.raises(UserError, match="give 2 to 40, or auto"):
        service.segment(photographs, segments)


def test_too_many_pictures_and_none_are_refused(service, photographs):
    with pytest.raises(UserError, match="more than the 4"):
        service.segment(photographs * 3, 3)
    with pytest.raises(UserError, match="no pictures yet"):
        service.correspond([])


def test_a_picture_that_cannot_be_read_is_left_out_and_told(service, photographs, tmp_path):
    bad = tmp_path / "bad.png"
    bad.write_bytes(b"no picture")
    found = service.segment([Upload(str(bad), "bad.png"), *photographs], 2).payload
    assert [each.name for each in found.pictures] == ["polar-bear.jpg", "summit.jpg"]
    assert found.notes == ["bad.png cannot be read: it is not an image of a known format."]


def test_a_result_is_its_owners_alone(service, photographs):
    entry = service.correspond(photographs, owner="a" * 32)
    assert service.sessions.find(entry.token, "a" * 32) is entry
    for other in ("b" * 32, None):
        with pytest.raises(Gone):
            service.sessions.find(entry.token, other)


def test_a_failed_request_leaves_no_folder(service, photographs):
    before = set(service.sessions.results.iterdir())
    with pytest.raises(UserError):
        service.segment(photographs, 3, backbone="runs/../../etc")
    job = Job(60)
    job.stop()
    with pytest.raises(Stopped):
        service.segment(photographs, 3, job=job)
    with pytest.raises(UserError, match="more than the 0 s"):
        service.correspond(photographs, job=Job(0))
    assert set(service.sessions.results.iterdir()) == before
    service.correspond(photographs)  # and it goes on


def test_memory_is_bounded(photographs):
    from densessl.apps.config import AppConfig

    small = Service(AppConfig(devices="cpu", held=1e-6, backbone="colour"))
    try:
        first = small.correspond(photographs[:1])
        second = small.correspond(photographs[:1])
        with pytest.raises(Gone):
            small.sessions.find(first.token, None)
        assert not first.folder.exists() and small.sessions.find(second.token, None)
    finally:
        small.close()
    assert not small.sessions.root.exists()


def test_archives_have_each_name_once(service, photographs):
    found = service.segment([photographs[0], photographs[0]], 2).payload
    path = found.folder / "x.zip"
    found.write_zip(path)
    with zipfile.ZipFile(io.BytesIO(path.read_bytes())) as archive:
        assert len(archive.namelist()) == len(set(archive.namelist())) == 6


def test_examples_are_there():
    names = [name for tab in (segment_tab, correspond_tab) for names in tab.EXAMPLES.values() for name in names]
    assert names and all((PHOTOGRAPHS / name).is_file() for name in names)


def test_the_page_offers_the_formats_and_engines_that_there_are():
    assert set(parsing.FORMATS) == set(FORMATS) == set(WRITERS)
    assert set(parsing.ENGINES) == set(ENGINES)


def test_what_an_application_left_that_was_killed_is_removed_by_the_next_and_a_living_one_keeps_its_own(tmp_path):
    script = (
        "import os, signal\nfrom densessl.apps.config import AppConfig\nfrom densessl.apps.sessions import Sessions\n"
        f"Sessions(AppConfig(folder={str(tmp_path)!r}))\nos.kill(os.getpid(), signal.SIGKILL)"
    )
    subprocess.run([sys.executable, "-c", script], check=False)
    (left,) = tmp_path.iterdir()
    unlocked, begins = tmp_path / "densessl-app-unlocked", tmp_path / "densessl-app-begins"
    unlocked.mkdir()
    begins.mkdir()
    os.utime(unlocked, (0, 0))
    living = Sessions(AppConfig(folder=str(tmp_path)))
    other = Sessions(AppConfig(folder=str(tmp_path)))
    assert not left.exists() and not unlocked.exists() and begins.is_dir()
    begins.rmdir()
    assert living.root.is_dir() and other.root.is_dir()
    living.close()
    other.close()
    assert not any(tmp_path.iterdir())


def test_backbones_whose_files_are_called_alike_are_told_apart(tmp_path):
    folder = Path(box.__file__).parent
    specs = []
    for name in "ab":
        (tmp_path / name).mkdir()
        for file in ("backbone.safetensors", "backbone.json"):
            shutil.copy(folder / file, tmp_path / name / file)
        specs.append(str(tmp_path / name / "backbone.safetensors"))
    backbones = Backbones(AppConfig(backbones=specs))
    assert [backbones.choice(spec).spec for spec in specs] == specs


def test_what_is_being_made_is_not_too_old(service):
    entry = service.sessions.begin(None)
    entry.used -= 61 * service.config.keep
    service.sessions.clean()
    assert entry.folder.is_dir()
    service.sessions.hold(entry, "made", 0)
    service.sessions.clean()
    assert entry.folder.is_dir()
    entry.used -= 61 * service.config.keep
    service.sessions.clean()
    assert not entry.folder.exists()


def test_a_use_of_an_upload_keeps_it(service, tmp_path):
    (tmp_path / "a.jpg").write_bytes((PHOTOGRAPHS / "koala.jpg").read_bytes())
    path = service.sessions.adopt(tmp_path / "a.jpg", "me")
    os.utime(path, (0, 0))
    service.uploads([path], "me")
    service.sessions.clean()
    assert Path(path).is_file()
