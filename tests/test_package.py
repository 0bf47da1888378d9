"""What the package says of itself is true: its dependencies, and the licences of what it ships."""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Mapping
from functools import cache
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
from safetensors.torch import load_file

from densessl.describe import describe, markdown
from densessl.documents.detection import load_detector
from densessl.errors import UserError

tomllib = pytest.importorskip("tomllib", reason="Python 3.11 reads pyproject.toml")

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "densessl"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
# torch.utils.tensorboard imports it, and torch does not bring it.
BEHIND_OTHERS = {"tensorboard": "torch.utils.tensorboard"}
SPDX = {"public domain": "LicenseRef-Public-Domain"}


def test_the_readmes_table_of_methods_is_that_of_the_registry():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    shown = text.partition("<!-- densessl methods --markdown -->")[2].partition("<!-- end -->")[0]
    assert shown.strip() == markdown(), "write the output of `densessl methods --markdown` into README.md"


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def distribution(requirement: str) -> str:
    return normal(re.match(r"[A-Za-z0-9._-]+", requirement).group())


def imports() -> dict[str, set[str]]:
    """Module -> files of the package that import it, wherever in them."""
    found: dict[str, set[str]] = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                modules = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and not node.level:
                modules = [node.module]
            else:
                continue
            for module in modules:
                found.setdefault(module, set()).add(str(path.relative_to(ROOT)))
    return found


def foreign() -> dict[str, set[str]]:
    """Top-level name of what others wrote -> files that import it."""
    found: dict[str, set[str]] = {}
    for module, files in imports().items():
        top = module.partition(".")[0]
        if top != "densessl" and top not in sys.stdlib_module_names:
            found.setdefault(top, set()).update(files)
    return found


def providers(top: str) -> set[str]:
    """The distributions that bring a top-level name."""
    return {normal(name) for name in _installed().get(top, ())}


@cache
def _installed() -> Mapping[str, list[str]]:
    return packages_distributions()


def test_every_import_is_declared():
    declared = {distribution(each) for each in (*PROJECT["dependencies"], *PROJECT["optional-dependencies"]["ocr"])}
    missing = {top: sorted(files) for top, files in foreign().items() if not providers(top) & declared}
    # It has no package to declare; `densessl.documents.detectron2` says how to install it where it is not there.
    missing.pop("detectron2")
    assert missing == {}


def test_everything_declared_is_imported():
    brought = set().union(*(providers(top) for top in foreign()))
    brought |= {name for name, module in BEHIND_OTHERS.items() if module in imports()}
    assert {distribution(each) for each in PROJECT["dependencies"]} - brought == set()


def test_every_dependency_has_a_lower_bound():
    extras = [each for names in PROJECT["optional-dependencies"].values() for each in names]
    for requirement in [*PROJECT["dependencies"], *extras]:
        assert ">=" in requirement or distribution(requirement) == "densessl", requirement


def licences() -> dict[str, str]:
    """File of densessl/photographs -> its licence, by LICENSES.md."""
    text = (PACKAGE / "photographs" / "LICENSES.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `([^`]+)` \|.*\| ([^|]+) \|$", text, re.MULTILINE)
    assert len(rows) == len({name for name, _ in rows})
    return {name: re.sub(r"^\[(.+)\]\(.+\)$", r"\1", licence) for name, licence in rows}


def test_every_photograph_has_an_entry_in_the_list_of_licences():
    shipped = {path.name for path in (PACKAGE / "photographs").iterdir()}
    assert shipped - {"LICENSES.md"} == set(licences())


def test_the_licence_expression_names_every_licence_of_what_is_shipped():
    names = {SPDX.get(licence, normal_licence(licence)) for licence in licences().values()}
    assert set(PROJECT["license"].split(" AND ")) == {"Apache-2.0", "LicenseRef-Box-Research", *names}


def test_readme_and_card_say_alike_what_the_box_learned_from_and_that_its_weights_are_for_research():
    readme, card = words(ROOT / "README.md"), words(PACKAGE / "box" / "MODEL_CARD.md")
    for text in (readme.split("**Licence.**")[1], card):
        assert all(each in text for each in ("1,000 photographs", "367 training frames", "CamVid", "for research"))
    assert "LicenseRef-Box-Research" in card


def test_the_weights_of_the_box_are_as_many_as_its_card_and_its_recipe_say():
    weights = load_file(PACKAGE / "box" / "backbone.safetensors")
    count = sum(each.numel() for name, each in weights.items() if "running_" not in name and "num_batches" not in name)
    for path in (PACKAGE / "box" / "MODEL_CARD.md", ROOT / "configs" / "pretrain" / "box.yaml"):
        assert f"{count / 1e6:.1f} million weights" in words(path)


def test_the_card_of_the_detector_in_the_box_tells_of_its_weights():
    detector = load_detector("box")
    count = sum(each.numel() for each in detector.parameters()) / 1e6
    size = (PACKAGE / "box" / "detector.safetensors").stat().st_size / 1e6
    told = words(PACKAGE / "box" / "DETECTOR_CARD.md")
    assert f"{count:.0f} million weights, {size:.0f} MB in half precision" in told
    assert f"a longest side of {detector.image_size} px" in told and ", ".join(detector.classes) in told


def words(path: Path) -> str:
    return " ".join(path.read_text(encoding="utf-8").split())


def normal_licence(name: str) -> str:
    """SPDX's name of a Creative Commons licence: CC-BY-SA-4.0 for "CC BY-SA 4.0"."""
    return name.replace(" ", "-")


def test_the_texts_of_the_licences_are_shipped():
    cards = [f"densessl/{each}" for each in ("photographs/LICENSES.md", "box/MODEL_CARD.md", "box/DETECTOR_CARD.md")]
    assert PROJECT["license-files"] == ["LICENSE", *cards]
    assert all((ROOT / name).is_file() for name in PROJECT["license-files"])


def test_a_recipe_tells_of_its_method_and_a_typo_is_met_with_the_nearest():
    assert describe("moco-v1") == describe("moco")
    with pytest.raises(UserError, match="did you mean 'moco-v1'"):
        describe("mocov1")
