"""What `densessl methods`, and `--settings` of a command, print."""

from __future__ import annotations

import inspect
import re
import sys
import textwrap
from dataclasses import MISSING, fields, is_dataclass

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


def settings(config: type, prefix: str = "", width: int = 100) -> str:
    """All settings of a dataclass and of its sections, with their defaults and what they mean, in lines of `width`.

    The meanings are those of its docstring, where entries begin `name: ` or `name, other: `, and the comments behind
    its fields; a class has what it does not say itself from those it is made from.
    """
    said, lines = _said(config), []
    for each in fields(config):
        default = each.default if each.default_factory is MISSING else each.default_factory()
        if is_dataclass(default):
            lines += ["", _summary(type(default), width), settings(type(default), f"{prefix}{each.name}.", width)]
            continue
        name = f"{prefix}{each.name}" if default in (MISSING, "???") else f"{prefix}{each.name}={_shown(default)}"
        meaning, indent = re.sub(r"\bNone\b", "null", said.get(each.name, "")), " " * 28
        text = textwrap.wrap(meaning, width, initial_indent=indent, subsequent_indent=indent)
        if text and len(name) <= 24:
            text[0] = f"  {name:26}{text[0][28:]}"
        else:
            text = [f"  {name}", *text]
        lines += text
    return "\n".join(lines)


def _summary(config: type, width: int) -> str:
    text = (inspect.getdoc(config) or config.__name__).partition("\n\n")[0]
    return textwrap.fill(" ".join(text.split()), width)


def _shown(value: object) -> str:
    if isinstance(value, (list, tuple)):
        return f"[{','.join(map(str, value))}]"
    return {"None": "null", "True": "true", "False": "false"}.get(str(value), str(value))


def _said(config: type) -> dict[str, str]:
    """What a dataclass says of its fields, by their names."""
    found: dict[str, str] = {}
    known = {each.name for each in fields(config)}
    for each in filter(is_dataclass, reversed(config.__mro__)):
        text = " ".join((inspect.getdoc(each) or "").split())
        begins = [
            begin
            for begin in re.finditer(r"(?:^|(?<=[.;] ))((?:\w+, )*\w+): ", text)
            if known.issuperset(begin[1].split(", "))
        ]
        ends = [*(begin.start() for begin in begins[1:]), len(text)]
        for begin, end in zip(begins, ends, strict=False):
            found |= dict.fromkeys(begin[1].split(", "), text[begin.end() : end].strip())
        comments = meanings(each)
        found |= {key: f"{found[key]} ({comments[key]})" if key in found else comments[key] for key in comments}
    return found


def _recipes_by_method() -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for name in recipes("pretrain"):
        found.setdefault(str(read_yaml(name, "pretrain").get("method")), []).append(name)
    return found
