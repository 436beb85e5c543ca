"""An embedded instance with everything in it is moved to PostgreSQL: every row is there, and it works on."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import insert, select

from dashboard.app import open_services
from dashboard.errors import Kind, StowageError
from dashboard.jobs.lock import LOCK_FILE, RunnerLock
from dashboard.migration.types import Spec, State
from dashboard.models.backends import Backend
from dashboard.models.every_table import METADATA
from dashboard.models.waiting import WaitingObject
from dashboard.models.work import objects
from dashboard.services.backups.restoring import restore
from dashboard.services.database import Database, open_database
from dashboard.services.engines import reader
from dashboard.services.moving.database_checks import check
from dashboard.services.moving.moves import move
from dashboard.services.moving.tables import TableSum, sum_up
from dashboard.services.services import Services
from dashboard.settings import Settings
from tests.cli.conftest import command_line
from tests.instances.keep import HERE, put_back
from tests.servers.postgresql import PASSWORD as DATABASE_PASSWORD
from tests.servers.postgresql import PostgreSQL
from tests.services.backups.test_backups import context
from tests.services.composed import add_local, await_state, fill, running
from tests.services.console import ADMIN

NEWEST = max(path.name for path in HERE.iterdir() if (path / "stowage.sql").is_file())
ODD_KEYS = (
    "",
    "a",
    "A",
    "é",
    "日本",
    "\U0001f600",
    "\U0010ffffx",
    "x\0y",
    "caf\udce9",
    "\ud800",
    "a%_\\b",
    "Z",
)


def is_text(key: str) -> bool:
    return "\0" not in key and key.encode("utf-8", "ignore").decode() == key


def sums(database: Database) -> dict[str, TableSum]:
    found = {}
    for engine, metadata in ((database.main, METADATA["main"]), (database.work, METADATA["work"])):
        with reader(engine).connect() as connection:
            found |= {table.name: sum_up(connection, table) for table in metadata.sorted_tables}
    return found


def add_odd_keys(settings: Settings) -> None:
    rows = [
        {"migration_id": 10**6, "key": key, "size": 2**62, "state": "pending", "action": "copy"}
        for key in ODD_KEYS
    ]
    database = open_database(settings)
    database.upgrade()
    with database.work_write() as connection:
        connection.execute(insert(objects), rows)
    with database.write() as session:
        home, stand_in = session.scalars(select(Backend.id).order_by(Backend.id)).all()[:2]
        for key in (b"caf\xe9", b"a\0b", b""):
            row = WaitingObject(
                home_id=home, stand_in_id=stand_in, key=key, stored_key=b"x" + key, state="new"
            )
            row.since = row.changed_at = 0.0
            session.add(row)
    database.close()


@pytest.fixture
def embedded(tmp_path: Path) -> Settings:
    """What a release left, with names in the ledger that are no text."""
    settings = Settings.from_env({}, instance=put_back(NEWEST, tmp_path))
    add_odd_keys(settings)
    return settings


@pytest.fixture
def target(embedded: Settings, postgresql: PostgreSQL) -> Iterator[Settings]:
    name = postgresql.create()
    yield replace(embedded, database_url=postgresql.url(name))
    postgresql.drop(name)


@pytest.fixture
def opened(target: Settings) -> Iterator[Callable[[], Services]]:
    """Opens the moved console, which is closed after the test."""
    made: list[Services] = []

    def open_() -> Services:
        made.append(open_services(target))
        return made[-1]

    yield open_
    for services in made:
        services.close()


def test_every_row_is_moved_and_the_console_works_on(
    embedded: Settings, target: Settings, opened: Callable[[], Services], tmp_path: Path
) -> None:
    before = open_database(embedded)
    expected = sums(before)
    before.close()
    files = {path: path.read_bytes() for path in (embedded.database, embedded.work_database)}

    moved = move(embedded, target)

    assert {each.table: each for each in moved.tables} == expected
    assert sum(each.rows > 0 for each in moved.tables) > 10
    assert {path: path.read_bytes() for path in files} == files
    assert [each.problems for each in check(target)] == [(), ()]
    services = opened()
    query = select(objects.c.key).where(objects.c.migration_id == 10**6).order_by(objects.c.key)
    with services.database.work_read() as connection:
        keys = list(connection.scalars(query))
    # Names that are no text come last; all others in the order of their bytes.
    plain = sorted(filter(is_text, ODD_KEYS), key=str.encode)
    assert sorted(keys) == sorted(ODD_KEYS)
    assert [key for key in keys if key in plain and not key.startswith("\U0010ffff")] == plain[:-1]
    assert services.backends.count() > 0
    for name in ("from-here", "to-here"):
        add_local(services, name, tmp_path / name)
    fill(tmp_path / "from-here", {f"{number}.bin": 100 for number in range(5)})
    with running(services):
        number = services.migrations.create(ADMIN, "from-here", "to-here", Spec(), approve=True)
        done = await_state(services, number, State.FINISHED)
    assert done.counters.verified == 5


def test_a_move_that_breaks_off_leaves_nothing_and_is_run_again(embedded: Settings, target: Settings) -> None:
    def break_off(done: TableSum) -> None:
        if done.table == "audit":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        move(embedded, target, on_table=break_off)
    assert [each.schema for each in check(target)] == [0, 0]
    move(embedded, target)
    with pytest.raises(StowageError) as refused:
        move(embedded, target)
    assert (refused.value.kind, "holds a console already" in refused.value.reason) == (Kind.CONFLICT, True)


def test_a_console_that_runs_is_not_moved(embedded: Settings, target: Settings) -> None:
    lock = RunnerLock(embedded.instance / LOCK_FILE)
    assert lock.acquire()
    try:
        with pytest.raises(StowageError) as refused:
            move(embedded, target)
    finally:
        lock.release()
    assert refused.value.remedy == "Stop it first."


@pytest.mark.torture
def test_a_value_that_no_column_has_stops_the_move(embedded: Settings, target: Settings) -> None:
    database = open_database(embedded)
    with database.write() as session:
        session.connection().exec_driver_sql("UPDATE users SET created_at = 'yesterday' WHERE id = 1")
    database.close()
    with pytest.raises(StowageError) as refused:
        move(embedded, target)
    assert refused.value.kind is Kind.DAMAGED
    assert {"users", "created_at"} <= set(refused.value.reason.split())
    assert "yesterday" not in refused.value.reason
    assert [each.schema for each in check(target)] == [0, 0]


def test_the_commands_move_check_and_never_take_a_password(
    embedded: Settings, target: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cli = command_line(embedded.instance)
    url = str(target.database_url)
    refused = cli("db", "move", "--to", url)
    assert (refused.code, "--password-file" in refused.err) == (2, True)
    password = tmp_path / "password"
    password.write_text(f"{DATABASE_PASSWORD}\n")
    address = url[: url.index(":", 12)] + url[url.index("@") :]
    moved = cli("db", "move", "--to", address, "--password-file", str(password))
    assert (moved.code, "were not changed" in moved.out) == (0, True), moved
    monkeypatch.setenv("STOWAGE_DATABASE_URL", address)
    monkeypatch.setenv("STOWAGE_DATABASE_PASSWORD_FILE", str(password))
    checked = cli("db", "check", "--json")
    assert (checked.code, [each["current"] for each in checked.document["databases"]]) == (0, [True, True])
    assert all("PostgreSQL" in each["kept_by"] for each in checked.document["databases"])
    assert cli("db", "upgrade").code == 0
    assert cli("user", "list").code == 0


@pytest.mark.torture
def test_a_backup_of_it_is_put_back_as_files_and_into_another_database(
    embedded: Settings,
    target: Settings,
    opened: Callable[[], Services],
    postgresql: PostgreSQL,
    tmp_path: Path,
) -> None:
    moved = {each.table: each for each in move(embedded, target).tables}
    services = opened()
    services.backups.request(ADMIN)
    services.backups.run(context())
    archive = target.instance / "backups" / services.backups.list()[0].key
    files = Settings.from_env({}, instance=tmp_path / "files")
    name = postgresql.create()
    other = Settings.from_env({}, instance=tmp_path / "other", database_url=postgresql.url(name))
    for settings in (files, other):
        restore(settings, archive)
        database = open_database(settings)
        found = sums(database)
        database.close()
        # What the backup itself has written since is in other tables.
        for table in ("migration_objects", "backends", "backend_secrets", "users", "files"):
            assert found[table] == moved[table]
    postgresql.drop(name)
