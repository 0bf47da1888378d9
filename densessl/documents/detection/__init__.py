"""Detectors of layout and tables on torchvision's parts, with any backbone of the package.

folder = train("quick", ["data=coco:generated", "out=runs/layout"])
predict(["report.pdf"], "found", folder)
"""

from densessl.documents.detection.config import DetectConfig, DetectorConfig
from densessl.documents.detection.detector import Detector, load_detector, save_detector
from densessl.documents.detection.evaluate import detect, evaluate, judge
from densessl.documents.detection.predict import predict
from densessl.documents.detection.train import create_detector, train

__all__ = [
    "DetectConfig",
    "Detector",
    "DetectorConfig",
    "create_detector",
    "detect",
    "evaluate",
    "judge",
    "load_detector",
    "predict",
    "save_detector",
    "train",
]
