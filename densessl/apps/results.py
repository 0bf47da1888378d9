"""What the API answers with, as types; JSON has these very keys.

Addresses are relative to the application's own, and are found by whoever asked until the result is removed. Places in
pictures are shares (x, y) of their width and height, 0 to 1, from the left upper corner.
"""

from __future__ import annotations

from typing import Any

from typing_extensions import TypedDict  # that of typing is none to pydantic before Python 3.12


class SegmentedPicture(TypedDict):
    """width, height: of the upload, in pixels. mask: address of a PNG of that size, whose values are segments' indices.

    overlay: address of a JPEG of the picture tinted. shares: of its pixels that each segment has, 0 to 1.
    """

    name: str
    width: int
    height: int
    mask: str
    overlay: str
    shares: list[float]


class FoundSegment(TypedDict):
    """index: its value in masks. colour: #rrggbb. share: of the pixels of all pictures, 0 to 1."""

    index: int
    name: str
    colour: str
    share: float


class SegmentResult(TypedDict):
    """Of /segment. coco, zip: addresses. notes: sentences on what could not be read, and on how sure it is."""

    token: str
    pictures: list[SegmentedPicture]
    segments: list[FoundSegment]
    coco: str
    zip: str
    notes: list[str]


class ComparedPicture(TypedDict):
    """width, height: of the upload, in pixels. rows, columns: of the map that covers it.

    cosines: -1 to 1, row by row. best: the place most alike; in the picture of the chosen place that place.
    """

    name: str
    width: int
    height: int
    rows: int
    columns: int
    cosines: list[float]
    best: tuple[float, float]


class CorrespondResult(TypedDict):
    """Of /correspond. GET files/TOKEN/heat?picture=0&x=0.5&y=0.5 answers for other places, with values in base64."""

    token: str
    pictures: list[ComparedPicture]
    backbone: str
    notes: list[str]


class ParseResult(TypedDict):
    """Of /parse. count: pages that the document has. pages: those that were parsed, each as the `page` of
    densessl/documents/parsing/schema.json. files: addresses by name. zip: the address of all of them."""

    token: str
    name: str
    count: int
    pages: list[dict[str, Any]]
    files: dict[str, str]
    zip: str
    notes: list[str]


class ListedBackbone(TypedDict):
    """Of /backbones, which answers with a list. kind: "built-in", "file" or "run"."""

    name: str
    kind: str
    about: str
