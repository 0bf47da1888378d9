"""densessl: from unlabeled images to a pretrained backbone and to masks.

The public names are imported when they are first used, so that `import densessl` costs nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

_HOMES = {
    "Backbone": "densessl.backbones",
    "ParseConfig": "densessl.documents.parsing",
    "SegmentConfig": "densessl.segmentation",
    "ViewSpec": "densessl.data.views",
    "classify": "densessl.classification",
    "create_backbone": "densessl.backbones",
    "distill": "densessl.classification",
    "finetune": "densessl.classification",
    "load_backbone": "densessl.backbones",
    "load_classifier": "densessl.classification",
    "methods": "densessl.methods",
    "open_source": "densessl.data.sources",
    "parse": "densessl.documents.parsing",
    "pretrain": "densessl.training",
    "save_backbone": "densessl.backbones",
    "segment": "densessl.segmentation.run",
}
__all__ = sorted(_HOMES)
__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'densessl' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
