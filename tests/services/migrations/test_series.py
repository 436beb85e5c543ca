"""Throughput over time: bounded, cumulative, and honest about pauses."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import create_engine

from dashboard.migration.ledger import Live
from dashboard.models.every_table import work_metadata
from dashboard.services.database import Database
from dashboard.services.migrations import series
from dashboard.services.migrations.series import MAX_POINTS, Point, SeriesReader, SeriesWriter, Throughput


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    engine = create_engine(f"sqlite:///{tmp_path}/work.db")
    work_metadata.create_all(engine)
    yield Database(engine, engine)
    engine.dispose()


def write(database: Database, writer: SeriesWriter, at: float, done: int, phase: str = "copying") -> None:
    spent = {"reading": at * 3, "writing": at}
    with database.work_write() as connection:
        writer.add(connection, Live(phase, at=at, done_bytes=done, done_objects=done // 10, spent=spent))


def test_a_run_of_any_length_takes_the_same_room(database: Database) -> None:
    writer = SeriesWriter(1)
    for second in range(0, 6000, 2):
        write(database, writer, float(second), second * 100)
    found = SeriesReader(database).get(1)
    assert MAX_POINTS / 2 <= len(found.points) <= MAX_POINTS
    assert found.every > series.FIRST_SECONDS
    assert found.points[-1].at >= 5998 - found.every
    assert [b.at - a.at for a, b in found.rates()] == [found.every] * (len(found.points) - 1)
    assert found.pauses() == ()
    # 100 bytes a second, whatever was left out.
    assert {(b.bytes - a.bytes) / (b.at - a.at) for a, b in found.rates()} == {100.0}


def test_nothing_is_recorded_while_nothing_moves_and_a_pause_is_a_pause(database: Database) -> None:
    writer = SeriesWriter(1)
    for at, phase in (
        (0, "listing"),
        (2, "copying"),
        (3, "copying"),
        (4, "copying"),
        (6, ""),
        (8, "stopping"),
    ):
        write(database, writer, float(at), 10, phase)
    resumed = SeriesWriter(1)
    for at in (104, 106, 108):
        write(database, resumed, float(at), 20)
    found = SeriesReader(database).get(1)
    assert [point.at for point in found.points] == [2, 4, 104, 106, 108]
    assert found.pauses() == ((4, 104),)
    assert len(list(found.rates())) == 3


def test_what_holds_it_back_is_a_share_of_the_last_minutes_of_this_run() -> None:
    points = (
        Point(0, 0, 0, 500.0, 0.0, 0.0),
        Point(2, 1, 1, 900.0, 0.0, 0.0),
        # Resumed: a run begins at zero.
        Point(400, 2, 2, 0.0, 0.0, 0.0),
        Point(402, 3, 3, 6.0, 2.0, 0.0),
    )
    assert Throughput(2.0, points).shares() == (0.75, 0.25, 0.0)
    assert Throughput().shares() == (0.0, 0.0, 0.0)


def test_a_hundred_watchers_read_it_once(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    write(database, SeriesWriter(1), 2.0, 10)
    reader, reads = SeriesReader(database), []
    real = series._read
    monkeypatch.setattr(series, "_read", lambda *given: reads.append(given) or real(*given))
    assert {len(reader.get(1).points) for _ in range(100)} == {1}
    assert len(reads) == 1
