"""Changes of the catalogue's rows, each in the caller's transaction on ``work.db``, which must be a writing
one (``Database.work_write``). A ledger uses them too.

A count lists a backend while others write to it, so what it has read may be older than a row. Rows that are
written during a count therefore get its generation, and keys whose rows are removed are remembered until it
ends: see ``counts`` in models/catalogue.py.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from typing import Any, TypeVar

from sqlalchemy import Connection, Row, bindparam, delete, func, select, update
from sqlalchemy.dialects.sqlite import insert as upsert

from dashboard.migration.decide import same_time
from dashboard.models.catalogue import counts, files, removals
from dashboard.services.bulk import BulkStatement
from dashboard.services.catalogue.file_kinds import kind_of
from dashboard.services.catalogue.file_values import STORED, FileFacts
from dashboard.services.database import clamp_integer
from dashboard.storage.types import Entry

_T = TypeVar("_T")

QUERY_BATCH = 500
"""Keys in one query."""

IDENTITY = (files.c.id, files.c.key, files.c.size, files.c.modified, files.c.etag)
_CONTENT = (
    "size",
    "modified",
    "etag",
    "sha256",
    "md5",
    "content_type",
    "kind",
    "width",
    "height",
    "duration",
    "pages",
    "taken_at",
    "owner",
    "state",
    "details",
)
FACTS = tuple(name for name in _CONTENT if name not in ("size", "modified", "etag", "state"))
"""Columns with what is known about the content, and who uploaded it."""

_add = upsert(files)
WRITE = _add.on_conflict_do_update(
    index_elements=["backend_id", "key"],
    set_={name: _add.excluded[name] for name in (*_CONTENT, "seen", "migration_id", "updated_at")},
)
"""Insert a row, or replace all that it says."""
_WRITE = BulkStatement(
    WRITE, ("backend_id", "key", *_CONTENT, "seen", "migration_id", "created_at", "updated_at")
)
WRITE_UNLESS_WRITTEN = _add.on_conflict_do_update(
    index_elements=["backend_id", "key"],
    set_={name: _add.excluded[name] for name in (*_CONTENT, "seen", "migration_id", "updated_at")},
    where=files.c.seen != _add.excluded.seen,
)
"""The same, unless somebody else has written the row during the present count."""
_GENERATION = select(counts.c.generation).where(counts.c.backend_id == bindparam("backend"))


def generation(connection: Connection, backend_id: int) -> int:
    """Return the number of the backend's latest count: what ``seen`` of a row written now has to be."""
    return connection.scalar(_GENERATION, {"backend": backend_id}) or 0


def facts_values(facts: FileFacts, seen: int, now: float) -> dict[str, Any]:
    """Parameters of ``WRITE``."""
    return {
        "backend_id": facts.backend_id,
        "key": facts.key,
        "size": clamp_integer(facts.size),
        "modified": facts.modified,
        "etag": facts.etag,
        "sha256": facts.sha256.lower(),
        "md5": facts.md5.lower(),
        "content_type": facts.content_type,
        "kind": kind_of(facts.key, facts.content_type).value,
        "width": facts.width,
        "height": facts.height,
        "duration": facts.duration,
        "pages": facts.pages,
        "taken_at": facts.taken_at,
        "owner": facts.owner,
        "state": STORED,
        "details": dict(facts.details) or None,
        "seen": seen,
        "migration_id": facts.migration_id,
        "created_at": now,
        "updated_at": now,
    }


def write_rows(connection: Connection, facts: Iterable[FileFacts]) -> None:
    """Insert or replace the rows of these files."""
    now, seen = time.time(), dict[int, int]()
    values = []
    for each in facts:
        if each.backend_id not in seen:
            seen[each.backend_id] = generation(connection, each.backend_id)
        values.append(facts_values(each, seen[each.backend_id], now))
    if values:
        _WRITE.run(connection, values)


def remove_rows(connection: Connection, backend_id: int, keys: Sequence[str]) -> int:
    """Remove the rows with these keys; return how many there were. Idempotent."""
    remember_removals(connection, backend_id, keys)
    gone = 0
    for some in batches(keys):
        gone += connection.execute(
            delete(files).where(files.c.backend_id == backend_id, files.c.key.in_(some))
        ).rowcount
    return gone


def remember_removals(connection: Connection, backend_id: int, keys: Sequence[str]) -> None:
    """Prevent a count that is running from bringing back rows with these keys."""
    running = select(counts.c.running).where(counts.c.backend_id == backend_id)
    if keys and connection.scalar(running):
        connection.execute(
            upsert(removals).on_conflict_do_nothing(),
            [{"backend_id": backend_id, "key": key} for key in keys],
        )


def relocate_row(connection: Connection, file_id: int, to: FileFacts) -> bool:
    """Let a row point at another place that has the same content, with what is known about it; a row of that
    place is replaced. Of ``to`` only backend, key, size, time and ETag count. Returns whether there was a row
    with this id."""
    place = connection.execute(
        select(files.c.backend_id, files.c.key).where(files.c.id == file_id)
    ).one_or_none()
    if place is None:
        return False
    if (place.backend_id, place.key) != (to.backend_id, to.key):
        remember_removals(connection, place.backend_id, [place.key])
        connection.execute(delete(files).where(files.c.backend_id == to.backend_id, files.c.key == to.key))
    connection.execute(
        update(files)
        .where(files.c.id == file_id)
        .values(
            backend_id=to.backend_id,
            key=to.key,
            size=clamp_integer(to.size),
            modified=to.modified,
            etag=to.etag,
            seen=generation(connection, to.backend_id),
            migration_id=None,
            updated_at=time.time(),
        )
    )
    return True


def is_unchanged(row: Row[Any], entry: Entry) -> bool:
    """Whether the object of a row, as far as both sides know, is still the one that a listing shows."""
    if row.size != clamp_integer(entry.size) or (row.etag and entry.etag and row.etag != entry.etag):
        return False
    if row.modified is None or entry.modified is None:
        return True
    return same_time(row.modified, entry.modified) or same_time(entry.modified, row.modified)


def listed_facts(row: Row[Any] | None, backend_id: int, entry: Entry) -> FileFacts | None:
    """Return a new row for an entry whose row (None: there is none) is about an older object; None if it is
    about this one."""
    if row is not None and is_unchanged(row, entry):
        return None
    return FileFacts(backend_id, entry.key, entry.size, entry.modified, entry.etag or "")


COMPLETE = (
    update(files)
    .where(files.c.id == bindparam("b_id"))
    .values(
        modified=func.coalesce(files.c.modified, bindparam("b_modified")),
        etag=func.coalesce(func.nullif(files.c.etag, ""), bindparam("b_etag")),
    )
)
"""Add the time and the ETag that a listing shows to a row of the same object that does not know them."""
COMPLETE_UNLESS_WRITTEN = COMPLETE.where(files.c.seen != bindparam("b_seen"))
"""The same, unless somebody else has written the row during the present count."""


def complete_values(row: Row[Any], entry: Entry) -> dict[str, Any]:
    """Parameters of ``COMPLETE``."""
    return {"b_id": row.id, "b_modified": entry.modified, "b_etag": entry.etag or ""}


def lacks(row: Row[Any], entry: Entry) -> bool:
    """Whether an entry of the same object knows more than its row."""
    return (row.modified is None and entry.modified is not None) or (not row.etag and bool(entry.etag))


def observe_rows(connection: Connection, backend_id: int, entries: Sequence[Entry]) -> None:
    """Record what a listing, or a stat, has just shown. If size, time or ETag of an object differ from those
    of its row, everything that was known about the content and its owner is cleared."""
    rows = {row.key: row for row in rows_of(connection, backend_id, [entry.key for entry in entries])}
    new = [listed_facts(rows.get(entry.key), backend_id, entry) for entry in entries]
    write_rows(connection, [each for each in new if each is not None])
    more = [
        complete_values(row, entry)
        for entry in entries
        if (row := rows.get(entry.key)) is not None and is_unchanged(row, entry) and lacks(row, entry)
    ]
    if more:
        connection.execute(COMPLETE, more)


def rows_of(connection: Connection, backend_id: int, keys: Sequence[str]) -> list[Row[Any]]:
    """Return ``IDENTITY`` of the rows with these keys."""
    found: list[Row[Any]] = []
    for some in batches(keys):
        query = select(*IDENTITY).where(files.c.backend_id == backend_id, files.c.key.in_(some))
        found += connection.execute(query)
    return found


def batches(values: Sequence[_T]) -> Iterable[Sequence[_T]]:
    """Yield the keys, or ids, in batches that one query can hold."""
    for start in range(0, len(values), QUERY_BATCH):
        yield values[start : start + QUERY_BATCH]


def invalidate_rows(connection: Connection, backend_id: int) -> None:
    """Mark all rows of a backend as wrong, because it was removed or is now elsewhere: ``Catalogue.sweep``
    removes them. A count that is running records nothing more; what is recorded from now on is right."""
    add = upsert(counts).values(backend_id=backend_id, generation=1, valid_from=1)
    following = counts.c.generation + 1
    connection.execute(
        add.on_conflict_do_update(
            index_elements=["backend_id"],
            set_={"generation": following, "valid_from": following, "running": False, "completed_at": None},
        )
    )
    connection.execute(delete(removals).where(removals.c.backend_id == backend_id))
