"""Small scenes with label maps, in two parts."""

from __future__ import annotations

import pytest

from tests.evaluation.judging import write_scenes


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write_scenes(tmp_path_factory.mktemp("scenes"), 6, (64, 80), void=4)
