"""Reading the catalogue."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import fields
from typing import Any

from sqlalchemy import Row, func, literal, select

from dashboard.errors import Kind, StowageError
from dashboard.models.backends import Backend
from dashboard.models.catalogue import counts, files
from dashboard.services.audit import shorten
from dashboard.services.catalogue.file_kinds import FileKind
from dashboard.services.catalogue.file_rows import batches
from dashboard.services.catalogue.file_values import NO_DETAILS, File
from dashboard.services.catalogue.filters import FileFilters, Sort
from dashboard.services.catalogue.search import MAX_PAGE, SearchPage, find_rows, matching_rows
from dashboard.services.database import MAX_INTEGER, Database

FILE_COLUMNS = tuple(files.c[field.name] for field in fields(File) if field.name != "backend")


class FileQueries:
    """Thread-safe; every call is one short transaction."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def get(self, file_id: int) -> File:
        """Return the file with this id. Raises ``NOT_FOUND``."""
        found = self.get_many([file_id]).get(file_id)
        if found is None:
            raise StowageError(
                Kind.NOT_FOUND,
                f"There is no file {file_id}.",
                operation="file",
                subject=str(file_id),
                remedy="It may have been deleted. Search for its name.",
            )
        return found

    def get_many(self, ids: Iterable[int]) -> Mapping[int, File]:
        """Return the files with these ids, as far as there are any."""
        wanted = [number for number in ids if abs(number) <= MAX_INTEGER]
        rows: list[Row[Any]] = []
        with self._database.work_read() as connection:
            for some in batches(wanted):
                rows += connection.execute(select(*FILE_COLUMNS).where(files.c.id.in_(some)))
        return {file.id: file for file in self.values(rows)}

    def find(self, backend: str, key: str) -> File | None:
        """Return the file that has this key at the backend with this name, if it is known."""
        return self.find_many(backend, [key]).get(key)

    def find_many(self, backend: str, keys: Sequence[str]) -> Mapping[str, File]:
        """Return the known files among these keys of a backend."""
        backend_id = self._id_of(backend)
        if backend_id is None:
            return {}
        rows: list[Row[Any]] = []
        with self._database.work_read() as connection:
            for some in batches(keys):
                mine = (files.c.backend_id == backend_id) & files.c.key.in_(some)
                rows += connection.execute(select(*FILE_COLUMNS).where(mine))
        return {row.key: file_of(row, backend) for row in rows}

    def find_content(self, sha256: str, *, limit: int = 50) -> tuple[File, ...]:
        """Return files that are known to have this content, the oldest row first."""
        query = (
            select(*FILE_COLUMNS)
            # The literal lets SQLite use the partial index.
            .where(files.c.sha256 == sha256.lower(), files.c.sha256 != literal("", literal_execute=True))
            .order_by(files.c.id)
            .limit(limit)
        )
        with self._database.work_read() as connection:
            rows = connection.execute(query).all()
        return self.values(rows)

    def completed_at(self, backend_id: int) -> float | None:
        """Return when a count last listed all of a backend into the catalogue; None: never yet."""
        with self._database.work_read() as connection:
            return connection.scalar(select(counts.c.completed_at).where(counts.c.backend_id == backend_id))

    # ---- searching

    def search(
        self,
        filters: FileFilters,
        *,
        sort: Sort = Sort.NAME,
        descending: bool = False,
        cursor: str = "",
        limit: int = 100,
    ) -> SearchPage:
        """Return the files that match, from ``cursor`` on (that of the page before; empty: the first), at
        most ``limit``. See :class:`SearchPage`: only an empty cursor means that there are no more. Raises
        ``InvalidInput`` for a cursor of another order, and ``NOT_FOUND`` for an unknown backend."""
        backend_id = self._id_of(filters.backend) if filters.backend else None
        if filters.backend and backend_id is None:
            raise _no_backend(filters.backend)
        with self._database.work_read() as connection:
            rows, following = find_rows(
                connection,
                FILE_COLUMNS,
                filters,
                backend_id=backend_id,
                sort=sort,
                descending=descending,
                cursor=cursor,
                limit=limit,
            )
        # Rows of a removed backend stay until a job has removed them.
        return SearchPage(tuple(file for file in self.values(rows) if file.backend), following)

    def search_all(
        self, filters: FileFilters, *, sort: Sort = Sort.NAME, descending: bool = False
    ) -> Iterator[File]:
        """Yield all files that match, page by page; no transaction stays open between two pages."""
        cursor, more = "", True
        while more:
            page = self.search(filters, sort=sort, descending=descending, cursor=cursor, limit=MAX_PAGE)
            yield from page.files
            cursor, more = page.cursor, bool(page.cursor)

    def totals(self, filters: FileFilters) -> tuple[int, int]:
        """Return how many files match, and their bytes. Examines every row: about a second for a million."""
        backend_id = self._id_of(filters.backend) if filters.backend else None
        if filters.backend and backend_id is None:
            raise _no_backend(filters.backend)
        matching = matching_rows(filters, backend_id)
        with self._database.work_read() as connection:
            count, size = connection.execute(
                select(func.count(), func.coalesce(func.sum(files.c.size), 0)).where(matching)
            ).one()
        return count, size

    # ---- names of backends, which are in the main database

    def values(self, rows: Sequence[Row[Any]]) -> tuple[File, ...]:
        """Return rows of ``FILE_COLUMNS`` with the names of their backends."""
        names = self.names_of({row.backend_id for row in rows})
        return tuple(file_of(row, names.get(row.backend_id, "")) for row in rows)

    def names_of(self, ids: Iterable[int]) -> Mapping[int, str]:
        """Return the names of the backends with these ids that still exist."""
        wanted = list(ids)
        if not wanted:
            return {}
        with self._database.read() as session:
            rows = session.execute(select(Backend.id, Backend.name).where(Backend.id.in_(wanted)))
            return {row.id: row.name for row in rows}

    def _id_of(self, name: str) -> int | None:
        with self._database.read() as session:
            return session.scalar(select(Backend.id).where(Backend.name == name))


def file_of(row: Row[Any], backend: str) -> File:
    """Return a row of ``FILE_COLUMNS`` as a value."""
    values = {column.name: row._mapping[column] for column in FILE_COLUMNS}
    values["kind"] = FileKind(values["kind"])
    values["details"] = values["details"] or NO_DETAILS
    return File(backend=backend, **values)


def _no_backend(name: str) -> StowageError:
    return StowageError(
        Kind.NOT_FOUND,
        f"There is no backend “{shorten(name)}”.",
        operation="search",
        subject=shorten(name),
        remedy="See the list of backends for the names there are.",
    )
