"""The images and label maps that belong together, in the folders of a data set."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from densessl.data.sources import files
from densessl.data.sources.files import Files
from densessl.data.sources.layout import stem
from densessl.errors import UserError


def pictures(folder: str) -> Files:
    """The images below a folder; raises `UserError` where there are none."""
    names = [name for name in files.walk(folder) if files.is_image(name)]
    if not names:
        raise UserError(f"There are no images in the folder {folder}: put those of the data set there.")
    return Files(folder, names)


def listed(folder: str, names: Sequence[str]) -> Files:
    """These images of a folder; raises `UserError` where there are none, or one of them is not there."""
    if not names:
        raise UserError(f"The list of images in {folder} is empty: fetch the data set's list anew.")
    missing = sorted(set(names).difference(files.walk(folder)))
    if missing:
        raise UserError(
            f"{len(missing)} of {len(names)} images are missing in {folder}, {missing[0]} for one: fetch the data set "
            "whole."
        )
    return Files(folder, names)


def maps_of(
    source: Files, folder: str, named: Callable[[str], str] = stem, is_map: Callable[[str], bool] = files.is_image
) -> Files:
    """The label map of each image, found by one listing of `folder`; raises `UserError` where one is missing.

    named: from an image's name to that of its map below folder, without suffix. is_map: which files are maps.
    """
    known: dict[str, str] = {}
    for name in files.walk(folder):
        if is_map(name):
            known.setdefault(stem(name), name)
    wanted = [named(source.name(index)) for index in range(len(source))]
    missing = [index for index, each in enumerate(wanted) if each not in known]
    if missing:
        first = missing[0]
        raise UserError(
            f"{len(missing)} of {len(wanted)} images have no label map, {source.name(first)} for one: there is no "
            f"{wanted[first]} with a suffix such as .png in {folder}; fetch the missing maps, or move the images "
            "without one away."
        )
    return Files(folder, [known[each] for each in wanted])
