"""The same engine against Vercel Blob, which proves nothing by itself and lists in any order."""

from __future__ import annotations

from pathlib import Path

from dashboard.migration.types import Verify
from tests.migration.round_trip import round_trip
from tests.servers.drivers import vercel_at
from tests.servers.vercel_blob import VercelBlob


def test_there_and_back_again_with_checksums(tmp_path: Path, vercel: VercelBlob) -> None:
    driver = vercel_at(vercel.endpoint, vercel.new_store("private"), "moved/", access="private")
    round_trip(tmp_path, driver, Verify.CHECKSUM)
