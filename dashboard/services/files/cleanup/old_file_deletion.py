"""The job that deletes old files: only objects that are still those that the catalogue describes.

Each is looked at right before: if its size, time or ETag differ, or it is no longer old, it is kept. Where
the backend can, the deletion itself is conditional on the version that was seen then. Progress is recorded
page by page, so that a killed job goes on with the page it was at; what it has deleted already is then found
gone.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Row, Select, delete, select, update

from dashboard.errors import Kind, StowageError
from dashboard.jobs.types import JobKind
from dashboard.models.catalogue import cleanups, files
from dashboard.services.audit import AuditLog
from dashboard.services.backends.backends import Backends
from dashboard.services.catalogue.file_rows import IDENTITY, is_unchanged, remember_removals
from dashboard.services.database import Database
from dashboard.services.files.cleanup.cleanup_values import CleanupState, Note
from dashboard.services.files.cleanup.old_files import old_rows
from dashboard.services.jobs import enqueue
from dashboard.services.permissions import Actor, Role
from dashboard.storage.driver import DeletesUnchanged, Driver, LimitsConnections, stat_or_none
from dashboard.storage.errors import Changed, StorageError

log = logging.getLogger(__name__)

LABEL = "old files"
PAGE = 100
THREADS = 8
ATTEMPTS = 3
MAX_NOTES = 100
MAX_FAILED = 50
"""Files that fail one after the other before the rest is not tried any more."""
STOPPING = frozenset({Kind.BAD_CREDENTIALS, Kind.SEALED})

CHANGED = "It was changed since the catalogue last saw it."
NOT_OLD = "Its backend does not say that it is old."
UNSETTLED = "It is so new that a program may still be writing it."

_ROW = (*IDENTITY, files.c.backend_id, files.c.updated_at)


@dataclass(frozen=True, slots=True)
class _Result:
    """What became of one file. ``gone``: there is no object any more, and no row is needed."""

    row: Row[Any]
    gone: bool = False
    missing: bool = False
    kept: str = ""
    failed: StowageError | None = None


class OldFileDeletion:
    """Runs requested deletions, one after the other. Idempotent."""

    def __init__(self, database: Database, audit: AuditLog, backends: Backends) -> None:
        self._database = database
        self._audit = audit
        self._backends = backends

    def run(self, stop: Callable[[], bool]) -> bool:
        """Run all requested deletions; return whether none is left. ``stop`` ends it after a page."""
        active = [CleanupState.QUEUED.value, CleanupState.RUNNING.value]
        query = select(cleanups).where(cleanups.c.state.in_(active)).order_by(cleanups.c.id)
        try:
            while not stop():
                with self._database.work_read() as connection:
                    row = connection.execute(query.limit(1)).one_or_none()
                if row is None:
                    return True
                self._run_one(row, stop)
            return False
        except StowageError as error:
            if not error.retryable:
                raise
            log.warning("The deletion of old files goes on later: %s", error)
            return False
        finally:
            self._backends.release(LABEL)

    def _run_one(self, cleanup: Row[Any], stop: Callable[[], bool]) -> None:
        state, message = CleanupState.DONE, ""
        missing: set[int] = set()
        after, streak = cleanup.after_id, 0
        try:
            while True:
                if stop():
                    return
                page = self._page(cleanup, after)
                if not page:
                    break
                results = self._delete_page(page, cleanup.before)
                after = page[-1].id
                missing |= {each.row.backend_id for each in results if each.missing}
                self._record(cleanup.id, after, results)
                for each in results:
                    streak = streak + 1 if each.failed else 0
                    if each.failed and (each.failed.kind in STOPPING or streak >= MAX_FAILED):
                        state, message = CleanupState.FAILED, each.failed.reason
                if state is CleanupState.FAILED:
                    break
        except StowageError as error:
            if error.retryable:
                raise
            state, message = CleanupState.FAILED, error.reason
        self._finish(cleanup.id, state, message, missing)

    def _page(self, cleanup: Row[Any], after: int) -> Sequence[Row[Any]]:
        matching = old_rows(cleanup.backend_id, cleanup.before, cleanup.planned_at, cleanup.last_id)
        query: Select[Any] = select(*_ROW).where(*matching, files.c.id > after)
        with self._database.work_read() as connection:
            return connection.execute(query.order_by(files.c.id).limit(PAGE)).all()

    def _delete_page(self, page: Sequence[Row[Any]], before: float) -> list[_Result]:
        results = []
        for backend_id in sorted({row.backend_id for row in page}):
            rows = [row for row in page if row.backend_id == backend_id]
            name = self._backends.name_of(backend_id)
            if name is None:
                # Removed meanwhile: nobody can reach these files from here.
                results += [_Result(row, kept="Its backend was removed.") for row in rows]
                continue
            try:
                driver = self._backends.driver(name, label=LABEL)
            except StowageError as error:
                results += [_Result(row, failed=error) for row in rows]
                continue
            limit = driver.max_connections() if isinstance(driver, LimitsConnections) else THREADS
            with ThreadPoolExecutor(max(1, min(THREADS, limit))) as pool:
                results += pool.map(lambda row, driver=driver: _delete(driver, row, before), rows)
        return results

    def _record(self, cleanup_id: int, after: int, results: Sequence[_Result]) -> None:
        gone = [each.row for each in results if each.gone]
        names = self._names(results)
        notes = [
            Note(names.get(each.row.backend_id, ""), _shown(each.row.key), each.kept or _reason(each))
            for each in results
            if each.kept or each.failed
        ]
        with self._database.work_write() as connection:
            self._remove_rows(connection, gone)
            held = connection.scalar(select(cleanups.c.notes).where(cleanups.c.id == cleanup_id)) or []
            more = [{"backend": n.backend, "key": n.key, "reason": n.reason} for n in notes]
            c = cleanups.c
            connection.execute(
                update(cleanups)
                .where(c.id == cleanup_id)
                .values(
                    state=CleanupState.RUNNING.value,
                    after_id=after,
                    deleted=c.deleted + len(gone),
                    deleted_bytes=c.deleted_bytes + sum(row.size for row in gone),
                    kept=c.kept + sum(bool(each.kept) for each in results),
                    missing=c.missing + sum(each.missing for each in results),
                    failed=c.failed + sum(each.failed is not None for each in results),
                    notes=[*held, *more][:MAX_NOTES],
                )
            )

    def _remove_rows(self, connection: Connection, rows: Sequence[Row[Any]]) -> None:
        for backend_id in {row.backend_id for row in rows}:
            keys = [row.key for row in rows if row.backend_id == backend_id]
            remember_removals(connection, backend_id, keys)
        for row in rows:
            # Somebody may have stored a new file there since.
            mine = (files.c.id == row.id) & (files.c.updated_at == row.updated_at)
            connection.execute(delete(files).where(mine, files.c.backend_id == row.backend_id))

    def _names(self, results: Sequence[_Result]) -> dict[int, str]:
        ids = {each.row.backend_id for each in results}
        return {number: self._backends.name_of(number) or "" for number in ids}

    def _finish(self, cleanup_id: int, state: CleanupState, message: str, missing: set[int]) -> None:
        mine = cleanups.c.id == cleanup_id
        # The audit row first: a kill in between writes it twice rather than never.
        with self._database.work_read() as connection:
            row = connection.execute(select(cleanups).where(mine)).one()
        actor = Actor(row.requested_by, Role.OPERATOR, "runner")
        with self._database.write() as session:
            self._audit.record(
                session,
                actor,
                "files.old_deleted",
                row.backend or "all backends",
                outcome="done" if state is CleanupState.DONE else "failed",
                deleted=row.deleted,
                bytes=row.deleted_bytes,
                kept=row.kept,
                missing=row.missing,
                failed=row.failed,
                **({"reason": message} if message else {}),
            )
            for backend_id in missing:
                enqueue(session, JobKind.COUNT, backend_id)
        with self._database.work_write() as connection:
            connection.execute(
                update(cleanups)
                .where(mine)
                .values(state=state.value, message=message, finished_at=time.time())
            )


def _delete(driver: Driver, row: Row[Any], before: float) -> _Result:
    """Delete one object if it is still the one of this row, and old. Storage errors are a result."""
    for attempt in range(1, ATTEMPTS + 1):
        try:
            return _delete_once(driver, row, before)
        except Changed:
            return _Result(row, kept=CHANGED)
        except StorageError as error:
            if not error.retryable or attempt == ATTEMPTS:
                return _Result(row, failed=error)
            time.sleep(0.2 * attempt)
    raise AssertionError


def _delete_once(driver: Driver, row: Row[Any], before: float) -> _Result:
    info = stat_or_none(driver, row.key)
    if info is None:
        # Gone already, by an earlier run of this job or by somebody else; or it waits on a stand-in to be
        # written back, so its row is left to the next count.
        return _Result(row, missing=True)
    if not is_unchanged(row, info.entry):
        return _Result(row, kept=CHANGED)
    if info.modified is None or info.modified >= before:
        return _Result(row, kept=NOT_OLD)
    if not info.settled:
        return _Result(row, kept=UNSETTLED)
    if isinstance(driver, DeletesUnchanged) and info.version:
        driver.delete_unchanged(row.key, info.version)
    else:
        driver.delete(row.key)
    return _Result(row, gone=True)


def _reason(result: _Result) -> str:
    assert result.failed is not None
    return result.failed.reason


def _shown(key: str) -> str:
    return key.encode("utf-8", "replace").decode()
