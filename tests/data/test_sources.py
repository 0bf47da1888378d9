"""Folders, files, globs and lists: what is read, in which order, with which labels, and what mistakes say."""

from __future__ import annotations

import os
import pickle
from pathlib import Path

import numpy as np
import pytest
from omegaconf import OmegaConf
from PIL import Image

from densessl.data.images import UnreadableImage
from densessl.data.sources import Subset, Unreadable, limited, open_source
from densessl.data.sources.videos import Clips
from densessl.errors import UserError


def paint(path: Path, value: int = 0) -> Path:
    """Write a grey picture; its value tells it from others."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (3, 2), (value,) * 3).save(path, "PNG")
    return path


def fill(root: Path, *names: str) -> Path:
    for value, name in enumerate(names):
        paint(root / name, value)
    return root


def names(source) -> list[str]:
    return [source.name(index) for index in range(len(source))]


def labels(source) -> list[int | None]:
    return [source.label(index) for index in range(len(source))]


def values(source) -> list[int]:
    return [int(source.read(index)[0, 0, 0]) for index in range(len(source))]


def test_a_folder_is_read_recursively_in_sorted_order_without_hidden_files(tmp_path):
    fill(tmp_path, "b.png", "a/z.PNG", "a/y/x.jpeg", ".hidden.png", ".git/c.png", "a/._y.png")
    (tmp_path / "notes.txt").write_text("no image")
    source = open_source(tmp_path)
    assert names(source) == ["a/y/x.jpeg", "a/z.PNG", "b.png"] and values(source) == [2, 1, 0]
    assert labels(source) == [None] * 3 and source.classes is None
    assert source.read(0).shape == (2, 3, 3) and source.read(np.int64(1)).dtype == np.uint8
    with pytest.raises(IndexError):
        source.read(3)


def test_one_level_of_subfolders_gives_the_classes(tmp_path):
    source = open_source(str(fill(tmp_path, "dog/1.png", "cat/2.png", "cat/1.png")))
    assert source.classes == ["cat", "dog"]
    assert names(source) == ["cat/1.png", "cat/2.png", "dog/1.png"] and labels(source) == [0, 0, 1]


@pytest.mark.parametrize("other", ["loose.png", "cat/deep/3.png"])
def test_one_image_elsewhere_and_there_are_no_classes(tmp_path, other):
    source = open_source(fill(tmp_path, "dog/1.png", "cat/2.png", other))
    assert source.classes is None and labels(source) == [None] * 3


def test_parts_of_a_data_set_are_no_classes_and_can_be_chosen(tmp_path):
    fill(tmp_path, "train/1.png", "val/2.png")
    assert names(open_source(tmp_path)) == ["train/1.png", "val/2.png"] and open_source(tmp_path).classes is None
    assert names(open_source(tmp_path, split="val")) == ["2.png"]
    with pytest.raises(UserError, match="no split 'vall'; did you mean 'val'.*train, val"):
        open_source(tmp_path, split="vall")


def test_classes_within_splits_are_a_data_set_whose_default_is_train(tmp_path):
    fill(tmp_path, "train/cat/1.png", "train/dog/2.png", "test/cat/3.png")
    source = open_source(tmp_path)
    assert names(source) == ["cat/1.png", "dog/2.png"] and source.classes == ["cat", "dog"]
    assert values(open_source(tmp_path, "test")) == [2]
    fill(tmp_path / "only", "val/cat/1.png", "test/dog/2.png")
    assert labels(open_source(tmp_path / "only")) == [1, 0]


def test_links_in_circles_end_and_a_folder_is_read_once(tmp_path):
    root, elsewhere = fill(tmp_path / "root", "a/1.png", "b/2.png"), fill(tmp_path / "else", "3.png", "4.png")
    (root / "a" / "up").symlink_to(root)
    (root / "a" / "b").symlink_to(root / "b")
    (root / "out").symlink_to(elsewhere)
    (elsewhere / "back").symlink_to(root)
    (root / "lost.png").symlink_to(root / "nowhere.png")
    source = open_source(root)
    assert names(source) == ["a/1.png", "b/2.png", "lost.png", "out/3.png", "out/4.png"]
    with pytest.raises(UnreadableImage, match="no such file"):
        source.read(2)


def test_pipes_and_folders_named_like_images_are_no_images(tmp_path):
    fill(tmp_path, "a.jpg/1.png")
    os.mkfifo(tmp_path / "pipe.png")
    assert names(open_source(tmp_path)) == ["a.jpg/1.png"]


def test_names_of_any_bytes_are_read(tmp_path):
    fill(tmp_path, "grün/日本.png", "tab\there.png", os.fsdecode(b"latin-\xe9.png"))
    assert len(set(values(open_source(tmp_path)))) == 3
    assert open_source(tmp_path).fingerprint()


def test_one_file(tmp_path):
    path = paint(tmp_path / "sub" / "one.png", 7)
    assert names(open_source(path)) == ["one.png"] and values(open_source(path)) == [7]
    path.rename(tmp_path / "nameless")
    assert values(open_source(tmp_path / "nameless")) == [7]


def test_a_text_file_named_jpg_is_found_and_unreadable(tmp_path):
    (tmp_path / "a.jpg").write_text("text")
    with pytest.raises(UnreadableImage, match="not an image"):
        open_source(tmp_path / "a.jpg").read(0)


def test_globs_and_braces(tmp_path, monkeypatch):
    fill(tmp_path, "a/1.png", "a/deep/2.png", "b/3.png", "b/07.png", "b/08.png")
    (tmp_path / "a" / "notes.txt").write_text("")
    assert names(open_source(f"{tmp_path}/a/*")) == ["1.png", "deep/2.png"]
    assert names(open_source(f"{tmp_path}/**/*.png")) == ["a/1.png", "a/deep/2.png", "b/07.png", "b/08.png", "b/3.png"]
    assert values(open_source(f"{tmp_path}/{{b,a}}/*.png")) == [3, 4, 2, 0]
    assert names(open_source(f"{tmp_path}/b/{{07..08}}.png")) == ["07.png", "08.png"]
    monkeypatch.chdir(tmp_path)
    assert names(open_source("a/*.png")) == ["1.png"]
    assert names(open_source("b/3.png")) == ["3.png"]


def test_a_folder_whose_name_looks_like_a_pattern_is_a_folder(tmp_path):
    assert names(open_source(fill(tmp_path / "new [2] {a,b}", "1.png"))) == ["1.png"]


def test_a_text_file_of_paths(tmp_path):
    fill(tmp_path, "pictures/1.png", "pictures/2.png", "3.png", "list of mine/x.png")
    listing = tmp_path / "lists" / "mine.txt"
    listing.parent.mkdir()
    lines = ["../pictures/2.png", f"{tmp_path}/3.png", "", "../list of mine/x.png", "../pictures/2.png", "../gone.png"]
    listing.write_text("\r\n".join(lines))
    source = open_source(listing)
    assert names(source) == ["pictures/2.png", "3.png", "list of mine/x.png", "gone.png"]
    assert [source.read(index)[0, 0, 0] for index in range(3)] == [1, 2, 3] and labels(source) == [None] * 4
    with pytest.raises(UnreadableImage, match="no such file"):
        source.read(3)


@pytest.mark.parametrize(
    ("written", "wanted", "classes"),
    [
        (["dog", "cat", "dog"], [1, 0, 1], ["cat", "dog"]),
        (["3", "0", "12"], [3, 0, 12], None),
        (["b", "", "a"], [1, None, 0], ["a", "b"]),
    ],
)
def test_labels_in_a_list(tmp_path, written, wanted, classes):
    fill(tmp_path, "1.png", "2.png", "3.png")
    (tmp_path / "list.tsv").write_text("\n".join(f"{index}.png\t{word}" for index, word in enumerate(written, 1)))
    source = open_source(tmp_path / "list.tsv")
    assert labels(source) == wanted and source.classes == classes


def test_a_list_of_places_is_one_after_another(tmp_path):
    fill(tmp_path, "a/cat/1.png", "b/dog/1.png", "b/cat/1.png", "c/1.png")
    places = OmegaConf.create([str(tmp_path / "a"), str(tmp_path / "b")])
    source = open_source(places)
    assert names(source) == ["a/cat/1.png", "b/cat/1.png", "b/dog/1.png"] and values(source) == [0, 2, 1]
    assert source.classes == ["cat", "dog"] and labels(source) == [0, 0, 1]
    mixed = open_source([tmp_path / "a", tmp_path / "c"])
    assert names(mixed) == ["cat/1.png", "1.png"] and labels(mixed) == [0, None]
    assert pickle.loads(pickle.dumps(source)).read(2)[0, 0, 0] == 1


def test_places_of_the_same_name_keep_their_images_apart(tmp_path):
    fill(tmp_path, "a/photos/1.png", "b/photos/1.png")
    assert names(open_source([tmp_path / "a/photos", tmp_path / "b/photos"])) == ["photos/1.png", "photos-2/1.png"]


def test_files_named_by_the_shell_are_one_source(tmp_path):
    fill(tmp_path, "a/1.png", "b/1.png", "b/2.png")
    source = open_source([str(tmp_path / name) for name in ("b/2.png", "a/1.png", "b/1.png", "b/2.png")])
    assert names(source) == ["b/2.png", "a/1.png", "b/1.png"] and type(source).__name__ == "Files"


def test_the_fingerprint_follows_the_files(tmp_path):
    fill(tmp_path / "one", "1.png", "2.png")
    first = open_source(tmp_path / "one").fingerprint()
    assert first == open_source(tmp_path / "one").fingerprint()
    (tmp_path / "one").rename(tmp_path / "moved")
    assert first == open_source(tmp_path / "moved").fingerprint()
    os.utime(tmp_path / "moved" / "1.png", (0, 0))
    second = open_source(tmp_path / "moved").fingerprint()
    (tmp_path / "moved" / "1.png").rename(tmp_path / "moved" / "3.png")
    assert len({first, second, open_source(tmp_path / "moved").fingerprint()}) == 3


def test_a_large_source_is_cheap_to_send(tmp_path):
    from densessl.data.sources.files import Files

    sent = pickle.dumps(Files(tmp_path, [f"class/{number:06}.png" for number in range(100_000)], [0] * 100_000))
    assert len(sent) < 3.5e6 and len(sent) == pytest.approx(100_000 * (16 + 8 + 8), rel=0.01)


@pytest.mark.parametrize(
    ("place", "words"),
    [
        ("photoz", "no file or folder '.*photoz'; did you mean 'photos'"),
        ("photos/1.pgn", "did you mean '1.png'"),
        ("nowhere/to/be/found", "no file or folder"),
        ("empty", "no images in the folder .*empty: it is empty"),
        ("texts", "no images in the folder .*none of its 2 files"),
        ("photos/*.jpg", r"No file matches .*photos/\*.jpg"),
        ("photoz/*.jpg", "no file or folder .*photoz.*did you mean 'photos'"),
        ("texts/*", "no images in"),
        ("photos/{1..3}.png", "no file or folder '.*2.png', of .*did you mean '1.png'"),
        ("texts/list.txt", "names no file that exists, 'gone.jpg'"),
        ("texts/../blank.txt", "names no images"),
    ],
)
def test_nothing_to_read_is_a_sentence(tmp_path, place, words):
    fill(tmp_path / "photos", "1.png")
    (tmp_path / "empty").mkdir()
    (tmp_path / "texts").mkdir()
    (tmp_path / "texts" / "list.txt").write_text("gone.jpg")
    (tmp_path / "texts" / "notes.md").write_text("# Notes")
    (tmp_path / "blank.txt").write_text("\n")
    with pytest.raises(UserError, match=words) as error:
        open_source(f"{tmp_path}/{place}")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("data", [None, 3, [], {}])
def test_no_place_at_all_is_a_sentence(data):
    with pytest.raises(UserError, match="give a folder"):
        open_source(data)


def test_a_split_where_there_are_none_is_a_sentence(tmp_path):
    fill(tmp_path, "1.png")
    for place in (tmp_path, tmp_path / "1.png", f"{tmp_path}/*.png"):
        with pytest.raises(UserError, match="no splits.*split=test"):
            open_source(place, split="test")


def test_a_folder_that_may_not_be_read_is_a_sentence(tmp_path, monkeypatch):
    def refuse(_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("os.scandir", refuse)
    with pytest.raises(UserError, match="cannot be read: permission denied"):
        open_source(tmp_path)


def test_unreadable_images_are_listed_once_and_counted(tmp_path):
    unreadable = Unreadable()
    unreadable.write(tmp_path)
    assert not list(tmp_path.iterdir())
    for name, reason in (("a.jpg", "it is empty"), ("b.jpg", "it is truncated"), ("a.jpg", "it is empty")):
        unreadable.add(name, reason)
    unreadable.add(os.fsdecode(b"latin-\xe9.png"), "it is empty")
    unreadable.write(tmp_path)
    assert len(unreadable) == 3
    lines = (tmp_path / "unreadable.txt").read_text(encoding="utf-8").splitlines()
    assert lines[:2] == ["a.jpg\tit is empty", "b.jpg\tit is truncated"] and len(lines) == 3
    unreadable.check(total=30, share=0.1)
    with pytest.raises(UserError, match=r"3 of 29 images.*share of 0.1.*a.jpg \(it is empty\), b.jpg"):
        unreadable.check(total=29, share=0.1)
    Unreadable().write(tmp_path)
    assert not list(tmp_path.iterdir())


def write_table(folder: Path, text: str) -> None:
    (folder / "labels.csv").write_text(text, encoding="utf-8-sig")


def test_a_labels_csv_labels_the_images_that_it_names_and_no_others(tmp_path):
    fill(tmp_path, "a.png", "b.png", "sub/c.png", "sub/d, e.png")
    write_table(tmp_path, 'Name,class,note\nsub/c.png,tree,x\na.png,car,\n"sub/d, e.png",car,\nb.png,,undecided\n')
    source = open_source(tmp_path)
    assert source.classes == ["car", "tree"]
    assert dict(zip(names(source), labels(source), strict=True)) == {
        "a.png": 0,
        "b.png": None,
        "sub/c.png": 1,
        "sub/d, e.png": 0,
    }
    write_table(tmp_path, "name,class\na.png,7\nb.png,3\n")
    source = open_source(tmp_path)
    assert source.classes is None and labels(source) == [7, 3, None, None]


def test_a_labels_csv_beside_splits_speaks_of_each_of_them(tmp_path):
    fill(tmp_path, "train/x/a.png", "train/y/b.png", "test/x/a.png")
    write_table(tmp_path, "name,class\ntrain/y/b.png,car\ntest/x/a.png,tree\n")
    train, test = open_source(tmp_path), open_source(tmp_path, "test")
    assert (labels(train), labels(test)) == ([None, 0], [1])
    assert train.classes == test.classes == ["car", "tree"]


def test_somebody_elses_labels_csv_is_left_alone_and_said_to_be(tmp_path):
    fill(tmp_path, "dog/a.png", "cat/b.png")
    for text, found in (("id,breed\na,poodle\n", "the columns 'id', 'breed'"), ("", "no heading")):
        write_table(tmp_path, text)
        source = open_source(tmp_path)
        assert source.classes == ["cat", "dog"]
        assert source.notes == [f"{tmp_path / 'labels.csv'} has {found}, and not name and class: it is left alone."]


@pytest.mark.parametrize("delimiter", ";\t")
def test_a_spreadsheets_delimiters_are_read(tmp_path, delimiter):
    fill(tmp_path, "a, b.png", "c.png")
    write_table(tmp_path, "name,class\na| b.png,x\nc.png,y\n".replace(",", delimiter).replace("|", ","))
    source = open_source(tmp_path)
    assert source.classes == ["x", "y"] and labels(source) == [0, 1] and not source.notes


def test_classes_that_differ_in_case_alone_are_two_and_named(tmp_path):
    fill(tmp_path, "a.png", "b.png", "c.png")
    write_table(tmp_path, "name,class\na.png,Animal \nb.png,animal\nc.png,plant\n")
    source = open_source(tmp_path)
    assert source.classes == ["Animal", "animal", "plant"]
    assert "the classes 'Animal' and 'animal'" in source.notes[0] and len(source.notes) == 1
    assert Subset(source, [0]).notes == source.notes


@pytest.mark.parametrize(
    ("table", "words"),
    [
        ("name,class\nb.png,car\n", "'b.png' that is not there; did you mean 'a.png'"),
        ("name,class\na.png,car\na.png,tree\n", "two classes, 'car' and 'tree'"),
        ("name,class\na.png,cars, small\n", "3 cells in line 2 where its heading has 2"),
    ],
)
def test_mistakes_in_a_labels_csv_are_sentences(tmp_path, table, words):
    write_table(fill(tmp_path, "a.png"), table)
    with pytest.raises(UserError, match=words):
        open_source(tmp_path)


def test_a_limit_draws_by_the_seed_and_fewer_are_part_of_more(tmp_path):
    source = open_source(fill(tmp_path, *(f"{number:02}.png" for number in range(20))))
    some, more = (names(limited(source, count, seed=1)) for count in (5, 9))
    assert len(some) == 5 and set(some) < set(more) and some == sorted(some)
    assert some != names(limited(source, 5, seed=2))
    assert limited(source, None, 1) is source and limited(source, 20, 1) is source
    with pytest.raises(UserError, match="out of the midst of their videos"):
        Clips(limited(source, 5, seed=1))


def test_a_subset_keeps_names_and_labels_and_can_be_given_others(tmp_path):
    source = open_source(fill(tmp_path, "cat/1.png", "cat/2.png", "dog/1.png"))
    some = Subset(source, [2, 0])
    assert (names(some), labels(some), values(some)) == (["dog/1.png", "cat/1.png"], [1, 0], [2, 0])
    assert some.classes == ["cat", "dog"]
    other = Subset(source, [2, 0], [0, 1], ["dog", "cat"])
    assert (labels(other), other.classes) == ([0, 1], ["dog", "cat"])
    assert some.fingerprint() != Subset(source, [0, 2]).fingerprint()
    with pytest.raises(IndexError):
        some.read(2)


def test_a_size_is_that_of_the_upright_image_and_needs_no_decoding(tmp_path, monkeypatch):
    exif = Image.Exif()
    exif[0x0112] = 6
    (tmp_path / "a").mkdir()
    Image.new("RGB", (30, 20)).save(tmp_path / "a" / "1.jpg", exif=exif)
    Image.new("RGB", (40, 10)).save(tmp_path / "a" / "2.png")
    (tmp_path / "a" / "3.jpg").write_bytes(b"no picture")
    source = open_source([str(tmp_path / "a"), str(tmp_path / "a" / "2.png")])
    sizes = [source.read(index).shape[:2] for index in (0, 1, 3)]
    monkeypatch.setattr("densessl.data.images.decode", None)
    assert [source.size(index) for index in (0, 1, 3)] == sizes == [(30, 20), (10, 40), (10, 40)]
    assert Subset(source, [3]).size(0) == (10, 40)
    monkeypatch.undo()
    with pytest.raises(UnreadableImage, match="not an image of a known format"):
        source.size(2)
