"""What a migration changes in the catalogue of files, each in the transaction of its ledger.

A row always points at a place that has the file:

- A proven copy gets a row, with what is known about the content of the source's row if that row is about the
  object that was copied. The source's row stays.
- If sources are to be deleted, the source's row, with its id, moves to the destination before that: when the
  copy is proven and listed, and the deletion is about to be sent. A count that is running, or begins within
  ``DELETING_SECONDS``, does not bring a row back for the key, because its listing may be older.
- An object that turns out to be missing at the destination after all loses its row there.

Skipped objects and kept sources are left to the counts of both backends that follow every migration.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import Connection, Row, bindparam, delete, select, update
from sqlalchemy.dialects.sqlite import insert as upsert

from dashboard.migration.ledger import FinalCheck, Finished, Settled
from dashboard.migration.types import ObjectState
from dashboard.models.catalogue import files, removals
from dashboard.services.bulk import BulkStatement
from dashboard.services.catalogue.file_rows import (
    FACTS,
    batches,
    generation,
    is_unchanged,
    remove_rows,
    write_rows,
)
from dashboard.services.catalogue.file_values import NO_DETAILS, FileFacts
from dashboard.services.database import clamp_integer
from dashboard.storage.types import Entry

DELETING_SECONDS = 3600.0
"""For how long after the announcement of a deletion the key counts as deleted."""

_C = files.c
_FILES = select(files).where(
    _C.backend_id == bindparam("backend"), _C.key.in_(bindparam("keys", expanding=True))
)
_MOVED = ("backend_id", "key", "size", "modified", "etag", *FACTS, "seen", "updated_at", "migration_id")
_MOVE = update(files).where(_C.id == bindparam("b_id")).values({name: bindparam(name) for name in _MOVED})
_COMPLETE_LISTED = BulkStatement(
    update(files)
    .where(
        _C.backend_id == bindparam("b_backend"),
        _C.key == bindparam("b_key"),
        _C.size == bindparam("b_size"),
        _C.modified.is_(None),
        (_C.etag == "") | (bindparam("b_etag") == "") | (_C.etag == bindparam("b_etag")),
    )
    .values(modified=bindparam("b_modified")),
    ("b_backend", "b_key", "b_size", "b_etag", "b_modified"),
)


@dataclass(frozen=True, slots=True)
class _Copy:
    """One proven copy. ``read``: the source object as it was read. ``checksum``: of what was read, empty if
    it is not known. ``whole``: whether the content was compared, not only its size."""

    read: Entry
    target: str
    size: int
    etag: str
    checksum: str = ""
    whole: bool = True


class LedgerFiles:
    """The files of one migration. ``deletes``: whether its sources are deleted at the end.

    Every method takes the connection of the ledger's open transaction.
    """

    def __init__(self, migration_id: int, source_id: int, destination_id: int, *, deletes: bool) -> None:
        self._migration = migration_id
        self._source = source_id
        self._destination = destination_id
        self._deletes = deletes

    def settled(self, connection: Connection, results: Iterable[Settled]) -> None:
        """Record the copies among these results that are proven."""
        copies = []
        for result in results:
            done, row = result.done, result.row
            if done.state is ObjectState.VERIFIED:
                read = Entry(row.key, done.size, done.source_modified, done.source_etag)
                target = done.destination_key or row.key
                copies.append(_Copy(read, target, done.size, done.destination_etag, done.source_checksum))
        self._record(connection, copies)

    def listed(self, connection: Connection, entries: Iterable[Entry]) -> None:
        """Add the times that the destination lists to rows of copies, whose receipts do not have them."""
        values = [
            {
                "b_backend": self._destination,
                "b_key": entry.key,
                "b_size": clamp_integer(entry.size),
                "b_etag": entry.etag or "",
                "b_modified": entry.modified,
            }
            for entry in entries
            if entry.modified is not None
        ]
        if values:
            _COMPLETE_LISTED.run(connection, values)

    def announce_deletions(self, connection: Connection, rows: Sequence[Finished]) -> None:
        """Let the rows of sources that are about to be deleted point at their copies."""
        keys = [row.key for row in rows]
        self._hide(connection, keys, until=time.time() + DELETING_SECONDS)
        sources = self._rows(connection, self._source, keys)
        copies = self._rows(connection, self._destination, [row.target for row in rows])
        moves, gone = [], list[int]()
        seen = generation(connection, self._destination)
        for row in rows:
            source, copy = sources.get(row.key), copies.get(row.target)
            # A row about another object stays: then the source was changed, and is not deleted.
            if source is None or not self._is_copied(source, row):
                continue
            if copy is not None and copy.migration_id != self._migration:
                # Moved by an earlier run, or replaced since by somebody else.
                gone.append(source.id)
                continue
            if copy is not None:
                gone.append(copy.id)
            moves.append({"b_id": source.id, **self._move_values(row, source, copy), "seen": seen})
        for some in batches(gone):
            connection.execute(delete(files).where(_C.id.in_(some)))
        if moves:
            connection.execute(_MOVE, moves)

    def checked(self, connection: Connection, checks: Sequence[FinalCheck]) -> None:
        """Record what the final phase found."""
        after = ObjectState.VERIFIED
        self._record(
            connection,
            [
                _Copy(
                    Entry(check.row.key, check.row.size, check.row.modified, check.row.etag),
                    check.row.target,
                    check.row.size,
                    check.row.destination_etag,
                    whole=False,
                )
                for check in checks
                if check.row.state is ObjectState.COPIED and check.state is after
            ],
        )
        self._forget_missing(connection, [check.row for check in checks if check.state is ObjectState.FAILED])
        deleted = [check.row.key for check in checks if check.deleted]
        if deleted:
            remove_rows(connection, self._source, deleted)
        if self._deletes:
            tried = [check.row.key for check in checks if check.row.state is after is check.state]
            self._hide(connection, tried, until=0.0)

    def _record(self, connection: Connection, copies: Sequence[_Copy]) -> None:
        if not copies:
            return
        sources = self._rows(connection, self._source, [copy.read.key for copy in copies])
        facts, matching = [], list[int]()
        for copy in copies:
            new = FileFacts(
                self._destination,
                copy.target,
                copy.size,
                etag=copy.etag,
                migration_id=self._migration if self._deletes else None,
            )
            source = sources.get(copy.read.key)
            if source is not None and _is_about(source, copy):
                matching.append(source.id)
                new = replace(new, **_known(source, whole=copy.whole))
            facts.append(new)
        write_rows(connection, facts)
        if self._deletes:
            for some in batches(matching):
                connection.execute(update(files).where(_C.id.in_(some)).values(migration_id=self._migration))

    def _is_copied(self, source: Row[Any], row: Finished) -> bool:
        """Whether the source's row is about the object that was copied."""
        entry = Entry(row.key, row.size, row.modified, row.etag)
        return source.migration_id == self._migration or is_unchanged(source, entry)

    def _move_values(self, row: Finished, source: Row[Any], copy: Row[Any] | None) -> dict[str, Any]:
        place = {
            "backend_id": self._destination,
            "key": row.target,
            "updated_at": time.time(),
            "migration_id": None,
        }
        if copy is not None:
            held = ("size", "modified", "etag", *FACTS)
            return {**place, **{name: getattr(copy, name) for name in held}}
        # The ledger is older than the catalogue: whether the contents were compared is not known any more.
        known = {name: getattr(source, name) for name in FACTS} | {"sha256": "", "md5": ""}
        return {**place, **known, "size": row.size, "modified": None, "etag": row.destination_etag}

    def _forget_missing(self, connection: Connection, rows: Sequence[Finished]) -> None:
        there = self._rows(connection, self._destination, [row.target for row in rows])
        gone = [
            row.target
            for row in rows
            if (known := there.get(row.target)) is not None
            and (known.size, known.etag) == (row.size, row.destination_etag)
        ]
        if gone:
            remove_rows(connection, self._destination, gone)

    def _rows(self, connection: Connection, backend_id: int, keys: Sequence[str]) -> Mapping[str, Row[Any]]:
        found: dict[str, Row[Any]] = {}
        for some in batches(keys):
            rows = connection.execute(_FILES, {"backend": backend_id, "keys": list(some)})
            found |= {row.key: row for row in rows}
        return found

    def _hide(self, connection: Connection, keys: Sequence[str], *, until: float) -> None:
        if not keys:
            return
        add = upsert(removals)
        connection.execute(
            add.on_conflict_do_update(
                index_elements=["backend_id", "key"], set_={"until": add.excluded.until}
            ),
            [{"backend_id": self._source, "key": key, "until": until} for key in keys],
        )


def _is_about(source: Row[Any], copy: _Copy) -> bool:
    """Whether a source's row certainly is about the object that was copied."""
    if source.md5 and copy.checksum and source.md5 == copy.checksum.lower():
        return bool(source.size == copy.size)
    etags = source.etag and copy.read.etag
    times = source.modified is not None and copy.read.modified is not None
    return bool(etags or times) and is_unchanged(source, copy.read)


def _known(source: Row[Any], *, whole: bool) -> dict[str, Any]:
    """Return what is known about the content. Of a copy that was compared by size only, no checksums."""
    known = {name: getattr(source, name) for name in FACTS if name not in ("kind", "details")}
    known["details"] = source.details or NO_DETAILS
    return known if whole else known | {"sha256": "", "md5": ""}
