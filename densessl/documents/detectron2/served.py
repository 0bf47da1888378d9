"""A model of detectron2 where `densessl detect` wants a detector, our figures where detectron2 wants an evaluator."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from types import SimpleNamespace
from typing import Any

import detectron2.data.transforms as T
import numpy as np
import torch
from detectron2.evaluation import DatasetEvaluator
from detectron2.utils import comm
from pycocotools import mask as coco_mask
from torch import nn

from densessl.documents.average_precision import MOST, average_precision
from densessl.documents.detection.objects import Found
from densessl.documents.detections import Detections
from densessl.documents.detectron2.pages import opened
from densessl.documents.weighted_f1 import READINGS, weighted_f1


class Served(nn.Module):
    """What `densessl.documents.detection` asks of a detector: `find`, `classes`, `image_size` and `config`.

    augmentations: by which a page is brought to the size at which the model sees it. image_size: pixels of the longest
    side of a page seen so, by which pages of PDFs are rendered.
    """

    def __init__(self, model: nn.Module, classes: Sequence[str], augmentations: Sequence, image_size: int) -> None:
        super().__init__()
        self.model, self.classes, self.image_size = model.eval(), list(classes), image_size
        self.augmentations = T.AugmentationList(list(augmentations))
        masks = getattr(model.roi_heads, "mask_on", False)
        self.config = SimpleNamespace(masks=masks, most=self._predictors()[-1].test_topk_per_image)

    def set_score(self, score: float) -> None:
        """Leave out what has less than this score."""
        for each in self._predictors():
            each.test_score_thresh = score

    def _predictors(self) -> list[nn.Module]:
        predictor = self.model.roi_heads.box_predictor
        return list(predictor) if isinstance(predictor, nn.ModuleList) else [predictor]

    @torch.inference_mode()
    def find(self, page: np.ndarray) -> Found:
        """What is on a page (H, W, 3) uint8 RGB, boxes in its own pixels."""
        height, width = page.shape[:2]
        seen = T.AugInput(page)
        self.augmentations(seen)
        image = torch.from_numpy(np.ascontiguousarray(seen.image.transpose(2, 0, 1)))
        (found,) = self.model.inference([{"image": image}], do_postprocess=False)
        boxes = found.pred_boxes.tensor
        scale = boxes.new_tensor([width / image.shape[2], height / image.shape[1]] * 2)
        masks = found.pred_masks[:, 0] if found.has("pred_masks") else None
        return Found(boxes * scale, found.pred_classes, found.scores, masks)


class PageEvaluator(DatasetEvaluator):
    """COCO's AP and, of tables, cTDaR's weighted F1 in both readings, as `densessl detect eval` has them, in percent.

    pages: those of a recipe. What detectron2 found on the page of number `image_id` is gathered from all processes.
    COCO counts the best 100 of a class and page; where a page has more, since the recipe asks for more, all of them
    count. How many that is, is told as "most".
    """

    def __init__(self, pages: Mapping[str, Any]) -> None:
        self.pages, self.masks = opened(pages)[1], bool(pages.get("masks", False))
        self.reset()

    def reset(self) -> None:
        self._rows: list[tuple] = []

    def process(self, inputs: Sequence[dict], outputs: Sequence[dict]) -> None:
        for entry, output in zip(inputs, outputs, strict=True):
            found = output["instances"].to("cpu")
            boxes, kinds, scores = found.pred_boxes.tensor.tolist(), found.pred_classes.tolist(), found.scores.tolist()
            shapes: list[dict | None] = [None] * len(boxes)
            if self.masks and found.has("pred_masks"):
                whole = found.pred_masks.numpy().astype(np.uint8)
                shapes = [coco_mask.encode(np.asfortranarray(each)) for each in whole]
            page = [entry["image_id"]] * len(boxes)
            self._rows += zip(page, boxes, kinds, scores, shapes, strict=True)

    def evaluate(self) -> OrderedDict | None:
        gathered = comm.gather(self._rows)
        if not comm.is_main_process():
            return None
        rows = [row for part in gathered for row in part]
        page, boxes, kinds, scores, shapes = zip(*rows, strict=True) if rows else ((),) * 5
        found = Detections.sorted(len(self.pages), page, boxes, kinds, scores, shapes if self.masks else None)
        most = max(MOST, int(np.bincount(found.page, minlength=1).max()))
        results = OrderedDict(bbox=_percent(average_precision(self.pages, found, most=most)))
        if self.masks:
            results["segm"] = _percent(average_precision(self.pages, found, masks=True, most=most))
        if "table" in [name.lower() for name in self.pages.classes]:
            readings = {each: weighted_f1(self.pages, found, each) for each in READINGS}
            # With a hyphen detectron2 would take them for those of single classes and leave them out of its table.
            results["tables"] = {f"wF1_{name}": 100 * each.weighted for name, each in readings.items()}
        return results


def _percent(figures: Any) -> dict[str, float]:
    """detectron2's form: "AP", "AP50", "AP75", "AP-CLASS" and "most"; NaN where there is nothing to find."""
    record = figures.record()
    rows = {"AP": "ap", "AP50": "ap50", "AP75": "ap75"}
    overall = {name: record["overall"][key] for name, key in rows.items()}
    classes = {f"AP-{name}": each["ap"] for name, each in record["classes"].items()}
    percent = {name: float("nan") if value is None else 100 * value for name, value in (overall | classes).items()}
    return percent | {"most": record["most"]}
