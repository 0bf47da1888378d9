"""What `densessl methods` prints."""

from __future__ import annotations

import inspect
import re
import sys
from dataclasses import fields, is_dataclass

from densessl.config import read_yaml, recipes
from densessl.methods.registry import Entry, method, methods

# What a method cannot do without, as a user calls it.
NEEDS = {"target": "labels", "transformer": "a vision transformer", "tokenizer": "a tokenizer (`dvae`)"}


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
    """One method: what its file says of it, what it needs, its settings and its recipes."""
    entry = method(name)
    text = inspect.getdoc(sys.modules[entry.cls.__module__]) or entry.title
    settings = "\n".join(f"  {entry.name}.{line}" for line in _settings(entry))
    needs = f"Needs: {_needs(entry)}\n\n" if entry.needs else ""
    recipes_of = ", ".join(_recipes_by_method().get(name, ["none"]))
    return f"{text}\n\n{needs}Published: {entry.published}\n\nSettings:\n{settings}\n\nRecipes: {recipes_of}"


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
        lines.append(f"{field.name}: {type(value).__name__} with {', '.join(other) or 'its defaults'}")
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
