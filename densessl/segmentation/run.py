"""`densessl segment`: from pictures to masks, by way of a backbone's features, without a label."""

from __future__ import annotations

import dataclasses
import functools
import time
from functools import partial
from pathlib import Path

from omegaconf import OmegaConf
from torch import nn

from densessl.config import merge, read_yaml, save
from densessl.data.sources import Source, Unreadable, open_source
from densessl.data.sources.places import absolute, check_apart
from densessl.errors import UserError
from densessl.files import claimed, remove_leftovers
from densessl.progress import Progress, Report, Say, tell
from densessl.segmentation.checks import check, device_of
from densessl.segmentation.config import SegmentConfig, counted
from densessl.segmentation.features.cache import Cache
from densessl.segmentation.features.colour import ColourBackbone
from densessl.segmentation.features.extractor import Extractor
from densessl.segmentation.features.kept import Blocks, Features, features_key
from densessl.segmentation.features.layers import chosen
from densessl.segmentation.features.tiles import tile_frame
from densessl.segmentation.films.items import Items, count_frames
from densessl.segmentation.films.masks import FilmMasks
from densessl.segmentation.finding import Finding, learned_from, read_doubt
from densessl.segmentation.finish import finish
from densessl.segmentation.masks import MaskRun, unreadable_before
from densessl.segmentation.model import Saved, Segmenter, save_model
from densessl.segmentation.outputs.aside import turn_names
from densessl.segmentation.outputs.names import Classes, read_names
from densessl.segmentation.outputs.writer import MaskWriter
from densessl.segmentation.reader import Reader
from densessl.segmentation.resume import MAKING, MODEL, Before, State, look, making, model_hash, unheeded, untrained
from densessl.segmentation.stego.diagnosis import read_verdict
from densessl.segmentation.stopping import Stop, terminable
from densessl.segmentation.summary import KNOWN, Summary


def segment(config: SegmentConfig, progress: Report | None = None, say: Say = tell) -> Summary:
    """Find segments in the pictures (unless `config.model` is given) and write masks for all of them.

    Called again alike, it goes on where it was stopped: a model that was learned is not learned again, and a mask that
    is there is not written again, even if the picture was changed since. Called again with other `classes`, it finds
    the segments anew in what is kept of the run before, and writes all masks anew; so it does, from the same model,
    with another `refine` and its like (`densessl.segmentation.resume.MAKING`). Without a backbone the one in the box is
    used. say: gets what the user should know before it happens. Raises `UserError` for what the user can mend,
    `RunStopped` when a signal ended the run.
    """
    begun = time.monotonic()
    config = counted(config)
    check(config)
    progress = progress or Progress()
    source = open_source(config.data, config.split, config.page_side)
    if len(source) < 1:
        raise UserError(f"There are no pictures in {config.data}.")
    config, folder = _placed(config), Path(config.out).expanduser()
    check_apart(config.data, folder)
    with claimed(folder):
        return _segment(config, folder, source, progress, say, begun)


def _segment(config: SegmentConfig, folder: Path, source: Source, progress: Report, say: Say, begun: float) -> Summary:
    before = look(config, folder)
    _check_names(config, folder, before)
    load, store = functools.cache(partial(extractor_of, config, before.saved)), _store(config, say)
    if before.model is None or before.state is None:
        load()  # what is wrong with it is said before anything is written
    state, previously = _begin(config, folder, before), unreadable_before(folder)
    with terminable("SIGTERM ended the run while it counted frames; the same command begins anew."):
        items = Items(source, config.every, count_frames(source, state.lengths, progress))
    unreadable = Unreadable(items.broken)
    key = functools.cache(lambda: features_key(load()[0], items))
    found, model, saved, features = None, before.model, before.saved, Features()
    if config.model is not None and (idle := unheeded(config, saved)):
        say(f"The segments are those that {config.model} has learned, with its own settings: {idle} changes nothing.")
    if idle := untrained(config):
        say(f"method={config.method} trains no head, so that {idle} changes nothing: give --method stego for one.")
    if model is None:
        with terminable("SIGTERM ended the run before it had learned its segments; the same command begins anew."):
            finding = Finding(items, *load(), config, folder, store, key(), before.former, unreadable, progress, say)
            found = finding()
        model, saved, features = found.model, found.saved, found.features
        if before.anew:
            save(config, folder / "config.yaml")  # not before there are such segments
            say(_anew(config, folder, state.segments))
    writer, made = (
        _settle(config, folder, state, model, saved, found is not None, say),
        making(config, bool(items.films)),
    )
    if not before.anew and (changed := state.changed(made)):
        say(f"{folder} holds masks made otherwise ({'; '.join(changed)}): all are written anew from the same model.")
    state.follow(writer, model_hash(model, saved), items.files, made)

    def reader() -> Reader:
        extractor = load()[0]
        if extractor.tiled:  # maps that no cache has room for, and features of squares
            return Reader(items, extractor, Features(), workers=config.workers)
        blocks = [] if store is None else _blocks(store, key(), items, config)
        return Reader(items, extractor, features, blocks, config.workers, writing=config.model is None)

    with Stop().listening() as stop:
        wanted = dataclasses.replace(config, coco=config.coco or state.coco)
        run = MaskRun(items, writer, wanted, unreadable, progress, stop, saved.spectral)
        there = len(run.done())
        run.show()
        run.write(reader, model, previously)
        for film in items.films:
            FilmMasks(run, film)(lambda: load()[0], model)
        tally, pictures = finish(run)
    classes = writer.classes
    return Summary(
        folder=folder,
        backbone=KNOWN.get(saved.backbone, saved.backbone),
        method=config.method,
        pictures=pictures,
        before=there,
        unreadable=len(items) - pictures,
        masks="classes" if classes.given else "labels",
        names=classes.class_names if classes.given else [str(index) for index in range(model.classes)],
        shares=tally.class_shares.tolist(),
        segments=model.classes,
        chosen=config.model is None and config.classes == "auto",
        learned=found is not None,
        head=found.head if found else None,
        finding=found.seconds if found else 0.0,
        seconds=time.monotonic() - begun,
        cache=store,
        verdict=read_verdict(folder) if config.model is None else "",
        notes=tuple(items.notes),
        sheets=config.sheets if config.crops else 0,
        doubt=read_doubt(folder) if config.classes == "auto" else "",
    )


def _store(config: SegmentConfig, say: Say) -> Cache | None:
    store = Cache.of(config.cache, config.cache_size)
    if store is not None:
        store.say = say
        store.clean()
    return store


def _placed(config: SegmentConfig) -> SegmentConfig:
    """With paths that stay right when the saved config is run from another folder."""
    paths = {
        key: str(absolute(value))
        for key in ("model", "backbone", "names", "cache")
        if (value := getattr(config, key)) not in (None, "auto", "none", *KNOWN) and Path(value).expanduser().exists()
    }
    if paths.get("names") == str(absolute(Path(config.out, "names.txt"))):
        paths["names"] = None  # those of the folder, which are taken without being asked for
    return dataclasses.replace(config, data=absolute(config.data), **paths)


def _check_names(config: SegmentConfig, folder: Path, before: Before) -> None:
    """Say what is wrong with the names before anything is learned, where it is known already."""
    segments = config.classes if before.model is None else before.model.classes
    if segments != "auto" and not (before.anew and config.names is None):
        _names(config, folder, segments, before.saved)


def _names(config: SegmentConfig, folder: Path, segments: int, saved: Saved | None) -> Classes:
    """What the segments are called: by the user, or by the labels that taught them."""
    own = folder / "names.txt"
    if config.names is not None or own.exists():
        return read_names(config.names or own, segments)
    return Classes.named(saved.names) if saved and saved.names else Classes.unnamed(segments)


def _begin(config: SegmentConfig, folder: Path, before: Before) -> State:
    """Make the folder ready.

    `config.yaml` is that of the command which learned the model, where one did, with the settings of the latest one for
    what masks are made with; what those that lie there were made with is written before. Where other segments are
    to be found it is left until they are.
    """
    remove_leftovers(folder)
    state = before.state or State()
    state.write(folder)
    if before.anew:
        return state
    if state.model is not None and config.model is not None:
        latest = OmegaConf.structured(config)
        config = merge(
            SegmentConfig, read_yaml(folder / "config.yaml", "segment"), OmegaConf.masked_copy(latest, MAKING)
        )
    save(config, folder / "config.yaml")
    return state


def _anew(config: SegmentConfig, folder: Path, segments: int) -> str:
    wanted = "as many as fit best" if config.classes == "auto" else config.classes
    return (
        f"{folder} holds masks of {segments} segments; {wanted} are found anew in what is kept of the run before, and "
        "all masks are written anew."
    )


def _settle(
    config: SegmentConfig, folder: Path, state: State, model: Segmenter, saved: Saved, found: bool, say: Say
) -> MaskWriter:
    """Have the folder hold this model, and names of no other's segments."""
    current = model_hash(model, saved)
    if config.model is None:
        turn_names(folder, state, current, say)
    if found or state.model != current or not (folder / MODEL).exists():
        save_model(folder / MODEL, model, saved)
    return MaskWriter(folder, _names(config, folder, model.classes, saved), config.probabilities)


def _blocks(store: Cache, key: str, source: Items, config: SegmentConfig) -> list[Blocks]:
    """Where the cache has features: of the pictures and frames that are learned from, and of the other pictures."""
    learned = learned_from(source, config)
    others = sorted(set(range(source.pictures)) - set(learned))
    return [Blocks(store, key, part) for part in (learned, others) if part]


def extractor_of(config: SegmentConfig, saved: Saved | None = None) -> tuple[Extractor, str]:
    """The frozen backbone and the spec by which a later run finds it. With a model it must be the model's own."""
    spec = config.backbone or (saved.backbone if saved else "box")
    try:
        # As the model's run loaded it: positions and stems depend on the size that was asked for.
        tile = config.tile or (saved.tile if saved else None)
        asked = tile or config.image_size or (saved.config.get("image_size") if saved else None)
        backbone = _backbone(spec, asked, saved.positions if saved else config.positions)
    except UserError as error:
        if saved is None and config.tile is not None:
            # A backbone is loaded for tiles as for pictures of their size, and what is wrong is said of image_size.
            tile_frame(config.tile, config.image_size, *_sides(spec, config.positions))
        if saved is None or config.backbone:
            raise
        raise UserError(
            f"{config.model or config.out} was trained on the backbone {spec}, which cannot be loaded: {error} "
            "Say where it is now with --backbone."
        ) from None
    layers = chosen(config.layers if saved is None else saved.layers, backbone, spec)
    facet = config.facet if saved is None else saved.facet
    if facet == "keys":
        _check_keys(backbone, spec)
    image_size = config.image_size or (saved.image_size if saved else None)
    device, window = device_of(config.devices), saved.window if saved else config.window
    extractor = Extractor(backbone, image_size, device, config.precision, layers, facet, tile, window)
    if saved is not None and extractor.weights != saved.weights:
        raise UserError(
            f"{config.model or config.out} was trained on {_own(saved, spec)}. Give that one with --backbone, or learn "
            "anew in another folder, without --model."
        )
    path = Path(spec).expanduser()
    return extractor, str(path.resolve()) if path.exists() and spec not in KNOWN else spec


def _own(saved: Saved, spec: str) -> str:
    """The backbone of a model, told from the one of other weights that was found by `spec`."""
    if saved.backbone == spec:
        return f"the backbone {spec} as it was before its weights were replaced, by a release or by you"
    return f"another backbone than {spec}: its own was {saved.backbone}, with other weights"


def _sides(spec: str, positions: str | None) -> tuple[int, tuple[int, int] | None]:
    """Of a backbone the stride, and the only size that it takes, if it is one of those."""
    backbone = _backbone(spec, None, positions)
    return int(backbone.stride), getattr(backbone, "fixed_size", None)


def _backbone(spec: str, image_size: int | None, positions: str | None) -> nn.Module:
    if spec == "colour":
        return ColourBackbone()
    from densessl.backbones import load_backbone

    return load_backbone(spec, image_size, positions)


def _check_keys(backbone: nn.Module, spec: str) -> None:
    from densessl.backbones.keys import has_keys

    if not has_keys(backbone):
        raise UserError(f"facet=keys, but the backbone {spec} is no plain ViT with keys: give facet=tokens.")
