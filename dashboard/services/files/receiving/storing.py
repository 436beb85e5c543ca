"""Storing a checked upload at its backend, and recording it: once, whatever happens in between.

The key is decided and recorded before the first byte is sent. An attempt that follows a kill or a lost
response finds its own object under that key, by its content, and does not write a second one.
"""

from __future__ import annotations

import hashlib
import logging
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from sqlalchemy import Connection, select

from dashboard.errors import Kind, StowageError
from dashboard.media.policy import OnConflict, UploadPolicy
from dashboard.models.catalogue import uploads
from dashboard.services.audit import AuditLog
from dashboard.services.backends.backends import Backends
from dashboard.services.catalogue.catalogue import Catalogue, FileFacts
from dashboard.services.database import Database
from dashboard.services.files.receiving import upload_rows as rows
from dashboard.services.files.receiving.bucket_parts import DIRECT
from dashboard.services.files.receiving.quarantine import CHUNK_BYTES
from dashboard.services.files.receiving.upload_names import join_key, numbered, unique_name
from dashboard.services.files.receiving.upload_rows import UploadInfo, UploadState
from dashboard.services.permissions import Actor, Role
from dashboard.storage.driver import SMALL, Driver, LooksBeforeCreating, stat_or_none
from dashboard.storage.errors import Damaged, Exists, NotFound, StorageError
from dashboard.storage.types import Attributes, ObjectInfo, Written

log = logging.getLogger(__name__)

MAX_NAMES = 1000
"""Names that are tried before a conflict is given up on."""
STORING_PERCENT = 90
PUBLISH_SECONDS = 1.0


class Interrupted(Exception):
    """``stop`` returned True; what was being written has been discarded."""


@dataclass(frozen=True, slots=True)
class Content:
    """What is to be stored: the bytes in ``path``, their type, and what the catalogue records about them."""

    path: Path
    name: str
    size: int
    sha256: str
    facts: dict[str, object]


class Storing:
    """Thread-safe."""

    def __init__(self, database: Database, audit: AuditLog, backends: Backends, catalogue: Catalogue) -> None:
        self._database = database
        self._audit = audit
        self._backends = backends
        self._catalogue = catalogue

    def decide(self, upload: UploadInfo, policy: UploadPolicy, content: Content) -> UploadInfo:
        """Choose the key and record it, with all that storing needs. Raises ``CONFLICT`` if the name is taken
        and the policy refuses that."""
        driver = self._driver(upload)
        for key in _keys(upload, policy, content.name):
            driver.check_key(key)
            replace = policy.on_conflict is OnConflict.REPLACE
            if not replace and self._is_taken(driver, upload, key):
                if policy.on_conflict is OnConflict.REFUSE:
                    raise taken_error(key)
                continue
            decided = self._reserve(upload, key, content, replace=replace)
            if decided is not None:
                return decided
            if policy.on_conflict is OnConflict.REFUSE:
                raise taken_error(key)
        raise taken_error(content.name)

    def store(self, upload: UploadInfo, path: Path, stop: Callable[[], bool]) -> UploadInfo:
        """Store a decided upload and record it in the catalogue. Idempotent.

        Raises ``Exists`` if somebody else has taken the key meanwhile, :class:`Interrupted`, and what drivers
        raise.
        """
        driver = self._driver(upload)
        replace = bool(upload.details.get("replace"))
        found = stat_or_none(driver, upload.key) if upload.attempts else None
        if found is None or not self._is_ours(driver, upload, found):
            if found is not None and not replace:
                raise Exists(upload.key)
            if upload.attempts:
                driver.sweep([upload.key], since=float(upload.details["decided_at"]))
            upload = self._change(upload, attempts=upload.attempts + 1)
            try:
                found = self._write(driver, upload, path, create_only=not replace, stop=stop)
            except Exists:
                # A lost response may have hidden that it was stored.
                found = stat_or_none(driver, upload.key)
                if found is None or not self._is_ours(driver, upload, found):
                    raise
        return self._record(upload, found)

    def withdraw(self, upload: UploadInfo) -> bool:
        """Remove what an attempt to store an upload may have left at its backend, unless somebody else has
        the key now. Returns False if the backend has to be asked again later."""
        if not (upload.key and upload.attempts):
            return True
        name = self._backends.name_of(upload.backend_id)
        if name is None:
            return True
        try:
            driver = self._backends.driver(name)
            driver.sweep([upload.key], since=float(upload.details["decided_at"]))
            found = stat_or_none(driver, upload.key)
            file = self._catalogue.find(name, upload.key)
            # A count may have seen it meanwhile; what somebody has uploaded has an owner.
            if found is None or (file is not None and file.owner):
                return True
            if not upload.details.get("replace") and self._is_ours(driver, upload, found):
                driver.delete(upload.key)
                self._catalogue.remove(upload.backend_id, [upload.key])
                log.info("“%s”, which was left at “%s” by a failed upload, was removed", upload.key, name)
        except StowageError as error:
            log.warning("What upload %s may have left at “%s” is not removed yet: %s", upload.id, name, error)
            return False
        return True

    def _driver(self, upload: UploadInfo) -> Driver:
        name = self._backends.name_of(upload.backend_id)
        if name is None:
            raise StowageError(
                Kind.CONFLICT,
                "The backend for which this was uploaded has been removed.",
                operation="upload",
                remedy="Upload the file again, to another backend.",
            )
        return self._backends.driver(name)

    def _is_taken(self, driver: Driver, upload: UploadInfo, key: str) -> bool:
        with self._database.work_read() as connection:
            if self._is_reserved(connection, upload, key):
                return True
        return stat_or_none(driver, key) is not None

    def _is_reserved(self, connection: Connection, upload: UploadInfo, key: str) -> bool:
        """Whether another upload is about to be stored under this key."""
        query = select(uploads.c.id).where(
            uploads.c.state == UploadState.STORING.value,
            uploads.c.backend_id == upload.backend_id,
            uploads.c.key == key,
            uploads.c.id != upload.id,
        )
        return connection.execute(query).first() is not None

    def _reserve(self, upload: UploadInfo, key: str, content: Content, *, replace: bool) -> UploadInfo | None:
        """Record the key. Returns None if another upload has it."""
        details: dict[str, object] = {
            "facts": content.facts,
            "size": content.size,
            "decided_at": time.time(),
            "replace": replace,
            **{name: value for name, value in upload.details.items() if name == DIRECT},
        }
        with self._database.work_write() as connection:
            if self._is_reserved(connection, upload, key):
                return None
            values = {"state": UploadState.STORING.value, "percent": STORING_PERCENT, "attempts": 0}
            if not rows.change(connection, upload, key=key, sha256=content.sha256, details=details, **values):
                raise Interrupted
            return rows.find(connection, upload.id)

    def _is_ours(self, driver: Driver, upload: UploadInfo, found: ObjectInfo) -> bool:
        """Whether an object has our content."""
        if found.size != upload.details["size"]:
            return False
        try:
            return _digest(driver, found) == upload.sha256
        except NotFound:
            return False

    def _write(
        self, driver: Driver, upload: UploadInfo, path: Path, *, create_only: bool, stop: Callable[[], bool]
    ) -> ObjectInfo:
        """Write and prove the object."""
        if create_only and isinstance(driver, LooksBeforeCreating) and not driver.supports_create_only():
            if stat_or_none(driver, upload.key) is not None:
                raise Exists(upload.key)
            create_only = False
        size = int(upload.details["size"])
        content_type = str(upload.details["facts"].get("content_type") or "") or None
        attributes = Attributes(content_type=content_type)
        with path.open("rb") as file:
            if size <= SMALL:
                data = file.read()
                if len(data) != size or hashlib.sha256(data).hexdigest() != upload.sha256:
                    raise _changed_error(upload.key)
                written = driver.put(upload.key, data, attributes=attributes, create_only=create_only)
            else:
                with driver.write(
                    upload.key, size=size, attributes=attributes, create_only=create_only
                ) as writing:
                    for chunk in self._chunks(upload, file, size, stop):
                        writing.write(chunk)
                    written = writing.commit()
        return self._prove(driver, upload, written)

    def _chunks(
        self, upload: UploadInfo, file: BinaryIO, size: int, stop: Callable[[], bool]
    ) -> Iterator[bytes]:
        """The content. Raises at its end, before it is committed, if it is not what was checked."""
        digest, done, shown = hashlib.sha256(), 0, time.monotonic()
        while chunk := file.read(CHUNK_BYTES):
            if stop():
                raise Interrupted
            digest.update(chunk)
            yield chunk
            done += len(chunk)
            if time.monotonic() - shown >= PUBLISH_SECONDS:
                shown = time.monotonic()
                percent = STORING_PERCENT + (99 - STORING_PERCENT) * done // size
                self._change(upload, percent=percent)
        if done != size or digest.hexdigest() != upload.sha256:
            raise _changed_error(upload.key)

    def _prove(self, driver: Driver, upload: UploadInfo, written: Written) -> ObjectInfo:
        """Compare what the backend has stored with what was sent. Damaged objects are removed."""
        found = driver.stat(upload.key)
        if found.size == upload.details["size"] and (
            written.proven or _digest(driver, found) == upload.sha256
        ):
            return found
        with suppress(StorageError):
            if driver.stat(upload.key).etag == written.etag:
                driver.delete(upload.key)
        raise Damaged(
            upload.key,
            f"“{upload.key}” was damaged on its way to the backend: its checksum differs.",
            operation="write",
        )

    def _record(self, upload: UploadInfo, found: ObjectInfo) -> UploadInfo:
        """Record the file and the end of the upload in one transaction: from now on it can be read."""
        facts = FileFacts(
            backend_id=upload.backend_id,
            key=upload.key,
            size=found.size,
            modified=found.modified,
            etag=found.etag or "",
            sha256=upload.sha256,
            owner=upload.owner,
            **upload.details["facts"],
        )
        with self._database.work_write() as connection:
            (file_id,) = self._catalogue.record([facts], connection=connection)
            ends = {"state": UploadState.DONE.value, "percent": 100, "file_id": file_id}
            if not rows.change(connection, upload, **ends, expires_at=time.time() + rows.KEEP_SECONDS):
                raise Interrupted
            done = rows.find(connection, upload.id)
        assert done is not None
        with self._database.write() as session:
            actor = Actor(upload.owner, Role.OPERATOR, "runner")
            self._audit.record(
                session, actor, "file.upload", upload.key, backend=self._backends.name_of(upload.backend_id)
            )
        return done

    def _change(self, upload: UploadInfo, **values: object) -> UploadInfo:
        with self._database.work_write() as connection:
            if not rows.change(connection, upload, **values):
                raise Interrupted
            changed = rows.find(connection, upload.id)
        assert changed is not None
        return changed


def _keys(upload: UploadInfo, policy: UploadPolicy, name: str) -> Iterator[str]:
    dated = upload.created_at if policy.organise_by_date else None
    first = join_key(upload.folder, unique_name(name) if policy.unique_names else name, dated=dated)
    yield first
    for number in range(2, MAX_NAMES):
        yield numbered(first, number)


def _digest(driver: Driver, found: ObjectInfo) -> str:
    digest = hashlib.sha256()
    with driver.read(found.key, if_version=found.version) as reading:
        for chunk in reading.chunks():
            digest.update(chunk)
    return digest.hexdigest()


def taken_error(key: str) -> StowageError:
    """For a name that is taken, where the policy refuses that."""
    return StowageError(
        Kind.CONFLICT,
        f"There is already a file “{key}”.",
        operation="upload",
        subject=key,
        remedy="Rename the file or delete the other one, then upload it again.",
    )


def _changed_error(key: str) -> StowageError:
    return StowageError(
        Kind.DAMAGED,
        "What was received has changed since it was checked.",
        operation="upload",
        subject=key,
        remedy="Check the disk with the instance folder, and upload the file again.",
    )
