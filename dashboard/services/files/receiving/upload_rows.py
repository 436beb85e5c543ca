"""Uploads as rows of ``work.db``: their states, their values, and the queries that several modules need."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from sqlalchemy import Connection, CursorResult, Row, Select, case, func, select, update

from dashboard.errors import Kind, StowageError
from dashboard.models.catalogue import files, uploads

KEEP_SECONDS = 86_400.0
"""Seconds for which an upload that is not continued, and the outcome of one that has ended, are kept."""


class UploadState(StrEnum):
    """Where an upload is. Only a ``done`` one can be read."""

    RECEIVING = "receiving"
    CHECKING = "checking"
    SCANNING = "scanning"
    PROCESSING = "processing"
    STORING = "storing"
    DONE = "done"
    REFUSED = "refused"
    FAILED = "failed"

    @property
    def final(self) -> bool:
        """Whether nothing more will happen by itself."""
        return self in (UploadState.DONE, UploadState.REFUSED, UploadState.FAILED)


WAITING = (UploadState.CHECKING, UploadState.SCANNING, UploadState.PROCESSING, UploadState.STORING)
"""States in which the runner has something to do."""


@dataclass(frozen=True, slots=True)
class UploadInfo:
    """One upload. Sizes in bytes, times in seconds since the epoch. ``size`` is None while it is unknown.
    ``received`` bytes are durable. ``file_id``: of the catalogue, once it is done."""

    id: str
    owner: str
    policy: str
    backend_id: int
    folder: str
    name: str
    content_type: str
    size: int | None
    received: int
    state: UploadState
    percent: int
    key: str
    sha256: str
    file_id: int | None
    error: StowageError | None
    attempts: int
    not_before: float
    checksums: bool
    method: str
    created_at: float
    updated_at: float
    expires_at: float
    details: Mapping[str, Any] = field(default_factory=dict)


def find(connection: Connection, upload_id: str) -> UploadInfo | None:
    """One upload, or None."""
    row = connection.execute(select(uploads).where(uploads.c.id == upload_id)).one_or_none()
    return info(row) if row is not None else None


def found(connection: Connection, query: Select[Any]) -> tuple[UploadInfo, ...]:
    """The uploads that a query of whole rows finds."""
    return tuple(info(row) for row in connection.execute(query))


def change(connection: Connection, upload: UploadInfo, **values: object) -> bool:
    """Change an upload that is still in the state in which it was read; False if it is not."""
    statement = (
        update(uploads)
        .where(uploads.c.id == upload.id, uploads.c.state == upload.state.value)
        .values(updated_at=time.time(), **values)
    )
    result = connection.execute(statement)
    assert isinstance(result, CursorResult)
    return result.rowcount == 1


def ended_with(error: StowageError) -> dict[str, object]:
    """The columns that say why an upload has ended."""
    return {"kind": error.kind.value, "reason": error.reason, "remedy": error.remedy}


def used_bytes(connection: Connection, owner: str) -> int:
    """Bytes of the files that somebody has uploaded and of those that are under way."""
    stored = select(func.coalesce(func.sum(files.c.size), 0)).where(files.c.owner == owner)
    live = [state.value for state in UploadState if not state.final]
    coming = select(func.coalesce(func.sum(func.coalesce(uploads.c.size, uploads.c.received)), 0)).where(
        uploads.c.owner == owner, uploads.c.state.in_(live)
    )
    return int(connection.scalar(stored) or 0) + int(connection.scalar(coming) or 0)


def is_catalogued(connection: Connection, backend_id: int, key: str) -> bool:
    """Whether the catalogue has a file of this key."""
    mine = (files.c.backend_id == backend_id) & (files.c.key == key)
    return connection.execute(select(files.c.id).where(mine)).first() is not None


def outstanding_bytes(connection: Connection) -> int:
    """Bytes that have been announced and are not on this disk yet."""
    here = case((uploads.c.method == "direct", 0), else_=uploads.c.received)
    rest = func.sum(func.max(0, func.coalesce(uploads.c.size, 0) - here))
    return int(connection.scalar(select(rest).where(uploads.c.state == UploadState.RECEIVING.value)) or 0)


def unfinished_count(connection: Connection, owner: str) -> int:
    """How many uploads of somebody are being received."""
    mine = uploads.c.owner == owner
    receiving = uploads.c.state == UploadState.RECEIVING.value
    return int(connection.scalar(select(func.count()).select_from(uploads).where(mine, receiving)) or 0)


def info(row: Row[Any]) -> UploadInfo:
    """A row as a value."""
    values = dict(row._mapping)
    kind, reason, remedy = (values.pop(name) for name in ("kind", "reason", "remedy"))
    error = StowageError(Kind(kind), reason, operation="upload", remedy=remedy) if kind else None
    values["state"] = UploadState(values["state"])
    values["checksums"] = bool(values["checksums"])
    values["details"] = values["details"] or {}
    return UploadInfo(**values, error=error)
