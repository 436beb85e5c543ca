"""Uploads: begun, received and ended. What happens to one that is complete is the runner's, see
``receiving/processing``."""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import replace

from sqlalchemy import insert, select

from dashboard.errors import Kind, StowageError
from dashboard.jobs.types import JobKind
from dashboard.media.policy import OnConflict, UploadPolicy
from dashboard.models.catalogue import uploads
from dashboard.services.backends.backends import BackendInfo, Backends
from dashboard.services.database import Database
from dashboard.services.files.policies import DEFAULT_NAME, UploadPolicies
from dashboard.services.files.receiving import upload_rows as rows
from dashboard.services.files.receiving.bucket_parts import DIRECT, URL_SECONDS
from dashboard.services.files.receiving.limits import Limits
from dashboard.services.files.receiving.new_uploads import (
    MAX_UNFINISHED,
    NewUpload,
    cancelled_error,
    find_destination,
    not_receiving_error,
    other_method_error,
    other_offset_error,
    too_many_error,
)
from dashboard.services.files.receiving.processing import Processing
from dashboard.services.files.receiving.quarantine import Quarantine, lost_error
from dashboard.services.files.receiving.receiver import Receiver, beyond_size_error
from dashboard.services.files.receiving.storing import taken_error
from dashboard.services.files.receiving.upload_connections import UploadConnections
from dashboard.services.files.receiving.upload_handler import UploadHandler
from dashboard.services.files.receiving.upload_names import clean_folder, clean_name, join_key
from dashboard.services.files.receiving.upload_rows import KEEP_SECONDS, UploadInfo, UploadState
from dashboard.services.jobs import enqueue
from dashboard.services.permissions import Actor, Permission
from dashboard.storage.driver import stat_or_none
from dashboard.storage.errors import StorageError

RECEIVED_PERCENT = 80
"""The share of the progress that receiving is; checking, scanning, processing and storing are the rest."""
MAX_LISTED = 200


class Uploads:
    """Thread-safe. An upload belongs to the person or program that began it: for everybody else, except
    admins, it does not exist."""

    def __init__(
        self,
        database: Database,
        backends: Backends,
        quarantine: Quarantine,
        limits: Limits,
        processing: Processing,
    ) -> None:
        self._database = database
        self._backends = backends
        self._quarantine = quarantine
        self._limits = limits
        self._processing = processing
        self.connections = UploadConnections(quarantine, shared=database.on_server)

    @property
    def processing(self) -> Processing:
        """The runner's part."""
        return self._processing

    @property
    def policies(self) -> UploadPolicies:
        """What may be uploaded, and what is done to it."""
        return self._limits.policies

    @property
    def limits(self) -> Limits:
        """What may be uploaded."""
        return self._limits

    def create(
        self,
        actor: Actor,
        new: NewUpload,
        *,
        rules: UploadPolicy | None = None,
        details: Mapping[str, object] | None = None,
    ) -> UploadInfo:
        """Begin an upload. Everything that can be known before the first byte is checked here, by the policy
        that is named or by ``rules``.

        Raises ``FORBIDDEN``, ``NOT_FOUND`` for an unknown backend, ``CONFLICT`` for a read-only one and for a
        name that is taken, ``INVALID`` and ``INVALID_KEY``, ``OVER_LIMIT`` for the size, ``WRONG_TYPE`` for
        the ending, and ``FULL`` for a used-up quota or disk.
        """
        actor.require(Permission.WRITE_FILES)
        name, folder = clean_name(new.name), clean_folder(new.folder)
        backend = find_destination(self._backends, new.backend)
        policy = new.policy or DEFAULT_NAME
        rules = rules or self.policies.get(policy)
        self._limits.check_new(rules, name, new.size)
        self._check_key(backend, join_key(folder, name), rules)
        upload_id = secrets.token_hex(16)
        now = time.time()
        # The file first: a row without one would look like a loss.
        self._quarantine.create(upload_id)
        try:
            with self._database.work_write() as connection:
                if rows.unfinished_count(connection, actor.name) >= MAX_UNFINISHED:
                    raise too_many_error()
                self._limits.check_space(connection, actor.name, new.size or 0)
                connection.execute(
                    insert(uploads).values(
                        id=upload_id,
                        owner=actor.name,
                        policy=policy,
                        backend_id=backend.id,
                        folder=folder,
                        name=name,
                        content_type=new.content_type[:255],
                        size=new.size,
                        state=UploadState.RECEIVING.value,
                        method=new.method,
                        details=dict(details) if details else None,
                        created_at=now,
                        updated_at=now,
                        expires_at=now + KEEP_SECONDS,
                    )
                )
                created = self._get(rows.find(connection, upload_id), actor)
        except BaseException:
            self._quarantine.remove(upload_id)
            raise
        return self._received(created, 0) if new.size == 0 else created

    def get(self, actor: Actor, upload_id: str) -> UploadInfo:
        """One upload. Raises ``NOT_FOUND``."""
        with self._database.work_read() as connection:
            return self._get(rows.find(connection, upload_id), actor)

    def list(self, actor: Actor, *, before_id: str | None = None, limit: int = 50) -> tuple[UploadInfo, ...]:
        """The newest uploads of this person or program, or those that began before another one."""
        actor.require(Permission.WRITE_FILES)
        query = select(uploads).where(uploads.c.owner == actor.name).order_by(uploads.c.created_at.desc())
        if before_id is not None:
            began = select(uploads.c.created_at).where(uploads.c.id == before_id).scalar_subquery()
            query = query.where(uploads.c.created_at < began)
        with self._database.work_read() as connection:
            return rows.found(connection, query.limit(max(1, min(limit, MAX_LISTED))))

    def offset(self, actor: Actor, upload_id: str) -> tuple[UploadInfo, int]:
        """One upload, and the byte from which its client goes on. A connection over which nothing has come
        for a while has ended for this. Raises ``NOT_FOUND``, and ``LOCKED`` while bytes arrive."""
        upload = self.get(actor, upload_id)
        if upload.state is not UploadState.RECEIVING:
            return upload, upload.received
        if upload.method == DIRECT:
            raise other_method_error(upload)
        self.connections.take_over(upload_id)
        upload = self.get(actor, upload_id)
        if upload.checksums or upload.state is not UploadState.RECEIVING:
            return upload, upload.received
        length = self._quarantine.length(upload_id, known=upload.received)
        if length is None:
            raise lost_error()
        return upload, length

    def append(
        self,
        actor: Actor,
        upload_id: str,
        *,
        offset: int,
        length: int | None = None,
        checksum: tuple[str, bytes] | None = None,
    ) -> Receiver:
        """Open an upload for the bytes from ``offset``, of which ``length`` are announced.

        Raises ``NOT_FOUND``, ``CONFLICT`` if its client has to ask for the offset again, ``LOCKED``, and
        ``OVER_LIMIT``. Close the receiver.
        """
        upload = self.get(actor, upload_id)
        if upload.owner != actor.name or upload.state is not UploadState.RECEIVING:
            raise not_receiving_error(upload)
        if upload.method == DIRECT:
            raise other_method_error(upload)
        if upload.size is not None and length is not None and offset + length > upload.size:
            raise beyond_size_error(upload.size)
        self.connections.take_over(upload_id)
        with self.connections.opening():
            appending = self._quarantine.append(upload_id, known=upload.received, exact=upload.checksums)
            try:
                upload = self.get(actor, upload_id)
                if upload.state is not UploadState.RECEIVING:
                    raise not_receiving_error(upload)
                if appending.offset != offset:
                    raise other_offset_error(appending.offset)
                if checksum is not None and not upload.checksums:
                    upload = self._change(upload, checksums=1, received=appending.offset)
            except BaseException:
                appending.close()
                raise
            receiver = Receiver(
                upload,
                appending,
                checksum=checksum,
                record=self._received,
                closed=lambda: self.connections.forget(receiver),
            )
            self.connections.add(receiver)
        return receiver

    def receive(
        self, actor: Actor, new: NewUpload, chunks: Iterable[bytes], *, rules: UploadPolicy | None = None
    ) -> UploadInfo:
        """Begin an upload and receive all of it. If ``chunks`` raises, nothing is left."""
        upload = self.create(actor, new, rules=rules)
        try:
            with self.append(actor, upload.id, offset=0) as receiver:
                for chunk in chunks:
                    if upload.size is None:
                        size = receiver.received + len(chunk)
                        self._limits.check_size(rules or self.policies.get(upload.policy), size)
                        with self._database.work_read() as connection:
                            self._limits.check_space(connection, actor.name, size, on_disk=len(chunk))
                    receiver.write(chunk)
                upload = receiver.finish()
        except BaseException:
            self.terminate(actor, upload.id)
            raise
        return upload if upload.state is not UploadState.RECEIVING else self._complete(upload)

    def terminate(self, actor: Actor, upload_id: str) -> None:
        """Remove an upload that is not being stored, with its bytes. Raises ``NOT_FOUND``, and ``CONFLICT``
        while it is checked or stored. Of one that is done only the row is removed."""
        upload = self.get(actor, upload_id)
        actor.require(Permission.WRITE_FILES)
        if upload.state in rows.WAITING:
            raise StowageError(
                Kind.CONFLICT,
                "This upload is complete and is being checked and stored.",
                operation="upload",
                remedy="Wait until it is done, then delete the file.",
            )
        self.connections.abandon(upload_id)
        if upload.method == DIRECT and not self._withdraw_parts(upload):
            return
        with self._database.work_write() as connection:
            now = rows.find(connection, upload_id)
            if now is not None and now.state not in rows.WAITING:
                # What may have been stored is removed by the sweep, which needs the row.
                if now.state is UploadState.FAILED and now.key:
                    rows.change(connection, now, expires_at=0.0)
                    return
                connection.execute(uploads.delete().where(uploads.c.id == upload_id))
        self._quarantine.remove(upload_id)

    def retry(self, actor: Actor, upload_id: str) -> UploadInfo:
        """Check and store a failed upload again. Raises ``NOT_FOUND``, and ``CONFLICT`` for others."""
        upload = self.get(actor, upload_id)
        actor.require(Permission.WRITE_FILES)
        if upload.state is not UploadState.FAILED:
            raise StowageError(
                Kind.CONFLICT,
                "Only a failed upload can be tried again.",
                operation="upload",
                remedy="Upload the file again.",
            )
        if upload.key and upload.attempts:
            # It may be there already: only storing is repeated, under the same key.
            return self._queue(upload, UploadState.STORING, upload.received)
        return self._complete(upload)

    def process(
        self, upload_id: str, handler: UploadHandler | None = None, *, rules: UploadPolicy | None = None
    ) -> UploadInfo | None:
        """Bring a complete upload to its end on this thread, as far as that is possible now. Returns None if
        another process works on it, or there is nothing to do."""
        return self._processing.work(upload_id, lambda: False, handler, rules)

    def sweep(self) -> int:
        """Remove expired uploads and what failures and kills have left behind; return how many. The runner
        does this every minute."""
        return self._processing.sweep()

    def wake(self) -> None:
        """Queue the job that checks and stores uploads. Idempotent."""
        with self._database.write() as session:
            enqueue(session, JobKind.UPLOADS, 0)

    def _check_key(self, backend: BackendInfo, key: str, rules: UploadPolicy) -> None:
        """Refuse a name that the backend cannot keep, or that is certainly taken, before the bytes come. The
        backend itself is asked only if the catalogue knows such a file."""
        driver = self._backends.driver(backend.name)
        driver.check_key(join_key("", key, dated=0.0) if rules.organise_by_date else key)
        if rules.on_conflict is not OnConflict.REFUSE or rules.unique_names or rules.organise_by_date:
            return
        with self._database.work_read() as connection:
            if not rows.is_catalogued(connection, backend.id, key):
                return
        with suppress(StorageError):
            if stat_or_none(driver, key) is not None:
                raise taken_error(key)

    def _withdraw_parts(self, upload: UploadInfo) -> bool:
        """Discard what a direct upload has in its bucket. Returns False if the sweep has to look again, and
        needs the row for that: parts may still arrive while their addresses work."""
        ended: dict[str, object] = {}
        if upload.state.final:
            if self._processing.parts.clean(upload):
                return True
        else:
            self._processing.parts.abort(upload)
            ended = {"state": UploadState.REFUSED.value, **rows.ended_with(cancelled_error())}
        due = time.time() + (0.0 if upload.state.final else URL_SECONDS)
        with self._database.work_write() as connection:
            rows.change(connection, upload, expires_at=due, **ended)
        return False

    def complete(self, upload: UploadInfo, details: Mapping[str, object]) -> UploadInfo:
        """Queue an upload whose parts are all in the bucket. Raises ``NOT_FOUND`` if it has ended."""
        return self._queue(replace(upload, details=details), UploadState.CHECKING, upload.size or 0)

    def _received(self, upload: UploadInfo, offset: int) -> UploadInfo:
        """Record durable bytes. The last one makes the upload complete."""
        if upload.size == offset:
            return self._complete(upload, offset)
        percent = RECEIVED_PERCENT * offset // upload.size if upload.size else 0
        expires = time.time() + KEEP_SECONDS
        return self._change(upload, received=offset, percent=percent, expires_at=expires)

    def _complete(self, upload: UploadInfo, offset: int | None = None) -> UploadInfo:
        received = upload.received if offset is None else offset
        return self._queue(upload, UploadState.CHECKING, received)

    def _queue(self, upload: UploadInfo, state: UploadState, received: int) -> UploadInfo:
        details = {name: value for name, value in upload.details.items() if name != "tries"}
        queued = self._change(
            upload,
            state=state.value,
            received=received,
            size=received,
            percent=RECEIVED_PERCENT,
            details=details,
            not_before=0.0,
            expires_at=time.time() + KEEP_SECONDS,
            kind="",
            reason="",
            remedy="",
        )
        if upload.method != "library":
            self.wake()
        return queued

    def _change(self, upload: UploadInfo, **values: object) -> UploadInfo:
        with self._database.work_write() as connection:
            if not rows.change(connection, upload, **values):
                raise lost_error()
            changed = rows.find(connection, upload.id)
        assert changed is not None
        return changed

    def _get(self, upload: UploadInfo | None, actor: Actor) -> UploadInfo:
        if upload is None or not (upload.owner == actor.name or actor.may(Permission.CONFIGURE)):
            raise StowageError(
                Kind.NOT_FOUND,
                "There is no such upload.",
                operation="upload",
                remedy="It may have expired: what is not continued within a day is removed. Begin again.",
            )
        return upload
