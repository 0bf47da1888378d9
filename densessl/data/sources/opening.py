"""From what the user typed after `data=` to a source."""

from __future__ import annotations

import glob
import itertools
import json
import os
import re
from collections.abc import Sequence
from pathlib import Path

from densessl.config import nearest
from densessl.data.sources import files, pages, shards, splits, tables, videos
from densessl.data.sources.base import Concatenated, Source
from densessl.data.sources.labels import read_labels
from densessl.errors import UserError

_BRACES = re.compile(r"\{([^{}]*)\}")
_RANGE = re.compile(r"(\d+)\.\.(\d+)")
_TABLES = (".parquet", ".arrow")
_COMPRESSED = (".tar.gz", ".tgz", ".tar.zst", ".tar.bz2", ".tar.xz")


def open_source(
    data: str | os.PathLike[str] | Sequence[str],
    split: str | None = None,
    page_side: int | None = None,
    password: str | None = None,
) -> Source:
    """Open images wherever they lie; a list of places gives them one after another.

    data: one of
        a folder, read recursively; hidden files are left out. When every image lies in exactly one level of
            subfolders, these are the classes; in SPLIT/CLASS/ they are the splits and classes of a data set;
            a labels.csv in it, with the columns name and class, labels the images that it names, and no others;
        an image; a PDF, or a TIFF of several pages, every page of which is an image;
        a text file of paths, each relative to the file and with an optional label after a tab;
        a glob, with ** for any depth, or braces such as {a,b} and {000..099};
        WebDataset shards: .tar files, or a folder of them; labels from .cls members;
        .parquet files, or a folder of them, with a column image of bytes or {bytes, path}, and label or labels;
        a Hugging Face data set on disk: of `save_to_disk`, or a folder as on the hub;
        a video file, or a folder of them and nothing else to read: every frame is an image.
    split: a part such as "train". By default train where there is one, else the only one, else all. In a folder of
        images without classes it is a subfolder, and by default all of them are read.
    page_side, password: of PDFs, wherever they lie among images; see `densessl.data.sources.pages`.

    Raises `UserError` when there is nothing to read, or no such split.
    """
    if data is None or (not isinstance(data, (str, os.PathLike)) and not isinstance(data, Sequence)):
        raise UserError(f"data={data!r} is no place of images: give a folder, a file, a glob or a list of them.")
    if isinstance(data, (str, os.PathLike)):
        return _with_pages(_open(os.fspath(data), split), page_side, password)
    if not data:
        raise UserError("The list of places in data is empty: give a folder, a file or a glob.")
    return _joined([os.fspath(place) for place in data], split, page_side, password)


def _with_pages(source: Source, page_side: int | None, password: str | None) -> Source:
    return pages.with_pages(source, page_side, password) if isinstance(source, files.Files) else source


def _joined(places: Sequence[str], split: str | None, page_side: int | None, password: str | None) -> Source:
    """The places one after another; files that follow on each other, as the shell makes of photos/*, are one source."""
    sources: list[Source] = []
    firsts: list[str] = []
    for kind, group in itertools.groupby(places, lambda place: _kind(place) if os.path.isfile(place) else None):
        group = list(group)
        if kind == "images":
            sources.append(files.from_paths(group))
        elif kind == "videos":
            sources.append(_videos(group))
        else:
            sources += [_open(place, split) for place in group]
        firsts += group[:1] if kind in ("images", "videos") else group
    sources = [_with_pages(source, page_side, password) for source in sources]
    if len(sources) == 1:
        return sources[0]
    return Concatenated(sources, [_prefix(source, place) for source, place in zip(sources, firsts, strict=True)])


def _videos(paths: Sequence[str]) -> videos.Videos:
    """Video files named one by one, below the folder that they share; one that comes again is left out."""
    absolute = list(dict.fromkeys(os.path.abspath(path) for path in paths))
    root = os.path.commonpath([os.path.dirname(path) for path in absolute])
    return videos.Videos(root, [Path(os.path.relpath(path, root)).as_posix() for path in absolute])


def _open(place: str, split: str | None) -> Source:
    path = os.path.expanduser(place)
    if os.path.isdir(path):
        return _open_folder(path, split)
    if os.path.exists(path):
        return _open_files(place, [path], split)
    found = []
    for each in _expand(path):
        hits = sorted(glob.glob(each, recursive=True)) if glob.has_magic(each) else [each]
        found += hits
        if not hits or not os.path.exists(hits[0]):
            raise _no_match(place, each) if glob.has_magic(each) else _nothing(place, each)
    return _open_files(place, found, split)


def _open_files(place: str, paths: Sequence[str], split: str | None) -> Source:
    """What a path, a glob or braces have found: files, and folders that are read like any."""
    if len(paths) == 1 and os.path.isdir(paths[0]):
        return _open_folder(paths[0], split)
    if len(paths) == 1 and _kind(paths[0]) is None:
        _refuse(split, place)
        return files.from_list(paths[0]) if _is_text(paths[0]) else files.from_paths(paths)
    listed = [path for hit in paths for path in (_below(hit) if os.path.isdir(hit) else [hit])]
    kind, chosen = _most(listed)
    if kind is None:
        raise UserError(
            f"There are no images in {place}: no file there has the suffix of an image, such as .jpg, .png or .pdf."
        )
    if kind == "tables":
        root = os.path.dirname(os.path.commonprefix(chosen))
        return _tables(root, [os.path.relpath(path, root or ".") for path in chosen], place, split)
    _refuse(split, place)
    if kind == "videos":
        return _videos(chosen)
    return shards.Shards(chosen) if kind == "shards" else files.from_paths(chosen)


def _open_folder(folder: str, split: str | None) -> Source:
    if os.path.isfile(os.path.join(folder, "dataset_dict.json")) or os.path.isfile(os.path.join(folder, "state.json")):
        return _saved(folder, split)
    names = files.walk(folder)
    kind, chosen = _most(names, folder)
    if kind is None:
        found = (
            f"none of its {len(names)} files has the suffix of one, such as .jpg, .png or .pdf"
            if names
            else "it is empty"
        )
        raise UserError(f"There are no images in the folder {folder}: {found}; give the folder that holds them.")
    if kind == "tables":
        return _tables(folder, chosen, folder, split)
    if kind == "images":
        return _noting_videos(_images(folder, chosen, split), names, folder)
    if kind == "videos":
        _refuse(split, folder)
        return videos.Videos(folder, chosen)
    return shards.Shards([os.path.join(folder, name) for name in _of_split(chosen, split, folder)[1]])


def _noting_videos(source: files.Files, names: Sequence[str], folder: str) -> files.Files:
    left = sum(videos.is_video(name) for name in names)
    if left:
        source.notes.append(
            f"{left} {'video' if left == 1 else 'videos'} among the pictures of {folder} "
            f"{'is' if left == 1 else 'are'} left out: name them to have their frames too."
        )
    return source


def _images(folder: str, names: Sequence[str], split: str | None) -> Source:
    """Images of a folder, or of the subfolder that is the split."""
    tops = {name.split("/")[0] for name in names if "/" in name}
    depths = {name.count("/") for name in names}
    by_split = depths == {2} and all(splits.is_split(top) for top in tops)
    if split is None and not by_split:
        return files.from_names(folder, names)
    chosen = splits.choose(tops, split, folder)
    if len(chosen) > 1:
        return files.from_names(folder, names, depth=2)
    below = [name[len(chosen[0]) + 1 :] for name in names if name.startswith(f"{chosen[0]}/")]
    root, table = os.path.join(folder, chosen[0]), read_labels(folder, names)
    if table.words is not None:
        return files.from_labels(root, below, folder, table)
    source = files.from_names(root, below)
    source.notes += table.notes
    return source


def _saved(folder: str, split: str | None) -> Source:
    """A data set of `save_to_disk`: one, or a folder of them by split."""
    listing = os.path.join(folder, "dataset_dict.json")
    if os.path.isfile(listing):
        known = _json(listing)["splits"]
        chosen = splits.choose(known, split, folder)
        parts = [_saved_split(os.path.join(folder, name), name) for name in chosen]
        return parts[0] if len(parts) == 1 else Concatenated(parts, chosen)
    name = _json(os.path.join(folder, "state.json")).get("_split")
    splits.choose([name] if name else [], split, folder)
    return _saved_split(folder, name)


def _saved_split(folder: str, name: str | None) -> Source:
    # Other .arrow files lie there too: what `map` has cached.
    parts = _json(os.path.join(folder, "state.json"))["_data_files"]
    return tables.Tables([os.path.join(folder, part["filename"]) for part in parts], name)


def _tables(root: str, names: Sequence[str], place: str, split: str | None) -> Source:
    grouped, _ = _of_split(names, split, place)
    parts = [tables.Tables([os.path.join(root, each) for each in group], name) for name, group in grouped.items()]
    return parts[0] if len(parts) == 1 else Concatenated(parts, [name or "rest" for name in grouped])


def _of_split(names: Sequence[str], split: str | None, place: str) -> tuple[dict[str | None, list[str]], list[str]]:
    """The files of the split that is meant, by split and in a row; None holds those whose names speak of none."""
    grouped: dict[str | None, list[str]] = {}
    for name in names:
        grouped.setdefault(splits.split_of(os.path.splitext(name)[0]), []).append(name)
    chosen = splits.choose([name for name in grouped if name], split, place)
    if split is not None or (chosen and splits.is_train(chosen[0])):
        grouped = {name: grouped[name] for name in chosen}
    return grouped, [name for group in grouped.values() for name in group]


def _kind(path: str) -> str | None:
    suffix = os.path.splitext(path)[1].lower()
    if suffix in _TABLES:
        return None if os.path.basename(path).startswith("cache-") and suffix == ".arrow" else "tables"
    if suffix == ".tar" or path.lower().endswith(_COMPRESSED):
        return "shards"
    if videos.is_video(path):
        return "videos"
    return "images" if files.is_image(path) or pages.is_pdf(path) else None


def _most(paths: Sequence[str], root: str = "") -> tuple[str | None, list[str]]:
    """The kind of source that these files are, and those of that kind; of several kinds the one of most bytes.

    A data set from the hub may have a picture of itself beside its tables, and photographs may have a table. Videos
    count only by themselves, for a single one outweighs the photographs that it lies among.
    """
    kinds: dict[str, list[str]] = {}
    for path in paths:
        kind = _kind(path)
        if kind is not None:
            kinds.setdefault(kind, []).append(path)
    if len(kinds) > 1:
        kinds.pop("videos", None)
    if len(kinds) > 1:
        sizes = {kind: sum(_size(os.path.join(root, path)) for path in group) for kind, group in kinds.items()}
        kinds = {kind: kinds[kind] for kind in [max(sizes, key=sizes.get)]}
    return next(iter(kinds.items()), (None, []))


def _below(folder: str) -> list[str]:
    return [os.path.join(folder, name) for name in files.walk(folder)]


def _size(path: str) -> int:
    try:
        return os.path.getsize(path)
    except OSError:
        return 0


def _is_text(path: str) -> bool:
    """Whether a file of no known suffix is a list of paths; the contents of an image have zero bytes."""
    try:
        with open(path, "rb") as file:
            return b"\0" not in file.read(4096)
    except OSError as error:
        raise UserError(f"{path} cannot be read: {(error.strerror or str(error)).lower()}.") from None


def _json(path: str) -> dict:
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        raise UserError(f"{path} cannot be read, so the data set beside it cannot be opened; save it anew.") from None


def _refuse(split: str | None, place: str) -> None:
    if split is not None:
        splits.choose([], split, place)


def _expand(pattern: str) -> list[str]:
    """Braces as the shell expands them: {a,b} and {000..099}."""
    found = _BRACES.search(pattern)
    if found is None:
        return [pattern]
    numbers = _RANGE.fullmatch(found[1])
    if numbers:
        first, last = numbers.groups()
        choices = [f"{number:0{len(first)}}" for number in range(int(first), int(last) + 1)]
    else:
        choices = found[1].split(",")
    return [each for choice in choices for each in _expand(pattern[: found.start()] + choice + pattern[found.end() :])]


def _nothing(place: str, missing: str) -> UserError:
    """There is no such file; with the name beside it that is nearest."""
    path = Path(missing)
    while not path.parent.is_dir() and path.parent != path:
        path = path.parent
    beside = [name for name in os.listdir(path.parent) if not name.startswith(".")]
    of = "" if missing == os.path.expanduser(place) else f", of {place}"
    hint = nearest(path.name, beside) if beside else "."
    return UserError(f"There is no file or folder {missing!r}{of}{'; check the path.' if hint == '.' else hint}")


def _no_match(place: str, pattern: str) -> UserError:
    folder = pattern
    while glob.has_magic(folder):
        folder = os.path.dirname(folder)
    if folder and not os.path.isdir(folder):
        return _nothing(place, folder)
    return UserError(f"No file matches {place}: check the pattern, and that the shell did not change it.")


def _prefix(source: Source, place: str) -> str:
    """What tells the images of one place from those of another: the name of the folder or the file."""
    root = source.root if isinstance(source, (files.Files, pages.Pages)) else os.path.splitext(place)[0]
    return os.path.basename(os.path.abspath(os.path.expanduser(root)))
