"""Layout and tables of document pages: data sets, and how well their objects were found.

pages = open_pages("publaynet:data/publaynet", "val")
average_precision(pages, read_detections("found/detections.json", pages))
"""

from densessl.documents.average_precision import AveragePrecision, average_precision
from densessl.documents.detections import Detections
from densessl.documents.matching import counts, match
from densessl.documents.pages import LabelledPages, Objects, joined
from densessl.documents.pictures import page_picture, worst_pages
from densessl.documents.reading import read_detections
from densessl.documents.sets import KIND_SETS, PAGE_SETS, open_kinds, open_pages
from densessl.documents.splits import by_runs, by_size, split_by_document
from densessl.documents.submission import write_submission, write_truth
from densessl.documents.weighted_f1 import WeightedF1, weighted_f1

__all__ = [
    "KIND_SETS",
    "PAGE_SETS",
    "AveragePrecision",
    "Detections",
    "LabelledPages",
    "Objects",
    "WeightedF1",
    "average_precision",
    "by_runs",
    "by_size",
    "counts",
    "joined",
    "match",
    "open_kinds",
    "open_pages",
    "page_picture",
    "read_detections",
    "split_by_document",
    "weighted_f1",
    "worst_pages",
    "write_submission",
    "write_truth",
]
