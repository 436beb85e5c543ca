"""What people may do with migrations, and what they read if they may not. No runner is running here."""

from __future__ import annotations

import csv
import io
import time
from collections.abc import Callable, Mapping
from dataclasses import astuple, replace
from pathlib import Path

import pytest
from sqlalchemy import event, select, update

from dashboard.errors import InvalidInput, Kind, StowageError
from dashboard.jobs.types import Job, JobKind
from dashboard.migration.ledger import Done, Planned, Reason, Settled
from dashboard.migration.types import (
    Action,
    LedgerRow,
    ObjectState,
    OnConflict,
    Spec,
    State,
    Verify,
)
from dashboard.models.migrations import Job as JobRow
from dashboard.models.migrations import Migration
from dashboard.services.backends.values import Draft
from dashboard.services.jobs import Jobs
from dashboard.services.migrations.migrations import Migrations
from dashboard.services.migrations.report import HEADER, csv_lines
from dashboard.services.migrations.spec import command_line, from_json, refuse_overlap, to_json
from dashboard.services.migrations.sql_ledger import SqlLedger
from tests.services.console import ADMIN, OPERATOR, VIEWER, ServiceConsole

ALL = frozenset(JobKind)


def add_local(console: ServiceConsole, name: str, root: Path) -> None:
    root.mkdir(parents=True, exist_ok=True)
    console.services.backends.add(ADMIN, Draft(name, "local", {"root": str(root)}, {}))


@pytest.fixture
def migrations(console: ServiceConsole, tmp_path: Path) -> Migrations:
    """The service of a console with the backends “one” and “two”."""
    add_local(console, "one", tmp_path / "one")
    add_local(console, "two", tmp_path / "two")
    return Migrations(console.database, console.services.audit)


def put_state(console: ServiceConsole, migration_id: int, state: State, control: str = "run") -> None:
    with console.database.write() as session:
        session.execute(
            update(Migration).where(Migration.id == migration_id).values(state=state.value, control=control)
        )


def jobs_of(console: ServiceConsole, migration_id: int) -> list[str]:
    with console.database.read() as session:
        return list(
            session.scalars(
                select(JobRow.state).where(
                    JobRow.kind == JobKind.MIGRATION, JobRow.subject_id == migration_id
                )
            )
        )


def claim(console: ServiceConsole) -> Job:
    job = Jobs(console.database).claim(frozenset({JobKind.MIGRATION}), "runner", 30)
    assert job
    return job


def audited(console: ServiceConsole) -> list[str]:
    return [row.action for row in console.services.audit.rows(action="migration")]


# ---- creating


def test_creating_writes_row_job_and_audit_together(console: ServiceConsole, migrations: Migrations) -> None:
    number = migrations.create(OPERATOR, "one", "two", Spec(prefix="a/", include=("*.jpg",)))
    progress = migrations.progress(number)
    assert (progress.source, progress.destination, progress.created_by) == ("one", "two", "olga")
    assert (progress.state, progress.outcome, progress.stopping) == (State.PLANNING, None, False)
    assert progress.spec == Spec(prefix="a/", include=("*.jpg",))
    assert jobs_of(console, number) == ["queued"]
    row = console.services.audit.rows(action="migration.create")[0]
    assert row.subject == str(number)
    assert row.detail["command"] == "stowage migrate one two --prefix a/ --include '*.jpg'"


@pytest.mark.parametrize(
    ("source", "destination", "spec", "field"),
    [
        ("nowhere", "two", Spec(), "source"),
        ("one", "nowhere", Spec(), "destination"),
        ("one", "one", Spec(), "destination"),
        ("one", "two", Spec(include=("[a",)), "include"),
        ("one", "two", Spec(exclude=("",)), "exclude"),
        ("one", "two", Spec(workers=-1), "workers"),
        ("one", "two", Spec(workers=257), "workers"),
        ("one", "two", Spec(prefix="a\nb"), "prefix"),
        ("one", "two", Spec(prefix="é" * 600), "prefix"),
        ("one", "two", Spec(prefix="\udc80"), "prefix"),
        ("one", "two", Spec(delete_source=True, dry_run=True), "delete_source"),
        ("one", "two", Spec(delete_source=True, verify=Verify.SIZE), "delete_source"),
    ],
)
def test_what_cannot_be_carried_out_is_refused_by_field(
    console: ServiceConsole, migrations: Migrations, source: str, destination: str, spec: Spec, field: str
) -> None:
    with pytest.raises(InvalidInput) as refusal:
        migrations.create(ADMIN, source, destination, spec)
    assert refusal.value.subject == field
    assert refusal.value.reason.endswith((".", "!"))
    assert migrations.list() == ()
    assert audited(console) == []


def test_folders_inside_each_other_are_refused(
    console: ServiceConsole, migrations: Migrations, tmp_path: Path
) -> None:
    add_local(console, "inner", tmp_path / "one" / "inner")
    add_local(console, "neighbour", tmp_path / "one-more")
    (tmp_path / "link").symlink_to(tmp_path / "one")
    add_local(console, "alias", tmp_path / "link")
    for source, destination in (("one", "inner"), ("inner", "one"), ("alias", "one"), ("alias", "inner")):
        with pytest.raises(InvalidInput, match=r"inside the other|same place"):
            migrations.create(ADMIN, source, destination, Spec())
    migrations.create(ADMIN, "one", "neighbour", Spec())
    # Only what lies under the prefix is read and written.
    migrations.create(ADMIN, "one", "inner", Spec(prefix="photos/"))


S3 = {"endpoint": "https://s3.example.com", "bucket": "b", "prefix": ""}


@pytest.mark.parametrize(
    ("here", "there", "prefix", "overlaps"),
    [
        ({}, {}, "", True),
        ({}, {"endpoint": "https://S3.EXAMPLE.com:443"}, "", True),
        ({"endpoint": "http://localhost:9000"}, {"endpoint": "http://127.0.0.1:9000"}, "", True),
        ({}, {"bucket": "c"}, "", False),
        ({}, {"bucket": "bb"}, "", False),
        ({}, {"endpoint": "https://s3.example.org"}, "", False),
        ({"prefix": "a/"}, {"prefix": "b/"}, "", False),
        ({"prefix": "a/"}, {"prefix": "a/b/"}, "", True),
        ({}, {"prefix": "backup/"}, "", True),
        ({}, {"prefix": "backup/"}, "photos/", False),
        ({}, {"prefix": "backup/"}, "backup/", True),
    ],
)
def test_one_bucket_under_two_names_is_recognised(
    here: Mapping[str, str], there: Mapping[str, str], prefix: str, overlaps: bool
) -> None:
    def both() -> None:
        refuse_overlap(("s3", {**S3, **here}), ("s3", {**S3, **there}), prefix)

    if overlaps:
        with pytest.raises(InvalidInput):
            both()
    else:
        both()


AZURE = {"endpoint": "", "account": "one", "container": "c", "prefix": ""}
VERCEL = {"endpoint": "", "store": "AbC", "access": "public", "prefix": ""}
GOOGLE = {"endpoint": "", "bucket": "media", "prefix": ""}
SFTP = {"host": "files.example.com", "port": "22", "user": "ada", "root": "/srv/files"}
WEBDAV = {"endpoint": "https://dav.example.com/files", "username": "ada", "prefix": ""}


@pytest.mark.parametrize(
    ("driver", "options", "other", "overlaps"),
    [
        ("azure", AZURE, {"prefix": "a/"}, True),
        ("azure", AZURE, {"account": "two"}, False),
        ("azure", AZURE, {"container": "d"}, False),
        ("webdav", WEBDAV, {"endpoint": "https://dav.example.com/files/a"}, True),
        ("webdav", WEBDAV, {"prefix": "a/"}, True),
        ("webdav", WEBDAV, {"endpoint": "https://dav.example.com/other"}, False),
        ("webdav", WEBDAV, {"endpoint": "https://dav.example.com/files-too"}, False),
        ("webdav", WEBDAV, {"username": "bob"}, False),
        ("vercel_blob", VERCEL, {"prefix": "a/"}, True),
        ("vercel_blob", VERCEL, {"store": "Other"}, False),
        ("gcs", GOOGLE, {"prefix": "a/"}, True),
        ("shelf", {"file": "/srv/a", "read_only": "false"}, {"read_only": "true", "prefix": "a/"}, True),
        ("shelf", {"file": "/srv/a"}, {"file": "/srv/b"}, False),
        ("gcs", GOOGLE, {"bucket": "other"}, False),
        ("sftp", SFTP, {"root": "/srv/files/a"}, True),
        ("sftp", SFTP, {"root": "/srv/files-too"}, False),
        ("sftp", SFTP, {"root": ""}, False),
        ("sftp", SFTP, {"root": "/"}, True),
        ("sftp", {**SFTP, "root": ""}, {"root": "a"}, True),
        ("sftp", SFTP, {"port": "2222"}, False),
        ("sftp", SFTP, {"user": "bob"}, False),
    ],
)
def test_the_same_holds_for_containers_and_servers(
    driver: str, options: Mapping[str, str], other: Mapping[str, str], overlaps: bool
) -> None:
    if overlaps:
        with pytest.raises(InvalidInput, match="inside the other"):
            refuse_overlap((driver, options), (driver, {**options, **other}), "")
    else:
        refuse_overlap((driver, options), (driver, {**options, **other}), "")


def test_a_second_migration_of_the_same_objects_waits(migrations: Migrations) -> None:
    first = migrations.create(ADMIN, "one", "two", Spec(prefix="a/"), approve=True)
    with pytest.raises(StowageError, match=f"Migration {first} already copies"):
        migrations.create(ADMIN, "one", "two", Spec(), approve=True)
    migrations.create(ADMIN, "one", "two", Spec(prefix="b/"), approve=True)
    migrations.create(ADMIN, "one", "two", Spec(dry_run=True), approve=True)
    planned = migrations.create(ADMIN, "one", "two", Spec(prefix="a/"))
    with pytest.raises(StowageError, match="already copies"):
        migrations.approve(ADMIN, planned)
    migrations.cancel(ADMIN, first)
    migrations.approve(ADMIN, planned)


def test_viewers_may_only_look(migrations: Migrations) -> None:
    number = migrations.create(ADMIN, "one", "two", Spec())
    wishes = (migrations.approve, migrations.pause, migrations.resume, migrations.cancel)
    for wish in (*wishes, migrations.retry_failed):
        with pytest.raises(StowageError) as refusal:
            wish(VIEWER, number)
        assert refusal.value.kind is Kind.FORBIDDEN
    with pytest.raises(StowageError):
        migrations.create(VIEWER, "one", "two", Spec())
    assert migrations.progress(number).state is State.PLANNING


# ---- wishes while nobody is at work


def test_pause_resume_and_cancel_need_no_runner(console: ServiceConsole, migrations: Migrations) -> None:
    number = migrations.create(ADMIN, "one", "two", Spec(), approve=True)
    migrations.pause(ADMIN, number)
    migrations.pause(ADMIN, number)
    assert migrations.progress(number).state is State.PAUSED
    assert jobs_of(console, number) == []
    migrations.resume(ADMIN, number)
    migrations.resume(ADMIN, number)
    assert migrations.progress(number).state is State.RUNNING
    assert jobs_of(console, number) == ["queued"]
    migrations.cancel(ADMIN, number)
    migrations.cancel(ADMIN, number)
    progress = migrations.progress(number)
    assert progress.state is State.CANCELLED
    assert progress.finished_at
    assert not progress.stopping
    assert jobs_of(console, number) == []
    wishes = ["migration.cancel", "migration.resume", "migration.pause", "migration.create"]
    assert audited(console) == wishes


@pytest.mark.parametrize("state", [State.PLANNING, State.READY, State.PAUSED])
def test_cancelling_early_leaves_nothing_to_do(
    console: ServiceConsole, migrations: Migrations, state: State
) -> None:
    number = migrations.create(ADMIN, "one", "two", Spec())
    put_state(console, number, state)
    migrations.cancel(ADMIN, number)
    assert migrations.progress(number).state is State.CANCELLED
    assert jobs_of(console, number) == []


def test_approving_a_planned_migration_hands_it_to_the_runner(
    console: ServiceConsole, migrations: Migrations
) -> None:
    number = migrations.create(ADMIN, "one", "two", Spec())
    Jobs(console.database).finish(claim(console))
    put_state(console, number, State.READY)
    migrations.approve(OPERATOR, number)
    migrations.approve(OPERATOR, number)
    assert migrations.progress(number).state is State.RUNNING
    assert "queued" in jobs_of(console, number)
    assert audited(console).count("migration.approve") == 1


def test_approving_while_planning_goes_on_needs_no_second_job(
    console: ServiceConsole, migrations: Migrations
) -> None:
    number = migrations.create(ADMIN, "one", "two", Spec())
    claim(console)
    migrations.approve(ADMIN, number)
    assert jobs_of(console, number) == ["running"]


@pytest.mark.parametrize(
    ("state", "wish", "sentence"),
    [
        (State.FINISHED, "pause", "cannot be paused: it has finished."),
        (State.READY, "pause", "cannot be paused: it waits for approval."),
        (State.CANCELLED, "pause", "cannot be paused: it was cancelled."),
        (State.FINISHED, "cancel", "can no longer be cancelled: it has finished."),
        (State.FINISHED, "resume", "cannot be resumed: it has finished."),
        (State.READY, "resume", "cannot be resumed: it waits for approval."),
        (State.CANCELLED, "approve", "can no longer be started: it was cancelled."),
        (State.RUNNING, "retry_failed", "cannot try its failed objects again: it is running."),
        (State.CANCELLED, "retry_failed", "cannot try its failed objects again: it was cancelled."),
        (State.FINISHED, "retry_failed", "has no failed objects: it has finished."),
    ],
)
def test_wishes_that_come_at_the_wrong_time_are_explained(
    console: ServiceConsole, migrations: Migrations, state: State, wish: str, sentence: str
) -> None:
    number = migrations.create(ADMIN, "one", "two", Spec())
    put_state(console, number, state)
    before = audited(console)
    with pytest.raises(StowageError) as refusal:
        getattr(migrations, wish)(ADMIN, number)
    assert refusal.value.reason == f"Migration {number} {sentence}"
    assert refusal.value.kind is Kind.CONFLICT
    assert migrations.progress(number).state is state
    assert audited(console) == before


@pytest.mark.parametrize("number", [0, -1, 99, 2**63, 2**70])
def test_an_unknown_number_is_not_found(migrations: Migrations, number: int) -> None:
    for call in (migrations.progress, migrations.failures, migrations.rows, migrations.report):
        with pytest.raises(StowageError) as refusal:
            call(number)
        assert refusal.value.kind is Kind.NOT_FOUND


# ---- wishes while a runner is at work


def test_a_wish_waits_for_the_runner_that_is_at_work(console: ServiceConsole, migrations: Migrations) -> None:
    number = migrations.create(ADMIN, "one", "two", Spec(), approve=True)
    claim(console)
    put_state(console, number, State.RUNNING)
    migrations.pause(ADMIN, number)
    progress = migrations.progress(number)
    assert (progress.state, progress.stopping) == (State.RUNNING, True)
    migrations.resume(ADMIN, number)
    assert not migrations.progress(number).stopping
    migrations.cancel(ADMIN, number)
    migrations.cancel(ADMIN, number)
    assert migrations.progress(number).stopping
    for wish in (migrations.pause, migrations.resume):
        with pytest.raises(StowageError, match="it is running"):
            wish(ADMIN, number)


def test_a_runner_that_died_in_the_middle_is_cleared_up_after(
    console: ServiceConsole, migrations: Migrations
) -> None:
    number = migrations.create(ADMIN, "one", "two", Spec(), approve=True)
    claim(console)
    put_state(console, number, State.RUNNING)
    ledger = filled_ledger(console, number)
    ledger.claim(1, time.time())
    Jobs(console.database).expire_all()
    migrations.cancel(ADMIN, number)
    assert migrations.progress(number).state is State.CANCELLED
    assert jobs_of(console, number).count("queued") == 1


# ---- watching


def filled_ledger(console: ServiceConsole, number: int) -> SqlLedger:
    """Two objects copied, one failed, one pending."""
    ledger = SqlLedger(console.database.work, number)
    ledger.begin()
    ledger.record([Planned(key, 10, Action.COPY) for key in ("=cmd()", "b", "c", "d")])
    rows = ledger.claim(3, 1.0)
    states = (ObjectState.COPIED, ObjectState.COPIED, ObjectState.FAILED)
    reason = Reason("denied", "It may not be read.", "Allow it.")
    ledger.settle(
        [
            Settled(row, Done(state, row.size, reason if state is ObjectState.FAILED else None), 1, 2.0)
            for row, state in zip(rows, states, strict=True)
        ]
    )
    return ledger


def test_failed_objects_are_tried_again(console: ServiceConsole, migrations: Migrations) -> None:
    number = migrations.create(ADMIN, "one", "two", Spec(), approve=True)
    filled_ledger(console, number)
    assert [group.reason for group in migrations.failures(number)] == ["It may not be read."]
    put_state(console, number, State.FINISHED)
    assert migrations.retry_failed(OPERATOR, number) == 2
    progress = migrations.progress(number)
    assert (progress.state, progress.counters.failed, progress.counters.copied) == (State.RUNNING, 0, 2)
    assert migrations.failures(number) == ()
    assert jobs_of(console, number) == ["queued"]
    assert "migration.retry" in audited(console)


def test_a_dry_run_has_nothing_to_retry(console: ServiceConsole, migrations: Migrations) -> None:
    number = migrations.create(ADMIN, "one", "two", Spec(dry_run=True))
    put_state(console, number, State.FINISHED)
    with pytest.raises(StowageError, match="was a dry run"):
        migrations.retry_failed(ADMIN, number)


def test_rows_and_report_show_the_whole_ledger(console: ServiceConsole, migrations: Migrations) -> None:
    number = migrations.create(ADMIN, "one", "two", Spec())
    filled_ledger(console, number)
    (failed,) = migrations.rows(number, state=ObjectState.FAILED)
    assert (failed.key, failed.kind, failed.remedy) == ("c", "denied", "Allow it.")
    assert [row.key for row in migrations.rows(number, after_id=failed.id)] == ["d"]
    rows = list(csv.DictReader(io.StringIO("".join(migrations.report(number)), newline="")))
    assert [row["key"] for row in rows] == ["'=cmd()", "b", "c", "d"]
    assert rows[2]["reason"] == "It may not be read."
    assert rows[0]["finished_at"] == "1970-01-01T00:00:02.000+00:00"
    assert rows[3]["state"] == "pending"


@pytest.mark.parametrize(
    ("key", "shown"),
    [
        ("=cmd()", "'=cmd()"),
        ("\n=cmd()", "\\n=cmd()"),
        (" @SUM(1)", "' @SUM(1)"),
        ("\u3000\uff1dcmd()", "'\u3000\uff1dcmd()"),
        ("a;=cmd()", "a;'=cmd()"),
        ('a";=cmd();"', 'a";\'=cmd();"'),
        ("a\r\n=cmd()", "a\\r\\n=cmd()"),
        ("2026-11-21/a-b=c.txt", "2026-11-21/a-b=c.txt"),
        ("a, -b", "a, -b"),
    ],
)
def test_no_cell_of_a_report_is_a_formula(key: str, shown: str) -> None:
    row = LedgerRow(1, "plain", 5, ObjectState.FAILED, Action.COPY, reason=key)
    text = "".join(csv_lines([[astuple(replace(row, key=key)), astuple(row)]]))
    first, second = list(csv.DictReader(io.StringIO(text, newline="")))
    assert (first["key"], second["reason"]) == (shown, shown)
    assert text.startswith(",".join(f'"{name}"' for name in HEADER) + '\r\n"')
    assert '"plain","5","failed","copy","0","",' in text


@pytest.mark.parametrize("beyond", [2**63, 10**30])
def test_numbers_that_no_row_can_have_are_no_rows(migrations: Migrations, beyond: int) -> None:
    number = migrations.create(ADMIN, "one", "two", Spec())
    assert [p.id for p in migrations.list(before_id=beyond)] == [number]
    assert migrations.rows(number, after_id=beyond) == ()
    with pytest.raises(StowageError, match="no migration"):
        migrations.progress(beyond)


def test_the_list_is_newest_first_and_pages(migrations: Migrations) -> None:
    numbers = [migrations.create(ADMIN, "one", "two", Spec()) for _ in range(5)]
    assert [p.id for p in migrations.list(limit=2)] == numbers[:2:-1]
    assert [p.id for p in migrations.list(limit=2, before_id=numbers[3])] == [numbers[2], numbers[1]]


def test_a_migration_nobody_takes_up_says_so(console: ServiceConsole, migrations: Migrations) -> None:
    number = migrations.create(ADMIN, "one", "two", Spec())
    assert migrations.progress(number).message == ""
    with console.database.write() as session:
        session.execute(update(JobRow).values(created_at=time.time() - 10))
    assert migrations.progress(number).message == "Waiting for a runner."
    claim(console)
    assert migrations.progress(number).message == ""


def test_progress_reads_no_rows_of_the_ledger(console: ServiceConsole, migrations: Migrations) -> None:
    number = migrations.create(ADMIN, "one", "two", Spec())
    filled_ledger(console, number)
    statements: list[str] = []
    for engine in (console.database.main, console.database.work):
        event.listen(engine, "before_cursor_execute", lambda *given: statements.append(given[2]))
    migrations.progress(number)
    assert statements
    assert [each for each in statements if "migration_objects" in each] == []


# ---- the spec in other clothes


def test_a_spec_survives_storage() -> None:
    spec = Spec("p", ("a*",), ("b",), OnConflict.KEEP_BOTH, Verify.READBACK, False, True, 7)
    assert from_json(to_json(spec)) == spec


def test_the_command_line_is_safe_to_paste() -> None:
    spec = Spec(
        prefix="-x y",
        include=("a'b", "*.jpg"),
        exclude=("$(rm)",),
        on_conflict=OnConflict.NEWER,
        verify=Verify.READBACK,
        delete_source=True,
        workers=3,
    )
    assert command_line("one", "two", spec) == (
        "stowage migrate one two '--prefix=-x y' --include 'a'\"'\"'b' --include '*.jpg' --exclude '$(rm)' "
        "--on-conflict newer --verify readback --delete-source --workers 3"
    )
    assert command_line("one", "two", replace(Spec(), dry_run=True)) == "stowage migrate one two --dry-run"


@pytest.mark.parametrize(
    "read",
    [
        lambda migrations, number: migrations.list(),
        lambda migrations, number: migrations.progress(number),
        lambda migrations, number: migrations.failures(number),
        lambda migrations, number: migrations.retry_failed(ADMIN, number),
    ],
)
def test_a_ledger_that_cannot_be_read_is_a_sentence(
    console: ServiceConsole, migrations: Migrations, read: Callable[[Migrations, int], object]
) -> None:
    number = migrations.create(ADMIN, "one", "two", Spec())
    put_state(console, number, State.FINISHED)
    with console.database.work_write() as connection:
        for table in ("migration_counters", "migration_failure_groups"):
            connection.exec_driver_sql(f"DROP TABLE {table}")
    with pytest.raises(StowageError) as caught:
        read(migrations, number)
    assert caught.value.reason == "The database reported an error."
