"""Our CRF beside pydensecrf, in one process: `python tests/benchmarks/crf.py [--photos 20] [--threads 1]`.

Both refine the same masks of photographs, as `densessl segment` does: segments by k-means on the features of the
backbone in the box, probabilities of sharpness 2, pictures of 320 px at most, the kernels and the 10 steps of STEGO's
evaluation. Agreement is the share of pixels that have one label by both; beside it stands the share whose label the CRF
changed at all, without which agreement says little. Both take turns, picture by picture, so that whatever else the
machine does falls on both; times are medians over pictures and rounds, the ratio is the median of the turns'. A further
mask of a picture needs no lattice of its own.

pydensecrf (https://github.com/lucasb-eyer/pydensecrf) is built from its sources: pip install
git+https://github.com/lucasb-eyer/pydensecrf.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from densessl.data.sources import open_source
from densessl.segmentation.config import SegmentConfig
from densessl.segmentation.features.kept import extract
from densessl.segmentation.learning import learn
from densessl.segmentation.predict import Guide, Refinement
from densessl.segmentation.refinement.crf import LEAST, CRFConfig, MeanField
from densessl.segmentation.run import extractor_of

PHOTOS = Path(__file__).parents[2].parent / "shared" / "data" / "photos"
CRF, SIDE, SHARPNESS = CRFConfig(), 320, 2.0


def masks(data: Path, count: int, classes: int) -> list[tuple[Tensor, Tensor]]:
    """Of so many photographs the probabilities (1, K, h, w) and the pixels (1, 3, h, w) uint8."""
    config = SegmentConfig(data=str(data), out="", classes=classes, method="kmeans", devices="cpu")
    source = open_source(str(data))
    extractor, _ = extractor_of(config)
    kept = extract(source, extractor, range(min(count, len(source))))
    model = learn(kept, config).model
    refinement = Refinement("none", SIDE, SHARPNESS, CRF)
    found = []
    with torch.inference_mode():
        for row, index in enumerate(kept.indices):
            guide = Guide(source.read(index), SIDE, CRF, torch.device("cpu"))
            found.append((refinement(model, kept.tokens(row), kept.shapes[row], guide)[None], guide.pixels))
    return found


def theirs(probabilities: Tensor, pixels: Tensor) -> np.ndarray:
    """(h, w) labels by pydensecrf, as STEGO's evaluation calls it."""
    from pydensecrf.densecrf import DenseCRF2D

    _, classes, height, width = probabilities.shape
    crf = DenseCRF2D(width, height, classes)
    energy = -probabilities[0].clamp(min=LEAST).log().flatten(1).numpy()
    crf.setUnaryEnergy(np.ascontiguousarray(energy))
    crf.addPairwiseGaussian(sxy=CRF.position_deviation, compat=CRF.position_weight)
    image = np.ascontiguousarray(pixels[0].permute(1, 2, 0).numpy())
    crf.addPairwiseBilateral(sxy=CRF.colour_reach, srgb=CRF.colour_deviation, rgbim=image, compat=CRF.colour_weight)
    return np.array(crf.inference(CRF.iterations)).reshape(classes, height, width).argmax(0)


def timed(job: Callable[[], np.ndarray]) -> tuple[np.ndarray, float]:
    begun = time.perf_counter()
    return job(), time.perf_counter() - begun


def measure(pictures: list[tuple[Tensor, Tensor]], rounds: int) -> None:
    """Print the table: agreement, then seconds an image."""
    agreed, changed, seconds = [], [], []
    for probabilities, pixels in pictures:
        for _ in range(rounds):
            expected, slow = timed(lambda p=probabilities, i=pixels: theirs(p, i))
            field, building = timed(lambda i=pixels: MeanField(i, CRF))
            found, refining = timed(lambda f=field, p=probabilities: f(p)[0].argmax(0).numpy())
            seconds.append((slow, building + refining, refining))
        agreed.append(float((found == expected).mean()))
        changed.append(float((expected != probabilities[0].argmax(0).numpy()).mean()))
    print(f"labels alike: {statistics.fmean(agreed):.2%} of the pixels, {min(agreed):.2%} in the worst picture")
    print(f"changed by pydensecrf: {statistics.fmean(changed):.1%} of the pixels, {min(changed):.1%} at least")
    columns = list(zip(*seconds, strict=True))
    print(f"{'':28}{'s an image':>12}{'of pydensecrf':>16}")
    for title, column in zip(("pydensecrf", "densessl", "densessl, a further mask"), columns, strict=True):
        ratio = statistics.median(each / other for each, other in zip(column, columns[0], strict=True))
        print(f"{title:28}{statistics.median(column):12.2f}{ratio:16.2f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=PHOTOS, help="photographs")
    parser.add_argument("--photos", type=int, default=20)
    parser.add_argument("--classes", type=int, default=27)
    parser.add_argument("--rounds", type=int, default=3, help="turns of each picture")
    parser.add_argument("--threads", type=int, default=1, help="ours; pydensecrf has one")
    given = parser.parse_args()
    try:
        import pydensecrf.densecrf  # noqa: F401
    except ImportError:
        raise SystemExit("pydensecrf is not installed, and there is nothing to compare with: see --help.") from None
    torch.set_num_threads(given.threads)
    pictures = masks(given.data, given.photos, given.classes)
    print(f"{len(pictures)} photographs, {given.classes} segments, {SIDE} px, {given.threads} threads of ours")
    measure(pictures, given.rounds)


if __name__ == "__main__":
    main()
