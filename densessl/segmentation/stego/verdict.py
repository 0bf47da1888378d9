"""Whether STEGO's weights and shifts fit the pictures at hand, in sentences, and which of them to change.

Where the codes of two places are alike, each kind of pairs pulls by its weight times (cosine of the features - shift).
Together they attract above one threshold, the mean of the shifts by their weights:

    effective shift = (w_intra b_intra + w_inter b_inter + w_neg b_neg) / (w_intra + w_inter + w_neg)

It decides how many codes become alike, so that one of the six numbers is enough to change that.

Nothing here sets the numbers by itself, since no rule without labels was found to be better. Measured were three sets
(CamVid, LabelMeFacade, painted scenes) on three backbones (colours, random weights, EfficientNet-Lite0), 3 seeds each,
by the mean of mIoU, accuracy and AP across images in points, with window=1. All shifts moved until 12 % of random pairs
attracted, or 25 %: +0.15 +- 0.67 and +0.29 +- 0.53 beside the defaults (the error over the nine cells), the worst cell
-3.5 and -1.7. A controller that moved them while it trained, so that 1 / classes of the random pairs came out alike:
+0.36 +- 0.63 on the two seeds that its target was not guessed from, the worst cell -3.2. One of 40 % was tried with one
seed: -1.0.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from densessl.segmentation.stego.diagnosis import Kind

LEAST = 0.02  # a change of the shifts that is worth a run
TOLD_APART = 0.1  # least difference in the share of alike codes between pairs that attract and pairs that repel
NAMES = {"pos_intra": "pairs within a picture", "pos_inter": "pairs with a neighbour", "neg_inter": "random pairs"}


@dataclass(frozen=True)
class Verdict:
    """What is wrong and what to change.

    state: "good"; "alike" or "apart" where too many or too few codes are alike; "unrelated" where codes do not follow
        the features.
    sentences: the first says what is wrong and what to do, the others what was measured.
    change: settings to try, by name. effective_shift: see above; None where the weights do not sum to more than 0.
    """

    state: str
    sentences: tuple[str, ...]
    change: dict[str, float] = field(default_factory=dict)
    effective_shift: float | None = None


def effective_shift(kinds: Sequence[Kind]) -> float | None:
    """The cosine of features above which all kinds of pairs together attract; None where no weight is above 0."""
    total = sum(kind.weight for kind in kinds)
    return sum(kind.weight * kind.shift for kind in kinds) / total if total > 0 else None


def judge(kinds: Sequence[Kind], classes: int) -> Verdict:
    """The verdict on pairs that were measured after training, for a run that makes so many segments.

    kinds: pairs within a picture first, the most random ones last.

    Segments of one size would make 1 / classes of random pairs alike. Twice that is right: label maps of scenes have
    about as much. Too many are alike beyond half the way from 1 / classes to all; too few where even within a picture
    less than half of 1 / classes are.
    """
    shift = effective_shift(kinds)
    measured = tuple(_measured(kinds, shift))
    within, random = kinds[0], kinds[-1]
    follow = max(kind.followed[0] - kind.followed[1] for kind in kinds)
    if random.share_alike > (1 + 1 / classes) / 2:
        change = _change(kinds, random, min(0.5, 2 / classes), shift, raised=True)
        first = f"Too many codes are alike, {random.share_alike:.0%} of {NAMES[random.name]}: repel more. "
        state = "alike"
    elif within.share_alike < 1 / (2 * classes):
        change = _change(kinds, within, min(0.5, 2 / classes), shift, raised=False)
        first = f"Too few codes are alike, {within.share_alike:.0%} of {NAMES[within.name]}: attract more. "
        state = "apart"
    elif follow < TOLD_APART:
        first = "Codes do not follow the features: pairs that attract are hardly more alike than pairs that repel. "
        state, change = "unrelated", {}
    else:
        pairs = ", ".join(f"{kind.share_alike:.0%} of {NAMES[kind.name]}" for kind in kinds)
        return Verdict("good", (f"Codes separate: alike are {pairs}.", *measured), {}, shift)
    return Verdict(state, (first + _advice(kinds, change), *measured), change, shift)


def _change(kinds: Sequence[Kind], judged: Kind, share: float, shift: float | None, raised: bool) -> dict[str, float]:
    """All shifts moved alike, such that this share of the pairs of a kind lies above the effective one.

    Empty where that would move them the wrong way: then the shifts are not to blame.
    """
    if shift is None:
        return {}
    step = judged.threshold(share) - shift
    if abs(step) < LEAST or (step > 0) != raised:
        return {}
    return {f"stego.{kind.name}_shift": round(kind.shift + step, 2) for kind in kinds}


def _advice(kinds: Sequence[Kind], change: dict[str, float]) -> str:
    if change:
        step = change[f"stego.{kinds[0].name}_shift"] - kinds[0].shift
        each = " ".join(f"{name}={value:g}" for name, value in change.items())
        return f"{'Raise' if step > 0 else 'Lower'} the shifts by about {abs(step):.2g}: {each}"
    if kinds[-1].name == "neg_inter" and kinds[-1].weight <= 0:
        return f"stego.neg_inter_weight={kinds[-1].weight:g} leaves random pairs out: the paper has 0.63."
    return "The shifts are not to blame: train longer, with more steps or a larger lr."


def _measured(kinds: Sequence[Kind], shift: float | None) -> list[str]:
    sentences = []
    if shift is not None:
        above = ", ".join(f"{kind.above(shift):.0%} of {NAMES[kind.name]}" for kind in kinds)
        sentences.append(
            f"All weights and shifts together attract where the cosine of the features exceeds {shift:.2f}: {above}."
        )
    for kind in kinds:
        name, attracted, repelled = NAMES[kind.name], *kind.followed
        sentences.append(
            f"{name[0].upper()}{name[1:]}: {kind.attract:.0%} exceed their own shift of {kind.shift:g}. Codes are near "
            f"1 for {kind.same / kind.pairs:.0%}, near 0 or below for {kind.apart / kind.pairs:.0%}; alike for "
            f"{attracted:.0%} of those that exceed it and {repelled:.0%} of the others."
        )
    return sentences
