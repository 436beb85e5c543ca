"""What must be true after any number of kills: contents, the ledger, and no leftovers."""

from __future__ import annotations

import hashlib
from pathlib import Path

from dashboard.migration.types import LedgerRow, ObjectState, Outcome, State
from dashboard.services.services import Services
from tests.servers.seaweedfs import SeaweedFS

SETTLED = (ObjectState.COPIED, ObjectState.VERIFIED)


def all_rows(services: Services, number: int) -> list[LedgerRow]:
    """The whole ledger."""
    rows: list[LedgerRow] = []
    while page := services.migrations.rows(number, after_id=rows[-1].id if rows else 0, limit=1000):
        rows += page
    return rows


class SettledRows:
    """Records which objects were settled at each kill, to check that none is copied again."""

    def __init__(self, services: Services, number: int) -> None:
        self._services = services
        self._number = number
        self._seen: dict[int, tuple[int, float | None, str]] = {}

    def remember(self) -> int:
        """Record every object that is settled now; return how many."""
        for row in all_rows(self._services, self._number):
            if row.state in SETTLED:
                self._seen.setdefault(row.id, (row.attempts, row.finished_at, row.destination_checksum))
        return len(self._seen)

    def check(self) -> None:
        """Assert that none of them was attempted, timed or written again."""
        now = {
            row.id: (row.attempts, row.finished_at, row.destination_checksum)
            for row in all_rows(self._services, self._number)
        }
        again = {number: (was, now[number]) for number, was in self._seen.items() if now[number] != was}
        assert not again, f"{len(again)} settled objects were copied again: {list(again.items())[:3]}"


def digests_of_folder(root: Path) -> dict[str, str]:
    """Return the digests of all files, including temporary ones."""
    return {
        str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in root.rglob("*")
        if not path.is_dir()
    }


def digests_of_bucket(server: SeaweedFS, bucket: str) -> dict[str, str]:
    """Return the digests of all objects."""
    s3 = server.client()
    found: dict[str, str] = {}
    for page in s3.get_paginator("list_objects_v2").paginate(Bucket=bucket):
        for entry in page.get("Contents", ()):
            body = s3.get_object(Bucket=bucket, Key=entry["Key"])["Body"].read()
            found[entry["Key"]] = hashlib.sha256(body).hexdigest()
    return found


def unfinished_uploads(server: SeaweedFS, bucket: str) -> list[str]:
    """Return the keys of multipart uploads that were neither completed nor aborted."""
    response = server.client().list_multipart_uploads(Bucket=bucket)
    return [upload["Key"] for upload in response.get("Uploads", ())]


def assert_ledger(services: Services, number: int, expected: dict[str, int]) -> None:
    """Counters, rows and the expected objects agree. ``expected``: key to size."""
    progress = services.migrations.progress(number)
    assert progress.state is State.FINISHED, f"{progress.state}: {progress.message}"
    assert progress.outcome is Outcome.CLEAN, services.migrations.failures(number)
    rows = all_rows(services, number)
    assert {row.key: row.size for row in rows} == expected
    assert len(rows) == len(expected)
    assert {row.state for row in rows} == {ObjectState.VERIFIED}
    counters = progress.counters
    objects, size = len(expected), sum(expected.values())
    assert (counters.found, counters.copied, counters.verified) == (objects, objects, objects)
    assert (counters.found_bytes, counters.copied_bytes, counters.verified_bytes) == (size, size, size)
    assert (counters.skipped, counters.failed, counters.deleted) == (0, 0, 0)
    assert counters.listing_final
    assert (counters.done, progress.percent) == (objects, 100.0)
