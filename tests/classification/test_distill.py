"""A student of a classifier on unlabeled images: the objective, the teacher's stillness, what is learned."""

from __future__ import annotations

import math
import os
import shutil
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from safetensors.torch import load_file
from torch import nn

from densessl.backbones import create_backbone
from densessl.classification import distill, finetune, load_classifier
from densessl.classification.classifier import Classifier
from densessl.classification.config import DistillConfig, DistillSection, resolve
from densessl.classification.distill import Distill, _temperature
from densessl.config import recipes
from densessl.errors import UserError
from densessl.training.callbacks import Checkpoints
from densessl.training.sync import synchronise
from tests.classification.conftest import SMALL


@pytest.fixture(scope="module")
def teacher(run: Path, data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("teacher") / "out"
    settings = [f"data={data}", f"out={out}", *SMALL, "epochs=15", "batch_size=9"]
    return finetune(run, settings, say=lambda sentence: None)


@pytest.fixture(scope="module")
def unlabelled(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("unlabelled") / "all"
    folder.mkdir()
    for path in sorted(data.rglob("*.png")):
        shutil.copy(path, folder / f"{path.parent.name[0]}{path.name}")
    return folder


def learn(teacher: Path, data: Path, out: Path, *overrides: str, say=lambda sentence: None) -> Path:
    return distill(teacher, [f"data={data}", f"out={out}", *SMALL, *overrides], say=say)


def small(seed: int, classes: int = 3) -> Classifier:
    torch.manual_seed(seed)
    options = {"channels": [8, 8, 16, 16], "layers": [1, 1, 1, 1], "stem_width": 8, "stem": "small"}
    classifier = Classifier(create_backbone("resnet18", 16, options), nn.Sequential(), [str(x) for x in range(classes)])
    nn.init.normal_(classifier.linear.weight)
    return classifier


def slow(student: torch.Tensor, teacher: torch.Tensor, labels: list[int], alpha: float, tau: float) -> float:
    """Equation 3, image by image."""
    soft, hard, known = 0.0, 0.0, 0
    for s, t, label in zip(student.double(), teacher.double(), labels, strict=True):
        p = [math.exp(float(x) / tau) for x in t]
        q = [math.exp(float(x) / tau) for x in s]
        soft -= sum(a / sum(p) * math.log(b / sum(q)) for a, b in zip(p, q, strict=True))
        if label >= 0:
            known += 1
            hard -= math.log(math.exp(float(s[label])) / sum(math.exp(float(x)) for x in s))
    return alpha * soft / len(labels) + (1 - alpha) * hard / max(1, known)


@pytest.mark.parametrize("alpha", [1.0, 0.3, 0.0])
@pytest.mark.parametrize("labels", [[-1, 2, -1, 0, -1, -1], [-1] * 6, [0, 1, 2, 0, 1, 2]])
def test_the_loss_is_the_papers(alpha, labels):
    student, teacher = small(0), small(1)
    stored = torch.full((20,), -1)
    index = torch.tensor([3, 17, 5, 0, 9, 11])
    stored[index] = torch.tensor(labels)
    method = Distill(student, teacher, DistillSection(alpha=alpha), 0.7, stored).train()
    images = torch.randn(6, 3, 16, 16)
    loss = float(method({"views": [images], "index": index}).loss.detach())
    with torch.no_grad():
        expected = slow(student(images), teacher.eval()(images), labels, alpha, 0.7)
    assert loss == pytest.approx(expected, rel=1e-4)


def test_the_teacher_stands_still_in_evaluation_and_gets_no_gradient():
    method = Distill(small(0), small(1), DistillSection(), 1.0, torch.full((9,), -1)).train()
    before = {name: each.clone() for name, each in method.teacher.state_dict().items()}
    output = method({"views": [torch.randn(6, 3, 16, 16)], "index": torch.arange(6)})
    output.loss.backward()
    assert not method.teacher.training and method.student.training
    assert all(each.grad is None for each in method.teacher.parameters())
    assert all(each.grad is not None for each in method.student.parameters())
    # Its batch norms too: neither their statistics nor anything else moved.
    assert all(torch.equal(each, before[name]) for name, each in method.teacher.state_dict().items())
    assert 0 <= float(output.metrics["agreement"]) <= 1 and method.chance(6) == pytest.approx(math.log(3))


def measure(rank: int = 0, world: int = 1) -> dict[str, torch.Tensor]:
    """Loss and gradients of a batch of eight, three of them labelled and all of those in the first process's half."""
    labels = torch.tensor([0, -1, 2, 1, -1, -1, -1, -1])
    method = Distill(small(0), small(1), DistillSection(alpha=0.4), 0.7, labels).double().train()
    if world > 1:
        synchronise(method, "cpu")
    images = torch.randn(8, 3, 16, 16, generator=torch.Generator().manual_seed(3)).double()
    share = slice(rank * 8 // world, (rank + 1) * 8 // world)
    loss = method({"views": [images[share]], "index": torch.arange(8)[share]}).loss
    loss.backward()
    found = {"loss": loss.detach()} | {key: each.grad for key, each in method.student.named_parameters()}
    for value in found.values() if world > 1 else ():
        dist.all_reduce(value)
        value /= world
    return found


def worker(rank: int, folder: str) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2)
    found = measure(rank, 2)
    if rank == 0:
        torch.save(found, Path(folder) / "found.pt")
    dist.destroy_process_group()


def test_two_processes_compute_what_one_does_however_the_labels_fall(tmp_path):
    os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
    mp.spawn(worker, (str(tmp_path),), nprocs=2)
    one, two = measure(), torch.load(tmp_path / "found.pt", weights_only=True)
    for key, expected in one.items():
        torch.testing.assert_close(two[key], expected, rtol=1e-6, atol=1e-9, msg=key)


def test_a_teacher_of_other_pixels_sees_the_same_image():
    teacher, student = small(1), small(0)
    other = create_backbone("resnet18", 16, teacher.backbone.options)
    other.mean, other.std = (0.5, 0.5, 0.5), (0.5, 0.5, 0.5)
    other._shift, other._scale = torch.full_like(other._shift, 127.5), torch.full_like(other._scale, 127.5)
    other.load_state_dict(teacher.backbone.state_dict())
    teacher.backbone = other
    method = Distill(student, teacher, DistillSection(), 1.0, torch.full((9,), -1))
    pixels = torch.randint(0, 256, (4, 3, 16, 16), dtype=torch.uint8)
    seen = method._as_the_teacher_sees(student.backbone.normalise(pixels))
    torch.testing.assert_close(seen, other.normalise(pixels))


def test_a_student_agrees_with_its_teacher_on_images_without_labels(teacher, unlabelled, tmp_path):
    """Three classes: a third is chance; a student that learned nothing would be there."""
    settings = ("epochs=40", "batch_size=12", "lr=0.2", "optimizer.name=sgd", "distill.temperature=1")
    said: list[str] = []
    out = learn(teacher, unlabelled, tmp_path / "student", *settings, say=said.append)
    found = [(each / "predictions.csv").read_text().splitlines()[1:] for each in (teacher, out)]
    theirs = {name.split("/")[0][0] + name.split("/")[1]: label for name, label, _ in (r.split(",") for r in found[0])}
    ours = {name: label for name, label, _ in (row.split(",") for row in found[1])}
    assert theirs.keys() == ours.keys()
    agreeing = sum(ours[name] == theirs[name] for name in ours)
    assert agreeing > 0.7 * len(ours)
    verdict = (
        f"Of the {len(ours)} images, {100 * agreeing / len(ours):.1f} % get the class that the teacher gives them."
    )
    assert any(verdict in sentence for sentence in said)
    student = load_classifier(out)
    assert len(student.layers) == 0 and student.classes == ["blue", "green", "red"]
    assert student.backbone.options == load_classifier(teacher).backbone.options


def test_a_smaller_student_and_its_temperature(teacher, unlabelled, tmp_path):
    options = "backbone_options={channels: [16, 16, 16, 16], layers: [1, 1, 1, 1], stem_width: 16, stem: small}"
    out = learn(teacher, unlabelled, tmp_path / "out", "steps=2", "backbone=resnet18", options)
    student, large = load_classifier(out), load_classifier(teacher)
    assert student.backbone.channels == 16
    config = resolve(DistillConfig, "teacher", str(teacher), ["data=x"])
    assert _temperature(config, student.backbone, large.backbone) == 1.0
    assert _temperature(config, large.backbone, large.backbone) == 0.1
    config = resolve(DistillConfig, "teacher", str(teacher), ["data=x", "distill.temperature=3"])
    assert _temperature(config, large.backbone, large.backbone) == 3.0


def test_it_goes_on_where_it_was_and_ends_with_the_same_bits(teacher, data, tmp_path, monkeypatch):
    settings = ("steps=7", "batch_size=12", "distill.alpha=0.5")
    whole = learn(teacher, data, tmp_path / "whole", *settings)
    save = Checkpoints.on_train_batch_end

    class Stop(Exception):
        pass

    def die(self, trainer, module, *rest):
        self.seconds = 0 if module.steps_done == 2 else 1e9
        save(self, trainer, module, *rest)
        if module.steps_done == 4:
            raise Stop

    monkeypatch.setattr(Checkpoints, "on_train_batch_end", die)
    with pytest.raises(Stop):
        learn(teacher, data, tmp_path / "again", *settings)
    monkeypatch.undo()
    again = learn(teacher, data, tmp_path / "again", *settings)
    one, two = (load_file(each / "classifier.safetensors") for each in (whole, again))
    assert one.keys() == two.keys() and all(torch.equal(one[key], two[key]) for key in one)


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (["distill.alpha=2"], "alpha=2.0 must be from 0 to 1"),
        (["distill.alpha=0.5"], "no image in .* has one of the teacher's classes"),
        (["distill.temperature=0"], "temperature=0.0 must be above 0"),
        (["teacher=x"], "given twice"),
        (["backbone_options.x=1"], "or name a backbone="),
        (["backbone=resnet81"], "resnet81"),
        (["image_size=20"], "20"),
    ],
)
def test_mistakes_are_sentences_and_write_nothing(teacher, unlabelled, tmp_path, overrides, words):
    with pytest.raises(UserError, match=words) as caught:
        learn(teacher, unlabelled, tmp_path / "out", "steps=1", *overrides)
    assert "\n" not in str(caught.value) and not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", list(recipes("distill")))
def test_every_recipe_is_valid_and_states_its_aim(name):
    config = resolve(DistillConfig, "teacher", "runs/x", ["data=y"], name)
    assert config.lr * math.sqrt(config.batch_size / 256) == pytest.approx(6.4) and config.out == "runs/x-distill"
    assert "Aims at" in recipes("distill")[name].read_text(encoding="utf-8")
