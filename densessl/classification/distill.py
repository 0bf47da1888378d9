"""`densessl distill`: a student learns from a classifier on unlabeled images; SimCLRv2's step 3 (arXiv 2006.10029).

    L = -(1 - alpha) mean over labelled x of log P_s(y | x; 1) - alpha mean over x of sum over y of
        P_t(y | x; tau) log P_s(y | x; tau),   P(y | x; tau) = softmax(f_task(x) / tau)[y]

(equations 2 and 3). The teacher stands still and is in evaluation; the student has the teacher's architecture without
the head's layers (self-distillation) or another, smaller one. Both see the same random crop and flip.
Where we differ: the paper sums over labelled and unlabelled images; here both terms are means over a batch, so that
alpha weighs them alike however many labels there are. The official code leaves its supervised layer out of LARS, but
holds no distillation; here LARS scales all weights, without which the student's linear layer diverges at these rates.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import log
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from densessl.backbones import Backbone
from densessl.backbones.saved import describe, rebuild
from densessl.classification.classifier import Classifier, load_classifier, small_random
from densessl.classification.config import DistillConfig, DistillSection, resolve
from densessl.classification.finetune import fit_batch, leave_classifier
from densessl.classification.labels import matched
from densessl.classification.predict import Settings, probabilities
from densessl.data.sources import Source, limited, open_source
from densessl.data.views import ViewSpec
from densessl.distributed import mean_over_processes
from densessl.errors import UserError
from densessl.losses import distill as distill_loss
from densessl.methods.registry import Output
from densessl.training.run import Job, Say, backbone_of, say, train


class Distill(nn.Module):
    """What is trained: the student under the teacher's word and, where alpha is below 1, the labels.

    temperature: tau. labels: (data_size,) int64, -1 for none.
    """

    sync_batch_norm = True

    def __init__(
        self,
        student: Classifier,
        teacher: Classifier,
        section: DistillSection,
        temperature: float,
        labels: Tensor,
    ) -> None:
        super().__init__()
        self.student, self.teacher = student, teacher.requires_grad_(False).eval()
        self.section, self.temperature = section, temperature
        self.register_buffer("labels", labels, persistent=False)  # they are read from the data at every start

    @property
    def backbone(self) -> Backbone:
        return self.student.backbone

    @property
    def views(self) -> list[ViewSpec]:
        return [self.section.view]

    def chance(self, batch_size: int) -> float:
        """ln C: the student finds every class alike."""
        return log(len(self.student.classes))

    def train(self, mode: bool = True) -> Distill:
        super().train(mode)
        self.teacher.eval()
        return self

    def forward(self, batch: dict) -> Output:
        (images,), alpha = batch["views"], self.section.alpha
        scores = self.student(images)
        with torch.no_grad():
            wanted = self.teacher(self._as_the_teacher_sees(images))
        loss = alpha * distill_loss(scores, wanted, self.temperature)
        if alpha < 1:
            loss = loss + (1 - alpha) * self._of_labels(scores, self.labels[batch["index"]])
        agreement = (scores.argmax(1) == wanted.argmax(1)).float().mean()
        return Output(loss, {"agreement": agreement})

    def _of_labels(self, scores: Tensor, labels: Tensor) -> Tensor:
        """The cross-entropy of the labelled images, mean over those of all processes; 0 where there are none."""
        total = F.cross_entropy(scores, labels, ignore_index=-1, reduction="sum")
        # Processes average their gradients, so each divides by what they hold on average.
        count = mean_over_processes((labels >= 0).sum().to(total.dtype))
        return total / torch.where(count > 0, count, 1.0)

    def _as_the_teacher_sees(self, images: Tensor) -> Tensor:
        """Views normalised for the student -> normalised for the teacher, where that differs."""
        ours, theirs = self.student.backbone, self.teacher.backbone
        if (ours.mean, ours.std) == (theirs.mean, theirs.std):
            return images
        return theirs.normalise(ours.pixels(images))


def distill(
    classifier: str | Path, overrides: Sequence[str] = (), recipe: str | Path | None = None, say: Say = say
) -> Path:
    """Train a student on what `classifier` says of the images of data=; returns the run's folder.

    In it lies what `densessl.classification.finetune` leaves too. Raises as `densessl.training.pretrain`.
    """
    config = resolve(DistillConfig, "teacher", str(classifier), overrides, recipe)
    source = open_source(config.data, config.split, config.page_side)
    source = limited(source, config.limit, config.seed)
    teacher = load_classifier(config.teacher)
    labels = _labels(config, source, teacher)
    config.image_size = config.image_size or teacher.backbone.image_size
    _check_size(config, teacher.backbone)
    fit_batch(config, len(source), "images", say)

    def create(config: DistillConfig, source: Source) -> Distill:
        backbone = _student_backbone(config, teacher.backbone)
        student = Classifier(backbone, nn.Sequential(), teacher.classes)
        small_random(student.linear)
        tau = _temperature(config, backbone, teacher.backbone)
        say(f"The student learns at a temperature of {tau:g}, with alpha {config.distill.alpha:g}.")
        return Distill(student, teacher, config.distill, tau, torch.from_numpy(labels))

    def leave(trained: Distill, folder: Path) -> str:
        found = probabilities(teacher, source, range(len(source)), Settings.of(config), "Asking the teacher")
        wanted = np.full(len(source), -1)
        wanted[found.indices.numpy()] = found.z.argmax(1).numpy()
        given = "the class that the teacher gives them"
        return leave_classifier(trained.student, folder, config, source, wanted, "images", given)

    return train(config, source, Job(create, "Distilling", leave, labelled=config.distill.alpha < 1), say)


def _labels(config: DistillConfig, source: Source, teacher: Classifier) -> np.ndarray:
    """(N,) labels in the teacher's classes, where alpha asks for them; -1 for none."""
    if config.distill.alpha == 1:
        return np.full(len(source), -1)
    labels = matched(source, teacher.classes)
    if not (labels >= 0).any():
        raise UserError(
            f"distill.alpha={config.distill.alpha} asks for labels, and no image in {config.data} has one of the "
            f"teacher's classes ({', '.join(teacher.classes[:5])}): give distill.alpha=1, or labels."
        )
    return labels


def _check_size(config: DistillConfig, teacher: Backbone) -> None:
    try:
        teacher.check_size(config.image_size, config.image_size)
    except ValueError as error:
        raise UserError(f"The teacher cannot take images of {config.image_size} px: {error}") from None


def _student_backbone(config: DistillConfig, teacher: Backbone) -> Backbone:
    """As the recipe names it, or as the teacher is, from random weights."""
    if config.backbone is not None:
        return backbone_of(config.backbone, config.image_size, config.backbone_options)
    return rebuild({**describe(teacher), "notes": []}, config.teacher, config.image_size)


def _temperature(config: DistillConfig, student: Backbone, teacher: Backbone) -> float:
    """As asked, or the paper's: 0.1 between networks of one architecture, 1 from a large to a small one."""
    if config.distill.temperature is not None:
        return config.distill.temperature
    alike = ("architecture", "options")
    same = all(describe(student)[key] == describe(teacher)[key] for key in alike)
    return 0.1 if same else 1.0
