"""A console on a PostgreSQL server: one writer at a time, names of any kind, and a server that goes away."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from flask.testing import FlaskClient
from sqlalchemy import insert, select, text

from dashboard.app import create_app
from dashboard.errors import Kind, StowageError
from dashboard.models.console import Setting
from dashboard.models.work import names
from dashboard.services import upgrade
from dashboard.services.database import Database, open_database, prepare_instance, translated_errors
from dashboard.services.engines import take_write_lock
from dashboard.services.migrations.ledger_search import key_ranges
from dashboard.services.postgresql.texts import decode, encode
from dashboard.services.services import Services
from dashboard.services.upgrade import newest_revision
from dashboard.settings import Settings, SettingsError
from dashboard.web.context import EXTENSION
from tests.servers.postgresql import PASSWORD, PostgreSQL, postgresql_server

NAMES = (
    "a",
    "a/",
    "A",
    "ä",
    "日本/x",
    "a\0b",
    "caf\udce9/x",
    "\udce9",
    "\U0010ffff",
    "\U0010ffff61",
    "%",
    "\\x61",
    "",
)

STEP_WRITTEN_ONCE = """
import sqlalchemy as sa
from alembic import op
from dashboard.models.work import KeyText
revision, down_revision = "{new}", "{old}"
def upgrade():
    op.add_column("usage_shared_totals", sa.Column("later", sa.Integer(), nullable=False, server_default="0"))
    op.create_table(
        "later",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("key", KeyText(), nullable=False),
        sa.Column("facts", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_later_key", "later", ["key"], unique=True)
    op.get_bind().execute(sa.text("INSERT INTO later (key, facts) VALUES ('b', '{{}}')"))
"""


@pytest.fixture
def settings(postgresql: PostgreSQL, tmp_path: Path) -> Iterator[Settings]:
    name = postgresql.create()
    yield Settings.from_env({}, instance=tmp_path / "instance", database_url=postgresql.url(name))
    postgresql.drop(name)


@pytest.fixture
def database(settings: Settings) -> Iterator[Database]:
    opened = open_database(settings)
    opened.upgrade()
    yield opened
    opened.close()


def test_every_text_is_stored_and_comes_back_and_begins_as_it_began(database: Database) -> None:
    assert [decode(encode(name)) for name in NAMES] == list(NAMES)
    assert len({encode(name) for name in NAMES}) == len(NAMES)
    assert not any("\0" in encode(name) for name in NAMES)
    with database.work_write() as connection:
        connection.execute(insert(names), [{"migration_id": 1, "folded": n, "name": n} for n in NAMES])
    with database.work_read() as connection:
        assert set(connection.scalars(select(names.c.name))) == set(NAMES)
        for prefix in ("a", "caf", "caf\udce9", "\udce9", "ä", "%"):
            first, second = [*key_ranges(names.c.name, prefix), text("false")][:2]
            found = set(connection.scalars(select(names.c.name).where(first | second)))
            assert found == {name for name in NAMES if name.startswith(prefix)}


def test_of_many_writers_each_sees_what_the_one_before_wrote(database: Database) -> None:
    with database.write() as session:
        session.add(Setting(key="count", value="0"))

    def add() -> None:
        for _ in range(20):
            with database.write() as session:
                row = session.get_one(Setting, "count")
                row.value = str(int(row.value or "0") + 1)

    threads = [threading.Thread(target=add) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with database.read() as session:
        assert session.get_one(Setting, "count").value == "80"


def test_a_reader_sees_one_moment_and_changes_nothing(database: Database) -> None:
    count = text("SELECT count(*) FROM settings")
    with database.read() as session:
        before = session.scalar(count)
        with database.write() as other:
            other.add(Setting(key="late", value=""))
        assert session.scalar(count) == before
    with pytest.raises(StowageError), database.read() as session:
        session.execute(text("DELETE FROM settings"))


def test_a_writer_that_holds_the_lock_makes_others_say_so(database: Database) -> None:
    with database.work_write(), database.work.begin() as second:
        second.exec_driver_sql("SET LOCAL lock_timeout = '50ms'")
        with pytest.raises(StowageError) as busy, translated_errors():
            take_write_lock(second)
    assert (busy.value.kind, busy.value.reason) == (Kind.TIMEOUT, "The database is busy with another change.")


def test_a_writer_that_falls_asleep_does_not_keep_the_others_waiting_for_minutes(database: Database) -> None:
    limit = text("SELECT current_setting('idle_in_transaction_session_timeout')")
    with database.read() as session:
        assert session.scalar(limit) == "5min"
    for _ in range(2):
        with database.write() as session, database.work_write() as connection:
            assert (session.scalar(limit), connection.scalar(limit)) == ("10s", "10s")
        # The next that gets the connection may read for as long as it likes.
        with database.work_read() as connection:
            assert connection.scalar(limit) == "5min"


def test_an_earlier_schema_waits_for_the_command_and_a_newer_one_is_refused(
    settings: Settings, database: Database
) -> None:
    newest = newest_revision("work")
    for schema, said in (("0001", "earlier"), ("9999", "newer")):
        with database.work_write() as connection:
            connection.execute(text("UPDATE alembic_version SET version_num = :r"), {"r": schema})
        other = open_database(settings)
        with pytest.raises(StowageError) as refused:
            other.upgrade()
        other.close()
        assert (refused.value.kind, said in refused.value.reason) == (Kind.CONFLICT, True)
    with database.work_write() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = :r"), {"r": newest})
    database.upgrade()


@pytest.mark.parametrize("server", [False, True], ids=["files", "server"])
def test_a_step_written_once_runs_on_both(
    server: bool, tmp_path: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    in_files = Settings.from_env({}, instance=tmp_path / "instance")
    prepare_instance(in_files)
    database = open_database(request.getfixturevalue("settings") if server else in_files)
    database.upgrade()
    old = newest_revision("work")
    new = f"{int(old) + 1:04}"
    shutil.copytree(upgrade.STEPS, tmp_path / "steps", ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(upgrade, "STEPS", tmp_path / "steps")
    (tmp_path / "steps" / "work" / f"{new}_later.py").write_text(STEP_WRITTEN_ONCE.format(old=old, new=new))
    if server:
        with pytest.raises(StowageError) as refused:
            database.upgrade()
        assert "stowage db upgrade" in refused.value.remedy
    database.upgrade(shared=True)
    with database.work_write() as connection:
        connection.execute(text("INSERT INTO later (key, facts) VALUES ('a', '{}')"))
        found = connection.execute(text("SELECT key, facts FROM later ORDER BY key")).all()
    database.close()
    assert found == [("a", "{}"), ("b", "{}")]


@pytest.mark.parametrize(
    "url",
    ["mysql://host/base", "postgresql://:s3cret@/", "postgresql://host", "postgresql://h/a b", "stowage.db"],
)
def test_an_address_that_is_none_is_refused_without_repeating_it(url: str) -> None:
    with pytest.raises(SettingsError) as refused:
        Settings.from_env({"STOWAGE_DATABASE_URL": url}, instance=Path("/nowhere"))
    assert url not in str(refused.value)


def test_the_password_is_shown_nowhere(settings: Settings, caplog: pytest.LogCaptureFixture) -> None:
    wrong = replace(settings, database_url=str(settings.database_url).replace("postgresql-", "wrong-"))
    with pytest.raises(StowageError) as refused:
        open_database(wrong).upgrade()
    assert refused.value.kind is Kind.DENIED
    assert PASSWORD not in repr(settings)
    assert "wrong-" not in caplog.text + repr(wrong) + str(refused.value) + str(refused.value.__cause__)


@pytest.mark.torture
def test_a_server_that_went_away_is_a_sentence_and_is_found_again(tmp_path: Path) -> None:
    with postgresql_server() as server:
        settings = Settings.from_env(
            {}, instance=tmp_path / "instance", database_url=server.url(server.create())
        )
        app = create_app(settings)
        services: Services = app.extensions[EXTENSION]
        browser: FlaskClient = app.test_client()
        assert browser.get("/sign-in").status_code in (200, 302, 303)
        server.stop()
        for path in ("/sign-in", "/api/v1/console"):
            gone = browser.get(path, headers={"Accept": "application/json"} if "api" in path else {})
            assert gone.status_code == 503, path
            assert "The database server does not answer" in gone.text
            assert "Traceback" not in gone.text
        ready = browser.get("/readyz")
        assert (ready.status_code, "database: cannot be read" in ready.text) == (503, True)
        server.start()
        assert browser.get("/sign-in").status_code in (200, 302, 303)
        main, work = services.upkeep.databases()
        assert main.version.startswith("PostgreSQL ")
        assert min(main.size, work.size) > 0
        services.close()
