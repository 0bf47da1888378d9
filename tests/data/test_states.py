"""What tells that the file which an image is in was written anew."""

from __future__ import annotations

from densessl.data.sources import Subset, open_source
from tests.data import documents
from tests.data.documents import write


def test_the_state_of_a_page_is_that_of_its_document_and_changes_when_it_is_written_anew(tmp_path):
    write(tmp_path / "a.pdf", documents.pages([0.2, 0.4]))
    write(tmp_path / "b.pdf", documents.pages([0.2]))
    source = open_source(tmp_path, page_side=64)
    joined = open_source([str(tmp_path / "b.pdf"), str(tmp_path)], page_side=64)
    before = [source.state(index) for index in range(3)]
    assert before[0] == before[1] != before[2]
    assert [joined.state(0), joined.state(1)] == [before[2], before[0]]
    assert Subset(source, [2]).state(0) == before[2]
    write(tmp_path / "a.pdf", documents.pages([0.3, 0.4]))
    after = [source.state(index) for index in range(3)]
    assert after[0] != before[0] and after[2] == before[2]
