"""Headers, metadata, tags, tier and visibility of a file, and its older versions."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from dashboard.errors import InvalidInput
from dashboard.services.catalogue.catalogue import Catalogue
from dashboard.services.files.changing.file_changes import FileWrites
from dashboard.services.files.changing.outcomes import FileRef, changed_error, stat_seen
from dashboard.services.permissions import Actor
from dashboard.storage.driver import Driver
from dashboard.storage.errors import Changed, StorageError
from dashboard.storage.powers import require_power
from dashboard.storage.types import Attributes, Entry, Visibility

HEADERS = ("content_type", "cache_control", "content_disposition", "content_encoding", "content_language")
MAX_HEADER = 1024
MAX_METADATA_BYTES = 2048
"""Names and values together: what the strictest provider keeps."""
_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}\Z")


@dataclass(frozen=True, slots=True)
class FileEdit:
    """What to change; None stays as it is. ``headers`` by the names in ``HEADERS``, an empty text removes
    one. ``metadata`` and ``tags`` are replaced as a whole."""

    headers: Mapping[str, str] | None = None
    metadata: Mapping[str, str] | None = None
    tags: Mapping[str, str] | None = None
    tier: str | None = None
    visibility: Visibility | None = None


class FileEdits:
    """Thread-safe."""

    def __init__(self, writes: FileWrites, catalogue: Catalogue) -> None:
        self._writes = writes
        self._catalogue = catalogue

    def edit(self, actor: Actor, backend: str, file: FileRef, change: FileEdit) -> None:
        """Change what is stored with a file; its content stays.

        Everything is checked first: values, and that the backend has the power. Each part is one request
        then, so if a later one fails, the error says what was changed before. Raises ``FORBIDDEN``,
        ``InvalidInput``, ``NotFound``, ``Unsupported``, and kind ``changed`` if the file is not the one that
        was seen.
        """
        driver: Any = self._writes.driver(actor, backend)
        check_edit(change)
        parts: list[tuple[str, str, Callable[[], None]]] = []
        found = stat_seen(driver, file)
        if change.headers is not None or change.metadata is not None:
            attributes = edited(found.attributes, change)
            parts.append(
                (
                    "attributes",
                    "headers and metadata",
                    lambda: driver.set_attributes(file.key, attributes, if_version=found.version),
                )
            )
        if change.tags is not None:
            tags = change.tags
            parts.append(("tags", "tags", lambda: driver.set_tags(file.key, tags)))
        if change.tier is not None:
            tier = change.tier
            parts.append(("tier", "tier", lambda: driver.set_tier(file.key, tier)))
        if change.visibility is not None:
            seen = change.visibility
            parts.append(("visibility", "visibility", lambda: driver.set_visibility(file.key, seen)))
        if not parts:
            raise InvalidInput("change", "There is nothing to change.")
        for power, _, _ in parts:
            require_power(driver, power)
        what = ", ".join(label for _, label, _ in parts)
        self._writes.record(actor, "file.edit", backend, file.key, changed=what)
        _apply(file.key, parts)
        self._observe(backend, driver, file.key)

    def restore(self, actor: Actor, backend: str, key: str, version: str) -> None:
        """Make an older version the current one; the one that was current is kept as a version. Raises
        ``FORBIDDEN``, ``NotFound`` and ``Unsupported``."""
        driver: Any = self._writes.driver(actor, backend)
        require_power(driver, "versions")
        self._writes.record(actor, "file.restore", backend, key, version=version)
        driver.restore_version(key, version)
        self._observe(backend, driver, key)

    def _observe(self, backend: str, driver: Driver, key: str) -> None:
        info = driver.stat(key)
        entry = Entry(key, info.size, info.modified, info.etag)
        self._catalogue.observe(self._writes.backends.get(backend).id, [entry])


def edited(before: Attributes, change: FileEdit) -> Attributes:
    """Return the attributes after a change."""
    headers = {name: value or None for name, value in (change.headers or {}).items()}
    metadata = before.metadata if change.metadata is None else dict(change.metadata)
    return replace(before, **headers, metadata=metadata)


def check_edit(change: FileEdit) -> None:
    """Raise ``InvalidInput`` for headers and metadata that not every provider would store as they are."""
    for name, value in (change.headers or {}).items():
        if name not in HEADERS:
            raise InvalidInput("headers", f"“{name}” is not a header that is stored with a file.")
        if len(value) > MAX_HEADER or not value.isprintable() or value != value.strip():
            raise InvalidInput(name, f"This value cannot be stored as {name.replace('_', '-')}.")
        if not value.isascii():
            raise InvalidInput(name, "Headers hold only ASCII letters, digits and punctuation.")
    size = 0
    for name, value in (change.metadata or {}).items():
        if not _NAME.match(name):
            raise InvalidInput(
                "metadata",
                f"“{name}” cannot be the name of a metadata value.",
                remedy="Use lowercase letters, digits, dots, hyphens and underscores, at most 64.",
            )
        if not value or not value.isprintable() or value != value.strip():
            raise InvalidInput("metadata", f"The value of “{name}” is empty or cannot be stored.")
        size += len(name) + len(value.encode())
    if size > MAX_METADATA_BYTES:
        raise InvalidInput("metadata", f"All metadata together has at most {MAX_METADATA_BYTES} bytes.")


def _apply(key: str, parts: list[tuple[str, str, Callable[[], None]]]) -> None:
    done: list[str] = []
    for _, label, change in parts:
        try:
            change()
        except StorageError as error:
            if isinstance(error, Changed) and not done:
                raise changed_error(key) from error
            if not done:
                raise
            reason = f"The {', '.join(done)} were changed, but not the {label}: {error.reason}"
            raise StorageError(
                error.kind, reason, operation="edit", subject=key, remedy=error.remedy
            ) from error
        done.append(label)
