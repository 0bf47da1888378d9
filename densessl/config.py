"""YAML recipes and `key=value` overrides, merged and checked by dataclasses.

OmegaConf's structured configs do the work: the dataclass is the schema, so a value of the wrong type or an unknown key
is an error before anything runs.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, ListConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from densessl.errors import UserError
from densessl.files import write_text


def nearest(word: str, known: Iterable[str]) -> str:
    """How a sentence on `word` ends: `'; did you mean ...?'` with the known word nearest to it, or a full stop."""
    match = difflib.get_close_matches(word, list(known), n=1, cutoff=0.6)
    return f"; did you mean {match[0]!r}?" if match else "."


def recipe_folder(kind: str) -> Path:
    """The folder of the shipped recipes of one kind ("pretrain", "segment"), in a checkout or in an installed wheel."""
    installed = Path(str(resources.files("densessl"))) / "configs" / kind
    return installed if installed.is_dir() else installed.parents[2] / "configs" / kind


def recipes(kind: str) -> dict[str, Path]:
    """Every shipped recipe of a kind by its name."""
    return {path.stem: path for path in sorted(recipe_folder(kind).glob("*.yaml"))}


def read_yaml(name: str | Path, kind: str) -> DictConfig:
    """Read a recipe by its shipped name or by a path; `UserError` when there is none or it is not YAML.

    A recipe with the key `base`, the name of a shipped one or a path from its own folder, is laid over that one.
    """
    return _read(name, kind, ())


def _read(name: str | Path, kind: str, above: tuple[Path, ...]) -> DictConfig:
    """above: the recipes that are laid over this one."""
    known = recipes(kind)
    path = Path(name).expanduser()
    if str(name) in known:
        path = known[str(name)]
    elif path.is_dir() and (path / "config.yaml").is_file():
        path = path / "config.yaml"
    elif not path.is_file():
        among = f", neither a file nor one of: {', '.join(known)}" if known else ": give the path of a YAML file"
        raise UserError(f"There is no recipe {str(name)!r}{among}{nearest(str(name), known)}")
    if path.resolve() in above:
        raise UserError(f"{above[-1]} is its own base, by way of base={path}: name another recipe, or none.")
    try:
        loaded = OmegaConf.load(path)
    except (YAMLError, OmegaConfBaseException, UnicodeDecodeError, OSError) as error:
        raise UserError(f"{path} cannot be read as YAML: {_first_line(error)}") from None
    if not isinstance(loaded, DictConfig):
        raise UserError(f"{path} holds no recipe: its top level must be keys with values.")
    base = loaded.pop("base", None)
    if base is None:
        return loaded
    base = base if base in known else path.parent / Path(str(base)).expanduser()
    return OmegaConf.merge(_read(base, kind, (*above, path.resolve())), loaded)


def parse_overrides(overrides: Sequence[str]) -> DictConfig:
    """`["lr=0.1", "dino.momentum=0.99"]` -> a nested config; values are read as YAML."""
    for item in overrides:
        if not re.match(r"^[A-Za-z_][\w.]*=", item):
            meant = f"; did you mean data={item}?" if Path(item).exists() else ", such as lr=0.1 or data=photos."
            raise UserError(f"{item!r} is not of the form key=value{meant}")
    # YAML would read the folder 2024_05 as the number 202405.
    quoted = [re.sub(r"^([^=]+)=(\d+(?:_\d+)+)$", r"\1='\2'", item) for item in overrides]
    try:
        return OmegaConf.from_dotlist(quoted)
    except (YAMLError, OmegaConfBaseException) as error:
        raise UserError(f"The overrides {' '.join(overrides)} cannot be read: {_first_line(error)}") from None


def build(schema: type | DictConfig, *layers: DictConfig, where: str = "the command line") -> Any:
    """Lay `layers` over the defaults of the dataclass `schema`, later ones winning, and return the dataclass.

    A `DictConfig` that was made with `OmegaConf.structured` members may stand for the schema. Raises `UserError` for an
    unknown key (with the nearest known one) and for a value of the wrong type.
    """
    merged = merge(schema, *layers, where=where)
    missing = sorted(OmegaConf.missing_keys(merged))
    if missing:
        raise UserError(f"{', '.join(missing)} must be given, such as {missing[0]}=VALUE.")
    return OmegaConf.to_object(merged)


def merge(schema: type | DictConfig, *layers: DictConfig, where: str = "the command line") -> DictConfig:
    """As `build`, but return the `DictConfig`; what must be given may be missing still."""
    merged = schema if isinstance(schema, DictConfig) else OmegaConf.structured(schema)
    _unfreeze(merged)
    for layer in layers:
        try:
            layer = _listed(layer, merged)
            _begin_sections(merged, layer)
            _check_keys(layer, merged, where)
            merged = OmegaConf.merge(merged, layer)
        except (OmegaConfBaseException, ValueError, TypeError) as error:
            key = getattr(error, "full_key", None) or " or ".join(_leaves(layer))
            raise UserError(f"The value of {key or 'a key'} in {where} is wrong: {_reason(error)}") from None
    return merged


def save(config: DictConfig | Any, path: str | Path) -> None:
    """Write a resolved config as YAML, whole or not at all."""
    if not isinstance(config, DictConfig):
        config = OmegaConf.structured(config)
    write_text(path, OmegaConf.to_yaml(config, resolve=True))


def differences(old: DictConfig, new: DictConfig, free: Sequence[str]) -> list[str]:
    """`["lr: 0.1, now 0.2"]` for each setting that a run cannot change when it goes on: all but the `free`.

    A setting that the old run does not know, since its release had none of that name, counts as its default.
    """
    defaults = OmegaConf.structured(OmegaConf.get_type(new))
    # All through YAML, which has no tuples: omegaconf 2.4 keeps them, and the old one was read from YAML.
    before, after, default = (_flat(OmegaConf.create(OmegaConf.to_yaml(each))) for each in (old, new, defaults))
    before = default | before
    keys = sorted(before.keys() | after.keys())
    return [
        f"{key}: {before.get(key)}, now {after.get(key)}"
        for key in keys
        if key.split(".")[0] not in free and before.get(key) != after.get(key)
    ]


def _leaves(layer: DictConfig, prefix: str = "") -> list[str]:
    """The dotted names of the values in a layer."""
    names = []
    for key in layer:
        node = layer._get_node(key)
        names += _leaves(node, f"{prefix}{key}.") if isinstance(node, DictConfig) else [f"{prefix}{key}"]
    return names


def _unfreeze(config: DictConfig) -> None:
    """Let sections that are frozen dataclasses be merged; OmegaConf makes them read-only."""
    OmegaConf.set_readonly(config, False)
    for key in config:
        section = config._get_node(key)
        if isinstance(section, DictConfig) and not section._is_none() and not section._is_missing():
            _unfreeze(section)


def _begin_sections(config: DictConfig, layer: DictConfig) -> None:
    """Give a section that is None its defaults where the layer sets some of its keys."""
    for key in layer:
        value, section = layer._get_node(key), config._get_node(key, validate_access=False)
        if not isinstance(value, DictConfig) or value._is_none() or not isinstance(section, DictConfig):
            continue
        if section._is_none():
            config[key] = OmegaConf.structured(section._metadata.ref_type)
            _unfreeze(config[key])
        _begin_sections(config[key], value)


def _listed(layer: DictConfig, schema: DictConfig) -> DictConfig:
    """The layer with a list of one word for each word that stands where a list of words is wanted."""
    found = {}
    for key in layer:
        value, node = layer._get_node(key), schema._get_node(key, validate_access=False)
        if isinstance(node, ListConfig) and node._metadata.element_type is str and isinstance(value._value(), str):
            found[key] = [value._value()]
    return OmegaConf.merge(layer, found) if found else layer


def _check_keys(layer: DictConfig, schema: DictConfig, where: str, prefix: str = "") -> None:
    for key in layer:
        full = f"{prefix}{key}"
        node = schema._get_node(key, validate_access=False)
        if node is None:
            if OmegaConf.get_type(schema) is dict:
                continue
            known = [f"{prefix}{name}" for name in schema]
            raise UserError(f"Unknown key {full!r} in {where}{nearest(full, known)} Known here: {', '.join(known)}.")
        value = OmegaConf.select(layer, str(key))
        if isinstance(node, DictConfig) and isinstance(value, DictConfig):
            _check_keys(value, node, where, f"{full}.")
        elif isinstance(node, DictConfig) and value is not None:
            first = next(iter(node), "KEY")
            raise UserError(f"{full} in {where} is a section: set one of its keys, such as {full}.{first}=VALUE.")


def _reason(error: BaseException) -> str:
    """What is wrong with a value, without OmegaConf's names of types."""
    text = _first_line(error)
    if "is not a ListConfig, list or tuple" in text:
        return "it must be a list, such as [0.1, 0.5]."
    union = re.match(r"Value '(.*?)'.* is incompatible with type hint 'Union\[int, str\]'", text)
    if union:
        return f"{union[1]} is neither a whole number nor a word."
    found = re.match(r"Value '(.*)' of type '.*' could not be converted to (\w+)", text)
    kinds = {"Integer": "a whole number", "Float": "a number", "Boolean": "true or false"}
    return f"{found[1]} is not {kinds[found[2]]}." if found and found[2] in kinds else text


def _first_line(error: BaseException) -> str:
    return str(error).strip().splitlines()[0].rstrip(".") + "." if str(error).strip() else type(error).__name__ + "."


def _flat(config: Any, prefix: str = "") -> dict[str, Any]:
    if isinstance(config, DictConfig):
        config = OmegaConf.to_container(config)
    if not isinstance(config, dict):
        return {prefix: config}
    return {
        key: value
        for name, each in config.items()
        for key, value in _flat(each, f"{prefix}.{name}" if prefix else str(name)).items()
    }
