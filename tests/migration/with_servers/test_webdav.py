"""The same engine against a WebDAV server, which gives no checksums, and one that gives them."""

from __future__ import annotations

from pathlib import Path

import pytest

from dashboard.migration.types import Verify
from tests.migration.round_trip import round_trip
from tests.servers.drivers import webdav_at
from tests.servers.webdav import WebDAV


@pytest.mark.parametrize("address", ["endpoint", "cloud_endpoint"])
def test_there_and_back_again_with_checksums(tmp_path: Path, webdav_server: WebDAV, address: str) -> None:
    place = webdav_at(getattr(webdav_server, address), webdav_server.new_folder())
    round_trip(tmp_path, place, Verify.CHECKSUM)
