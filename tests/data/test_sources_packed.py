"""Shards, tables and Hugging Face data sets on disk: the same images as went in, in any order and any process."""

from __future__ import annotations

import io
import os
import pickle
import tarfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image
from torch.utils.data import DataLoader

from densessl.data.images import UnreadableImage
from densessl.data.sources import open_source, tables
from densessl.errors import UserError

CIFAR = Path(__file__).parents[2].parent / "shared" / "data" / "cifar10"


def png(value: int) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (3, 2), (value,) * 3).save(file, "PNG")
    return file.getvalue()


def values(source) -> list[int]:
    return [int(source.read(index)[0, 0, 0]) for index in range(len(source))]


def labels(source) -> list[int | None]:
    return [source.label(index) for index in range(len(source))]


def names(source) -> list[str]:
    return [source.name(index) for index in range(len(source))]


def write_tar(path: Path, members: dict[str, bytes], mode: str = "w") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, mode) as tar:
        for name, data in members.items():
            about = tarfile.TarInfo(name)
            about.size = len(data)
            tar.addfile(about, io.BytesIO(data))
    return path


def write_parquet(path: Path, numbers, rows: int = 4, metadata: dict | None = None, **columns) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    images = [{"bytes": png(number), "path": None} for number in numbers]
    type_ = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    table = pa.table({"image": pa.array(images, type_)} | columns)
    pq.write_table(table.replace_schema_metadata(metadata), path, row_group_size=rows)
    return path


class Values:
    """A data set of what a source reads, for a DataLoader."""

    def __init__(self, source) -> None:
        self.source = source

    def __len__(self) -> int:
        return len(self.source)

    def __getitem__(self, index: int) -> int:
        return int(self.source.read(index)[0, 0, 0])


def check_workers(source, wanted: list[int], context: str = "fork") -> None:
    """The source reads the same pickled, and in workers, after it was read here."""
    assert values(pickle.loads(pickle.dumps(source))) == wanted
    loader = DataLoader(Values(source), batch_size=None, num_workers=2, multiprocessing_context=context)
    assert [int(value) for value in loader] == wanted


def test_workers_that_are_spawned_read_the_same(tmp_path, saved):
    shard = write_tar(tmp_path / "a.tar", {"1.png": png(1), "2.png": png(2)})
    table = write_parquet(tmp_path / "b.parquet", [3, 4])
    source = open_source([shard, table, saved / "one"])
    assert len(set(names(source))) == 5
    check_workers(source, [1, 2, 3, 4, 5], "spawn")


def test_shards_by_braces_with_classes(tmp_path):
    for shard in range(3):
        members = {
            f"{key}.{kind}": data for key in "ab" for kind, data in (("png", png(shard)), ("cls", b"%d" % shard))
        }
        write_tar(tmp_path / f"shard-{shard:03}.tar", members | {"__meta__.json": b"{}"})
    source = open_source(f"{tmp_path}/shard-{{000..002}}.tar")
    assert names(source) == [f"shard-{shard:03}/{key}.png" for shard in range(3) for key in "ab"]
    assert values(source) == labels(source) == [0, 0, 1, 1, 2, 2]
    assert names(open_source(tmp_path)) == names(source) and names(open_source(f"{tmp_path}/*.tar")) == names(source)
    check_workers(source, [0, 0, 1, 1, 2, 2])
    with pytest.raises(UserError, match="no file or folder .*shard-003.tar.*did you mean"):
        open_source(f"{tmp_path}/shard-{{000..009}}.tar")


def test_one_tar_of_folders_without_classes(tmp_path):
    members = {"./x/1.jpg.png": png(1), "x/2.png": png(2), "/../../evil.png": png(3), "x/readme.txt": b"no image"}
    source = open_source(write_tar(tmp_path / "all.tar", members))
    assert names(source) == ["x/1.jpg.png", "x/2.png", "evil.png"] and values(source) == [1, 2, 3]
    assert labels(source) == [None] * 3 and source.classes is None


def test_a_tar_changed_under_our_hands_is_unreadable(tmp_path):
    path = write_tar(tmp_path / "a.tar", {"1.png": png(1)})
    source = open_source(path)
    os.truncate(path, 540)
    with pytest.raises(UnreadableImage, match="truncated"):
        source.read(0)


def test_bad_shards_are_sentences(tmp_path):
    cut = write_tar(tmp_path / "cut.tar", {"1.png": png(1), "2.png": os.urandom(9000)})
    os.truncate(cut, 5000)
    (tmp_path / "text.tar").write_text("this is text " * 100)
    write_tar(tmp_path / "none.tar", {"1.txt": b"text"})
    write_tar(tmp_path / "small.tar.gz", {"1.png": png(1)}, "w:gz")
    os.link(tmp_path / "small.tar.gz", tmp_path / "renamed.tar")
    wanted = {"cut": "cut short", "text": "damaged", "none": "no images", "renamed": "compressed.*unpack"}
    for name, words in wanted.items():
        with pytest.raises(UserError, match=words):
            open_source(tmp_path / f"{name}.tar")
    with pytest.raises(UserError, match="compressed.*unpack"):
        open_source(tmp_path / "small.tar.gz")


@pytest.mark.parametrize("held", [tables.HELD, 0])
def test_parquet_is_read_in_any_order_whether_or_not_it_is_held(tmp_path, monkeypatch, held):
    monkeypatch.setattr(tables, "HELD", held)
    monkeypatch.setattr(tables, "CACHED", 300)
    path = write_parquet(tmp_path / "data.parquet", range(11), label=list(range(11)))
    source = open_source(path)
    order = np.random.default_rng(0).permutation(11)
    assert [source.read(index)[0, 0, 0] for index in order] == order.tolist()
    assert labels(source) == list(range(11)) and names(source)[10] == "000010.png"
    assert held or len(source._chunks) <= 2
    check_workers(source, list(range(11)))
    assert len(pickle.dumps(source)) < 2000


def test_columns_of_plain_bytes_and_of_words(tmp_path):
    table = pa.table({"blob": [png(1), png(2), None], "labels": ["dog", None, "cat"]})
    pq.write_table(table, tmp_path / "a.parquet")
    source = open_source(tmp_path / "a.parquet")
    assert source.classes == ["cat", "dog"] and labels(source) == [1, None, 0]
    assert source.read(1)[0, 0, 0] == 2
    with pytest.raises(UnreadableImage, match="empty"):
        source.read(2)


def test_a_row_may_name_a_file(tmp_path):
    (tmp_path / "1.png").write_bytes(png(5))
    type_ = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    rows = [{"bytes": None, "path": "1.png"}, {"bytes": None, "path": "gone.png"}]
    pq.write_table(pa.table({"image": pa.array(rows, type_)}), tmp_path / "a.parquet")
    source = open_source(tmp_path / "a.parquet")
    assert source.read(0)[0, 0, 0] == 5
    with pytest.raises(UnreadableImage, match="no such file"):
        source.read(1)


def test_a_folder_as_on_the_hub(tmp_path):
    write_parquet(tmp_path / "data" / "train-00000-of-00002.parquet", [0, 1])
    write_parquet(tmp_path / "data" / "train-00001-of-00002.parquet", [2])
    write_parquet(tmp_path / "data" / "test-00000-of-00001.parquet", [3])
    (tmp_path / "logo.png").write_bytes(png(9))
    source = open_source(tmp_path)
    assert values(source) == [0, 1, 2] and names(source) == [f"train/00000{index}.png" for index in range(3)]
    assert values(open_source(tmp_path, "test")) == [3]
    assert values(open_source(f"{tmp_path}/data/*.parquet", "test")) == [3]
    with pytest.raises(UserError, match="no split 'validation'.*test, train"):
        open_source(tmp_path, "validation")


def test_without_train_the_only_split_or_all_are_read(tmp_path):
    write_parquet(tmp_path / "a" / "validation.parquet", [1])
    assert values(open_source(tmp_path / "a")) == [1]
    write_parquet(tmp_path / "a" / "test.parquet", [2])
    assert sorted(names(open_source(tmp_path / "a"))) == ["test/000000.png", "validation/000000.png"]
    assert values(open_source(write_parquet(tmp_path / "b" / "0.parquet", [3]).parent)) == [3]


def test_bad_tables_are_sentences(tmp_path):
    (tmp_path / "text.parquet").write_text("this is text")
    (tmp_path / "text.arrow").write_text("this is text")
    pq.write_table(pa.table({"image": ["a.jpg"], "x": [1]}), tmp_path / "none.parquet")
    whole = write_parquet(tmp_path / "whole.parquet", range(5)).read_bytes()
    (tmp_path / "cut.parquet").write_bytes(whole[:200])
    for name, words in {
        "text.parquet": "no Parquet file",
        "text.arrow": "no Arrow file",
        "none.parquet": "no column of images.*image, x",
        "cut.parquet": "damaged or cut short",
    }.items():
        with pytest.raises(UserError, match=words) as error:
            open_source(tmp_path / name)
        assert "\n" not in str(error.value)


@pytest.fixture(scope="module")
def saved(tmp_path_factory) -> Path:
    """A `DatasetDict` that `datasets` has written."""
    datasets = pytest.importorskip("datasets")
    root = tmp_path_factory.mktemp("saved")
    features = datasets.Features({"image": datasets.Image(), "label": datasets.ClassLabel(names=["cat", "dog"])})

    def part(numbers) -> object:
        rows = {
            "image": [{"bytes": png(each), "path": None} for each in numbers],
            "label": [each % 2 for each in numbers],
        }
        return datasets.Dataset.from_dict(rows, features=features)

    both = datasets.DatasetDict({"train": part(range(7)), "test": part([20, 21])})
    both.save_to_disk(str(root / "both"), num_shards={"train": 2, "test": 1})
    part([5]).save_to_disk(str(root / "one"))
    both["test"].to_parquet(str(root / "hub" / "test-00000-of-00001.parquet"))
    return root


def test_a_data_set_of_save_to_disk(saved):
    source = open_source(saved / "both")
    assert values(source) == list(range(7)) and labels(source) == [0, 1, 0, 1, 0, 1, 0]
    assert source.classes == ["cat", "dog"] and names(source)[6] == "train/000006.png"
    assert values(open_source(saved / "both", "test")) == [20, 21]
    assert values(open_source(saved / "one")) == [5]
    check_workers(source, list(range(7)))
    with pytest.raises(UserError, match="no split 'tset'; did you mean 'test'.*test, train"):
        open_source(saved / "both", "tset")


def test_what_map_has_cached_beside_it_is_left_out(saved):
    part = saved / "both" / "test"
    (part / "cache-0123456789abcdef.arrow").write_bytes((part / "data-00000-of-00001.arrow").read_bytes())
    assert values(open_source(saved / "both", "test")) == [20, 21]


def test_the_class_names_that_datasets_keeps_in_parquet(saved):
    source = open_source(saved / "hub")
    assert source.classes == ["cat", "dog"] and labels(source) == [0, 1] and values(source) == [20, 21]


@pytest.mark.skipif(not CIFAR.is_dir(), reason="needs ../shared/data/cifar10")
def test_cifar_is_unpacked_once_and_then_read_from_memory_in_any_order(monkeypatch):
    unpacked = counted(monkeypatch)
    source = open_source(CIFAR)
    assert len(source) == 50_000 and source.classes[3] == "cat" and source.read(49_999).shape == (32, 32, 3)
    assert len(unpacked) == len(set(unpacked)) == sum(pq.ParquetFile(path).num_row_groups for path in source.paths)
    for index in np.random.default_rng(0).integers(0, len(source), 500):
        source.read(index)
    assert len(unpacked) == len(set(unpacked))
    assert len(pickle.dumps(source)) < 1e6
    assert len(open_source(CIFAR, "test")) == 10_000


def test_of_a_large_data_set_a_row_group_is_unpacked_when_it_is_asked_for_and_kept_for_a_while(tmp_path, monkeypatch):
    path = write_parquet(tmp_path / "large.parquet", range(20), rows=5)
    monkeypatch.setattr(tables, "HELD", 0)
    unpacked = counted(monkeypatch)
    source = open_source(path)
    # Room for the images of two row groups of the four.
    monkeypatch.setattr(tables, "CACHED", int(2.5 * source._chunk(0, 0).nbytes))
    unpacked.clear()
    source._forget()
    read = [int(source.read(index)[0, 0, 0]) for index in (0, 4, 7, 1, 5, 12, 10, 8, 19, 0)]
    assert read == [0, 4, 7, 1, 5, 12, 10, 8, 19, 0]
    # 12 takes the place of group 0, which was used before 1; 19 that of group 2, since 8 used 1 again.
    assert [group for _, group in unpacked] == [0, 1, 2, 3, 0]


def counted(monkeypatch) -> list[tuple[str, int]]:
    """Notes (file, row group) of everything that is unpacked from now on."""
    unpacked: list[tuple[str, int]] = []
    original = pq.ParquetFile

    class Counted(original):
        def __init__(self, path, **options) -> None:
            super().__init__(path, **options)
            self.path = str(path)

        def read_row_group(self, group, **options):
            unpacked.append((self.path, group))
            return super().read_row_group(group, **options)

    monkeypatch.setattr(tables.pq, "ParquetFile", Counted)
    return unpacked
