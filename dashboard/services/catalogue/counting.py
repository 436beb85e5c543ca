"""The catalogue of one backend, while a count lists it.

Rows that the listing confirms are only read, so that counting an unchanged backend writes nothing. Others are
written in small transactions. Rows that were not listed are removed once the listing is complete, and only
then; those in folders that could not be read stay. Nothing is ever held for all files, except a bit for each.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from sqlalchemy import Connection, Row, Select, delete, select, update
from sqlalchemy.dialects.sqlite import insert as upsert
from sqlalchemy.exc import DatabaseError

from dashboard.models.catalogue import counts, files, removals
from dashboard.services.catalogue.file_rows import (
    COMPLETE_UNLESS_WRITTEN,
    WRITE_UNLESS_WRITTEN,
    batches,
    complete_values,
    facts_values,
    is_unchanged,
    lacks,
    listed_facts,
    rows_of,
)
from dashboard.services.database import Database, translate_error
from dashboard.services.engines import transaction_with_retry, writer
from dashboard.storage.types import Entry

BATCH = 500
"""Entries that are compared, and perhaps written, at once."""
PAGE = 2000
"""Rows that are looked through at once for those that were not listed."""
PAUSE_SECONDS = 0.003
"""Between two transactions, so that ledgers get their turn."""
MAX_FOLDERS = 1000
"""Unreadable folders that are told apart. With more of them, no row is removed."""

_C = files.c


class CountStopped(Exception):
    """Another count of the same backend has begun, somebody stopped this one, or the backend was removed or
    is now elsewhere: this one must not record anything more."""


class CatalogueCount:
    """One count of one backend. Used by one thread."""

    def __init__(self, database: Database, backend_id: int) -> None:
        self._database = database
        self._writer = writer(database.work)
        self._backend = backend_id
        self._generation = 0
        self._seen = _Bits()
        self._batch: list[Entry] = []

    def begin(self) -> None:
        """Take over from any other count of this backend."""
        now = time.time()
        with self._write() as connection:
            add = upsert(counts).values(backend_id=self._backend, generation=1, running=True)
            self._generation = connection.scalar(
                add.on_conflict_do_update(
                    index_elements=["backend_id"],
                    set_={"generation": counts.c.generation + 1, "running": True},
                ).returning(counts.c.generation)
            )
            connection.execute(
                delete(removals).where(removals.c.backend_id == self._backend, removals.c.until <= now)
            )

    def add(self, entry: Entry) -> None:
        """Record an entry of the listing. Raises ``CountStopped``."""
        self._batch.append(entry)
        if len(self._batch) >= BATCH:
            self._flush()

    def complete(self, unreadable: Sequence[str] = ()) -> int:
        """Record that the listing is complete except for these folders, and remove the rows of files that it
        did not have; return how many. Raises ``CountStopped``."""
        self._flush()
        gone = self._remove_unlisted(tuple(unreadable)) if len(unreadable) <= MAX_FOLDERS else 0
        with self._write() as connection:
            self._check(connection)
            connection.execute(
                update(counts)
                .where(counts.c.backend_id == self._backend)
                .values(running=False, completed_at=time.time())
            )
        return gone

    def is_current(self) -> bool:
        """Whether this count may still record something: nobody stopped it, and no other has begun."""
        query = select(counts.c.generation).where(counts.c.backend_id == self._backend)
        with self._database.work_read() as connection:
            return connection.scalar(query) == self._generation

    def abandon(self) -> None:
        """Record that the listing broke off. Removes no row. Idempotent."""
        mine = (counts.c.backend_id == self._backend) & (counts.c.generation == self._generation)
        with self._write() as connection:
            connection.execute(update(counts).where(mine).values(running=False))

    def _flush(self) -> None:
        batch, self._batch = self._batch, []
        if not batch:
            return
        with self._database.work_read() as connection:
            rows = {row.key: row for row in rows_of(connection, self._backend, [e.key for e in batch])}
        self._seen.update(row.id for row in rows.values())
        written = [entry for entry in batch if _tells_something_new(rows.get(entry.key), entry)]
        if not written:
            return
        now = time.time()
        with self._write() as connection:
            self._check(connection)
            hidden = self._hidden(connection, [entry.key for entry in written])
            written = [entry for entry in written if entry.key not in hidden]
            facts = [listed_facts(rows.get(entry.key), self._backend, entry) for entry in written]
            values = [facts_values(each, self._generation, now) for each in facts if each is not None]
            if values:
                connection.execute(WRITE_UNLESS_WRITTEN, values)
            more = [
                {**complete_values(row, entry), "b_seen": self._generation}
                for entry in written
                if (row := rows.get(entry.key)) is not None and is_unchanged(row, entry)
            ]
            if more:
                connection.execute(COMPLETE_UNLESS_WRITTEN, more)
        time.sleep(PAUSE_SECONDS)

    def _hidden(self, connection: Connection, keys: Sequence[str]) -> set[str]:
        found: set[str] = set()
        for some in batches(keys):
            mine = (removals.c.backend_id == self._backend) & removals.c.key.in_(some)
            found.update(connection.scalars(select(removals.c.key).where(mine)))
        return found

    def _remove_unlisted(self, unreadable: tuple[str, ...]) -> int:
        total = 0
        for page in self._pages():
            gone = [
                row.id
                for row in page
                if row.seen != self._generation
                and row.id not in self._seen
                and not row.key.startswith(unreadable)
            ]
            for some in batches(gone):
                with self._write() as connection:
                    self._check(connection)
                    total += connection.execute(
                        # A row may have been written since it was read.
                        delete(files).where(_C.id.in_(some), _C.seen != self._generation)
                    ).rowcount
                time.sleep(PAUSE_SECONDS)
        return total

    def _pages(self) -> Iterator[Sequence[Row[Any]]]:
        query: Select[Any] = select(_C.id, _C.key, _C.seen).where(_C.backend_id == self._backend)
        after: str | None = None
        while True:
            page = query if after is None else query.where(_C.key > after)
            with self._database.work_read() as connection:
                rows = connection.execute(page.order_by(_C.key).limit(PAGE)).all()
            if not rows:
                return
            yield rows
            after = rows[-1].key

    def _check(self, connection: Connection) -> None:
        query = select(counts.c.generation).where(counts.c.backend_id == self._backend)
        if connection.scalar(query) != self._generation:
            raise CountStopped

    @contextmanager
    def _write(self) -> Iterator[Connection]:
        try:
            with transaction_with_retry(self._writer) as connection:
                yield connection
        except DatabaseError as error:
            raise translate_error(error) from error


class _Bits:
    """A set of numbers that are close together."""

    _PAGE = 1 << 16

    def __init__(self) -> None:
        self._pages: dict[int, bytearray] = {}

    def update(self, numbers: Iterable[int]) -> None:
        for number in numbers:
            page, bit = divmod(number, self._PAGE)
            held = self._pages.setdefault(page, bytearray(self._PAGE // 8))
            held[bit >> 3] |= 1 << (bit & 7)

    def __contains__(self, number: int) -> bool:
        page, bit = divmod(number, self._PAGE)
        held = self._pages.get(page)
        return held is not None and bool(held[bit >> 3] & (1 << (bit & 7)))


def _tells_something_new(row: Row[Any] | None, entry: Entry) -> bool:
    return row is None or not is_unchanged(row, entry) or lacks(row, entry)
