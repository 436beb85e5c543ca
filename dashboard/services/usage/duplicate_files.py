"""Deleting all but one of several files with the same content.

Only files of one backend are duplicates of each other: the same file at another backend is a copy, which is
what backends are for. What the catalogue says is checked again before anything is deleted: the file that is
kept must still be there as it was when its checksum was recorded, and so must each that is deleted.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum

from sqlalchemy import delete, or_, select

from dashboard.errors import InvalidInput, Kind, StowageError
from dashboard.models.catalogue import files
from dashboard.models.usage import duplicates
from dashboard.services.catalogue.catalogue import Catalogue, File
from dashboard.services.database import Database
from dashboard.services.files.changing.deletions import Deleted, Deletions
from dashboard.services.files.changing.file_changes import FileWrites
from dashboard.services.files.changing.outcomes import FileRef
from dashboard.services.permissions import Actor, Permission
from dashboard.services.usage.usage_reports import UsageReports
from dashboard.services.usage.usage_values import DuplicateGroup
from dashboard.storage.errors import StorageError
from dashboard.storage.types import ObjectInfo

MAX_AT_ONCE = 200
"""Files of a group that are shown and deleted at once: each is looked at first."""

_C = files.c


class Keep(StrEnum):
    """Which one of a group is kept."""

    OLDEST = "oldest"
    NEWEST = "newest"
    SHORTEST = "shortest"


class DuplicateFiles:
    """Thread-safe."""

    def __init__(
        self,
        database: Database,
        reports: UsageReports,
        catalogue: Catalogue,
        writes: FileWrites,
        deletions: Deletions,
    ) -> None:
        self._database = database
        self._reports = reports
        self._catalogue = catalogue
        self._writes = writes
        self._deletions = deletions

    def group(self, group_id: int) -> DuplicateGroup:
        """One group. Raises ``NOT_FOUND``."""
        found = self._reports.duplicate(group_id)
        if found is None:
            raise StowageError(
                Kind.NOT_FOUND,
                "These duplicates are gone, or were summed up again.",
                operation="duplicates",
                remedy="Go back to the list.",
            )
        return found

    def files(self, group: DuplicateGroup) -> tuple[File, ...]:
        """The files of a group as the catalogue knows them now, at most as many as can be deleted at once."""
        same = or_(_C.sha256 == group.checksum, (_C.md5 == group.checksum) & (_C.sha256 == ""))
        backend_id = self._writes.backends.get(group.backend).id
        query = select(_C.id).where(
            _C.backend_id == backend_id, same, _C.size == group.size, _C.state == "stored"
        )
        with self._database.work_read() as connection:
            ids = connection.scalars(query.order_by(_C.key).limit(MAX_AT_ONCE)).all()
        found = self._catalogue.get_many(ids)
        return tuple(found[number] for number in ids if number in found)

    def can_undo(self, actor: Actor, group: DuplicateGroup) -> bool:
        """Whether deleting can be undone at this backend."""
        return self._deletions.can_undo(actor, group.backend)

    def delete(
        self, actor: Actor, group_id: int, keep: Keep | int, *, confirmed: int | None = None
    ) -> tuple[File, Deleted]:
        """Keep one, by a rule or by its id, and delete the others; return the kept one and what happened.

        ``confirmed`` as in ``Deletions.delete``. Raises ``FORBIDDEN``, ``NOT_FOUND``, ``InvalidInput``, and
        ``CONFLICT`` if the one that is to be kept is not there any more as it was.
        """
        actor.require(Permission.WRITE_FILES)
        group = self.group(group_id)
        found = self.files(group)
        if len(found) < 2:
            self._forget(group_id)
            raise StowageError(
                Kind.CONFLICT,
                "There is only one of these files left.",
                operation="delete duplicates",
                remedy="Nothing was deleted. Go back to the list.",
            )
        kept = _chosen(found, keep)
        driver = self._writes.driver(actor, group.backend)
        try:
            there: ObjectInfo | None = driver.stat(kept.key)
        except StorageError as error:
            if error.kind is not Kind.NOT_FOUND:
                raise
            there = None
        if there is None or not _is_same(kept, there):
            raise StowageError(
                Kind.CONFLICT,
                f"“{kept.key}”, which was to be kept, was changed or deleted since it was last seen.",
                operation="delete duplicates",
                subject=kept.key,
                remedy="Nothing was deleted. Keep another one, or count the backend again.",
            )
        others = [file for file in found if file.id != kept.id]
        seen = self._as_seen(driver, others)
        deleted = self._deletions.delete(actor, group.backend, seen, confirmed=confirmed)
        self._forget(group_id)
        return kept, deleted

    def _as_seen(self, driver: object, others: Sequence[File]) -> list[FileRef]:
        refs = []
        for file in others:
            info: ObjectInfo = driver.stat(file.key)  # type: ignore[attr-defined]
            if not _is_same(file, info):
                raise StowageError(
                    Kind.CONFLICT,
                    f"“{file.key}” was changed since its checksum was recorded: it may be another file now.",
                    operation="delete duplicates",
                    subject=file.key,
                    remedy="Nothing was deleted. Count the backend again.",
                )
            refs.append(FileRef(file.key, info.version))
        return refs

    def _forget(self, group_id: int) -> None:
        with self._database.work_write() as connection:
            connection.execute(delete(duplicates).where(duplicates.c.id == group_id))


def _chosen(found: Sequence[File], keep: Keep | int) -> File:
    if keep is Keep.OLDEST:
        return min(found, key=lambda file: (file.modified or 0.0, file.key))
    if keep is Keep.NEWEST:
        return max(found, key=lambda file: (file.modified or 0.0, file.key))
    if keep is Keep.SHORTEST:
        return min(found, key=lambda file: (len(file.key), file.key))
    for file in found:
        if file.id == keep:
            return file
    raise InvalidInput("keep", "Choose the file that is kept.")


def _is_same(file: File, info: ObjectInfo) -> bool:
    """Whether an object is still the one whose checksum the catalogue has."""
    if info.size != file.size or (file.etag and info.etag and file.etag != info.etag):
        return False
    if file.modified is None or info.modified is None:
        return bool(file.etag and info.etag)
    return abs(file.modified - info.modified) < 1e-3 or bool(file.etag and file.etag == info.etag)
