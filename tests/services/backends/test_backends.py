"""Backends: what may be saved, changed and removed, and what a draft may never reveal."""

from __future__ import annotations

import dataclasses
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import func, select, update
from sqlalchemy.exc import IntegrityError

from dashboard.errors import InvalidInput, Kind, StowageError
from dashboard.models.backends import Backend, BackendSecret
from dashboard.models.backups import Backup
from dashboard.models.migrations import Job, Migration
from dashboard.services.backends import drivers
from dashboard.services.backends.backends import Backends, Badge, Draft
from dashboard.services.backends.checks import Checks
from dashboard.services.backups.backup_values import BackupState
from dashboard.services.permissions import Role
from dashboard.storage.types import Secret
from tests.services.console import ADMIN, OPERATOR, ServiceConsole

SECRET = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLE4f2c"
OPTIONS = {"endpoint": "http://127.0.0.1:9000", "bucket": "files", "access_key_id": "AKIAEXAMPLE"}
MEDIA = Draft("media", "minio", OPTIONS, {"secret_access_key": Secret(SECRET)})
BLANK = {"secret_access_key": Secret("")}


@pytest.fixture
def backends(console: ServiceConsole) -> Backends:
    return console.services.backends


def local(name: str, root: Path) -> Draft:
    return Draft(name, "local", {"root": str(root)}, {})


def edited(**changes: object) -> Draft:
    """The saved “media”, opened in a form and sent back with these changes."""
    return replace(MEDIA, secrets=BLANK, existing="media", **changes)  # type: ignore[arg-type]


def sealed_text(console: ServiceConsole) -> str:
    with console.database.read() as session:
        return session.scalars(select(BackendSecret.sealed)).one()


def test_a_saved_backend_shows_only_the_end_of_its_secret(backends: Backends) -> None:
    info = backends.add(ADMIN, MEDIA)
    assert info == backends.get("media")
    assert info.secrets == {"secret_access_key": "4f2c"}
    assert (info.driver, info.preset_label, info.version, info.active) == ("s3", "MinIO", 1, False)
    assert info.status.badge is Badge.UNKNOWN
    assert "files" in info.summary
    assert SECRET not in repr(info)
    assert SECRET not in repr(MEDIA)


def test_short_secrets_get_no_hint(backends: Backends) -> None:
    info = backends.add(ADMIN, replace(MEDIA, secrets={"secret_access_key": Secret("minioadmin")}))
    assert info.secrets == {"secret_access_key": ""}


def test_a_new_backend_is_checked_and_counted_in_the_background(
    backends: Backends, console: ServiceConsole
) -> None:
    info = backends.add(ADMIN, MEDIA)
    with console.database.read() as session:
        jobs = session.execute(select(Job.kind).where(Job.subject_id == info.id)).scalars().all()
    assert sorted(jobs) == ["check", "count"]


@pytest.mark.parametrize("name", ["", "-a", "A", "a_b", "a/b", "a" * 64, "a\n", "ä", "\udcff"])
def test_unfit_names_are_refused(backends: Backends, name: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        backends.add(ADMIN, replace(MEDIA, name=name))
    assert caught.value.subject == "name"


def test_a_taken_name_is_refused(backends: Backends) -> None:
    with pytest.raises(InvalidInput, match="already a backend"):
        backends.add(ADMIN, replace(MEDIA, name="local-disk"))


def test_a_missing_backend_is_not_found_whatever_it_is_called(backends: Backends) -> None:
    for name in ("nobody", "", "\udcff", "x" * 500):
        with pytest.raises(StowageError) as caught:
            backends.get(name)
        assert caught.value.kind is Kind.NOT_FOUND
        caught.value.reason.encode()


def test_the_consoles_own_files_cannot_be_a_backend(backends: Backends, console: ServiceConsole) -> None:
    for root in (console.settings.instance, console.settings.key_file, console.settings.instance.parent):
        with pytest.raises(InvalidInput) as caught:
            backends.add(ADMIN, local("own", root))
        assert caught.value.subject == "root"


def test_a_blank_secret_keeps_the_stored_one(backends: Backends, console: ServiceConsole) -> None:
    backends.add(ADMIN, MEDIA)
    before = sealed_text(console)
    info = backends.edit(ADMIN, edited(options=OPTIONS | {"bucket": "other"}))
    assert (info.version, info.options["bucket"], info.secrets) == (2, "other", {"secret_access_key": "4f2c"})
    assert sealed_text(console) == before


@pytest.mark.parametrize(
    "change",
    [
        {"endpoint": "http://evil.example:9000"},
        {"endpoint": "http://minio.example:9001"},
        {"endpoint": "https://minio.example:9000"},
        {"region": "eu-west-1"},
        {"path_style": "false"},
        {"tls_verify": "false"},
    ],
)
def test_sending_a_stored_secret_elsewhere_demands_it_again(
    backends: Backends, console: ServiceConsole, change: dict[str, str]
) -> None:
    options = OPTIONS | {"endpoint": "http://minio.example:9000"}
    backends.add(ADMIN, replace(MEDIA, options=options))
    draft = edited(options=options | change)
    for attempt in (lambda: backends.edit(ADMIN, draft), lambda: backends.draft_driver(draft)):
        with pytest.raises(InvalidInput) as caught:
            attempt()
        assert caught.value.subject == "secret_access_key"
        assert "must be entered again" in caught.value.reason
    assert backends.get("media").version == 1
    before = sealed_text(console)
    backends.edit(ADMIN, replace(draft, secrets={"secret_access_key": Secret(SECRET)}))
    assert sealed_text(console) != before


def test_a_new_secret_replaces_the_old_one(backends: Backends) -> None:
    backends.add(ADMIN, MEDIA)
    info = backends.edit(ADMIN, replace(edited(), secrets={"secret_access_key": Secret("n" * 36 + "9a9a")}))
    assert info.secrets == {"secret_access_key": "9a9a"}


def test_an_optional_secret_can_be_cleared(backends: Backends) -> None:
    both = {"secret_access_key": Secret(SECRET), "session_token": Secret("t" * 40)}
    assert set(backends.add(ADMIN, replace(MEDIA, secrets=both)).secrets) == set(both)
    assert set(backends.edit(ADMIN, edited()).secrets) == set(both)
    info = backends.edit(ADMIN, edited(cleared=frozenset({"session_token"})))
    assert set(info.secrets) == {"secret_access_key"}


def test_a_required_secret_cannot_be_cleared(backends: Backends) -> None:
    backends.add(ADMIN, MEDIA)
    with pytest.raises(InvalidInput) as caught:
        backends.edit(ADMIN, edited(cleared=frozenset({"secret_access_key"})))
    assert caught.value.subject == "secret_access_key"


def test_a_secret_among_the_options_is_refused(backends: Backends) -> None:
    with pytest.raises(InvalidInput) as caught:
        backends.add(ADMIN, replace(MEDIA, options=OPTIONS | {"secret_access_key": SECRET}))
    assert SECRET not in str(caught.value.as_dict())


def test_options_that_are_no_text_are_refused(backends: Backends) -> None:
    with pytest.raises(InvalidInput) as caught:
        backends.add(ADMIN, replace(MEDIA, options=OPTIONS | {"prefix": "a\udcff/"}))
    assert caught.value.subject == "prefix"


def test_a_backend_keeps_its_kind_of_storage(backends: Backends, tmp_path: Path) -> None:
    backends.add(ADMIN, MEDIA)
    with pytest.raises(InvalidInput) as caught:
        backends.edit(ADMIN, replace(local("media", tmp_path / "x"), existing="media"))
    assert caught.value.subject == "preset"


def test_an_edit_over_anothers_edit_is_refused(backends: Backends) -> None:
    backends.add(ADMIN, MEDIA)
    backends.edit(ADMIN, edited(version=1))
    with pytest.raises(StowageError) as caught:
        backends.edit(ADMIN, edited(version=1))
    assert caught.value.kind is Kind.CONFLICT
    assert "Somebody else changed" in caught.value.reason


def test_of_many_edits_at_once_each_is_whole_or_refused(backends: Backends) -> None:
    backends.add(ADMIN, MEDIA)
    kinds: list[str] = []

    def edit(number: int) -> None:
        try:
            backends.edit(ADMIN, edited(options=OPTIONS | {"bucket": f"bucket-{number}"}, version=1))
            kinds.append("done")
        except StowageError as error:
            kinds.append(error.kind.value)

    threads = [threading.Thread(target=edit, args=(n,)) for n in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(kinds) == ["conflict"] * 5 + ["done"]
    assert backends.get("media").version == 2


def test_a_moved_backend_forgets_what_was_seen_at_its_old_place(
    backends: Backends, console: ServiceConsole
) -> None:
    info = backends.add(ADMIN, MEDIA)
    console.services.status.record_check(info.id, Badge.HEALTHY, 3.0)
    console.services.status.record_count(info.id, 5, 500, final=True)
    assert (
        backends.edit(ADMIN, edited(options=OPTIONS | {"cdn_domain": "cdn.example.com"})).status.objects == 5
    )
    status = backends.edit(ADMIN, edited(options=OPTIONS | {"bucket": "other"})).status
    assert (status.badge, status.objects, status.latency_ms) == (Badge.UNKNOWN, None, None)


def test_renaming_keeps_secrets_and_history(backends: Backends) -> None:
    before = backends.add(ADMIN, MEDIA)
    after = backends.edit(ADMIN, edited(name="archive"))
    assert (after.id, after.name) == (before.id, "archive")
    backends.driver("archive")
    with pytest.raises(InvalidInput, match="already a backend"):
        backends.edit(ADMIN, replace(edited(name="local-disk"), existing="archive"))


def test_the_active_backend_cannot_be_removed(backends: Backends) -> None:
    with pytest.raises(StowageError) as caught:
        backends.remove(ADMIN, "local-disk")
    assert caught.value.kind is Kind.CONFLICT
    assert "active" in caught.value.reason


@pytest.mark.parametrize("end", ["source_id", "destination_id"])
def test_a_backend_in_a_migration_stays_where_it_is_until_the_end(
    backends: Backends, console: ServiceConsole, end: str
) -> None:
    info = backends.add(ADMIN, MEDIA)
    with console.database.write() as session:
        session.add(
            Migration(
                **{end: info.id},
                source="media",
                destination="media",
                spec={},
                state="paused",
                created_by="ada",
                created_at=0.0,
            )
        )
    for deed in (
        lambda: backends.remove(ADMIN, "media"),
        lambda: backends.edit(ADMIN, edited(options=OPTIONS | {"bucket": "other"})),
        lambda: backends.edit(ADMIN, edited(name="renamed")),
    ):
        with pytest.raises(StowageError) as caught:
            deed()
        assert caught.value.kind is Kind.CONFLICT
        assert "migration 1 uses it" in caught.value.reason
    # New credentials are what a paused migration may be waiting for.
    backends.edit(ADMIN, replace(edited(), secrets={"secret_access_key": Secret("new" * 10)}))
    with console.database.write() as session:
        session.execute(update(Migration).values(state="finished"))
    backends.remove(ADMIN, "media")
    with console.database.read() as session:
        assert session.execute(select(Migration.source, getattr(Migration, end))).one() == ("media", None)


def test_removing_forgets_the_secrets_and_never_reuses_the_id(
    backends: Backends, console: ServiceConsole
) -> None:
    first = backends.add(ADMIN, MEDIA)
    backends.remove(ADMIN, "media")
    with console.database.read() as session:
        assert session.scalar(select(func.count()).select_from(BackendSecret)) == 0
    assert backends.add(ADMIN, MEDIA).id > first.id


def test_a_driver_is_kept_until_its_backend_changes(backends: Backends) -> None:
    backends.add(ADMIN, MEDIA)
    first = backends.driver("media")
    migration = backends.driver("media", label="migration 1")
    assert backends.driver("media") is first
    assert migration is not first
    backends.edit(ADMIN, edited(options=OPTIONS | {"bucket": "other"}))
    assert backends.driver("media") is not first
    backends.release("migration 1")
    backends.release("migration 1")


class _Closable:
    closed = False

    def close(self) -> None:
        self.closed = True


def test_replaced_drivers_are_closed_after_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    cache = drivers.DriverCache()
    old, new = _Closable(), _Closable()
    cache.get(1, 1, "", lambda: old)  # type: ignore[arg-type,return-value]
    cache.get(1, 2, "", lambda: new)  # type: ignore[arg-type,return-value]
    assert not old.closed
    monkeypatch.setattr(drivers.time, "monotonic", lambda: time.perf_counter() + 1e9)
    cache.retire(2, "")
    assert old.closed
    assert not new.closed
    cache.close()
    assert new.closed


def test_many_threads_get_one_driver(backends: Backends) -> None:
    found: list[object] = []
    threads = [
        threading.Thread(target=lambda: found.append(backends.driver("local-disk"))) for _ in range(16)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 16
    assert len({id(driver) for driver in found}) == 1


def test_the_fallback_order_is_kept(backends: Backends, tmp_path: Path) -> None:
    for name in ("b", "c"):
        backends.add(ADMIN, local(name, tmp_path / name))
    backends.fallback_order(ADMIN, ["c", "b"])
    assert [(b.name, b.fallback_position) for b in backends.list()] == [
        ("local-disk", None),
        ("c", 1),
        ("b", 2),
    ]
    backends.fallback_order(ADMIN, ["b"])
    assert [(b.name, b.fallback_position) for b in backends.list()] == [
        ("local-disk", None),
        ("b", 1),
        ("c", None),
    ]
    with pytest.raises(InvalidInput):
        backends.fallback_order(ADMIN, ["b", "b"])


def test_every_change_is_audited_without_secrets(backends: Backends, console: ServiceConsole) -> None:
    backends.add(ADMIN, MEDIA)
    backends.edit(
        ADMIN,
        replace(
            edited(options=OPTIONS | {"bucket": "other"}), secrets={"secret_access_key": Secret("n" * 40)}
        ),
    )
    backends.refresh(OPERATOR, "media")
    backends.remove(ADMIN, "media")
    removed, refreshed, changed, added = console.services.audit.rows(limit=4)
    assert (added.action, added.subject, added.detail["option.bucket"]) == ("backend.add", "media", "files")
    before, after = changed.detail["before.option.bucket"], changed.detail["option.bucket"]
    assert (before, after, changed.detail["secrets"]) == ("files", "other", "secret_access_key")
    assert (refreshed.action, refreshed.actor, refreshed.via) == ("backend.refresh", "olga", "web")
    assert removed.action == "backend.remove"
    assert SECRET not in repr((removed, refreshed, changed, added))


def test_health_and_counts_of_a_real_folder(
    backends: Backends, console: ServiceConsole, tmp_path: Path
) -> None:
    root = tmp_path / "files"
    root.mkdir()
    for number in range(700):
        (root / f"{number}.txt").write_bytes(b"x" * number)
    info = backends.add(ADMIN, local("files", root))
    checks: Checks = console.services.checks
    checks.check_backend(info.id)
    assert checks.count_backend(info.id, lambda: False)
    status = backends.get("files").status
    assert (status.badge, status.objects, status.bytes) == (Badge.HEALTHY, 700, sum(range(700)))
    assert not status.counting
    assert status.latency_ms is not None


def test_a_folder_that_vanished_is_down_and_its_last_count_stays(
    backends: Backends, console: ServiceConsole, tmp_path: Path
) -> None:
    root = tmp_path / "files"
    root.mkdir()
    info = backends.add(ADMIN, local("files", root))
    console.services.checks.count_backend(info.id, lambda: False)
    root.rmdir()
    console.services.checks.check_backend(info.id)
    with pytest.raises(StowageError):
        console.services.checks.count_backend(info.id, lambda: False)
    status = backends.get("files").status
    assert (status.badge, status.objects, status.counting) == (Badge.DOWN, 0, False)
    assert "does not exist" in status.message
    assert status.remedy


def test_counting_stops_when_told_to_and_keeps_the_last_count(
    backends: Backends, console: ServiceConsole, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tmp_path / "files"
    root.mkdir()
    for number in range(600):
        (root / f"{number}").touch()
    info = backends.add(ADMIN, local("files", root))
    monkeypatch.setattr("dashboard.services.backends.checks.PROGRESS_SECONDS", 0.0)
    seen: list[int] = []

    def stop() -> bool:
        status = backends.get("files").status
        assert status.counting
        seen.append(status.counting_objects)
        return status.counting_objects > 0

    assert not console.services.checks.count_backend(info.id, stop)
    assert set(seen[:-1]) == {0}
    assert 0 < seen[-1] < 600
    assert backends.get("files").status.objects is None
    assert not backends.get("files").status.counting


def test_jobs_of_a_removed_backend_do_nothing(backends: Backends, console: ServiceConsole) -> None:
    info = backends.add(ADMIN, MEDIA)
    backends.remove(ADMIN, "media")
    console.services.checks.check_backend(info.id)
    assert console.services.checks.count_backend(info.id, lambda: False)
    console.services.status.record_check(info.id, Badge.HEALTHY, 1.0)


def test_a_sum_that_no_column_holds_is_shown_as_the_most_there_is(
    backends: Backends, console: ServiceConsole, tmp_path: Path
) -> None:
    info = backends.add(ADMIN, local("files", tmp_path / "files"))
    for final in (False, True):
        console.services.status.record_count(info.id, 3, 3 * 2**62, final=final)
    assert backends.get("files").status.bytes == 2**63 - 1


def test_the_checklist_follows_what_was_done_and_finishes_itself(
    backends: Backends, console: ServiceConsole, tmp_path: Path
) -> None:
    def done() -> dict[str, bool]:
        return dataclasses.asdict(console.services.status.checklist())

    assert not any(done().values())
    info = backends.add(ADMIN, local("files", tmp_path / "files"))
    list(console.services.probes.run(ADMIN, "local-disk"))
    console.services.checks.count_backend(backends.get("local-disk").id, lambda: False)
    assert [name for name, value in done().items() if value] == ["added_backend", "tested"]
    (tmp_path / "files").mkdir()
    console.services.checks.count_backend(info.id, lambda: False)
    backends.fallback_order(ADMIN, ["files"])
    for dry in (True, False):
        assert not done()["migrated"]
        spec = {"dry_run": dry}
        with console.database.write() as session:
            session.add(
                Migration(
                    source="a", destination="b", spec=spec, state="finished", created_by="ada", created_at=0.0
                )
            )
    console.services.accounts.add(ADMIN, "ann.smith", "a few unrelated words", Role.ADMIN)
    assert [name for name, value in done().items() if not value] == ["backed_up"]
    assert not console.services.status.checklist().done
    number = console.services.backups.request(ADMIN)
    with console.database.write() as session:
        row = session.get(Backup, number)
        assert row
        row.state = BackupState.DONE
    assert console.services.status.checklist().done
    # What not everybody needs does not bring it back.
    console.services.accounts.set_disabled(ADMIN, "ann.smith", True)
    assert not done()["second_admin"]
    assert console.services.status.checklist().done


def test_the_database_itself_refuses_a_second_active_backend(console: ServiceConsole) -> None:
    row = Backend(
        name="x", driver="local", preset="local", options={}, active=True, created_at=0.0, updated_at=0.0
    )

    def insert() -> None:
        with console.database.write() as session:
            session.add(row)

    with pytest.raises(IntegrityError):
        insert()
