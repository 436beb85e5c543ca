"""The same engine against Google Cloud Storage."""

from __future__ import annotations

from pathlib import Path

from dashboard.migration.types import Verify
from tests.migration.round_trip import round_trip
from tests.servers.drivers import gcs_on
from tests.servers.gcs.server import GoogleStorage


def test_there_and_back_again_with_checksums(tmp_path: Path, google: GoogleStorage) -> None:
    round_trip(tmp_path, gcs_on(google, google.new_bucket(), google.writer), Verify.CHECKSUM)
    assert google.incomplete_uploads() == 0
