"""Documents that need a password."""

from __future__ import annotations

import numpy as np
import pytest

from densessl.data.images import UnreadableImage
from densessl.data.pages import pdf
from densessl.data.sources import open_source
from tests.data import documents
from tests.data.documents import names, write


@pytest.mark.parametrize("password", ["secret", "schl\u00fcssel", "0070"])
def test_a_document_opens_with_its_password_and_one_without_needs_none(tmp_path, password):
    write(tmp_path / "a.pdf", documents.encrypted(password.encode("latin-1")))
    write(tmp_path / "b.pdf", documents.encrypted(b""))
    write(tmp_path / "c.pdf", documents.pages([0.8]))
    assert names(open_source(tmp_path)) == ["b.pdf/p0001.png", "c.pdf/p0001.png"]
    source = open_source(tmp_path, page_side=64, password=password)
    assert names(source) == ["a.pdf/p0001.png", "b.pdf/p0001.png", "c.pdf/p0001.png"]
    assert np.array_equal(source.read(0), source.read(1)) and source.size(0) == source.size(1) == (64, 48)
    assert source.text(0) == source.text(1) and source.dpi(0) == source.dpi(1)
    wrong = open_source([str(tmp_path)], password=password + "x")
    assert wrong.notes == ["1 of 3 documents is left out: a.pdf (its password is another one)."]
    with pytest.raises(UnreadableImage, match="it needs a password"):  # nor is it open from before
        pdf.render(str(tmp_path / "a.pdf"), 0, 64)
