"""The two databases: no lost update, no half schema, no newer schema, and sentences for what goes wrong."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import sqlite3
import stat
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Connection, Engine, event, inspect, select, text

from dashboard.errors import Kind, StowageError
from dashboard.models.journal import Setting
from dashboard.models.waiting import WaitingHold, WaitingObject
from dashboard.services import database as module
from dashboard.services.database import Database, prepare_instance, sqlalchemy_config
from dashboard.services.fallback.rows import waiting_of
from dashboard.services.migrations.ledger import SqlLedger
from dashboard.settings import Settings
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


def test_every_connection_has_the_pragmas(database: Database) -> None:
    for engine in (database.main, database.work):
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
    config = sqlalchemy_config(settings)
    assert isinstance(options := config["SQLALCHEMY_ENGINE_OPTIONS"], dict)
    assert options["hide_parameters"] is True
    assert isinstance(binds := config["SQLALCHEMY_BINDS"], dict)
    assert binds["work"]["hide_parameters"] is True
    assert str(settings.work_database) in str(binds["work"]["url"])


def test_a_newer_schema_is_refused_before_anything_is_touched(tmp_path: Path) -> None:
    with opened(tmp_path) as database, database.main.begin() as connection:
        connection.exec_driver_sql("PRAGMA user_version = 99")
    with pytest.raises(StowageError) as caught, opened(tmp_path):
        pass
    assert caught.value.kind is Kind.CONFLICT
    assert "newer Stowage" in caught.value.reason
    assert "schema 99" in caught.value.reason


NEWEST = len(module.MAIN_STEPS) + 1


def add_colour(connection: Connection) -> None:
    connection.exec_driver_sql("ALTER TABLE settings ADD COLUMN colour TEXT")


def fail(connection: Connection) -> None:
    raise ZeroDivisionError


def version(engine: Engine) -> int:
    with engine.connect() as connection:
        return int(connection.exec_driver_sql("PRAGMA user_version").scalar_one())


def test_an_older_schema_is_brought_forward_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with opened(tmp_path) as database:
        assert version(database.main) == NEWEST
    monkeypatch.setattr(module, "MAIN_STEPS", (*module.MAIN_STEPS, add_colour))
    for _ in range(2):
        with opened(tmp_path) as database:
            assert version(database.main) == NEWEST + 1
            columns = {column["name"] for column in inspect(database.main).get_columns("settings")}
            assert "colour" in columns


def test_a_step_that_fails_leaves_the_old_schema(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with opened(tmp_path):
        pass
    monkeypatch.setattr(module, "MAIN_STEPS", (*module.MAIN_STEPS, add_colour, fail))
    with pytest.raises(ZeroDivisionError), opened(tmp_path):
        pass
    monkeypatch.undo()
    with opened(tmp_path) as database:
        assert version(database.main) == NEWEST
        columns = {column["name"] for column in inspect(database.main).get_columns("settings")}
        assert "colour" not in columns


def test_a_database_of_the_first_schema_gets_what_came_since(tmp_path: Path) -> None:
    with opened(tmp_path) as database, database.main.begin() as connection:
        connection.exec_driver_sql("DROP TABLE waiting_objects")
        connection.exec_driver_sql("ALTER TABLE backend_status DROP COLUMN unreadable_folders")
        connection.exec_driver_sql("PRAGMA user_version = 1")
    for _ in range(2):
        with opened(tmp_path) as database:
            assert version(database.main) == NEWEST
            assert "ix_waiting_key" in {
                each["name"] for each in inspect(database.main).get_indexes("waiting_objects")
            }
            assert "unreadable_folders" in {
                each["name"] for each in inspect(database.main).get_columns("backend_status")
            }


def test_a_ledger_of_the_first_schema_gets_what_came_since(tmp_path: Path) -> None:
    with opened(tmp_path) as database, database.work.begin() as connection:
        wanted = {table: columns(database.work, table) for table in inspect(connection).get_table_names()}
        connection.exec_driver_sql("DROP INDEX ix_migration_objects_own_keys")
        connection.exec_driver_sql("DROP TABLE migration_names")
        for table, column in (("counters", "token"), ("counters", "markers"), ("objects", "found")):
            connection.exec_driver_sql(f"ALTER TABLE migration_{table} DROP COLUMN {column}")
        connection.exec_driver_sql("PRAGMA user_version = 1")
    for _ in range(2):
        with opened(tmp_path) as database:
            assert version(database.work) == len(module.WORK_STEPS) + 1
            assert wanted == {table: columns(database.work, table) for table in wanted}
            indexes = inspect(database.work).get_indexes("migration_objects")
            assert "ix_migration_objects_own_keys" in {each["name"] for each in indexes}


def columns(engine: Engine, table: str) -> set[str]:
    return {each["name"] for each in inspect(engine).get_columns(table)}


def test_what_waited_before_holds_were_counted_waits_on(tmp_path: Path) -> None:
    with opened(tmp_path) as database:
        path = database.main.url.database
    assert path
    with contextlib.closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("DROP TABLE waiting_holds")
        for column in ("owner", "attributes", "attempts", "create_only"):
            connection.execute(f"ALTER TABLE waiting_objects DROP COLUMN {column}")
        connection.execute(
            "INSERT INTO waiting_objects (home_id, stand_in_id, key, stored_key, state, size, md5, message,"
            " since, changed_at) VALUES (1, 2, x'61', x'62', 'held', 3, 'd', '', 4.0, 5.0)"
        )
        connection.execute("PRAGMA user_version = 2")
    with opened(tmp_path) as database, database.read() as session:
        assert version(database.main) == NEWEST
        [row] = session.scalars(select(WaitingObject))
        assert (row.state, row.owner, row.attributes, row.attempts) == ("waiting", "", None, "")
        assert waiting_of(row).attributes is None
        assert session.scalars(select(WaitingHold)).all() == []


def test_a_ledger_from_before_plans_noted_the_destination_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "WORK_STEPS", module.WORK_STEPS[:3])
    with opened(tmp_path) as database, database.work.begin() as connection:
        connection.exec_driver_sql("ALTER TABLE migration_counters DROP COLUMN token")
        connection.exec_driver_sql("ALTER TABLE migration_objects DROP COLUMN found")
        connection.exec_driver_sql("INSERT INTO migration_counters (migration_id, found) VALUES (7, 1)")
        connection.exec_driver_sql(
            "INSERT INTO migration_objects (migration_id, key, size, state, action)"
            " VALUES (7, 'a', 1, 'pending', 'replace')"
        )
        connection.exec_driver_sql("PRAGMA user_version = 2")
    for _ in range(2):
        with opened(tmp_path) as database:
            ledger = SqlLedger(database.work, 7)
            ledger.begin()
            token = ledger.token()
            assert len(token) == 32
            assert [row.found for row in ledger.claim(1, 0.0)] == ["*"]
            again = SqlLedger(database.work, 7)
            again.begin()
            assert again.token() == token


def _open_in_child(folder: str, gate: multiprocessing.synchronize.Event) -> None:
    gate.wait()
    with opened(Path(folder)) as database, database.write() as session:
        session.add(Setting(key=str(os.getpid()), value="here"))


def test_several_processes_may_start_at_once_on_an_empty_folder(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    gate = context.Event()
    children = [context.Process(target=_open_in_child, args=(str(tmp_path), gate)) for _ in range(3)]
    for child in children:
        child.start()
    gate.set()
    for child in children:
        child.join(60)
    assert [child.exitcode for child in children] == [0] * 3
    with opened(tmp_path) as database, database.read() as session:
        assert len(session.scalars(select(Setting)).all()) == 3


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
