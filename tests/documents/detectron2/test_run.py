"""Runs by `densessl detect` and by detectron2's own launcher: from pages to weights, figures and detections."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

pytest.importorskip("detectron2", reason="detectron2 is not installed; .ci/run brings it")

import detectron2
from detectron2.config import instantiate
from detectron2.structures import Boxes, Instances
from detectron2.utils.events import EventStorage
from torch.nn.modules.batchnorm import _BatchNorm

from densessl import cli
from densessl.config import recipe_folder
from densessl.documents import open_pages
from densessl.documents.detection import load_detector, predict
from densessl.documents.detection.evaluate import detect
from densessl.documents.detectron2 import run
from densessl.documents.detectron2.__main__ import main as launch
from densessl.documents.detectron2.pages import learned_pages
from densessl.documents.detectron2.served import PageEvaluator, Served
from densessl.errors import UserError
from densessl.files import write_image
from tests.documents.conftest import coco, tree  # noqa: F401
from tests.documents.detectron2.conftest import quick, shrink, silent, small

RECIPES = sorted({path.name for path in recipe_folder("detectron2").glob("*.py")} - {"quick.py"})  # which is run
LAUNCHER = Path(detectron2.__file__).parents[1] / "tools" / "lazyconfig_train_net.py"


@pytest.fixture(scope="module")
def finished(pages_folder, tmp_path_factory) -> Path:
    return run.train("quick.py", quick(pages_folder, tmp_path_factory.mktemp("run") / "run"), silent)


@pytest.mark.parametrize("name", RECIPES)
def test_every_recipe_learns_from_pages(name, pages_folder):
    config = small(name, pages_folder, "nowhere", "pages.classes=null")
    if name == "ctdar_archival.py":
        assert config.optimizer.lr == 1e-4
    model = instantiate(config.model).train()
    mapper = instantiate(config.dataloader.train.mapper)
    batch = []
    for entry, chance in zip(learned_pages(config.pages), (0.0, 1.0), strict=False):
        for each in mapper.augmentations.augs:
            if hasattr(each, "short_edge_length"):
                each.short_edge_length, each.max_size = [64], 64
            if hasattr(each, "prob"):
                each.prob = chance  # one page as it is, one after whatever may be done to half of them
        batch.append(mapper(entry))
    assert [sorted(each["instances"].gt_classes.tolist()) for each in batch][0] == [0, 1]
    with EventStorage():
        losses = model(batch)
    sum(losses.values()).backward()
    assert all(torch.isfinite(each) for each in losses.values())
    assert ("loss_mask" in losses) == bool(config.pages.masks)
    assert ("loss_cls_stage2" in losses) == ("cascade" in name or name in ("coco.py", "doclaynet.py"))
    without = [label for label, each in model.named_parameters() if each.grad is None]
    assert without == []
    config.optimizer.params.model = model
    instantiate(config.optimizer).step()


def test_a_run_leaves_weights_for_detectron2_and_for_its_twin(finished, pages_folder):
    config, folder = run.read("quick.py", quick(pages_folder, finished))
    model = run.trained(config, folder)
    twin = load_detector(finished)
    assert twin.classes == ["text", "table"]
    assert torch.equal(twin.objects.boxes[0].fc1.weight, model.roi_heads.box_head.fc1.weight)
    rows = [json.loads(line) for line in (finished / "metrics.json").read_text().splitlines()]
    assert rows[-1]["iteration"] == 1 and "total_loss" in rows[-1]
    record = json.loads((finished / "evaluation.json").read_text())
    assert set(record["boxes"]["classes"]) == {"text", "table"} and set(record["tables"]) == {"published", "fixed"}


def test_what_a_run_began_with_is_not_what_it_left(finished, pages_folder, tmp_path):
    start = f"model.weights={finished / 'detector.safetensors'}"
    folder = run.train("quick.py", quick(pages_folder, tmp_path / "run", start, "optimizer.lr=0.01"), silent)
    served, weights = run.load(folder)
    name = "roi_heads.box_head.fc1.weight"
    final = torch.load(folder / "model_final.pth")["model"][name]
    assert weights == folder / "model_final.pth"
    assert torch.equal(served.model.state_dict()[name], final)
    assert not torch.equal(final, torch.load(finished / "model_final.pth")["model"][name])


def test_a_run_warns_of_nothing_that_its_user_cannot_mend(pages_folder, tmp_path):
    settings = [each for each in quick(pages_folder, tmp_path / "run") if "num_workers" not in each]
    command = [sys.executable, "-m", "densessl", "detect", "train", "quick.py", *settings, "train.max_iter=1"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0 and "Warning" not in done.stdout + done.stderr


def test_a_finished_run_is_left_alone_and_one_of_other_settings_is_refused(finished, pages_folder):
    before = (finished / "model_final.pth").stat().st_mtime_ns
    run.train("quick.py", quick(pages_folder, finished), silent)
    assert (finished / "model_final.pth").stat().st_mtime_ns == before
    final = finished / "model_final.pth"
    final.rename(finished / "kept.pth")
    try:
        config, _ = run.read("quick.py", quick(pages_folder, finished, "dataloader.train.num_workers=3"))
        run._save(config, finished)  # of another machine
        with pytest.raises(UserError, match="other settings"):
            run.train("quick.py", quick(pages_folder, finished, "optimizer.lr=0.5"), silent)
    finally:
        (finished / "kept.pth").rename(final)


def test_a_loss_that_is_not_finite_ends_the_run_in_a_sentence(pages_folder, tmp_path):
    wild = quick(pages_folder, tmp_path / "run", "optimizer.lr=1e30", "optimizer.clip=null", "train.max_iter=4")
    with pytest.raises(UserError, match=r"NaN.* Give less than optimizer\.lr=1e\+30"):
        run.train("quick.py", [*wild, "lr_multiplier.warmup_length=0"], silent)


def test_evaluation_by_detectron2_is_that_of_densessl_detect(finished, pages_folder):
    config, folder = run.read("quick.py", quick(pages_folder, finished, "pages.classes=[text,table]"))
    model = run.trained(config, folder)
    served = run.served(model, config)
    served.set_score(0.0)
    evaluator = PageEvaluator(config.pages)
    with torch.inference_mode():
        for batch in instantiate(config.dataloader.test):
            evaluator.process(batch, model(batch))
    theirs = evaluator.evaluate()
    pages = open_pages(f"coco:{pages_folder}")
    found = detect(served, pages, "cpu")
    # Of each group detectron2 prints what has no hyphen.
    assert all(any("-" not in name for name in figures) for figures in theirs.values())
    assert isinstance(served, Served) and len(found) == len(evaluator._rows) > 0
    from densessl.documents import average_precision, weighted_f1

    assert theirs["bbox"]["AP"] == pytest.approx(100 * average_precision(pages, found).record()["overall"]["ap"])
    assert theirs["tables"]["wF1_fixed"] == pytest.approx(100 * weighted_f1(pages, found, "fixed").weighted)


def test_all_words_of_a_full_page_count_where_the_recipe_asks_for_them(tree):  # noqa: F811
    boxes = [[x, y, x + 8, y + 3] for y in range(0, 100, 5) for x in range(0, 80, 10)]  # 160
    tree.image("set/1.png", 100, 100)
    words = [{"bbox": [x0, y0, x1 - x0, y1 - y0]} for x0, y0, x1, y1 in boxes]
    tree.json("set/annotations.json", coco([{"file_name": "1.png", "width": 100, "height": 100}], words))
    evaluator = PageEvaluator({"data": f"coco:{tree.path('set')}", "val": f"coco:{tree.path('set')}"})
    found = Instances((100, 100), pred_boxes=Boxes(torch.tensor(boxes)), scores=torch.linspace(0.9, 0.5, len(boxes)))
    found.pred_classes = torch.zeros(len(boxes), dtype=torch.int64)
    evaluator.process([{"image_id": 0}], [{"instances": found}])
    figures = evaluator.evaluate()["bbox"]
    assert figures["AP"] == pytest.approx(100) and figures["most"] == 160


def test_a_recipe_that_asks_for_many_is_judged_by_as_many(pages_folder):
    config = small("funsd.py", pages_folder)
    assert run.served(instantiate(config.model), config).config.most == 1000


def test_both_twins_predict_the_same_file(finished, pages_folder, tmp_path):
    # Pages as large as they are shown, so that neither way of making them smaller has a say.
    rng = np.random.default_rng(0)
    for name in ("a.png", "b.png"):
        write_image(tmp_path / "images" / name, rng.integers(0, 256, (64, 64, 3), np.uint8))
    images, kept = [str(tmp_path / "images")], ["score=0.05"]
    predict(images, tmp_path / "torchvision", finished, kept)
    twin = finished / "detector.safetensors"
    twin.rename(finished / "aside.safetensors")
    try:
        predict(images, tmp_path / "detectron2", finished, kept)
    finally:
        (finished / "aside.safetensors").rename(twin)
    first, second = (
        json.loads((tmp_path / name / "detections.json").read_text()) for name in ("torchvision", "detectron2")
    )
    assert first["images"] == second["images"] and first["categories"] == second["categories"]
    one, other = (
        {name: np.array([each[name] for each in side["annotations"]]) for name in ("bbox", "score", "category_id")}
        for side in (first, second)
    )
    assert len(one["score"]) > 10
    np.testing.assert_allclose(one["bbox"], other["bbox"], atol=0.05)
    np.testing.assert_allclose(one["score"], other["score"], atol=2e-4)
    assert one["category_id"].tolist() == other["category_id"].tolist()


@pytest.mark.parametrize("size", [512, 800])
def test_all_sizes_of_a_recipe_with_a_twin_follow_one(size, pages_folder):
    of = "dataloader.test.mapper.augmentations.0"
    config, _ = run.read("quick.py", [] if size == 512 else [f"{of}.max_size={size}"])
    (learned,), (judged,) = (config.dataloader[each].mapper.augmentations for each in ("train", "test"))
    assert config.model.twin.image_size == judged.max_size == judged.short_edge_length == size
    assert learned.target_height == learned.target_width == size
    assert run._check_twin(config) is None
    other, _ = run.read("quick.py", [f"{of}.short_edge_length=600", f"{of}.max_size=900"])
    with pytest.raises(UserError, match=r"\(600, 900\).* longest side of 900.*model.twin=null"):
        run._check_twin(other)


def test_options_of_a_recipes_network_go_with_it(pages_folder):
    config, _ = run.read("coco.py", ["model.backbone.spec=resnet18"])
    assert config.model.backbone.options == {}
    config, _ = run.read("coco.py", ["model.backbone.spec=resnet18", "model.backbone.options={stem_width: 16}"])
    assert config.model.backbone.options == {"stem_width": 16}
    config, _ = run.read("coco.py", ["model.backbone.spec=beit_base_patch16_224"])
    assert config.model.backbone.options.use_abs_pos_emb


@pytest.mark.parametrize("name", ["voc_c4.py", "voc_fpn.py"])
def test_weights_decay_and_batch_norms_do_not_by_mocos_protocol(name, pages_folder):
    config = small(name, pages_folder)
    config.optimizer.params.model = model = instantiate(config.model)
    decays = {
        id(each): group["weight_decay"]
        for group in instantiate(config.optimizer).param_groups
        for each in group["params"]
    }
    norms = [each for part in model.modules() if isinstance(part, _BatchNorm) for each in part.parameters()]
    assert norms and {decays[id(each)] for each in norms} == {0.0}
    assert {decays[id(each)] for each in model.parameters() if each.ndim > 1} == {1e-4}


def test_a_recipe_predicts_with_weights_that_are_named(finished, pages_folder, tmp_path):
    recipe = tmp_path / "mine.py"
    recipe.write_text(_recipe(pages_folder, tmp_path / "nowhere"))
    with pytest.raises(UserError, match="holds no model_final.pth"):
        predict([str(pages_folder / "images")], tmp_path / "out", recipe)
    named = [f"weights={finished / 'detector.safetensors'}"]
    assert "On 4 pages" in predict([str(pages_folder / "images")], tmp_path / "out", recipe, named)


RELEASED = {
    "publaynet.py": ["text", "title", "list", "table", "figure"],
    "ctdar_modern.py": ["table"],
    "ctdar_archival.py": ["table"],
    "funsd.py": ["word"],
}


@pytest.mark.parametrize("name", RELEASED)
def test_a_released_detector_needs_no_data(name, tmp_path, monkeypatch):
    def small_one(recipe, overrides=()):
        config, folder = read(recipe, overrides)
        return shrink(config), folder

    read = run.read
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(run, "read", small_one)
    config, _ = small_one(name)
    config.pages.classes = RELEASED[name]
    torch.save({"model": instantiate(config.model).state_dict()}, tmp_path / "released.pth")
    served, weights = run.load(name, str(tmp_path / "released.pth"))
    assert served.classes == RELEASED[name] and weights == tmp_path / "released.pth"


def test_classes_that_a_recipe_does_not_name_are_those_of_the_weights(finished, tmp_path):
    recipe = tmp_path / "mine.py"
    recipe.write_text(_recipe(tmp_path / "gone", tmp_path / "nowhere", "pages.classes=null", "pages.data=null"))
    for name in ("detector.safetensors", "model_final.pth"):
        assert run.load(recipe, str(finished / name))[0].classes == ["text", "table"]
    (tmp_path / "alone.pth").write_bytes((finished / "model_final.pth").read_bytes())
    with pytest.raises(UserError, match="which classes the detector finds"):
        run.load(recipe, str(tmp_path / "alone.pth"))


def test_the_command_takes_a_recipe_and_a_run(finished, pages_folder, tmp_path, monkeypatch, capsys):
    recipe = tmp_path / "mine.py"
    recipe.write_text(_recipe(pages_folder, finished))
    for each in (recipe, finished):
        monkeypatch.setattr("sys.argv", ["densessl", "detect", "eval", str(each)])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        assert not ended.value.code and "AP of boxes on 4 pages" in capsys.readouterr().out
    monkeypatch.setattr("sys.argv", ["densessl", "detect", "train", "no-such.py", "pages.data=x"])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == 2 and "There is no recipe no-such.py" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("override", "sentence"),
    [
        ("~model.backbone.options", "give model.backbone.options=null"),
        ("optimiser.lr=1", "did you mean 'optimizer'"),
        ("model.backbone.spek=x", "did you mean 'spec'"),
        ("{", "KEY=VALUE"),
    ],
)
def test_misspelt_settings_are_told(override, sentence):
    with pytest.raises(UserError, match=sentence):
        run.read("coco.py", [override])


@pytest.mark.skipif(not LAUNCHER.is_file(), reason="an installed detectron2 has no tools; its sources have")
def test_detectron2s_own_launcher_trains_and_evaluates(pages_folder, tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "path", list(sys.path))
    recipe, out = recipe_folder("detectron2") / "quick.py", tmp_path / "run"
    launch([str(LAUNCHER), "--num-gpus", "1", "--config-file", str(recipe), *quick(pages_folder, out)])
    assert (out / "model_final.pth").is_file()
    rows = [json.loads(line) for line in (out / "metrics.json").read_text().splitlines()]
    assert any("total_loss" in row for row in rows) and any("tables/wF1_fixed" in row for row in rows)


def test_a_launcher_that_is_none_is_told_so():
    with pytest.raises(UserError, match="Name a launcher first"):
        launch(["no-such.py"])


def _recipe(pages: Path, out: Path, *more: str) -> str:
    """A recipe of a user's own: the run that was made above, as a file beside a base."""
    base = recipe_folder("detectron2") / "quick.py"
    lines = [
        "from detectron2.config import LazyConfig",
        f"_base = LazyConfig.apply_overrides(LazyConfig.load({str(base)!r}), {quick(pages, out, *more)!r})",
        "model, pages, dataloader = _base.model, _base.pages, _base.dataloader",
        "optimizer, lr_multiplier, train = _base.optimizer, _base.lr_multiplier, _base.train",
    ]
    return "\n".join(lines) + "\n"
