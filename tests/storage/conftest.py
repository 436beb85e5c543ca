"""Places that many tests of storage use."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from dashboard.storage.drivers.local.driver import LocalDriver
from dashboard.storage.drivers.s3.driver import S3Driver
from dashboard.storage.types import Secret
from tests.servers.seaweedfs import SeaweedFS
from tests.storage.copies import Make


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


@pytest.fixture
def make(seaweedfs: SeaweedFS) -> Iterator[Make]:
    """Builds S3 drivers, each on a prefix of its own unless told otherwise."""
    made: list[S3Driver] = []
    bucket = seaweedfs.new_bucket("copying")

    def build(endpoint: str = seaweedfs.endpoint, prefix: str = "") -> S3Driver:
        options = {
            "endpoint": endpoint,
            "bucket": bucket,
            "prefix": prefix or f"{len(made)}/",
            "access_key_id": seaweedfs.admin.access_key,
        }
        made.append(S3Driver.from_options(options, {"secret_access_key": Secret(seaweedfs.admin.secret_key)}))
        return made[-1]

    yield build
    for driver in made:
        driver.close()


@pytest.fixture
def local(tmp_path: Path) -> Iterator[LocalDriver]:
    (tmp_path / "root").mkdir()
    driver = LocalDriver.from_options({"root": str(tmp_path / "root")}, {})
    yield driver
    driver.close()
