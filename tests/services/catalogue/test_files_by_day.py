"""The files of each day are what the catalogue says, whatever changes it."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Connection, delete, insert, select, text, update

from dashboard.models import files_by_day
from dashboard.models.catalogue import files
from dashboard.services.catalogue.file_rows import WRITE
from dashboard.services.database import Database
from tests.services.database_file import opened

DAY = 86_400
TIMES = (
    None,
    0.0,
    -0.5,
    -1.0,
    -DAY - 0.25,
    1e12,
    -1e12,
    1e300,
    *(DAY * 20_000 + at for at in (-2.4e-7, 0, 0.5)),
)


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    with opened(tmp_path) as database:
        yield database


def kept(connection: Connection) -> dict[tuple[int, int], tuple[int, int]]:
    rows = connection.execute(text(f"SELECT backend_id, day, files, bytes FROM {files_by_day.TABLE}"))
    return {(row[0], row[1]): (row[2], row[3]) for row in rows if row[2]}


def counted(connection: Connection) -> dict[tuple[int, int], tuple[int, int]]:
    """The same from the files, with Python's own arithmetic."""
    found: dict[tuple[int, int], tuple[int, int]] = {}
    for row in connection.execute(select(files.c.backend_id, files.c.modified, files.c.size)):
        day = files_by_day.UNKNOWN_DAY
        if row.modified is not None:
            # A time beyond all dates is the largest or smallest integer.
            day = int(max(min(row.modified, 2**63 - 1), -(2**63)) // DAY) if abs(row.modified) < 2**53 else 0
            day = (2**63 - 1) // DAY if row.modified >= 2**53 else day
        number, size = found.get((row.backend_id, day), (0, 0))
        found[row.backend_id, day] = (number + 1, size + row.size)
    return found


def values(rng: random.Random, key: str) -> dict[str, object]:
    now = time.time()
    return {
        "backend_id": rng.randrange(1, 4), "key": key, "size": rng.randrange(5_000),
        "modified": rng.choice((*TIMES, now - rng.random() * 90 * DAY)), "seen": 0, "etag": "",
        "kind": "other", "state": "stored", "sha256": "", "md5": "", "content_type": "", "owner": "",
        "details": None,
        "width": None, "height": None, "duration": None, "pages": None, "taken_at": None,
        "migration_id": None, "created_at": now, "updated_at": now,
    }  # fmt: skip


def test_every_change_of_a_file_is_counted(database: Database) -> None:
    rng = random.Random(7)
    changes = [0]
    for turn in range(60):
        with database.work_write() as connection:
            rows = [values(rng, f"key-{rng.randrange(40)}") for _ in range(rng.randrange(1, 6))]
            match turn % 4:
                case 0 | 1:
                    # Replaces what is there: an upsert, as every writer of the catalogue.
                    connection.execute(WRITE, rows)
                case 2:
                    some = files.c.id.in_(rng.sample(range(1, 60), 8))
                    moved = {"backend_id": 9, "key": files.c.key + f"-{turn}", "size": files.c.size + 1}
                    connection.execute(update(files).where(some).values(**moved))
                case 3:
                    connection.execute(delete(files).where(files.c.id.in_(rng.sample(range(1, 60), 4))))
        with database.work_read() as connection:
            assert kept(connection) == counted(connection)
            each = [connection.scalar(text(files_by_day.CHANGES), {"backend": one}) for one in (1, 2, 3, 9)]
            changes.append(sum(each))
    assert changes == sorted(changes)
    assert changes[-1] > 60


def test_what_was_there_before_is_counted_by_the_step(database: Database) -> None:
    rng = random.Random(8)
    with database.work_write() as connection:
        connection.execute(insert(files), [values(rng, f"key-{number}") for number in range(200)])
        before = kept(connection)
        for name in ("insert", "delete", "update"):
            connection.exec_driver_sql(f"DROP TRIGGER {files_by_day.TABLE}_{name}")
        connection.exec_driver_sql(f"DROP TABLE {files_by_day.TABLE}")
        files_by_day.create(connection)
        assert kept(connection) == before == counted(connection)


def test_a_change_that_is_undone_is_not_counted(database: Database) -> None:
    rng = random.Random(9)

    def undone() -> None:
        with database.work_write() as connection:
            connection.execute(insert(files), [values(rng, "key")])
            raise RuntimeError

    with pytest.raises(RuntimeError):
        undone()
    with database.work_read() as connection:
        assert kept(connection) == {}
