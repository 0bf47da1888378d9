"""What `densessl methods` prints."""

from __future__ import annotations

import inspect
import sys
from dataclasses import fields, is_dataclass

from densessl.config import read_yaml, recipes
from densessl.data.views import ViewSpec
from densessl.methods.registry import Entry, method, methods


def table() -> str:
    """Every method by year: name, paper, recipes."""
    known = _recipes_by_method()
    rows = [
        f"{entry.name:10} {entry.year}  arXiv:{entry.arxiv}  {entry.title}\n"
        f"{'':10} recipes: {', '.join(known.get(entry.name, ['none']))}"
        for entry in methods().values()
    ]
    return "\n".join([*rows, "", "densessl methods NAME tells all of one."])


def describe(name: str) -> str:
    """One method: what its file says of it, its settings and its recipes."""
    entry = method(name)
    text = inspect.getdoc(sys.modules[entry.cls.__module__]) or entry.title
    settings = "\n".join(f"  {entry.name}.{line}" for line in _settings(entry))
    return f"{text}\n\nSettings:\n{settings}\n\nRecipes: {', '.join(_recipes_by_method().get(name, ['none']))}"


def _settings(entry: Entry) -> list[str]:
    config, lines = entry.config(), []
    for field in fields(config):
        value = getattr(config, field.name)
        lines.append(f"{field.name} = {value}")
        if is_dataclass(value):
            plain = ViewSpec()
            other = [
                f"{f.name}={getattr(value, f.name)}"
                for f in fields(value)
                if getattr(value, f.name) != getattr(plain, f.name)
            ]
            lines[-1] = f"{field.name}: a view; SimCLR's with {', '.join(other) or 'nothing else'}"
    return lines


def _recipes_by_method() -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for name in recipes("pretrain"):
        found.setdefault(str(read_yaml(name, "pretrain").get("method")), []).append(name)
    return found
