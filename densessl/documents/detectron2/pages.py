"""Pages of our readers as data sets of detectron2: opened, checked and registered before anything is trained.

A recipe has them in `pages`, whose keys are those of `densessl detect`: data, split, classes, names, partial, limit,
seed, val, val_split and val_share; and `masks`, whether shapes are kept for a mask head.
"""

from __future__ import annotations

import copy
import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

import detectron2.data.transforms as T
import numpy as np
import torch
from detectron2.data import DatasetCatalog, MetadataCatalog
from detectron2.data import detection_utils as utils
from detectron2.structures import BitMasks, BoxMode, Instances, PolygonMasks
from omegaconf import OmegaConf

from densessl.config import nearest
from densessl.data.images import UnreadableImage, read_image
from densessl.documents.average_precision import run_lengths
from densessl.documents.detection.config import DetectConfig, DetectorConfig, place_of
from densessl.documents.detection.sets import training_pages
from densessl.documents.pages import LabelledPages
from densessl.errors import UserError
from densessl.progress import Report, silent

KEYS = ("data", "split", "classes", "names", "partial", "limit", "seed", "val", "val_split", "val_share", "masks")
FORMATS = ("bitmask", "polygon")
_OPENED: dict[str, tuple[LabelledPages, LabelledPages]] = {}


def opened(pages: Mapping[str, Any], report: Report = silent) -> tuple[LabelledPages, LabelledPages]:
    """The pages to learn from and those to judge by, read once a process and registered with detectron2.

    Raises `UserError` with all that is wrong with the files, where no pages to judge by are named, and where a class is
    not labelled on all pages, which detectron2's losses would take for its absence.
    """
    settings = _settings(pages)
    key = json.dumps(settings, sort_keys=True)
    if key not in _OPENED:
        masks = settings.pop("masks", False)
        config = DetectConfig(**settings, detector=DetectorConfig(masks=masks))
        if not (config.val or config.val_share):
            raise UserError("There are no pages to judge by: give pages.val=SET, or pages.val_share=0.1.")
        found, apart = training_pages(config, report)
        for each in (found, apart):
            _check_labelled(each)
            _register(each)
        _OPENED[key] = found, apart
    return _OPENED[key]


def count_classes(pages: Mapping[str, Any]) -> int:
    """How many classes are to be found: those of `pages.classes`, else of the data, which is opened for it."""
    return len(class_names(pages))


def class_names(pages: Mapping[str, Any]) -> list[str]:
    """The names of the classes, in their order."""
    return list(pages.get("classes") or opened(pages)[0].classes)


def learned_pages(pages: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The pages to learn from as detectron2's standard dicts, pages without objects among them."""
    return DatasetCatalog.get(_name(opened(pages)[0]))


def judged_pages(pages: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Those to judge by; `image_id` is the number of a page."""
    return DatasetCatalog.get(_name(opened(pages)[1]))


def dicts(pages: LabelledPages) -> list[dict[str, Any]]:
    """detectron2's standard dicts: boxes are x0, y0, x1, y1. A crowd stays one; an object that need not be found is
    learned like any other, as detectron2 has VOC's difficult ones."""
    found = []
    for index in range(len(pages)):
        objects = pages.on(index)
        width, height = pages.sizes[index].tolist()
        shapes = objects.shapes or (None,) * len(objects)
        rows = zip(objects.boxes.tolist(), objects.classes.tolist(), objects.crowd.tolist(), shapes, strict=True)
        entry = {"file_name": pages.source.path(index), "image_id": index, "height": height, "width": width}
        entry["annotations"] = [
            {
                "bbox": box,
                "bbox_mode": BoxMode.XYXY_ABS,
                "category_id": kind,
                "iscrowd": int(crowd),
                **({} if objects.shapes is None else {"segmentation": _segmentation(shape, box)}),
            }
            for box, kind, crowd, shape in rows
        ]
        found.append(entry)
    return found


class PageMapper:
    """A standard dict -> what a model of detectron2 is given: `image` (3, h, w) uint8 RGB and, to learn from,
    `instances`.

    augmentations: detectron2's. masks: whether objects have them. mask_format: "bitmask" draws each object's shape on
    the page and moves it as an image; "polygon" moves its corners, which takes less memory where a page has hundreds of
    objects. Cropping polygons takes shapely, so those of a page that is cropped are drawn all the same.
    For a page that cannot be read detectron2 takes another.
    """

    def __init__(
        self, is_train: bool, augmentations: Sequence, masks: bool = False, mask_format: str = "bitmask"
    ) -> None:
        if mask_format not in FORMATS:
            raise UserError(f"mask_format={mask_format} is not one of: {', '.join(FORMATS)}.")
        self.is_train, self.masks, self.mask_format = is_train, masks, mask_format
        self.augmentations = T.AugmentationList(list(augmentations))

    def __call__(self, entry: dict[str, Any]) -> dict[str, Any] | None:
        entry = copy.deepcopy(entry)
        try:
            seen = T.AugInput(read_image(entry["file_name"]))
        except UnreadableImage:
            if self.is_train:
                return None
            # A page to be judged by counts, and nothing is found on it.
            seen = T.AugInput(np.full((entry["height"], entry["width"], 3), 255, np.uint8))
        transforms = self.augmentations(seen)
        entry["image"] = torch.from_numpy(np.ascontiguousarray(seen.image.transpose(2, 0, 1)))
        objects = [each for each in entry.pop("annotations", ()) if not each["iscrowd"]]
        if self.is_train:
            page = entry["height"], entry["width"]
            entry["instances"] = self._instances(objects, transforms, page, seen.image.shape[:2])
        return entry

    def _instances(
        self, objects: list[dict], transforms: T.TransformList, page: tuple[int, int], size: tuple[int, int]
    ) -> Instances:
        """page, size: (h, w) of the page as it is, and as it is seen."""
        if not self.masks:
            objects = [{key: value for key, value in each.items() if key != "segmentation"} for each in objects]
        whole = self.mask_format == "polygon" and all(isinstance(each.get("segmentation"), list) for each in objects)
        whole = whole and not any(isinstance(each, T.CropTransform) for each in transforms.transforms)
        if not whole:
            objects = [_drawn(each, page) for each in objects]
        moved = [utils.transform_instance_annotations(each, transforms, size) for each in objects]
        for each in moved:
            if isinstance(each.get("segmentation"), np.ndarray):
                each["segmentation"] = each["segmentation"].copy()  # Pillow's are read-only, of which torch warns
        instances = utils.annotations_to_instances(moved, size, "polygon" if whole else "bitmask")
        if self.masks and not moved:
            instances.gt_masks = PolygonMasks([]) if whole else BitMasks(torch.zeros(0, *size, dtype=torch.bool))
        return utils.filter_empty_instances(instances)


def _drawn(entry: dict[str, Any], page: tuple[int, int]) -> dict[str, Any]:
    """An object whose polygons, if it has some, are run lengths on its page (h, w)."""
    shape = entry.get("segmentation")
    if not isinstance(shape, list):
        return entry
    polygons = [np.reshape(each, (-1, 2)) for each in shape]
    return entry | {"segmentation": run_lengths(polygons, entry["bbox"], page[::-1])}


def _settings(pages: Mapping[str, Any]) -> dict[str, Any]:
    plain = OmegaConf.to_container(pages, resolve=True) if OmegaConf.is_config(pages) else dict(pages)
    for key in plain:
        if key not in KEYS:
            raise UserError(f"pages.{key} is no setting{nearest(key, KEYS)} Known are {', '.join(KEYS)}.")
    if plain.get("data") is None:
        raise UserError("There are no pages to learn from: give pages.data=SET, such as pages.data=coco:FOLDER.")
    return plain | {key: plain.get(key) and place_of(plain[key]) for key in ("data", "val")}


def _check_labelled(pages: LabelledPages) -> None:
    partly = [name for name, known in zip(pages.classes, pages.labelled.all(axis=0), strict=True) if not known]
    if partly:
        raise UserError(
            f"{', '.join(partly)} of {pages.name} are not labelled on all pages, and detectron2 would learn that they "
            "are absent there: give pages.classes=[...] of those that are, or take a recipe of configs/detect."
        )


def _name(pages: LabelledPages) -> str:
    """What detectron2 calls the set: its own name, and what tells it from others of that name."""
    marks = hashlib.sha256(pages.source.fingerprint().encode() + pages.objects.classes.tobytes())
    marks.update(pages.objects.boxes.tobytes() + repr((pages.classes, pages.objects.shapes is None)).encode())
    return f"{pages.name}-{marks.hexdigest()[:8]}"


def _register(pages: LabelledPages) -> None:
    name = _name(pages)
    if name not in DatasetCatalog.list():
        DatasetCatalog.register(name, lambda: dicts(pages))
        MetadataCatalog.get(name).set(thing_classes=list(pages.classes))


def _segmentation(shape: Any, box: Sequence[float]) -> Any:
    """As detectron2 takes it: polygons in one row each, run lengths as they are, and a box as a polygon."""
    if isinstance(shape, dict):
        return shape
    if shape is None:
        x0, y0, x1, y1 = box
        return [[x0, y0, x1, y0, x1, y1, x0, y1]]
    return [np.asarray(polygon, np.float64).reshape(-1).tolist() for polygon in shape]
