"""Places that many tests of storage use."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.servers.seaweedfs import SeaweedFS


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """An empty folder for a local driver."""
    path = tmp_path / "root"
    path.mkdir()
    return path


@pytest.fixture(scope="session")
def shared_bucket(seaweedfs: SeaweedFS) -> str:
    """One bucket for the whole suite: SeaweedFS sets volumes aside for each."""
    return seaweedfs.new_bucket()
