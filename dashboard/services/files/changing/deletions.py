"""Deleting files, and undoing that.

A deletion can be undone where the backend keeps what is deleted: in a bucket with versions, and in the trash
of a disk. What restores each file is recorded before the first is deleted, so that no kill leaves one that is
gone and cannot be found. Elsewhere a deletion is final, and the person repeats the number of files.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from sqlalchemy import delete, insert, select, update

from dashboard.errors import InvalidInput, Kind, StowageError
from dashboard.models.catalogue import deletions
from dashboard.services.backends.values import BackendInfo
from dashboard.services.catalogue.catalogue import Catalogue, File, FileFacts
from dashboard.services.files.browse import LABEL
from dashboard.services.files.changing.file_changes import FileWrites, describes
from dashboard.services.files.changing.outcomes import (
    LOST,
    FileRef,
    Outcome,
    changed_error,
    check_number,
    run_each,
    stat_seen,
)
from dashboard.services.permissions import Actor
from dashboard.storage.driver import DeletesUnchanged, Driver, stat_or_none
from dashboard.storage.errors import Changed, NotFound, StorageError
from dashboard.storage.object_powers import HasTrash, KeepsVersions
from dashboard.storage.types import ObjectInfo

KEPT_SECONDS = 7 * 24 * 3600.0
"""For which a deletion can be undone."""
_FACTS = (
    "sha256",
    "md5",
    "content_type",
    "width",
    "height",
    "duration",
    "pages",
    "taken_at",
    "owner",
    "details",
)


@dataclass(frozen=True, slots=True)
class Deleted:
    """What became of a deletion. ``undo_id`` restores it until ``undo_until`` (epoch seconds); empty if it
    cannot be undone."""

    outcomes: tuple[Outcome, ...]
    undo_id: str = ""
    undo_until: float | None = None


class Deletions:
    """Thread-safe."""

    def __init__(self, writes: FileWrites, catalogue: Catalogue) -> None:
        self._writes = writes
        self._catalogue = catalogue

    def can_undo(self, actor: Actor, backend: str) -> bool:
        """Whether deletions at this backend can be undone now. Asks a bucket for its settings. Raises
        ``FORBIDDEN``, ``NOT_FOUND`` and the backend's error."""
        return _keeping(self._writes.driver(actor, backend)) is not None

    def delete(
        self, actor: Actor, backend: str, files: Sequence[FileRef], *, confirmed: int | None = None
    ) -> Deleted:
        """Delete files as they were seen: one that was changed since is kept, and its outcome says so.

        ``confirmed``: the number of files, as a person typed it. It must be right if it is given, and must be
        given if the deletion cannot be undone. Raises ``FORBIDDEN``, ``InvalidInput``, and the backend's
        error if nothing was deleted at all.
        """
        driver = self._writes.driver(actor, backend)
        check_number(files)
        keeping = _keeping(driver)
        check_confirmed(len(files), confirmed, final=keeping is None)
        info = self._writes.backends.get(backend)
        self._writes.record(
            actor,
            "file.delete",
            info.name,
            files[0].key,
            files=str(len(files)),
            undo="yes" if keeping is not None else "no",
        )
        run = _Run(self._writes, self._catalogue, driver, keeping, info)
        outcomes = run.delete(files, actor.name)
        self._writes.record_failures(actor, "file.delete", info.name, outcomes)
        return Deleted(outcomes, run.undo_id, run.expires_at if run.undo_id else None)

    def undo(self, actor: Actor, undo_id: str) -> tuple[Outcome, ...]:
        """Restore the files of a deletion that are not there. A file that somebody has written in the
        meantime stays as it is, and its outcome says so. May be repeated for what could not be restored.
        Raises ``FORBIDDEN``, and ``NOT_FOUND`` for an unknown or expired deletion."""
        row = self._row(undo_id)
        name = self._writes.backends.name_of(row.backend_id) if row is not None else None
        if row is None or name is None or row.expires_at < time.time():
            raise StowageError(
                Kind.NOT_FOUND,
                "This deletion can no longer be undone.",
                operation="undo",
                remedy="In a bucket that keeps versions, an older version may still be there.",
            )
        driver = self._writes.driver(actor, name)
        objects: list[dict[str, Any]] = row.objects
        self._writes.record(actor, "file.undo", name, objects[0]["key"], files=str(len(objects)))

        def change(kept: Mapping[str, Any]) -> Outcome:
            key = kept["key"]
            if stat_or_none(driver, key) is not None:
                raise StorageError(
                    Kind.CONFLICT,
                    f"There is a file “{key}”, so the deleted one was not restored over it.",
                    operation="undo",
                    subject=key,
                    remedy="Rename or move the new file, then undo once more.",
                )
            _restore(driver, kept)
            self._record_again(row.backend_id, driver.stat(key), kept["facts"])
            return Outcome(key)

        outcomes = run_each(objects, lambda kept: str(kept["key"]), change)
        self._writes.record_failures(actor, "file.undo", name, outcomes)
        left = [kept for kept, outcome in zip(objects, outcomes, strict=True) if not outcome.done]
        with self._writes.database.work_write() as connection:
            if left:
                connection.execute(update(deletions).where(deletions.c.id == undo_id).values(objects=left))
            else:
                connection.execute(delete(deletions).where(deletions.c.id == undo_id))
        return outcomes

    def expire(self) -> int:
        """Remove for good what can no longer be undone; return how many deletions that were. Idempotent;
        where a backend cannot be reached it is tried again the next time."""
        with self._writes.database.work_read() as connection:
            rows = connection.execute(select(deletions).where(deletions.c.expires_at < time.time())).all()
        done = 0
        for row in rows:
            name = self._writes.backends.name_of(row.backend_id)
            if name is not None:
                try:
                    self._empty_trash(name, row.objects)
                except StowageError:
                    continue
            with self._writes.database.work_write() as connection:
                connection.execute(delete(deletions).where(deletions.c.id == row.id))
            done += 1
        return done

    def _empty_trash(self, name: str, objects: Sequence[Mapping[str, Any]]) -> None:
        driver = self._writes.backends.driver(name, label=LABEL)
        if isinstance(driver, HasTrash):
            for kept in objects:
                if "trash" in kept:
                    driver.remove_from_trash(kept["trash"], kept["key"])

    def _row(self, undo_id: str) -> Any:
        with self._writes.database.work_read() as connection:
            return connection.execute(select(deletions).where(deletions.c.id == undo_id)).one_or_none()

    def _record_again(self, backend_id: int, info: ObjectInfo, facts: Mapping[str, Any]) -> None:
        """Give a restored file back what the catalogue knew of its content."""
        same = facts.get("size") == info.size
        known = {name: facts[name] for name in _FACTS if same and facts.get(name) is not None}
        self._catalogue.record(
            [FileFacts(backend_id, info.key, info.size, info.modified, info.etag or "", **known)]
        )


class _Run:
    """One deletion: finds out what restores each file, records that, and deletes them."""

    def __init__(
        self,
        writes: FileWrites,
        catalogue: Catalogue,
        driver: Driver,
        keeping: _InTrash | _AsVersion | None,
        backend: BackendInfo,
    ) -> None:
        self._writes = writes
        self._catalogue = catalogue
        self._driver = driver
        self._keeping = keeping
        self._backend = backend
        self._found: dict[str, ObjectInfo] = {}
        self._kept: dict[str, dict[str, Any]] = {}
        self.undo_id = ""
        self.expires_at = 0.0

    def delete(self, files: Sequence[FileRef], deleted_by: str) -> tuple[Outcome, ...]:
        """Delete the files; sets ``undo_id`` if that can be undone for at least one."""
        looked = run_each(files, lambda file: file.key, self._look_up)
        if self._kept:
            self._record(deleted_by)
        possible = [outcome for outcome in looked if outcome.done]
        deleted = run_each(possible, lambda outcome: outcome.key, self._delete_one)
        if self._kept:
            # One whose answer was lost may be gone.
            self._keep_only({outcome.key for outcome in deleted if outcome.done or outcome.kind in LOST})
        results = {outcome.key: outcome for outcome in deleted}
        return tuple(results.get(outcome.key, outcome) for outcome in looked)

    def _look_up(self, file: FileRef) -> Outcome:
        found = stat_seen(self._driver, file)
        self._found[file.key] = found
        if self._keeping is not None:
            known = self._catalogue.find(self._backend.name, file.key)
            kept = self._keeping.prepare(found)
            self._kept[file.key] = {"key": file.key, **kept, "facts": _facts_of(known, found)}
        return Outcome(file.key)

    def _delete_one(self, looked: Outcome) -> Outcome:
        found = self._found[looked.key]
        if self._keeping is None:
            _delete_for_good(self._driver, found)
        else:
            self._keeping.delete(found, self._kept[looked.key])
        self._catalogue.remove(self._backend.id, [looked.key])
        return looked

    def _record(self, deleted_by: str) -> None:
        now = time.time()
        self.undo_id, self.expires_at = secrets.token_hex(16), now + KEPT_SECONDS
        with self._writes.database.work_write() as connection:
            connection.execute(
                insert(deletions).values(
                    id=self.undo_id,
                    backend_id=self._backend.id,
                    deleted_by=deleted_by,
                    objects=list(self._kept.values()),
                    created_at=now,
                    expires_at=self.expires_at,
                )
            )

    def _keep_only(self, keys: set[str]) -> None:
        left = [kept for key, kept in self._kept.items() if key in keys]
        mine = deletions.c.id == self.undo_id
        with self._writes.database.work_write() as connection:
            if left:
                connection.execute(update(deletions).where(mine).values(objects=left))
            else:
                connection.execute(delete(deletions).where(mine))
                self.undo_id = ""


class _InTrash:
    """Deleted files stay on the backend, in its trash."""

    def __init__(self, driver: HasTrash) -> None:
        self._driver = driver

    def prepare(self, found: ObjectInfo) -> dict[str, str]:
        return {"trash": secrets.token_hex(16)}

    def delete(self, found: ObjectInfo, kept: Mapping[str, str]) -> None:
        try:
            self._driver.move_to_trash(found.key, kept["trash"], if_version=found.version)
        except Changed as error:
            raise changed_error(found.key) from error


class _AsVersion:
    """Deleted files stay in the bucket, as their newest version."""

    def __init__(self, driver: KeepsVersions) -> None:
        self._driver = driver

    def prepare(self, found: ObjectInfo) -> dict[str, str]:
        for version in self._driver.versions(found.key):
            if version.key == found.key and version.current and not version.deleted:
                if found.etag is not None and version.etag != found.etag:
                    raise changed_error(found.key)
                return {"version": version.id}
            if version.key != found.key:
                break
        raise NotFound(found.key, operation="delete")

    def delete(self, found: ObjectInfo, kept: Mapping[str, str]) -> None:
        assert isinstance(self._driver, Driver)
        _delete_for_good(self._driver, found)


def _keeping(driver: Driver) -> _InTrash | _AsVersion | None:
    """How deleted files are kept here, or None."""
    if isinstance(driver, HasTrash):
        return _InTrash(driver)
    if isinstance(driver, KeepsVersions):
        with suppress(StorageError):
            # Credentials may not read the bucket's settings, or not list versions: better a typed number than
            # a promise that cannot be kept.
            if driver.keeps_versions():
                next(iter(driver.versions(secrets.token_hex(8))), None)
                return _AsVersion(driver)
    return None


def _delete_for_good(driver: Driver, found: ObjectInfo) -> None:
    try:
        if found.version is not None and isinstance(driver, DeletesUnchanged):
            driver.delete_unchanged(found.key, found.version)
        else:
            driver.delete(found.key)
    except Changed as error:
        raise changed_error(found.key) from error


def _restore(driver: Driver, kept: Mapping[str, Any]) -> None:
    key = kept["key"]
    if "trash" in kept and isinstance(driver, HasTrash):
        driver.restore_from_trash(kept["trash"], key)
        return
    if "version" in kept and isinstance(driver, KeepsVersions):
        driver.restore_version(key, kept["version"])
        return
    raise StorageError(
        Kind.UNSUPPORTED,
        "This backend was changed since, and what it kept cannot be reached any more.",
        operation="undo",
        subject=key,
        remedy="Undo the change of the backend, and try again.",
    )


def check_confirmed(number: int, confirmed: int | None, *, final: bool) -> None:
    """Raise ``InvalidInput`` unless the typed number is the right one; only if it is ``final`` it must be
    typed."""
    if confirmed == number or (confirmed is None and not final):
        return
    if confirmed is None:
        reason = "This cannot be undone here, so confirm the number of files."
    else:
        reason = f"{confirmed} is not the number of files that would be deleted."
    raise InvalidInput("confirmed", reason, remedy=f"Type {number} to delete for good.")


def _facts_of(known: File | None, found: ObjectInfo) -> dict[str, Any]:
    """What the catalogue knows of a file's content, for when it is restored."""
    if known is None or not describes(known, found):
        return {}
    return {"size": known.size} | {
        name: dict(value) if name == "details" else value
        for name in _FACTS
        if (value := getattr(known, name)) not in (None, "")
    }
