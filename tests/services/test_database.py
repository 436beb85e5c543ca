"""The two databases: no lost update, no half schema, no newer schema, and sentences for what goes wrong."""

from __future__ import annotations

import sqlite3
import stat
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import event, inspect, select, text
from sqlalchemy.exc import OperationalError

from dashboard.errors import StowageError
from dashboard.models.console import Setting
from dashboard.services import engines
from dashboard.services.database import Database, open_database, prepare_instance
from dashboard.services.engines import engine_options
from dashboard.settings import Settings
from tests import shortcuts
from tests.services.database_file import opened


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    with opened(tmp_path) as database:
        yield database


def bump(database: Database, times: int) -> None:
    for _ in range(times):
        with database.write() as session:
            row = session.get_one(Setting, "counter")
            row.value = str(int(row.value or 0) + 1)


def test_concurrent_read_modify_writes_are_all_kept(database: Database) -> None:
    with database.write() as session:
        session.add(Setting(key="counter", value="0"))
    threads = [threading.Thread(target=bump, args=(database, 50)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with database.read() as session:
        assert session.get_one(Setting, "counter").value == "400"


def test_every_connection_has_the_pragmas(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engines, "PRAGMAS", shortcuts.PRAGMAS)
    for engine in (database.main, database.work):
        engine.dispose()
        with engine.connect() as connection:
            found = {
                name: connection.exec_driver_sql(f"PRAGMA {name}").scalar_one()
                for name in ("journal_mode", "synchronous", "foreign_keys", "busy_timeout")
            }
        assert found == {"journal_mode": "wal", "synchronous": 2, "foreign_keys": 1, "busy_timeout": 5000}


def test_reading_goes_on_while_somebody_writes(database: Database) -> None:
    with database.write() as session:
        session.add(Setting(key="a", value="before"))
    with database.write() as session:
        session.get_one(Setting, "a").value = "after"
        session.flush()
        with database.read() as other:
            assert other.get_one(Setting, "a").value == "before"
    with database.read() as other:
        assert other.get_one(Setting, "a").value == "after"


def test_an_exception_undoes_the_whole_transaction(database: Database) -> None:
    def half_a_deed() -> None:
        with database.write() as session:
            session.add(Setting(key="a", value="1"))
            session.flush()
            raise ZeroDivisionError

    def half_a_ledger() -> None:
        with database.work_write() as connection:
            connection.execute(text("CREATE TABLE gone (x)"))
            raise ZeroDivisionError

    for half in (half_a_deed, half_a_ledger):
        with pytest.raises(ZeroDivisionError):
            half()
    with database.read() as session:
        assert session.scalars(select(Setting)).all() == []
    assert "gone" not in inspect(database.work).get_table_names()


def test_the_two_files_do_not_wait_for_each_other(database: Database) -> None:
    with database.work_write() as connection:
        connection.execute(text("SELECT 1"))
        with database.write() as session:
            session.add(Setting(key="a", value="1"))


def test_a_lock_that_stays_is_a_sentence_that_may_be_retried(database: Database) -> None:
    # The wait is part of the promise, not of this test.
    event.listen(database.main, "connect", _impatient)
    database.close()
    holder = sqlite3.connect(database.main.url.database or "", isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    try:
        with pytest.raises(StowageError) as caught, database.write():
            pass
    finally:
        holder.close()
    assert caught.value.retryable
    assert "busy" in caught.value.reason


def _impatient(connection: sqlite3.Connection, _entry: object) -> None:
    connection.execute("PRAGMA busy_timeout=20")


def test_a_file_that_is_no_database_is_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "stowage.db").write_bytes(b"once upon a time there was a text file" * 100)
    with pytest.raises(StowageError) as caught, opened(tmp_path):
        pass
    assert "cannot be used" in caught.value.reason
    assert caught.value.remedy


def test_parameters_of_a_failed_statement_are_not_shown(tmp_path: Path) -> None:
    settings = Settings.from_env({}, instance=tmp_path)
    assert [each["hide_parameters"] for each in engine_options(settings).values()] == [True, True]
    database = open_database(settings)
    with pytest.raises(OperationalError) as caught, database.main.connect() as connection:
        connection.execute(text("INSERT INTO nowhere VALUES (:word)"), {"word": "s3cr3t"})
    database.close()
    assert "s3cr3t" not in str(caught.value)


def test_a_new_instance_belongs_to_its_owner_only(tmp_path: Path) -> None:
    settings = Settings.from_env({}, instance=tmp_path / "deep" / "instance")
    prepare_instance(settings)
    prepare_instance(settings)
    assert stat.S_IMODE(settings.instance.stat().st_mode) == 0o700
    assert stat.S_IMODE(settings.database.stat().st_mode) == 0o600


def test_an_instance_that_cannot_be_made_is_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StowageError) as caught:
        prepare_instance(Settings.from_env({}, instance=tmp_path / "file" / "instance"))
    assert "cannot be used" in caught.value.reason
    assert "STOWAGE_INSTANCE" in caught.value.remedy


@pytest.mark.parametrize("before", [0o755, 0o770, 0o700])
def test_the_instance_folder_is_closed_to_other_users(tmp_path: Path, before: int) -> None:
    folder = tmp_path / "instance"
    folder.mkdir()
    folder.chmod(before)
    prepare_instance(Settings.from_env({}, instance=folder))
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert {stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()} == {0o600}


def test_what_is_read_together_is_one_view_of_each_database(database: Database) -> None:
    with database.write() as session:
        session.add(Setting(key="a", value="before"))
    everyone = threading.Barrier(2)

    def change() -> None:
        everyone.wait()
        with database.write() as session:
            session.get_one(Setting, "a").value = "after"
        everyone.wait()
        with database.read() as session:
            seen.append(session.get_one(Setting, "a").value)

    seen: list[str | None] = []
    other = threading.Thread(target=change)
    other.start()
    value = select(Setting.value).where(Setting.key == "a")
    with database.read_together():
        with database.read() as session:
            assert session.scalar(value) == "before"
        everyone.wait()
        everyone.wait()
        with database.read_together(), database.read() as session:
            assert session.scalar(value) == "before", "a part of the page would contradict another"
        with database.work_read() as first, database.work_read() as second:
            assert first is second
    other.join()
    assert seen == ["after"], "another thread reads for itself"
    with database.read() as session:
        assert session.scalar(value) == "after"


def test_reading_together_ends_with_its_error_and_says_what_the_database_said(database: Database) -> None:
    with pytest.raises(StowageError), database.read_together(), database.work_read() as connection:
        connection.exec_driver_sql("SELECT * FROM nothing_of_this_name")
    with database.read() as session:
        first = session
    with database.read() as session:
        assert session is not first
