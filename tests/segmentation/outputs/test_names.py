"""names.txt: what is not understood is a sentence with its line, and segments of one name are one class."""

from __future__ import annotations

import numpy as np
import pytest

from densessl.errors import UserError
from densessl.segmentation.outputs.names import Classes, read_names, write_names
from densessl.segmentation.outputs.overlay import palette


def written(tmp_path, text: str, encoding: str = "utf-8"):
    path = tmp_path / "names.txt"
    path.write_bytes(text.encode(encoding))
    return path


def test_segments_of_one_name_are_one_class_with_the_colour_of_the_first(tmp_path):
    text = "# a remark\r\n0  #010203  50.0 %: sky\r\n\r\n3: sky\r\n1 : old  tree \r\n2  #0a0b0c:\r\n"
    found = read_names(written(tmp_path, text, "utf-8-sig"), 5)
    assert found.members == [[0, 3], [1], [2], [4]]
    assert found.class_names == ["sky", "old tree", "segment 2", "segment 4"]
    assert found.class_colours == [(1, 2, 3), palette(5)[1], (10, 11, 12), palette(5)[4]]
    labels = np.array([[0, 1, 2], [3, 4, 0]], dtype=np.uint8)
    assert found.table()[labels].tolist() == [[0, 1, 2], [0, 3, 0]] and found.table()[labels].dtype == np.uint8
    assert Classes.unnamed(300).table().dtype == np.uint16 and not Classes.unnamed(3).given


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("0 sky", "line 2: '0 sky' is not of the form 3: name"),
        ("7: sky", "line 2: 7 is no segment; the model has 3, numbered 0 to 2"),
        ("-1: sky", "line 2: -1 is no segment"),
        ("²: sky", "line 2: ² is no segment"),
        ("one: sky", "line 2: one is no segment"),
        ("1 #12345: sky", "line 2: #12345 is no colour; write one as #6f9b52"),
        ("0: sea", "line 2: segment 0 stands on line 1 already"),
        ("1: Sky", "line 2: 'Sky' is written 'sky' on line 1"),
    ],
)
def test_a_bad_line_is_a_sentence_with_its_number(tmp_path, line, words):
    with pytest.raises(UserError) as error:
        read_names(written(tmp_path, f"0: sky\n{line}\n"), 3)
    assert words in str(error.value) and str(error.value).startswith(f"{tmp_path / 'names.txt'}, line 2: ")


def test_a_file_that_cannot_be_read_is_a_sentence(tmp_path):
    with pytest.raises(UserError, match="names.txt: no such file"):
        read_names(tmp_path / "names.txt", 3)
    with pytest.raises(UserError, match="names.txt: it is not UTF-8 text"):
        read_names(written(tmp_path, "0: Bäume", "latin-1"), 3)


def test_what_is_written_reads_back_and_what_the_user_wrote_stays(tmp_path):
    path = tmp_path / "names.txt"
    named = Classes(("sky", None, "sky"), palette(3))
    write_names(path, Classes.unnamed(3), [0.5, 0.25, 0.25])
    assert read_names(path, 3) == Classes.unnamed(3) and " 25.00 %:" in path.read_text()
    write_names(path, named, [0.1, 0.2, 0.7])
    assert read_names(path, 3) == named and " 70.00 %: sky" in path.read_text()
    for mine in (path.read_text(), "nonsense"):
        path.write_text(mine)
        write_names(path, Classes.unnamed(3), [0.3, 0.3, 0.4])
        assert path.read_text() == mine


def test_comments_stay_without_any_name(tmp_path):
    path = tmp_path / "names.txt"
    write_names(path, Classes.unnamed(2), [0.5, 0.5])
    write_names(path, Classes.unnamed(2), [0.25, 0.75])
    assert "25.00 %" in path.read_text()  # our own comments keep nothing
    path.write_text(text := path.read_text() + "# ask Ada about segment 1\n")
    write_names(path, Classes.unnamed(2), [0.5, 0.5])
    assert path.read_text() == text
