"""`densessl finetune`: a classifier from a pretrained backbone and few labels, step 2 of SimCLRv2 (arXiv 2006.10029).

    f_task(x) = W_task . ReLU(BN(W_1 . f(x))),   L = -mean log softmax(f_task(x))[y]

Backbone, the first layer of the pretrained head and a new linear layer, which begins at zero, are all trained on the
labelled images (equation 1; `ft_proj_selector=1` and `zero_init_logits_layer` in the official code), by random crops
and flips alone. A backbone whose run keeps no head is fine-tuned as SimCLR was, from its own output.
Where we differ: the paper begins at the head's input when all labels of ImageNet are used; here only
finetune.head_layer=0 does.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import log
from pathlib import Path

import numpy as np
import torch.nn.functional as F
from timm.layers import DropPath
from torch import nn

from densessl.backbones import Backbone, load_backbone
from densessl.backbones.heads import depth, first_layers, load_head
from densessl.classification.classifier import Classifier, save_classifier
from densessl.classification.config import FinetuneConfig, FinetuneSection, resolve
from densessl.classification.labels import labelled_part, labels_of, opened
from densessl.classification.predict import PREDICTIONS, Settings, write_predictions
from densessl.data.sources import Source, Subset, limited
from densessl.data.views import ViewSpec
from densessl.errors import UserError, require
from densessl.methods.registry import Output
from densessl.training.config import PretrainConfig
from densessl.training.run import Job, Say, say, train


class Finetune(nn.Module):
    """What is trained: the classifier under the cross-entropy of its labels."""

    sync_batch_norm = True  # "global batch normalization"

    def __init__(self, classifier: Classifier, section: FinetuneSection, lars: bool) -> None:
        super().__init__()
        self.classifier, self.section, self.lars = classifier, section, lars

    @property
    def backbone(self) -> Backbone:
        return self.classifier.backbone

    @property
    def views(self) -> list[ViewSpec]:
        return [self.section.view]

    def parameter_groups(self) -> list[dict]:
        return self.classifier.parameter_groups(self.lars, self.section.layer_decay)

    def chance(self, batch_size: int) -> float:
        """ln C: every class alike."""
        return log(len(self.classifier.classes))

    def forward(self, batch: dict) -> Output:
        scores, target = self.classifier(batch["views"][0]), batch["target"]
        right = (scores.argmax(1) == target).float().mean()
        # No embedding is handed on: images of a class may well get the same one, and no monitor need say so.
        return Output(F.cross_entropy(scores, target, label_smoothing=self.section.smoothing), {"accuracy": right})


def finetune(run: str | Path, overrides: Sequence[str] = (), recipe: str | Path | None = None, say: Say = say) -> Path:
    """Fine-tune the backbone of `run` on the labelled images of data=; returns the run's folder.

    In it are classifier.safetensors, for `load_classifier`, predictions.csv for all images of data=, and what any run
    leaves. A run that ended early goes on when it is called again alike. Raises as `densessl.training.pretrain`.
    """
    config = resolve(FinetuneConfig, "backbone", str(run), overrides, recipe)
    source = opened(config.data, config.split, config.page_side)
    whole = limited(source, config.limit, config.seed)
    chosen, classes = labelled_part(whole, config.labels, config.seed, config.data)

    def leave(trained: Finetune, folder: Path) -> str:
        unseen = labels_of(whole)
        unseen[chosen.indices] = -1
        whose = "labelled images left out of training"
        return leave_classifier(trained.classifier, folder, config, whole, unseen, whose)

    return finetune_on(chosen, classes, config, leave, say)


def finetune_on(
    images: Subset, classes: list[str], config: FinetuneConfig, leave: Callable[[Finetune, Path], str | None], say: Say
) -> Path:
    """Fine-tune on these images, all of which have a label; `leave` as in `densessl.training.run.Job`."""
    backbone = load_backbone(config.backbone, config.image_size)
    set_drop_path(backbone, config.finetune.drop_path)
    layers = _kept_layers(config, backbone, say)
    config.image_size = backbone.image_size
    fit_batch(config, len(images), "labelled images", say)
    present = np.unique(labels_of(images))
    absent = [name for place, name in enumerate(classes) if place not in present]
    if absent:
        say(f"No labelled image shows {', '.join(absent[:5])}{' and others' if len(absent) > 5 else ''}.")

    def create(config: FinetuneConfig, source: Source) -> Finetune:
        classifier = Classifier(backbone, layers, classes)
        nn.init.zeros_(classifier.linear.weight)
        return Finetune(classifier, config.finetune, config.optimizer.name == "lars")

    return train(config, images, Job(create, "Fine-tuning", leave, labelled=True), say)


def set_drop_path(backbone: Backbone, rate: float) -> None:
    """Stochastic depth, which rises along the blocks to `rate`; `UserError` where there are no branches to drop."""
    if not rate:
        return
    blocks = getattr(backbone.model, "blocks", ())
    require(
        len(blocks) > 0 and all(hasattr(block, "drop_path1") for block in blocks),
        f"finetune.drop_path={rate} is of the blocks of a transformer, which {backbone.architecture} has not: leave it "
        "at 0.",
    )
    for place, block in enumerate(blocks):
        share = rate * place / max(1, len(blocks) - 1)
        for name in ("drop_path1", "drop_path2", "drop_path"):
            if hasattr(block, name):
                setattr(block, name, DropPath(share) if share else nn.Identity())


def fit_batch(config: PretrainConfig, images: int, kind: str, say: Say) -> None:
    """Take all images a step where there are fewer than a batch."""
    if config.batch_size > images:
        say(f"batch_size={config.batch_size} is more than the {images} {kind}: each step takes all of them.")
        config.batch_size = images


def leave_classifier(
    classifier: Classifier, folder: Path, config: PretrainConfig, source: Source, labels: np.ndarray, *words: str
) -> str:
    """Write classifier.safetensors and predictions.csv; what lies where, in words.

    labels, words: of `write_predictions`.
    """
    record = {"method": config.method, "data": str(config.data), "seed": config.seed}
    path = save_classifier(classifier, folder, record)
    said = write_predictions(classifier, source, folder / PREDICTIONS, Settings.of(config), labels, *words)
    return f"The classifier of {len(classifier.classes)} classes lies in {path}. {said}"


def _kept_layers(config: FinetuneConfig, backbone: Backbone, say: Say) -> nn.Sequential:
    """The layers of the pretrained head with which the classifier begins."""
    head, asked = load_head(config.backbone), config.finetune.head_layer
    if head is None:
        if asked:
            raise UserError(
                f"finetune.head_layer={asked} asks for a head, and {config.backbone} keeps none: leave it out, or "
                "pretrain with a method that keeps its head, such as simclrv2."
            )
        return nn.Sequential()
    count = 1 if asked is None else asked
    if count > depth(head):
        raise UserError(f"finetune.head_layer={count} is more than the {depth(head)} layers of the head: give fewer.")
    if head[0].in_features != backbone.channels:
        raise UserError(
            f"The head beside {config.backbone} takes {head[0].in_features} channels, and the backbone gives "
            f"{backbone.channels}: they are not of one run; give finetune.head_layer=0."
        )
    say(f"Of the {depth(head)} layers of the pretrained head the classifier begins with the first {count}.")
    return first_layers(head, count)
