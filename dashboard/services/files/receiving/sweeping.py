"""Removing what uploads leave behind: those that nobody continued, and the traces of failures and kills."""

from __future__ import annotations

import logging
import time

from sqlalchemy import delete, select

from dashboard.errors import Kind, StowageError
from dashboard.models.catalogue import uploads
from dashboard.services.database import Database
from dashboard.services.files.receiving import upload_rows as rows
from dashboard.services.files.receiving.bucket_parts import DIRECT, BucketParts
from dashboard.services.files.receiving.quarantine import Quarantine
from dashboard.services.files.receiving.storing import Storing
from dashboard.services.files.receiving.upload_rows import UploadInfo, UploadState

log = logging.getLogger(__name__)

ORPHAN_SECONDS = 3600.0
"""The age at which a file in the quarantine without a row is an orphan: its row may be about to follow."""
GIVE_UP_SECONDS = 7 * 86_400.0
"""How long the backend of a failed upload is asked again to remove what may be there."""
CHUNK = 200


class Sweeping:
    """Idempotent, and safe beside running uploads. Every removal is logged."""

    def __init__(
        self, database: Database, quarantine: Quarantine, storing: Storing, parts: BucketParts
    ) -> None:
        self._database = database
        self._quarantine = quarantine
        self._storing = storing
        self._parts = parts

    def sweep(self) -> int:
        """Remove expired uploads and orphans; return how many."""
        removed = self._expired() + self._orphans()
        if removed:
            log.info("%d expired uploads and leftovers were removed", removed)
        return removed

    def _expired(self) -> int:
        ends = [state.value for state in UploadState if state.final or state is UploadState.RECEIVING]
        query = (
            select(uploads)
            .where(uploads.c.state.in_(ends), uploads.c.expires_at < time.time())
            .order_by(uploads.c.expires_at)
            .limit(CHUNK)
        )
        with self._database.work_read() as connection:
            found = rows.found(connection, query)
        return sum(self._remove(upload) for upload in found)

    def _remove(self, upload: UploadInfo) -> bool:
        if not self._withdraw(upload):
            if time.time() - upload.created_at < GIVE_UP_SECONDS:
                with self._database.work_write() as connection:
                    rows.change(connection, upload, expires_at=time.time() + ORPHAN_SECONDS)
                return False
            log.warning(
                "What upload %s may have left at its backend stays there: “%s”",
                *(upload.id, upload.key or upload.name),
            )
        try:
            with self._quarantine.append(upload.id, known=upload.received):
                self._forget(upload)
        except StowageError as error:
            if error.kind is not Kind.NOT_FOUND:
                return False
            self._forget(upload)
        log.info(
            "Upload %s of %s (“%s”, %s, %d bytes) was removed",
            *(upload.id, upload.owner, upload.name, upload.state.value, upload.received),
        )
        return True

    def _withdraw(self, upload: UploadInfo) -> bool:
        """Remove what it may have left at its backend: as an object, and as parts, which cost money."""
        if upload.method == DIRECT and not self._parts.clean(upload):
            return False
        return upload.state is not UploadState.FAILED or self._storing.withdraw(upload)

    def _forget(self, upload: UploadInfo) -> None:
        with self._database.work_write() as connection:
            statement = delete(uploads).where(
                uploads.c.id == upload.id, uploads.c.updated_at == upload.updated_at
            )
            if not connection.execute(statement).rowcount:
                return
        self._quarantine.remove(upload.id)

    def _orphans(self) -> int:
        """Files without an upload, and of uploads that are done or were refused."""
        found = dict(self._quarantine.ids())
        names = list(found)
        removed = 0
        for start in range(0, len(names), CHUNK):
            some = names[start : start + CHUNK]
            query = select(uploads.c.id, uploads.c.state).where(uploads.c.id.in_(some))
            with self._database.work_read() as connection:
                states = {row.id: UploadState(row.state) for row in connection.execute(query)}
            for upload_id in some:
                state = states.get(upload_id)
                old = found[upload_id] < time.time() - ORPHAN_SECONDS
                if state in (UploadState.DONE, UploadState.REFUSED) or (state is None and old):
                    self._quarantine.remove(upload_id)
                    removed += 1
        return removed
