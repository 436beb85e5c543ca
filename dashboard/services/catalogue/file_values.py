"""What the catalogue returns, and what it is told. Times are seconds since the epoch, sizes bytes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from dashboard.services.catalogue.file_kinds import FileKind

NO_DETAILS: Mapping[str, Any] = MappingProxyType({})
STORED = "stored"


@dataclass(frozen=True, slots=True)
class FileFacts:
    """What is stored under a key, as the writer knows it.

    What is empty or None is unknown. ``modified``: as the backend reports it, so None right after a write
    whose receipt does not say it. ``sha256`` and ``md5``: of the content, in hexadecimal digits. ``width``
    and ``height`` in pixels, ``duration`` in seconds, ``pages`` of a document. ``owner``: who uploaded it.
    ``details``: more about the content, as JSON. ``migration_id``: see models/catalogue.py.
    """

    backend_id: int
    key: str
    size: int
    modified: float | None = None
    etag: str = ""
    sha256: str = ""
    md5: str = ""
    content_type: str = ""
    width: int | None = None
    height: int | None = None
    duration: float | None = None
    pages: int | None = None
    taken_at: float | None = None
    owner: str = ""
    details: Mapping[str, Any] = field(default_factory=lambda: NO_DETAILS)
    migration_id: int | None = None


@dataclass(frozen=True, slots=True)
class File:
    """A file that the catalogue knows. ``id`` stays the same when it is renamed, or moved to another backend,
    and is never used for another file. ``backend`` is empty if the backend was removed.

    Everything between ``sha256`` and ``details`` is about the content that had this size, time and ETag:
    compare these with what the backend reports before relying on it.
    """

    id: int
    backend_id: int
    backend: str
    key: str
    size: int
    modified: float | None
    etag: str
    kind: FileKind
    sha256: str
    md5: str
    content_type: str
    width: int | None
    height: int | None
    duration: float | None
    pages: int | None
    taken_at: float | None
    owner: str
    state: str
    details: Mapping[str, Any]
    created_at: float
    updated_at: float

    @property
    def name(self) -> str:
        """The last part of the key."""
        return self.key.rpartition("/")[2]

    def as_dict(self) -> dict[str, Any]:
        """Return it as JSON: what the API and ``--json`` show, described in docs/cli.md."""
        shown = {name: getattr(self, name) for name in SHOWN}
        return {**shown, "kind": self.kind.value, "details": dict(self.details)}


SHOWN = tuple(name for name in File.__dataclass_fields__ if name != "backend_id")
"""The fields of :meth:`File.as_dict`."""
