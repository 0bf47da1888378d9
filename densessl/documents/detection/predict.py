"""`densessl detect predict`: what lies on pages, as one COCO file and as pictures.

Of each page `pages/STEM.json` keeps what was found and `overlays/STEM.jpg` shows it, written in this order; pages that
have both, from the same detector and settings, are not looked at again. `detections.json` is made of them at the end.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import cv2
from omegaconf import OmegaConf

from densessl import config as configs
from densessl.backbones.load import BOX
from densessl.data.images import UnreadableImage
from densessl.data.sources import Source, Unreadable, open_source
from densessl.documents.detection.config import by_detectron2
from densessl.documents.detection.detector import DETECTOR, Detector, load_detector
from densessl.documents.detection.evaluate import device_of, run_lengths, whole_mask
from densessl.documents.detection.objects import Found
from densessl.documents.detection.sheets import overlay
from densessl.errors import UserError, from_0_to_1, require
from densessl.files import claimed, remove_leftovers, stems, write_image, write_text, writing
from densessl.progress import Progress, Report

DETECTIONS = "detections.json"
BLANK = 32  # pixels of a side below which there is no page


@dataclass(frozen=True)
class PredictConfig:
    """What `densessl detect predict` can be told.

    score: detections below it are left out. masks: write those of a detector that has them. overlays: draw pictures,
    whose long side is `overlay` pixels. image_size: pixels of a page's longest side for the detector; None is what it
    learned at. page_side: longest side of a page of a PDF when it is rendered; boxes are in these pixels. None is
    twice the detector's size, so that pictures can be read. weights: for a LazyConfig file, those of another file than
    its run left, such as a released detector of DiT.
    """

    score: float = 0.5
    masks: bool = True
    overlays: bool = True
    overlay: int = 1280
    image_size: int | None = None
    page_side: int | None = None
    weights: str | None = None
    split: str | None = None
    devices: str = "auto"

    def __post_init__(self) -> None:
        from_0_to_1("detect predict", self, "score")
        require(self.overlay >= 64, f"overlay={self.overlay} is too small to see anything: give 64 or more.")
        fine = self.image_size is None or self.image_size >= 64
        require(fine, f"image_size={self.image_size} shows nothing of a page: give 64 or more.")


def predict(
    pages: Sequence[str],
    out: str | Path,
    model: str | Path | None = None,
    overrides: Sequence[str] = (),
    report: Report | None = None,
) -> str:
    """Find what lies on pages; returns what was done as a sentence.

    pages: images, PDFs and folders of them, as `open_source` takes them. model: of `load_detector`, or a LazyConfig
        file or its run's folder for the detector of detectron2 that was left there; None is the one that the package
        brings.
    Raises `UserError` for what the user can mend; pages that cannot be read are listed in unreadable.txt and left out.
    """
    config = configs.build(OmegaConf.structured(PredictConfig), configs.parse_overrides(overrides))
    detector, weights = _opened(BOX if model in (None, "box") else Path(model).expanduser(), config)
    source = open_source(
        list(pages) if len(pages) > 1 else pages[0], config.split, config.page_side or 2 * detector.image_size
    )
    with claimed(out) as folder:
        remove_leftovers(folder)
        return _predict(detector, source, folder, config, _digest(weights, config), report)


def _opened(model: Path, config: PredictConfig) -> tuple[Detector, Path]:
    """The detector and the file of its weights; that of a LazyConfig file is detectron2's, with the same face."""
    # A run of detectron2 whose detector has a twin left that too, which needs no detectron2.
    if by_detectron2(model) and not (model / DETECTOR).is_file():
        from densessl.documents.detectron2 import run

        if config.image_size is not None:
            raise UserError(f"{model.name} itself says at which size pages are shown: leave image_size out.")
        served, weights = run.load(model, config.weights)
        served.set_score(config.score)
        return served, weights
    if config.weights is not None:
        raise UserError("weights= is for a recipe of detectron2, --model NAME.py: give the file as --model.")
    detector = load_detector(model)
    detector.image_size = config.image_size or detector.image_size
    detector.config = replace(detector.config, score=config.score)
    detector.objects.config = detector.config
    return detector, model / DETECTOR if model.is_dir() else model


def _predict(
    detector: Detector, source: Source, folder: Path, config: PredictConfig, digest: str, report: Report | None
) -> str:
    report, unreadable = report or Progress(), Unreadable(source.broken)
    names = stems([source.name(index) for index in range(len(source))])
    detector.to(device_of(config.devices))
    kept = 0
    for index, stem in enumerate(names):
        report("Detecting", index, len(source), "")
        if _whole(folder, stem, digest, config):
            kept += 1
            continue
        try:
            _write(detector, source, index, folder, stem, config, digest)
        except UnreadableImage as error:
            unreadable.add(source.name(index), str(error))
            for path in _files(folder, stem):
                path.unlink(missing_ok=True)
    report("Detecting", len(source), len(source), "")
    unreadable.write(folder)
    if len(unreadable) == len(source):
        raise UserError(f"None of the {len(source)} pages can be read: {unreadable.some}; mend or replace them.")
    found = _collect(folder, names, detector.classes)
    return _told(found, (len(source), kept, len(unreadable)), source.notes, folder)


def _write(
    detector: Detector, source: Source, index: int, folder: Path, stem: str, config: PredictConfig, digest: str
) -> None:
    page = source.read(index)
    if min(page.shape[:2]) < BLANK:
        raise UnreadableImage(f"it is {page.shape[1]} x {page.shape[0]} pixels, which is no page")
    found, size = detector.find(page), page.shape[:2]
    with_masks = config.masks and found.masks is not None
    image = {"file_name": source.name(index), "width": size[1], "height": size[0], "page": source.page(index)}
    image |= {"document": source.document(index)}
    dpi = source.dpi(index)
    if dpi is not None:
        image["dpi"] = round(dpi, 3)
    record = {"made_by": digest, "image": image, "annotations": _annotations(found, size, with_masks)}
    picture = folder / "overlays" / f"{stem}.jpg"
    picture.unlink(missing_ok=True)  # an overlay always shows what its record says
    write_text(folder / "pages" / f"{stem}.json", json.dumps(record))
    if config.overlays:
        texts = [
            f"{detector.classes[kind]} {score:.2f}"
            for kind, score in zip(found.classes.tolist(), found.scores.tolist(), strict=True)
        ]
        boxes = found.boxes.double().cpu().numpy()
        masks = (whole_mask(found, place, size) for place in range(len(boxes))) if with_masks else None
        drawn = overlay(page, boxes, found.classes.tolist(), texts, masks, config.overlay)
        write_image(picture, drawn, [cv2.IMWRITE_JPEG_QUALITY, 90])


def _annotations(found: Found, size: tuple[int, int], masks: bool) -> list[dict[str, Any]]:
    """COCO's, without ids of their own and of their image."""
    shapes = run_lengths(found, size) if masks else [None] * len(found.boxes)
    entries = []
    rows = zip(found.boxes.tolist(), found.classes.tolist(), found.scores.tolist(), shapes, strict=True)
    for (x0, y0, x1, y1), kind, score, shape in rows:
        box = [round(each, 2) for each in (x0, y0, x1 - x0, y1 - y0)]
        entry = {"category_id": kind + 1, "bbox": box, "area": round(box[2] * box[3], 2), "iscrowd": 0}
        entry["score"] = round(score, 4)
        if shape is not None:
            entry["segmentation"] = {"size": list(shape["size"]), "counts": shape["counts"].decode()}
        entries.append(entry)
    return entries


def _collect(folder: Path, names: Iterable[str], classes: Sequence[str]) -> dict[str, int]:
    """Write detections.json, page by page, so that memory does not grow with them; how many there are of each class."""
    counts = dict.fromkeys(classes, 0)
    with writing(folder / DETECTIONS) as temporary, open(temporary, "w", encoding="utf-8") as file:
        file.write('{"images": [')
        for number, record in enumerate(_records(folder, names)):
            file.write((",\n" if number else "\n") + json.dumps({"id": number + 1, **record["image"]}))
        categories = [{"id": place + 1, "name": name} for place, name in enumerate(classes)]
        file.write(f'],\n"categories": {json.dumps(categories)},\n"annotations": [')
        total = 0
        for number, record in enumerate(_records(folder, names)):
            for entry in record["annotations"]:
                total += 1
                counts[classes[entry["category_id"] - 1]] += 1
                file.write((",\n" if total > 1 else "\n") + json.dumps({"id": total, "image_id": number + 1, **entry}))
        file.write("]}\n")
    return counts


def _records(folder: Path, names: Iterable[str]) -> Iterator[dict[str, Any]]:
    for stem in names:
        path = _files(folder, stem)[0]
        if path.is_file():
            yield json.loads(path.read_text(encoding="utf-8"))


def _files(folder: Path, stem: str) -> tuple[Path, Path]:
    return folder / "pages" / f"{stem}.json", folder / "overlays" / f"{stem}.jpg"


def _whole(folder: Path, stem: str, digest: str, config: PredictConfig) -> bool:
    """Whether a page has its files, from the same detector and settings."""
    record, picture = _files(folder, stem)
    try:
        made_by = json.loads(record.read_text(encoding="utf-8"))["made_by"]
    except (OSError, ValueError, KeyError, TypeError):
        return False
    return made_by == digest and (picture.is_file() or not config.overlays)


def _digest(path: Path, config: PredictConfig) -> str:
    """A hash of the detector's weights and of the settings by which pages are read and looked at."""
    settings = {key: value for key, value in asdict(config).items() if key not in ("devices", "overlays", "split")}
    return hashlib.sha256(path.read_bytes() + json.dumps(settings).encode()).hexdigest()[:16]


def _told(counts: dict[str, int], pages: tuple[int, int, int], notes: Sequence[str], folder: Path) -> str:
    """counts: objects by class. pages: all of them, those that were there already, those that cannot be read."""
    total, kept, unreadable = pages
    found = ", ".join(f"{count} {name}" for name, count in counts.items() if count) or "nothing"
    sentences = [*notes, f"On {total - unreadable} pages: {found}. {folder / DETECTIONS} has them as COCO."]
    if kept:
        sentences.append(f"{kept} pages were done already.")
    if unreadable:
        sentences.append(f"{unreadable} pages cannot be read: {folder / 'unreadable.txt'} lists them.")
    return " ".join(sentences)
