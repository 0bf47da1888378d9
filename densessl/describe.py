"""What `densessl methods` prints."""

from __future__ import annotations

import inspect
import re
import sys
import textwrap
from dataclasses import fields, is_dataclass

from densessl.config import read_yaml, recipes
from densessl.data.views import ViewSpec
from densessl.methods.registry import Entry, method, methods

# What a method cannot do without, as a user calls it.
NEEDS = {
    "target": "labels",
    "index": "a fixed set of images, each of which it remembers",
    "transformer": "a vision transformer",
    "tokenizer": "a tokenizer (`dvae`)",
}


def table() -> str:
    """Every method by year: paper, what it needs, recipes, published figure."""
    known = _recipes_by_method()
    rows = []
    for entry in methods().values():
        rows.append(f"{entry.name:14}{entry.year}  arXiv:{entry.arxiv}  {entry.title}")
        rows.append(f"{'':14}published: {entry.published}")
        rows.append(f"{'':14}recipes: {', '.join(known.get(entry.name, ['none']))}")
        if entry.needs:
            rows.append(f"{'':14}needs: {_needs(entry)}")
    return "\n".join([*rows, "", "densessl methods NAME tells all of one."])


def markdown() -> str:
    """The same as the table of the README."""
    known = _recipes_by_method()
    rows = ["| method | paper | needs | published | recipes |", "|---|---|---|---|---|"]
    for entry in methods().values():
        names = ", ".join(f"`{name}`" for name in known.get(entry.name, []))
        paper = f"[{entry.title}](https://arxiv.org/abs/{entry.arxiv}), {entry.year}"
        rows.append(f"| `{entry.name}` | {paper} | {_needs(entry)} | {entry.published} | {names} |")
    return "\n".join(rows)


def describe(name: str) -> str:
    """One method, by its name or a recipe's: what its file says of it, what it needs, its settings and its recipes."""
    entry = _entry(name)
    text = inspect.getdoc(sys.modules[entry.cls.__module__]) or entry.title
    chance = inspect.getdoc(entry.cls.chance) or "see its file"
    settings = "\n".join(f"  {entry.name}.{line}" for line in _settings(entry))
    parts = [
        text,
        f"Needs: {_needs(entry)}" if entry.needs else "",
        f"Published: {entry.published}",
        f"Chance level of the loss: {' '.join(chance.split())}",
        f"Settings:\n{settings}",
        f"Settings of a view, such as {_first_view(entry)}.blur=0:\n{_view_settings()}",
        f"Recipes: {', '.join(_recipes_by_method().get(entry.name, ['none']))}",
    ]
    return "\n\n".join(filter(None, parts))


def _entry(name: str) -> Entry:
    known, by_recipe = methods(), {each: owner for owner, some in _recipes_by_method().items() for each in some}
    if name in known or name not in by_recipe:
        return known[name] if name in known else method(name, by_recipe)
    return method(by_recipe[name])


def _first_view(entry: Entry) -> str:
    views = [each.name for each in fields(entry.config) if isinstance(getattr(entry.config(), each.name), ViewSpec)]
    return f"{entry.name}.{views[0]}" if views else "METHOD.view"


def _view_settings() -> str:
    """The defaults of a view, and what its settings mean."""
    defaults = ", ".join(f"{each.name}={getattr(ViewSpec(), each.name)}" for each in fields(ViewSpec))
    meanings_of = (inspect.getdoc(ViewSpec) or "").partition("\n\n")[2].partition("\n\nRaises")[0]
    return "\n".join(f"  {line}".rstrip() for line in [*textwrap.wrap(defaults, 110), "", *meanings_of.splitlines()])


def _needs(entry: Entry) -> str:
    return ", ".join(NEEDS.get(need, need) for need in entry.needs)


def _settings(entry: Entry) -> list[str]:
    """A line per setting: its name, its default, and the comment behind it in the method's file."""
    config, lines, said = entry.config(), [], meanings(entry.config)
    width = max(len(field.name) for field in fields(config))
    for field in fields(config):
        value = getattr(config, field.name)
        if not is_dataclass(value):
            lines.append(f"{f'{field.name:{width}} = {value}':{width + 14}}  {said.get(field.name, '')}".rstrip())
            continue
        plain = type(value)()
        other = [
            f"{each.name}={getattr(value, each.name)}"
            for each in fields(value)
            if getattr(value, each.name) != getattr(plain, each.name)
        ]
        lines.append(f"{field.name}: a view with {', '.join(other) or 'the defaults'}")
    return lines


def meanings(config: type) -> dict[str, str]:
    """The comments behind the fields of a dataclass, by the fields' names."""
    found = re.findall(r"^ {4}(\w+): [^#\n]*# (.+)$", inspect.getsource(config), re.MULTILINE)
    return dict(found)


def _recipes_by_method() -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for name in recipes("pretrain"):
        found.setdefault(str(read_yaml(name, "pretrain").get("method")), []).append(name)
    return found
