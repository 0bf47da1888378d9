"""detectron2 as it is installed, with what today's torch, Pillow and NumPy, or a copy without its C++ part, lack.

Its C++ part has rotated boxes, deformable convolutions and a faster COCO evaluation, none of which is used here. Where
it is not there, an empty module stands in for it while release 0.6 is imported; the main branch asks for none.
"""

from __future__ import annotations

import importlib
import importlib.util
import warnings
from types import ModuleType

from densessl.errors import UserError

INSTALL = "python -m pip install --no-build-isolation 'git+https://github.com/facebookresearch/detectron2.git'"
NEEDS = ("fvcore", "iopath", "yacs", "tabulate", "termcolor", "cloudpickle", "pycocotools", "omegaconf", "hydra")
# Names that release 0.6 (2021) uses and that newer versions of these packages no longer have.
_GONE = (("PIL.Image", "LINEAR", "BILINEAR"), ("numpy", "bool", "bool_"), ("numpy", "int", "int_"))

# What torch says of the way in which detectron2 calls it, and of which nobody who trains with it can mend anything.
_WARNED = (r"`torch\.jit\.", r"`?torch\.cuda\.amp\.", r"torch\.meshgrid: ")


def prepare() -> None:
    """Make detectron2 ready to be imported; raises `UserError` where it is not installed, or lacks what it needs."""
    found = importlib.util.find_spec("detectron2")
    if found is None or found.origin is None:  # without a file it is but a folder of that name, such as configs has
        raise UserError(
            f"detectron2 is not installed: give {INSTALL}, as its documentation says, or take a recipe of "
            "configs/detect, which needs none."
        )
    missing = [name for name in NEEDS if importlib.util.find_spec(name) is None]
    if missing:
        raise UserError(
            f"detectron2 is there, but not {', '.join(missing)}, which it needs: give python -m pip install "
            f"{' '.join(missing).replace('hydra', 'hydra-core')}."
        )
    for module, old, new in _GONE:
        owner = importlib.import_module(module)
        if not hasattr(owner, old):
            setattr(owner, old, getattr(owner, new))
    for pattern in _WARNED:
        warnings.filterwarnings("ignore", pattern)
    if importlib.util.find_spec("detectron2._C") is None:
        _without_c()


def _without_c() -> None:
    """Import what asks for the C++ part, and take the faster evaluation out, which alone would use it."""
    import detectron2
    from pycocotools.cocoeval import COCOeval

    # For the time of the import alone: whatever asks later is to see that it is not there.
    detectron2._C = ModuleType("detectron2._C")
    from detectron2.evaluation import coco_evaluation

    del detectron2._C
    coco_evaluation.COCOeval_opt = COCOeval
