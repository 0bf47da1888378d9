"""Pictures, and one service for all tests of it."""

from __future__ import annotations

from collections.abc import Iterator
from importlib import resources
from pathlib import Path

import pytest

from densessl.apps.config import AppConfig
from densessl.apps.service import Service, Upload

PHOTOGRAPHS = Path(str(resources.files("densessl"))) / "photographs"


@pytest.fixture(scope="session")
def service() -> Iterator[Service]:
    started = Service(AppConfig(devices="cpu", pictures=4, pages=3, open_seconds=5, file_size=20, pixels=30))
    yield started
    started.close()


@pytest.fixture
def photographs() -> list[Upload]:
    return [Upload(str(PHOTOGRAPHS / name), name) for name in ("polar-bear.jpg", "summit.jpg")]
