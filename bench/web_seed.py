"""What :mod:`bench.web` measures: a console with many backends, catalogued files, migrations and one large
ledger, made in seconds by writing rows."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from sqlalchemy import Table, delete, insert, update

from dashboard.app import open_services
from dashboard.jobs.types import JobKind
from dashboard.migration.types import ObjectState, Outcome, Spec, State
from dashboard.models.catalogue import files
from dashboard.models.migrations import Job, Migration, Schedule
from dashboard.models.work import counters, failure_groups, objects
from dashboard.services.backends.status import Badge
from dashboard.services.backends.values import Draft
from dashboard.services.database import Database
from dashboard.services.migrations.spec import to_json
from dashboard.services.permissions import Actor, Role
from dashboard.services.services import Services
from dashboard.settings import Settings
from dashboard.storage.types import Secret
from tests.servers.seaweedfs import SeaweedFS

ADMIN, PASSWORD = "bench", "a few unrelated words"
SMALL, SLOW = 64 * 1024, 64 * 1024 * 1024
FAILURES = (
    ("denied", "The server refused access.", "Allow this key to write."),
    ("unreachable", "The connection was closed before the end.", "Retry the failed objects."),
    ("timeout", "The server did not respond within 30 seconds.", "Retry the failed objects."),
)
ALREADY = "The destination already has the same content."
STATES = (
    *[ObjectState.VERIFIED] * 90,
    *[ObjectState.FAILED] * 3,
    *[ObjectState.SKIPPED] * 5,
    *[ObjectState.PENDING] * 2,
)
"""Of a hundred objects that follow each other in a ledger."""
_ROWS = 20_000


def fill(
    instance: Path,
    folder: Path,
    server: SeaweedFS,
    *,
    backends: int,
    catalogued: int,
    migrations: int,
    ledger: int,
    large_mib: tuple[int, int],
) -> int:
    """Make the instance; return the number of the migration with the large ledger. ``large_mib``: the size
    of the large file on the disk and in the bucket."""
    services = open_services(Settings.from_env({}, instance=instance))
    try:
        services.setup.complete(services.setup.issue_code(), ADMIN, PASSWORD)
        _add_backends(services, folder, server, backends)
        _write_files(services, folder, large_mib)
        _insert(services.database, files, _catalogue_rows(catalogued, backends))
        _count(services, catalogued, backends)
        return _add_migrations(services, migrations, ledger)
    finally:
        services.close()


def _add_backends(services: Services, folder: Path, server: SeaweedFS, count: int) -> None:
    actor = Actor(ADMIN, Role.ADMIN, "cli")
    access = server.admin
    s3 = {
        "endpoint": server.endpoint,
        "bucket": server.new_bucket(),
        "access_key_id": access.access_key,
        "region": "us-east-1",
    }
    secrets = {"secret_access_key": Secret(access.secret_key)}
    services.backends.add(actor, Draft("bucket", "s3", s3, secrets))
    for number in range(count - 2):
        root = folder / f"local-{number}"
        root.mkdir()
        services.backends.add(actor, Draft(f"local-{number}", "local", {"root": str(root)}, {}))


def _write_files(services: Services, folder: Path, large_mib: tuple[int, int]) -> None:
    on_disk, in_bucket = large_mib
    for name in ("local-0", "bucket"):
        driver = services.backends.driver(name)
        driver.put("small.bin", b"s" * SMALL)
        sizes = [("slow.bin", SLOW >> 20)] + ([("large.bin", in_bucket)] if name == "bucket" else [])
        for key, mebibytes in sizes:
            with driver.write(key, size=mebibytes << 20) as writing:
                for _ in range(mebibytes):
                    writing.write(b"L" * (1 << 20))
                writing.commit()
    with (folder / "local-0" / "large.bin").open("wb") as sparse:
        sparse.truncate(on_disk << 20)


def _catalogue_rows(count: int, backends: int) -> Iterator[dict[str, Any]]:
    now = time.time()
    for number in range(count):
        yield {
            "backend_id": number % backends + 1,
            "key": f"folder-{number % 977}/file-{number}.jpg",
            "size": number % 5_000_000,
            "modified": now - number,
            "etag": f"{number:032x}",
            "md5": f"{number:032x}",
            "content_type": "image/jpeg",
            "created_at": now,
            "updated_at": now,
        }


def _count(services: Services, catalogued: int, backends: int) -> None:
    """Every backend was checked and counted just now. A count would find that most of these files do not
    exist, and remove them from the catalogue while pages are measured."""
    for number in range(1, backends + 1):
        services.status.record_check(number, Badge.HEALTHY, 1.0)
        objects = len(range(number - 1, catalogued, backends))
        services.status.record_count(number, objects, objects * 2_500_000, final=True)
    services.jobs.tick()
    with services.database.write() as session:
        of_counts = Schedule.kind == JobKind.COUNT
        session.execute(update(Schedule).where(of_counts).values(next_run=Schedule.next_run + Schedule.every))
        session.execute(delete(Job).where(Job.kind == JobKind.COUNT))


def _add_migrations(services: Services, count: int, ledger: int) -> int:
    """Finished ones, some with errors, some paused; the newest has the large ledger."""
    now, spec = time.time(), to_json(Spec())
    with services.database.write() as session:
        rows = [
            Migration(
                source="local-0",
                source_id=2,
                destination="bucket",
                destination_id=1,
                spec=spec,
                state=(State.PAUSED if number % 50 == 3 else State.FINISHED).value,
                outcome=None if number % 50 == 3 else Outcome.WITH_ERRORS.value,
                control="pause" if number % 50 == 3 else "run",
                approved_at=now - 60,
                approved_by=ADMIN,
                created_by=ADMIN,
                created_at=now - 3600 + number,
                started_at=now - 60,
                finished_at=None if number % 50 == 3 else now,
                elapsed=60.0,
            )
            for number in range(count)
        ]
        session.add_all(rows)
        session.flush()
        ids = [row.id for row in rows]
    sizes = dict.fromkeys(ids[:-1], 200) | {ids[-1]: ledger}
    _insert(services.database, objects, _ledger_rows(sizes))
    _insert(services.database, counters, (_counter_row(each, size) for each, size in sizes.items()))
    _insert(services.database, failure_groups, _failure_rows(sizes))
    return ids[-1]


def _ledger_rows(sizes: dict[int, int]) -> Iterator[dict[str, Any]]:
    now = time.time()
    for migration, size in sizes.items():
        for number in range(size):
            state = STATES[number % 100]
            kind, reason, remedy = (
                FAILURES[number // 100 % 3] if state is ObjectState.FAILED else ("", "", "")
            )
            yield {
                "migration_id": migration,
                "key": f"photos/{number // 1000:05}/image-{number:09}.jpg",
                "size": number * 7919 % 5_000_000,
                "etag": f"{number:032x}",
                "state": state.value,
                "action": "skip" if state is ObjectState.SKIPPED else "copy",
                "attempts": int(state is not ObjectState.PENDING),
                "kind": kind,
                "reason": ALREADY if state is ObjectState.SKIPPED else reason,
                "remedy": remedy,
                "source_checksum": f"{number:032x}",
                "destination_checksum": f"{number:032x}",
                "started_at": now + number / 100,
                "finished_at": now + number / 100 + 0.5,
            }


def _counter_row(migration: int, size: int) -> dict[str, Any]:
    counts = {state: sum(1 for each in STATES if each is state) * size // 100 for state in ObjectState}
    verified, failed = counts[ObjectState.VERIFIED], counts[ObjectState.FAILED]
    skipped = counts[ObjectState.SKIPPED]
    values = {"found": size, "copied": verified, "verified": verified, "skipped": skipped, "failed": failed}
    volumes = {f"{name}_bytes": number * 2_500_000 for name, number in values.items()}
    return {"migration_id": migration, "listing_final": True, **values, **volumes}


def _failure_rows(sizes: dict[int, int]) -> Iterator[dict[str, Any]]:
    for migration, size in sizes.items():
        for kind, reason, remedy in FAILURES:
            yield {
                "migration_id": migration,
                "kind": kind,
                "reason": reason,
                "remedy": remedy,
                "example": "photos/00000/image-000000090.jpg",
                "objects": size * 3 // 300,
            }


def _insert(database: Database, table: Table, rows: Iterable[dict[str, Any]]) -> None:
    remaining = iter(rows)
    while some := list(islice(remaining, _ROWS)):
        with database.work_write() as connection:
            connection.execute(insert(table), some)
