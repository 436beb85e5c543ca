"""The catalogue: what the console knows of stored files, a row for each in ``work.db``.

It is not the truth about a backend, only what uploads, migrations, counts and other changes through this
console have recorded: other programs change backends too. A row that a listing or a stat contradicts loses
everything that was known about the old content.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace

from sqlalchemy import Connection, delete, select, update

from dashboard.models.catalogue import counts, files, removals
from dashboard.services.catalogue.file_kinds import FileKind, kind_of
from dashboard.services.catalogue.file_queries import FILE_COLUMNS, FileQueries
from dashboard.services.catalogue.file_rows import (
    FACTS,
    generation,
    observe_rows,
    relocate_row,
    remove_rows,
    rows_of,
    write_rows,
)
from dashboard.services.catalogue.file_values import NO_DETAILS, File, FileFacts
from dashboard.storage.types import Entry

__all__ = ["Catalogue", "File", "FileFacts", "FileKind"]

FORGET_CHUNK = 2000
"""Rows of a removed backend that one transaction deletes."""


class Catalogue(FileQueries):
    """Thread-safe. Methods that change something take the ``connection`` of an open
    ``Database.work_write()``, to do it in that transaction; without one each is its own transaction."""

    # ---- changes

    def record(self, facts: Sequence[FileFacts], *, connection: Connection | None = None) -> tuple[int, ...]:
        """Record what was just stored under these keys: a new row for each, or the existing row with all that
        it said replaced. Returns the ids in the same order."""
        with self._writing(connection) as writer:
            write_rows(writer, facts)
            ids: dict[tuple[int, str], int] = {}
            for backend_id in {each.backend_id for each in facts}:
                keys = [each.key for each in facts if each.backend_id == backend_id]
                ids |= {(backend_id, row.key): row.id for row in rows_of(writer, backend_id, keys)}
            return tuple(ids[each.backend_id, each.key] for each in facts)

    def describe(self, file: File, facts: FileFacts, *, connection: Connection | None = None) -> bool:
        """Add what was found out about the content of a file: each of ``facts`` that is known replaces what
        the row says. Changes nothing and returns False if the row is no longer about the same object: other
        place, size, time or ETag than ``file``."""
        now = {name: getattr(facts, name) for name in FACTS if name not in ("kind", "details")}
        values = {name: value for name, value in now.items() if value not in (None, "")}
        values["kind"] = kind_of(file.key, facts.content_type or file.content_type).value
        if facts.details:
            values["details"] = {**file.details, **facts.details}
        same = [files.c[name] == getattr(file, name) for name in ("id", "backend_id", "key", "size", "etag")]
        same.append(files.c.modified.is_not_distinct_from(file.modified))
        with self._writing(connection) as writer:
            return writer.execute(update(files).where(*same).values(values)).rowcount == 1

    def observe(
        self, backend_id: int, entries: Sequence[Entry], *, connection: Connection | None = None
    ) -> None:
        """Record what a listing, or a stat, has just shown: adds missing rows, and clears all that was known
        about the content and its owner where size, time or ETag of an object are no longer those of its
        row. Not for listings that are older than a moment: others may have changed the object since."""
        with self._writing(connection) as writer:
            observe_rows(writer, backend_id, entries)

    def remove(self, backend_id: int, keys: Sequence[str], *, connection: Connection | None = None) -> int:
        """Remove the rows of objects that were deleted; return how many there were. Idempotent."""
        with self._writing(connection) as writer:
            return remove_rows(writer, backend_id, keys)

    def move(self, file_id: int, to: FileFacts, *, connection: Connection | None = None) -> bool:
        """Record that a file was renamed, or is now at another backend: its row, with its id and all that is
        known about the content, points there, and a row that was there is replaced. ``to``: backend, key,
        size, time and ETag of the object there. Returns whether there is such a file."""
        with self._writing(connection) as writer:
            return relocate_row(writer, file_id, to)

    def copy(self, file_id: int, to: FileFacts, *, connection: Connection | None = None) -> bool:
        """Record that the content of a file is now at another place as well: a row of its own, with all that
        is known about the content. See :meth:`move`."""
        with self._writing(connection) as writer:
            row = writer.execute(select(*FILE_COLUMNS).where(files.c.id == file_id)).one_or_none()
            if row is None:
                return False
            known = {name: getattr(row, name) for name in FACTS if name not in ("kind", "details")}
            write_rows(writer, [replace(to, **known, details=row.details or NO_DETAILS)])
            return True

    def forget_backend(self, backend_id: int) -> int:
        """Remove all rows of a backend that was removed, or now has another location, in chunks; return how
        many. A count that is running stops recording; what is recorded from now on stays. Idempotent."""
        with self._database.work_write() as connection:
            connection.execute(
                update(counts)
                .where(counts.c.backend_id == backend_id)
                .values(generation=counts.c.generation + 1, running=False, completed_at=None)
            )
            connection.execute(delete(removals).where(removals.c.backend_id == backend_id))
            now = generation(connection, backend_id)
        old = (files.c.backend_id == backend_id) & ((files.c.seen < now) | (now == 0))
        some = select(files.c.id).where(old).limit(FORGET_CHUNK)
        total = 0
        while True:
            with self._database.work_write() as connection:
                gone = connection.execute(delete(files).where(files.c.id.in_(some.scalar_subquery())))
            if not gone.rowcount:
                return total
            total += gone.rowcount

    @contextmanager
    def _writing(self, connection: Connection | None) -> Iterator[Connection]:
        if connection is not None:
            yield connection
        else:
            with self._database.work_write() as own:
                yield own
