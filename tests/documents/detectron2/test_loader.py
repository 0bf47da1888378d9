"""detectron2 made ready: what is missing is told in a sentence, and nothing else of the package imports it."""

from __future__ import annotations

import ast
import importlib.util
import runpy
import sys
from pathlib import Path

import pytest

import densessl
from densessl import cli
from densessl.errors import UserError


def loader():
    """The module alone, without what importing its package does."""
    path = Path(densessl.__file__).parent / "documents" / "detectron2" / "loader.py"
    return runpy.run_path(str(path))


def test_nothing_else_of_the_package_imports_detectron2():
    root = Path(densessl.__file__).parent
    for path in root.rglob("*.py"):
        if path.parent == root / "documents" / "detectron2" or "configs" in path.parts:
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [each.name for each in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) and not node.level else []
            assert not any(name.split(".")[0] == "detectron2" for name in names), path


@pytest.mark.parametrize(("absent", "sentence"), [("detectron2", "detectron2.git'"), ("yacs", "not yacs")])
def test_what_is_not_installed_is_told_with_the_way_to_install_it(monkeypatch, absent, sentence):
    find = importlib.util.find_spec
    names = {absent: None, "detectron2": find("math"), "yacs": find("math")} | {absent: None}
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: names[name] if name in names else find("math"))
    with pytest.raises(UserError, match=sentence):
        loader()["prepare"]()


@pytest.mark.parametrize("command", [["train", "nope.py"], ["predict", "x", "--out", "y", "--model", "nope.py"]])
def test_a_recipe_that_is_none_is_told_so_before_detectron2_is_asked_for(command, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "densessl.documents.detectron2", None)
    monkeypatch.setattr("sys.argv", ["densessl", "detect", *command])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == 2 and "There is no recipe nope.py" in capsys.readouterr().err


def test_what_asks_for_the_c_part_later_sees_that_it_is_not_there():
    pytest.importorskip("detectron2", reason="detectron2 is not installed; .ci/run brings it")
    if importlib.util.find_spec("detectron2._C") is not None:
        pytest.skip("this copy has its C++ part")
    import detectron2
    from detectron2.evaluation import coco_evaluation
    from detectron2.utils.collect_env import collect_env_info
    from pycocotools.cocoeval import COCOeval

    assert not hasattr(detectron2, "_C") and coco_evaluation.COCOeval_opt is COCOeval
    assert "detectron2" in collect_env_info()
