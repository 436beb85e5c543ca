"""Incomplete multipart uploads: created, but neither completed nor aborted."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from itertools import islice

from dashboard.errors import Kind
from dashboard.storage.drivers.s3 import listing as s3_listing
from dashboard.storage.drivers.s3.client import S3Client
from dashboard.storage.drivers.s3.config import S3Config
from dashboard.storage.drivers.s3.errors import ErrorContext
from dashboard.storage.drivers.s3.listing import MultipartUpload
from dashboard.storage.drivers.s3.upload import Begun
from dashboard.storage.errors import NotFound, StorageError
from dashboard.storage.inspection.findings import (
    LEFTOVERS,
    MAX_LEFTOVERS,
    is_leftover,
    leftovers_finding,
    unavailable_finding,
)
from dashboard.storage.inspection.powers import Finding, UnfinishedUpload


class S3MultipartUploadsMixin:
    """``KeepsUnfinished`` for the driver."""

    _config: S3Config
    _client: S3Client

    def unfinished(self, prefix: str = "") -> Iterator[UnfinishedUpload]:
        """See ``KeepsUnfinished``."""
        base = self._config.prefix
        context = self._client.context("sweep")
        for upload in s3_listing.incomplete_uploads(self._client, context, base + prefix):
            # Some servers ignore the prefix; uploads outside it are not ours to abort.
            if upload.key.startswith(base + prefix):
                yield UnfinishedUpload(upload.key.removeprefix(base), upload.upload_id, upload.initiated)

    def abort(self, upload: UnfinishedUpload) -> None:
        """See ``KeepsUnfinished``.
        https://docs.aws.amazon.com/AmazonS3/latest/API/API_AbortMultipartUpload.html"""
        context = self._client.context("sweep", upload.key)
        with suppress(NotFound):
            self._client.send(
                "DELETE", context, key=self._config.prefix + upload.key, query={"uploadId": upload.id}
            )

    def take_up(self, key: str, since: float) -> Begun | None:
        """Return the unfinished upload of this key, begun after ``since``, that has most parts, and abort the
        others. None if there is none, or if they cannot be listed."""
        context, full_key = self._client.context("sweep", key), self._config.prefix + key
        try:
            uploads = s3_listing.incomplete_uploads(self._client, context, full_key)
            mine = [each for each in uploads if each.key == full_key and each.initiated >= int(since)]
            if not mine:
                return None
            begun = [Begun(each.upload_id, self._parts_of(context, each)) for each in mine]
            *others, best = sorted(begun, key=lambda each: len(each.parts))
            for other in others:
                self._client.send("DELETE", context, key=full_key, query={"uploadId": other.upload_id})
        except StorageError:
            return None
        return best

    def _parts_of(self, context: ErrorContext, upload: MultipartUpload) -> Mapping[int, tuple[int, str]]:
        found: dict[int, tuple[int, str]] = {}
        for part in s3_listing.uploaded_parts(self._client, context, upload.key, upload.upload_id):
            # What is listed twice may be two contents.
            twice = part.number in found and found[part.number] != (part.size, part.etag)
            found[part.number] = (part.size, "" if twice else part.etag)
        return found

    def incomplete_uploads_finding(self) -> Finding | None:
        """Return a finding about incomplete uploads, or None if the server cannot list them."""
        try:
            found = list(islice(self.unfinished(), MAX_LEFTOVERS))
        except StorageError as error:
            if error.kind is Kind.DENIED:
                return unavailable_finding(LEFTOVERS, "Whether it contains unfinished uploads", error)
            # Servers without this listing respond with any error, which must not hide the other findings.
            return None
        return leftovers_finding([upload.begun for upload in found], time.time())

    def abort_old_uploads(self) -> None:
        """Abort old uploads, including those of other programs."""
        now = time.time()
        old = (upload for upload in self.unfinished() if is_leftover(upload.begun, now))
        # Read before the first abort, because a listing may skip entries while others are deleted.
        for upload in list(islice(old, MAX_LEFTOVERS)):
            self.abort(upload)
