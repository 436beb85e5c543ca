"""The catalogue: what the console knows of stored files, a row for each in ``work.db``.

It is not the truth about a backend, only what uploads, migrations, counts and other changes through this
console have recorded: other programs change backends too. A row that a listing or a stat contradicts loses
everything that was known about the old content.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace

from sqlalchemy import Connection, delete, func, select, update

from dashboard.models.catalogue import counts, files
from dashboard.services.catalogue.counting import CatalogueCount
from dashboard.services.catalogue.file_kinds import FileKind, kind_of
from dashboard.services.catalogue.file_queries import FILE_COLUMNS, FileQueries
from dashboard.services.catalogue.file_rows import (
    FACTS,
    invalidate_rows,
    observe_rows,
    relocate_row,
    remove_rows,
    rows_of,
    write_rows,
)
from dashboard.services.catalogue.file_values import NO_DETAILS, File, FileFacts
from dashboard.storage.types import Entry

__all__ = ["Catalogue", "File", "FileFacts", "FileKind"]

SWEEP_CHUNK = 2000
"""Rows that one transaction deletes."""


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

    def count(self, backend_id: int) -> CatalogueCount:
        """Return what records the listing of a backend by a count."""
        return CatalogueCount(self._database, backend_id)

    def stop_count(self, backend_id: int) -> None:
        """End a count of a backend that is under way: it records nothing more. Idempotent."""
        mine = update(counts).where(counts.c.backend_id == backend_id)
        with self._database.work_write() as connection:
            connection.execute(mine.values(generation=counts.c.generation + 1, running=False))

    def sweep(self, stop: Callable[[], bool] = lambda: False) -> int:
        """Remove, in chunks, the rows of backends that were removed or are now elsewhere; return how many.
        Idempotent; ``stop`` ends it early without harm."""
        removed = self._removed_backends()
        for backend_id in removed:
            with self._database.work_write() as connection:
                invalidate_rows(connection, backend_id)
        with self._database.work_read() as connection:
            query = select(counts.c.backend_id, counts.c.valid_from).where(counts.c.valid_from > 0)
            wrong = connection.execute(query).all()
        total = 0
        for backend_id, valid_from in wrong:
            old = (files.c.backend_id == backend_id) & (files.c.seen < valid_from)
            some = select(files.c.id).where(old).limit(SWEEP_CHUNK)
            while not stop():
                with self._database.work_write() as connection:
                    gone = connection.execute(delete(files).where(files.c.id.in_(some.scalar_subquery())))
                    if not gone.rowcount:
                        self._swept(connection, backend_id, valid_from, removed=backend_id in removed)
                        break
                total += gone.rowcount
        return total

    def _removed_backends(self) -> set[int]:
        """Return the ids of backends that have rows but do not exist."""
        first = select(func.min(files.c.backend_id).label("id")).cte("present", recursive=True)
        following = select(func.min(files.c.backend_id)).where(files.c.backend_id > first.c.id)
        present = first.union_all(select(following.scalar_subquery()).where(first.c.id.is_not(None)))
        with self._database.work_read() as connection:
            found = {number for number in connection.scalars(select(present.c.id)) if number is not None}
            found |= set(connection.scalars(select(counts.c.backend_id)))
        return found - self.names_of(found).keys()

    def _swept(self, connection: Connection, backend_id: int, valid_from: int, *, removed: bool) -> None:
        mine = (counts.c.backend_id == backend_id) & (counts.c.valid_from == valid_from)
        if removed:
            connection.execute(delete(counts).where(mine))
        else:
            connection.execute(update(counts).where(mine).values(valid_from=0))

    @contextmanager
    def _writing(self, connection: Connection | None) -> Iterator[Connection]:
        if connection is not None:
            yield connection
        else:
            with self._database.work_write() as own:
                yield own
