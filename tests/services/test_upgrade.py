"""The schema of both databases: made, upgraded, refused; and nothing lost by a step that goes wrong."""

from __future__ import annotations

import multiprocessing
import re
import shutil
import signal
import sqlite3
import stat
import sys
import threading
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata, produce_migrations, render_python_code
from alembic.operations import Operations
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Engine, create_engine, event, inspect, select

from dashboard import __version__
from dashboard.app import create_app
from dashboard.errors import Kind, StowageError
from dashboard.models import audit_search, files_by_day
from dashboard.models.console import Setting
from dashboard.models.every_table import main_metadata, work_metadata
from dashboard.models.waiting import WaitingHold, WaitingObject
from dashboard.services import upgrade
from dashboard.services.fallback.waiting_rows import waiting_of
from dashboard.services.migrations.sql_ledger import SqlLedger
from dashboard.settings import Settings
from dashboard.web.context import EXTENSION
from tests.cli.conftest import command_line
from tests.instances.keep import HERE, PASSWORD, put_back
from tests.services.database_file import add_backend, open_and_write, open_with_steps, opened
from tests.web.conftest import Browser

TREES = {"main": ("stowage.db", main_metadata), "work": ("work.db", work_metadata)}
COMMAS = re.compile(r",(?![^(]*\))")
"""Between the columns and constraints of a table."""
RELEASES = sorted(path.name for path in HERE.iterdir() if (path / "stowage.sql").is_file())


def newest(tree: str) -> str:
    return max(path.name[:4] for path in (upgrade.STEPS / tree).glob("0*.py"))


def left_by(folder: Path, **revisions: str) -> None:
    """Databases as a version left them that counted its steps itself: ``main="0002"``, ``work="0001"``."""
    for tree, revision in revisions.items():
        steps = ScriptDirectory(str(upgrade.STEPS / tree), version_locations=[str(upgrade.STEPS / tree)])
        engine = create_engine(f"sqlite:///{folder / TREES[tree][0]}")
        with engine.begin() as connection, Operations.context(MigrationContext.configure(connection)):
            for step in reversed(list(steps.iterate_revisions(revision, "base"))):
                step.module.upgrade()
            connection.exec_driver_sql(f"PRAGMA user_version = {int(revision)}")
        engine.dispose()


def change(folder: Path, statement: str, *values: object) -> None:
    with closing(sqlite3.connect(folder / "stowage.db")) as connection, connection:
        connection.execute(statement, values)


def schema(database: Path) -> dict[str, list[list[str]]]:
    """Every table and index with its columns and constraints, whatever the order of either."""
    with closing(sqlite3.connect(database)) as connection:
        made = connection.execute("SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL").fetchall()
    # A column that was added stands before the last bracket, on its line.
    parts = {name: COMMAS.split(re.sub(r"\s*\)$", "", sql)) for name, sql in made}
    return {name: sorted(sorted(part.split()) for part in each) for name, each in parts.items()}


def columns(engine: Engine, table: str) -> set[str]:
    return {each["name"] for each in inspect(engine).get_columns(table)}


def is_modelled(name: str | None, kind: str, _parents: object) -> bool:
    """What only SQLite has is made by its own statements; a virtual table keeps tables of its own."""
    return not (kind == "table" and name and name.startswith((audit_search.TABLE, files_by_day.TABLE)))


Step = Callable[..., None]


@pytest.fixture
def next_step(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Step:
    """Writes a step that comes after the newest of the main database: ``next_step("op.execute(...)")``."""
    steps = tmp_path_factory.mktemp("schema")
    shutil.copytree(upgrade.STEPS, steps, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(upgrade, "STEPS", steps)
    last = newest("main")
    revision = f"{int(last) + 1:04}"

    def write(*lines: str) -> None:
        text = f"from alembic import op\nrevision, down_revision = '{revision}', '{last}'\ndef upgrade():\n"
        (steps / "main" / f"{revision}_next.py").write_text(text + "".join(f"    {line}\n" for line in lines))

    return write


@pytest.mark.parametrize("tree", TREES)
def test_steps_are_numbered_without_gaps(tree: str) -> None:
    folder = upgrade.STEPS / tree
    steps = list(ScriptDirectory(str(folder), version_locations=[str(folder)]).walk_revisions())
    assert [step.revision for step in steps] == [f"{number:04}" for number in range(len(steps), 0, -1)]
    assert all(Path(step.path).name.startswith(f"{step.revision}_") for step in steps)


@pytest.mark.parametrize("tree", TREES)
def test_the_steps_lead_to_what_the_models_say(tree: str, tmp_path: Path) -> None:
    left_by(tmp_path, **{tree: newest(tree)})
    name, metadata = TREES[tree]
    engine = create_engine(f"sqlite:///{tmp_path / name}")
    with engine.connect() as connection:
        context = MigrationContext.configure(
            connection,
            opts={"compare_type": True, "compare_server_default": True, "include_name": is_modelled},
        )
        differences = compare_metadata(context, metadata)
        missing = render_python_code(produce_migrations(context, metadata).upgrade_ops, render_as_batch=True)
    engine.dispose()
    assert differences == [], f"A step is missing:\n{missing}"


@pytest.mark.parametrize("tree", TREES)
def test_a_new_database_is_like_one_that_took_every_step(tree: str, tmp_path: Path) -> None:
    new, old = tmp_path / "new", tmp_path / "old"
    for folder in (new, old):
        folder.mkdir()
    left_by(old, main="0001", work="0001")
    for folder in (new, old):
        with opened(folder):
            pass
    assert schema(new / TREES[tree][0]) == schema(old / TREES[tree][0])


def test_an_instance_of_every_release_is_kept() -> None:
    text = (Path(__file__).resolve().parents[2] / "CHANGELOG.md").read_text(encoding="utf-8")
    versions = re.findall(r"^## (\S+) \((.+)\)$", text, re.MULTILINE)
    assert versions
    assert {version for version, when in versions if when != "unreleased"} <= set(RELEASES)


@pytest.mark.parametrize("release", RELEASES)
def test_an_instance_of_every_release_opens_and_works(release: str, tmp_path: Path) -> None:
    instance = put_back(release, tmp_path)
    console = command_line(instance)
    people = console("user", "list", "--json").document["users"]
    assert [(each["username"], each["role"]) for each in people] == [("ann", "admin"), ("bob", "operator")]
    report = console("migrations", "report", "1").out
    assert [report.count(word) for word in ("verified", "failed")] == [2, 1], report

    app = create_app(Settings.from_env({}, instance=instance))
    services = app.extensions[EXTENSION]
    ann = Browser(app.test_client())
    assert ann.sign_in("ann", PASSWORD).status_code == 303
    for page in ("/", "/backend/cloud", "/migrations", "/migrations/1", "/audit"):
        assert ann.get(page).status_code == 200, page
    # Built with the secret that was sealed then.
    assert [services.backends.driver(each.name) for each in services.backends.list()]
    assert len(services.backends.list()) == 3
    services.close()

    assert console("migrations", "retry-failed", "1").code == 0
    assert (tmp_path / "other" / "b.txt").read_text() == "b" * 10
    with opened(tmp_path):
        for name, _ in TREES.values():
            assert schema(instance / name) == schema(tmp_path / name)


def test_a_schema_that_is_up_to_date_costs_one_query(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.split(".")[0] == "alembic"]:
        monkeypatch.setitem(sys.modules, name, None)
    statements: list[str] = []
    with opened(tmp_path) as database:
        event.listen(database.main, "before_cursor_execute", lambda *given: statements.append(given[2]))
        database.upgrade()
    assert statements == ["BEGIN", "SELECT version_num FROM alembic_version"]
    assert not list(tmp_path.glob("*.before-*"))


@pytest.mark.parametrize(
    "statement", ["UPDATE alembic_version SET version_num = '0099'", "DROP TABLE alembic_version"]
)
def test_a_newer_schema_is_refused_before_anything_is_touched(tmp_path: Path, statement: str) -> None:
    with opened(tmp_path):
        pass
    change(tmp_path, "PRAGMA user_version = 99")
    change(tmp_path, statement)
    before = schema(tmp_path / "stowage.db")
    with pytest.raises(StowageError) as caught, opened(tmp_path):
        pass
    assert caught.value.kind is Kind.CONFLICT
    assert "newer Stowage" in caught.value.reason
    assert "schema 99" in caught.value.reason
    assert schema(tmp_path / "stowage.db") == before


def test_versions_from_before_alembic_know_what_is_too_new_for_them(tmp_path: Path) -> None:
    with opened(tmp_path) as database, database.main.connect() as connection:
        number = connection.exec_driver_sql("PRAGMA user_version").scalar_one()
    assert number == int(newest("main"))


def test_an_upgrade_keeps_what_was_there_before_it(tmp_path: Path) -> None:
    left_by(tmp_path, main="0002", work="0006")
    (tmp_path / "stowage.db.before-0.0.9").write_text("of an earlier upgrade")
    change(tmp_path, "INSERT INTO settings (key, value) VALUES ('a', 'as it was')")
    before = schema(tmp_path / "stowage.db")
    with opened(tmp_path) as database, database.write() as session:
        session.get_one(Setting, "a").value = "changed since"
    [copy] = tmp_path.glob("stowage.db.before-*")
    assert copy.name == f"stowage.db.before-{__version__}"
    assert stat.S_IMODE(copy.stat().st_mode) == 0o600
    assert schema(copy) == before
    with closing(sqlite3.connect(copy)) as connection:
        assert connection.execute("PRAGMA user_version").fetchone() == (2,)
        assert connection.execute("SELECT value FROM settings").fetchall() == [("as it was",)]


def test_where_no_copy_can_be_kept_nothing_is_upgraded(tmp_path: Path) -> None:
    left_by(tmp_path, main="0002")
    (tmp_path / f"stowage.db.before-{__version__}").mkdir()
    before = schema(tmp_path / "stowage.db")
    with pytest.raises(StowageError, match="no copy of it can be kept") as caught, opened(tmp_path):
        pass
    assert caught.value.kind is Kind.DENIED
    assert schema(tmp_path / "stowage.db") == before
    assert not list(tmp_path.glob("*.partial"))


def test_a_step_that_fails_leaves_everything_as_it_was(tmp_path: Path, next_step: Step) -> None:
    with opened(tmp_path):
        pass
    before = schema(tmp_path / "stowage.db")
    next_step("op.execute('ALTER TABLE settings ADD COLUMN colour TEXT')", "raise ZeroDivisionError")
    with pytest.raises(ZeroDivisionError), opened(tmp_path):
        pass
    assert schema(tmp_path / "stowage.db") == before
    next_step("op.execute('ALTER TABLE settings ADD COLUMN colour TEXT')")
    for _ in range(2):
        with opened(tmp_path) as database:
            assert "colour" in columns(database.main, "settings")


def test_a_table_that_is_made_anew_keeps_what_refers_to_it(tmp_path: Path, next_step: Step) -> None:
    with opened(tmp_path) as database:
        first, last = add_backend(database, "one"), add_backend(database, "two")
    change(
        tmp_path,
        "INSERT INTO backend_secrets (backend_id, name, sealed, hint) VALUES (?, 'a', 'b', '')",
        first,
    )
    change(tmp_path, "DELETE FROM backends WHERE id = ?", last)
    next_step(
        "with op.batch_alter_table('backends', table_kwargs={'sqlite_autoincrement': True}) as table:",
        "    table.alter_column('preset', nullable=True)",
    )
    with opened(tmp_path) as database:
        with database.main.connect() as connection:
            assert connection.exec_driver_sql("PRAGMA foreign_keys").scalar_one() == 1
            assert connection.exec_driver_sql("SELECT backend_id FROM backend_secrets").all() == [(first,)]
        # Secrets are bound to the number: that of a removed backend never comes back.
        assert add_backend(database, "three") > last


def test_a_step_that_would_leave_rows_without_what_they_refer_to_is_undone(
    tmp_path: Path, next_step: Step
) -> None:
    with opened(tmp_path) as database:
        number = add_backend(database, "one")
    change(
        tmp_path,
        "INSERT INTO backend_secrets (backend_id, name, sealed, hint) VALUES (?, 'a', 'b', '')",
        number,
    )
    next_step("op.execute('DELETE FROM backends')")
    with pytest.raises(StowageError, match="was undone"), opened(tmp_path):
        pass
    with closing(sqlite3.connect(tmp_path / "stowage.db")) as connection:
        assert connection.execute("SELECT count(*) FROM backends").fetchone() == (1,)


def test_a_kill_in_the_middle_of_an_upgrade_leaves_the_old_schema(tmp_path: Path, next_step: Step) -> None:
    left_by(tmp_path, main="0001", work="0006")
    before = schema(tmp_path / "stowage.db")
    next_step("import os, signal", "os.kill(os.getpid(), signal.SIGKILL)")
    child = multiprocessing.get_context("spawn").Process(
        target=open_with_steps, args=(tmp_path, upgrade.STEPS)
    )
    child.start()
    child.join(60)
    assert child.exitcode == -signal.SIGKILL
    assert schema(tmp_path / "stowage.db") == before
    next_step("pass")
    with opened(tmp_path) as database:
        assert "waiting_tries" in inspect(database.main).get_table_names()


def test_several_processes_may_make_or_upgrade_the_same_databases(tmp_path: Path) -> None:
    new, old = tmp_path / "new", tmp_path / "old"
    for folder in (new, old):
        folder.mkdir()
    left_by(old, main="0001", work="0001")
    context = multiprocessing.get_context("spawn")
    gate = context.Event()
    children = [context.Process(target=open_and_write, args=([new, old], gate)) for _ in range(2)]
    for child in children:
        child.start()
    gate.set()
    for child in children:
        child.join(60)
    assert [child.exitcode for child in children] == [0, 0]
    for folder in (new, old):
        with opened(folder) as database, database.read() as session:
            assert len(session.scalars(select(Setting)).all()) == 2


def test_several_threads_may_upgrade_databases_of_their_own(tmp_path: Path) -> None:
    folders = [tmp_path / str(number) for number in range(2)]
    for folder in folders:
        folder.mkdir()
        left_by(folder, main="0001", work="0001")
    failures: list[BaseException] = []

    def upgraded(folder: Path) -> None:
        try:
            with opened(folder):
                pass
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=upgraded, args=(folder,)) for folder in folders]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert all(schema(folder / "work.db") == schema(folders[0] / "work.db") for folder in folders)


def test_what_waited_before_holds_were_counted_waits_on(tmp_path: Path) -> None:
    left_by(tmp_path, main="0002")
    change(
        tmp_path,
        "INSERT INTO waiting_objects (home_id, stand_in_id, key, stored_key, state, size, md5, message,"
        " since, changed_at) VALUES (1, 2, x'61', x'62', 'held', 3, 'd', '', 4.0, 5.0)",
    )
    with opened(tmp_path) as database, database.read() as session:
        [row] = session.scalars(select(WaitingObject))
        assert (row.state, row.owner, row.attributes, row.attempts) == ("waiting", "", None, "")
        assert waiting_of(row).attributes is None
        assert session.scalars(select(WaitingHold)).all() == []


def test_of_passwords_no_ending_is_kept(tmp_path: Path) -> None:
    left_by(tmp_path, main="0005")
    for name in ("password", "secret_access_key"):
        change(
            tmp_path,
            "INSERT INTO backend_secrets (backend_id, name, sealed, hint) VALUES (1, ?, 'sealed', 'last')",
            name,
        )
    with opened(tmp_path) as database, database.main.connect() as connection:
        found = connection.exec_driver_sql("SELECT name, hint FROM backend_secrets ORDER BY name").all()
        assert found == [("password", ""), ("secret_access_key", "last")]


def test_a_ledger_from_before_plans_noted_the_destination_goes_on(tmp_path: Path) -> None:
    left_by(tmp_path, work="0002")
    with closing(sqlite3.connect(tmp_path / "work.db")) as connection, connection:
        connection.execute("INSERT INTO migration_counters (migration_id, found) VALUES (7, 1)")
        connection.execute(
            "INSERT INTO migration_objects (migration_id, key, size, state, action)"
            " VALUES (7, 'a', 1, 'pending', 'replace')"
        )
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
