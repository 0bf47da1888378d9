"""Images in the rows of .parquet and .arrow files, as the Hugging Face hub and `datasets.save_to_disk` have them.

.arrow files are mapped into memory, so rows are read in any order at no cost. .parquet files have to be unpacked a row
group at a time: up to `HELD` bytes of images are unpacked once, on opening, and shared by forked workers; of a larger
data set each process keeps the row groups it used last, up to `CACHED` bytes. Reading one of those in random order then
costs about a row group per image: 100 rows, a few milliseconds, in files from the hub. Shards and `save_to_disk` have
no such cost.
"""

from __future__ import annotations

import json
import os
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from densessl.data import images
from densessl.data.images import UnreadableImage
from densessl.data.sources.base import Source, checked, digest, state_of
from densessl.errors import UserError

HELD = 1 << 30
CACHED = 1 << 28
IMAGE_COLUMNS = ("image", "img", "images", "picture", "photo")
LABEL_COLUMNS = ("label", "labels")
_SUFFIXES = {b"\xff\xd8": ".jpg", b"RI": ".webp", b"GI": ".gif", b"II": ".tif", b"MM": ".tif", b"BM": ".bmp"}


@dataclass
class _File:
    """What opening a file tells. rows: of each row group or record batch; size: bytes of its images, 0 for mapped."""

    schema: pa.Schema
    rows: list[int]
    size: int


class Tables(Source):
    """The rows of files of one kind and schema, one file after another.

    A name is the number of the row, below the split's name where there is one, with the suffix that the first image
    has. Raises `UserError` for files without a column of images, or damaged ones.
    """

    def __init__(self, paths: Sequence[str | Path], split: str | None = None) -> None:
        self.paths, self.split = [str(path) for path in paths], split
        opened = [_opened(path) for path in self.paths]
        self._column, label = _columns(opened[0].schema, self.paths[0])
        places = [(file, chunk) for file, each in enumerate(opened) for chunk in range(len(each.rows))]
        self._places = np.array(places, np.int64).reshape(-1, 2)
        self._starts = np.cumsum([0, *(rows for each in opened for rows in each.rows)])
        self._all = sum(each.size for each in opened) <= HELD
        self._forget()
        self._labels, self.classes = self._read_labels(label, opened[0].schema)
        if self._all:
            for file in range(len(self.paths)):
                self._load(file)
        self._suffix = self._sniff()

    def __len__(self) -> int:
        return int(self._starts[-1])

    def read_bytes(self, index: int) -> bytes:
        index = checked(index, len(self))
        chunk = int(np.searchsorted(self._starts, index, side="right")) - 1
        file, group = self._places[chunk].tolist()
        value = self._chunk(file, group)[index - int(self._starts[chunk])].as_py()
        if isinstance(value, dict):
            value = self._followed(value, file)
        if not value:
            raise UnreadableImage("it is empty")
        return value

    def name(self, index: int) -> str:
        name = f"{checked(index, len(self)):06}{self._suffix}"
        return f"{self.split}/{name}" if self.split else name

    def label(self, index: int) -> int | None:
        index = checked(index, len(self))
        return int(self._labels[index]) if self._labels is not None and self._labels[index] >= 0 else None

    def fingerprint(self) -> str:
        return digest(part for path in self.paths for part in (os.path.basename(path), state_of(path)))

    def _followed(self, value: dict[str, Any], file: int) -> bytes | None:
        """{bytes, path} -> bytes, from the file that `path` names, relative to the table, where it has none itself."""
        if value.get("bytes") or not value.get("path"):
            return value.get("bytes")
        return images.read_bytes(os.path.join(os.path.dirname(self.paths[file]), value["path"]))

    def _forget(self) -> None:
        self._chunks: OrderedDict[tuple[int, int], pa.Array] = OrderedDict()
        self._used = 0

    def __getstate__(self) -> dict:
        return {key: value for key, value in self.__dict__.items() if key not in ("_chunks", "_used")}

    def __setstate__(self, state: dict) -> None:
        self.__dict__.update(state)
        self._forget()

    def _chunk(self, file: int, group: int) -> pa.Array:
        """The images of one row group or record batch."""
        key = (file, group)
        if key not in self._chunks:
            try:
                self._load(file) if self._all or _is_arrow(self.paths[file]) else self._load_group(file, group)
            except (pa.ArrowException, OSError):
                raise UnreadableImage("its file is damaged or gone") from None
        elif not self._all:
            self._chunks.move_to_end(key)
        return self._chunks[key]

    def _load(self, file: int) -> None:
        path = self.paths[file]
        if _is_arrow(path):
            loaded = [batch.column(self._column) for batch in _batches(path)]
        else:
            with pq.ParquetFile(path, memory_map=True) as parquet:
                groups = range(parquet.num_row_groups)
                loaded = [
                    _one(parquet.read_row_group(group, columns=[self._column], use_threads=False)) for group in groups
                ]
        self._chunks |= {(file, group): array for group, array in enumerate(loaded)}

    def _load_group(self, file: int, group: int) -> None:
        with pq.ParquetFile(self.paths[file], memory_map=True) as parquet:
            array = _one(parquet.read_row_group(group, columns=[self._column], use_threads=False))
        self._chunks[file, group] = array
        self._used += array.nbytes
        while self._used > CACHED and len(self._chunks) > 1:
            self._used -= self._chunks.popitem(last=False)[1].nbytes

    def _read_labels(self, column: str | None, schema: pa.Schema) -> tuple[np.ndarray | None, list[str] | None]:
        if column is None:
            return None, None
        parts = [_column_of(path, column) for path in self.paths]
        values = pa.chunked_array([chunk for part in parts for chunk in part.chunks], type=parts[0].type)
        if pa.types.is_integer(values.type):
            return pc.fill_null(values, -1).to_numpy().astype(np.int64), _class_names(schema, column)
        words = values.to_pylist()
        classes = sorted({word for word in words if word is not None})
        number = {word: index for index, word in enumerate(classes)}
        return np.array([number.get(word, -1) for word in words], np.int64), classes

    def _sniff(self) -> str:
        try:
            return _SUFFIXES.get(self.read_bytes(0)[:2], ".png")
        except (UnreadableImage, IndexError):
            return ".png"


def _is_arrow(path: str) -> bool:
    return path.endswith(".arrow")


def _opened(path: str) -> _File:
    try:
        if _is_arrow(path):
            batches = _batches(path)
            schema = batches[0].schema if batches else pa.ipc.open_stream(pa.memory_map(path)).schema
            return _File(schema, [batch.num_rows for batch in batches], 0)
        with pq.ParquetFile(path, memory_map=True) as parquet:
            groups = [parquet.metadata.row_group(group) for group in range(parquet.num_row_groups)]
            schema = parquet.schema_arrow
            return _File(schema, [group.num_rows for group in groups], sum(group.total_byte_size for group in groups))
    except (pa.ArrowException, OSError) as error:
        kind = "Arrow" if _is_arrow(path) else "Parquet"
        if isinstance(error, PermissionError):
            raise UserError(f"{path} cannot be read: permission denied.") from None
        raise UserError(
            f"{path} is no {kind} file that can be read: it is damaged or cut short; fetch it again."
        ) from None


def _batches(path: str) -> list[pa.RecordBatch]:
    """The record batches of an .arrow file of either format, which stay on the disk until they are read."""
    mapped = pa.memory_map(path)
    if mapped.read(6) == b"ARROW1":
        reader = pa.ipc.open_file(mapped)
        return [reader.get_batch(index) for index in range(reader.num_record_batches)]
    mapped.seek(0)
    return list(pa.ipc.open_stream(mapped))


def _one(table: pa.Table) -> pa.Array:
    column = table.column(0).combine_chunks()
    return column.chunk(0) if isinstance(column, pa.ChunkedArray) else column


def _column_of(path: str, column: str) -> pa.ChunkedArray:
    if _is_arrow(path):
        batches = _batches(path)
        return pa.chunked_array([batch.column(column) for batch in batches])
    return pq.read_table(path, columns=[column], memory_map=True).column(0)


def _columns(schema: pa.Schema, path: str) -> tuple[str, str | None]:
    """The names of the column of images and of the column of labels, if there is one."""
    able = [field.name for field in schema if _holds_images(field.type)]
    preferred = [name for name in IMAGE_COLUMNS if name in able]
    if not able:
        raise UserError(
            f"{path} has no column of images: one named image, of bytes or of {{bytes, path}}, is looked for among its "
            f"columns {', '.join(schema.names)}."
        )
    labels = [name for name in LABEL_COLUMNS if name in schema.names and _holds_labels(schema.field(name).type)]
    return (preferred or able)[0], labels[0] if labels else None


def _holds_images(type_: pa.DataType) -> bool:
    if pa.types.is_struct(type_):
        return type_.get_field_index("bytes") >= 0 and _holds_images(type_.field("bytes").type)
    return pa.types.is_binary(type_) or pa.types.is_large_binary(type_)


def _holds_labels(type_: pa.DataType) -> bool:
    return pa.types.is_integer(type_) or pa.types.is_string(type_) or pa.types.is_large_string(type_)


def _class_names(schema: pa.Schema, column: str) -> list[str] | None:
    """The names that `datasets` keeps in the schema for a column of class numbers."""
    try:
        names = json.loads((schema.metadata or {})[b"huggingface"])["info"]["features"][column]["names"]
        return [str(name) for name in names]
    except (KeyError, TypeError, ValueError):
        return None
