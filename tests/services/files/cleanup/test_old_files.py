"""Deleting old files: never more than was shown, and only what is still the same."""

from __future__ import annotations

import os
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from dashboard.errors import Kind, StowageError
from dashboard.jobs.types import JobKind
from dashboard.models.migrations import Job
from dashboard.services.catalogue.catalogue import FileFacts
from dashboard.services.catalogue.filters import FileFilters
from dashboard.services.files.cleanup import old_file_deletion
from dashboard.services.files.cleanup.cleanup_values import Cleanup, CleanupState, OldFilesPlan, parse_count
from dashboard.services.files.cleanup.old_file_deletion import OldFileDeletion
from dashboard.services.services import Services
from dashboard.storage.drivers.local.driver import LocalDriver
from dashboard.storage.errors import StorageError
from tests.servers.processes import wait_until
from tests.services.composed import add_local, fill, running
from tests.services.console import ADMIN, OPERATOR, VIEWER, ServiceConsole

DAY = 86_400
YEAR = 365 * DAY


@pytest.fixture(autouse=True)
def _settled(monkeypatch: pytest.MonkeyPatch) -> None:
    # The tests' files were made a moment ago.
    monkeypatch.setattr("dashboard.storage.drivers.local.versions._SETTLE_SECONDS", 0.0)


@pytest.fixture
def services(console: ServiceConsole, tmp_path: Path) -> Services:
    """A console with the backend “media” (2): 30 old files and five new ones, counted."""
    root = add_local(console.services, "media", tmp_path / "media")
    fill(root, {f"old/{number:02}": number for number in range(30)})
    fill(root, {f"new/{number}": 5 for number in range(5)})
    for path in (root / "old").iterdir():
        make_old(path)
    console.services.checks.count_backend(2, lambda: False)
    return console.services


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "media"


def make_old(path: Path, seconds: float = YEAR) -> None:
    os.utime(path, (time.time() - seconds,) * 2)


def request(services: Services, plan: OldFilesPlan, **changes: Any) -> Cleanup:
    values = {name: getattr(plan, name) for name in ("before", "planned_at", "last_id", "files")}
    return services.old_files.request(OPERATOR, plan.backend, **values | changes)


def deletion(services: Services) -> OldFileDeletion:
    return OldFileDeletion(services.database, services.audit, services.backends)


def run(services: Services, plan: OldFilesPlan) -> Cleanup:
    number = request(services, plan).id
    assert deletion(services).run(lambda: False)
    return services.old_files.get(number)


def names(root: Path) -> set[str]:
    return {str(path.relative_to(root)) for path in root.rglob("*") if path.is_file()}


def test_a_plan_shows_and_changes_nothing(services: Services, root: Path) -> None:
    plan = services.old_files.plan(30, "media")
    assert (plan.files, plan.bytes) == (30, sum(range(30)))
    assert all(file.key.startswith("old/") for file in plan.oldest)
    assert len(names(root)) == 35
    assert services.old_files.plan(366).files == 0
    assert services.old_files.plan(30, "local-disk").files == 0
    for days in (0, -1, 10**9):
        with pytest.raises(StowageError):
            services.old_files.plan(days)
    with pytest.raises(StowageError) as raised:
        services.old_files.plan(30, "nowhere")
    assert raised.value.kind is Kind.NOT_FOUND


def test_a_runner_deletes_what_was_confirmed_and_the_audit_log_says_so(
    services: Services, root: Path
) -> None:
    plan = services.old_files.plan(30)
    requested = request(services, plan)
    assert (requested.state, requested.active, requested.percent) == (CleanupState.QUEUED, True, 0.0)
    with running(services):
        wait_until(lambda: not services.old_files.get(requested.id).active, seconds=60, what="the deletion")
    done = services.old_files.list()[0]
    assert (done.state, done.deleted, done.deleted_bytes) == (CleanupState.DONE, 30, sum(range(30)))
    assert (done.kept, done.missing, done.failed, done.notes, done.percent) == (0, 0, 0, (), 100.0)
    assert names(root) == {f"new/{number}" for number in range(5)}
    assert services.catalogue.totals(FileFilters(backend="media"))[0] == 5
    begun, ended = services.audit.rows(action="files.delete_old")[0], services.audit.rows()[0]
    assert (begun.actor, begun.detail["files"], begun.detail["older_than_days"]) == ("olga", "30", "30")
    assert (ended.action, ended.detail["deleted"], ended.outcome) == ("files.old_deleted", "30", "done")


@pytest.mark.parametrize("hour", [0, 11.99, 12.01, 23.99])
def test_the_audit_log_tells_the_days_at_every_hour(
    hour: float, services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    moment = (time.time() // DAY + 1) * DAY + hour * 3600
    clock = SimpleNamespace(time=lambda: moment)
    monkeypatch.setattr("dashboard.services.files.cleanup.old_files.time", clock)
    request(services, services.old_files.plan(20))
    assert services.audit.rows(action="files.delete_old")[0].detail["older_than_days"] == "20"


@pytest.mark.parametrize("typed", [0, 29, 31, -1])
def test_another_number_deletes_nothing(services: Services, typed: int) -> None:
    plan = services.old_files.plan(30, "media")
    with pytest.raises(StowageError):
        request(services, plan, files=typed)
    assert services.old_files.list() == ()


def test_nobody_gets_around_the_plan(services: Services) -> None:
    plan = services.old_files.plan(30, "media")
    now = time.time()
    for changes in (
        {"before": now, "files": 35},
        {"before": now + YEAR, "planned_at": now + 2 * YEAR, "files": 35},
        {"planned_at": now + 60},
        {"last_id": -1},
        {"before": float("nan")},
        {"planned_at": float("inf")},
    ):
        with pytest.raises(StowageError):
            request(services, plan, **changes)
    with pytest.raises(StowageError) as raised:
        services.old_files.request(VIEWER, "media", before=1.0, planned_at=1e8, last_id=1, files=1)
    assert raised.value.kind is Kind.FORBIDDEN
    assert services.old_files.list() == ()


def test_what_came_or_changed_since_the_plan_stays(services: Services, root: Path) -> None:
    plan = services.old_files.plan(30, "media")
    fill(root, {"old/later": 3})
    make_old(root / "old/later")
    services.checks.count_backend(2, lambda: False)
    done = run(services, plan)
    assert done.deleted == 30
    assert "old/later" in names(root)


def test_changed_files_are_kept_and_named(services: Services, root: Path) -> None:
    plan = services.old_files.plan(30, "media")
    (root / "old/01").write_bytes(b"x")
    make_old(root / "old/02", seconds=2 * YEAR)
    (root / "old/03").write_bytes(b"longer than before")
    make_old(root / "old/03")
    (root / "old/04").unlink()
    done = run(services, plan)
    assert (done.deleted, done.kept, done.missing, done.failed) == (26, 3, 1, 0)
    assert {note.key for note in done.notes} == {"old/01", "old/02", "old/03"}
    assert {note.reason for note in done.notes} == {old_file_deletion.CHANGED}
    assert names(root) >= {"old/01", "old/02", "old/03"}
    with services.database.read() as session:
        # The row of the file that was gone is left to a count.
        assert session.query(Job).where(Job.kind == JobKind.COUNT, Job.state == "queued").count()


def test_a_file_that_changes_between_the_look_and_the_deletion_is_kept(
    services: Services, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = services.old_files.plan(30, "media")
    real = LocalDriver.delete_unchanged

    def rewritten_first(driver: LocalDriver, key: str, version: str) -> None:
        if key == "old/07":
            before = (root / key).stat()
            (root / key).write_bytes(b"y" * 7)
            os.utime(root / key, ns=(before.st_atime_ns, before.st_mtime_ns))
        real(driver, key, version)

    monkeypatch.setattr(LocalDriver, "delete_unchanged", rewritten_first)
    done = run(services, plan)
    assert (done.deleted, done.kept) == (29, 1)
    assert (root / "old/07").read_bytes() == b"y" * 7


def test_a_killed_deletion_goes_on_and_deletes_nothing_else(
    services: Services, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(old_file_deletion, "PAGE", 10)
    number = request(services, services.old_files.plan(30, "media")).id

    class Killed(BaseException):
        pass

    def die(*_: object) -> None:
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(OldFileDeletion, "_record", die)
        with pytest.raises(Killed):
            deletion(services).run(lambda: False)
    assert len(names(root)) == 25
    stops = iter([False, False, True, True])
    assert not deletion(services).run(lambda: next(stops))
    half = services.old_files.get(number)
    assert (half.state, half.missing, half.active) == (CleanupState.RUNNING, 10, True)
    assert deletion(services).run(lambda: False)
    done = services.old_files.get(number)
    assert (done.state, done.deleted, done.missing, done.kept) == (CleanupState.DONE, 20, 10, 0)
    assert len(names(root)) == 5


def test_a_new_file_that_is_stored_right_after_the_deletion_keeps_its_row(
    services: Services, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = services.old_files.plan(30, "media")
    real = OldFileDeletion._record

    def uploaded_first(job: OldFileDeletion, *arguments: Any) -> None:
        fill(root, {"old/05": 3})
        services.catalogue.record([FileFacts(2, "old/05", 3, owner="ada")])
        real(job, *arguments)

    monkeypatch.setattr(OldFileDeletion, "_record", uploaded_first)
    run(services, plan)
    assert [file.owner for file in services.catalogue.search_all(FileFilters(folder="old/"))] == ["ada"]


def test_a_file_that_a_program_may_still_be_writing_is_kept(
    services: Services, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dashboard.storage.drivers.local.versions._SETTLE_SECONDS", 600.0)
    done = run(services, services.old_files.plan(30, "media"))
    assert (done.deleted, done.kept, done.notes[0].reason) == (0, 30, old_file_deletion.UNSETTLED)


def test_failures_are_told_and_many_of_them_end_it(
    services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = services.old_files.plan(30, "media")

    def refuse(*_: object, **__: object) -> None:
        raise StorageError(Kind.DENIED, "This user may not delete there.")

    monkeypatch.setattr(LocalDriver, "delete_unchanged", refuse)
    done = run(services, plan)
    assert (done.state, done.deleted, done.failed) == (CleanupState.DONE, 0, 30)
    assert done.notes[0].reason == "This user may not delete there."
    monkeypatch.setattr(old_file_deletion, "MAX_FAILED", 5)
    again = run(services, services.old_files.plan(30, "media"))
    assert (again.state, again.message) == (CleanupState.FAILED, "This user may not delete there.")
    assert services.audit.rows()[0].outcome == "failed"


def test_files_of_a_removed_backend_are_neither_planned_nor_touched(services: Services, root: Path) -> None:
    plan = services.old_files.plan(30)
    services.backends.remove(ADMIN, "media")
    with pytest.raises(StowageError):
        request(services, plan)
    assert services.old_files.plan(30).files == 0
    assert len(names(root)) == 35


@pytest.mark.parametrize(
    ("text", "count"),
    [("12", 12), (" 1,200 ", 1200), ("1.200", 1200), ("", -1), ("all", -1), ("-5", -1), ("٣", -1)],
)
def test_a_typed_number(text: str, count: int) -> None:
    assert parse_count(text) == count
