"""Uploads in parts that were begun and are neither completed nor aborted."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import suppress
from itertools import islice

from dashboard.errors import Kind
from dashboard.storage.drivers.s3 import listing as s3_listing
from dashboard.storage.drivers.s3.client import S3Client
from dashboard.storage.drivers.s3.config import S3Config
from dashboard.storage.errors import NotFound, StorageError
from dashboard.storage.inspection.findings import (
    LEFTOVERS,
    MOST_LEFTOVERS,
    is_leftover,
    leftovers_finding,
    unavailable_finding,
)
from dashboard.storage.inspection.powers import Finding, UnfinishedUpload


class S3MultipartUploadsMixin:
    """``KeepsUnfinished`` for a driver that has these parts."""

    _config: S3Config
    _client: S3Client

    def unfinished(self, prefix: str = "") -> Iterator[UnfinishedUpload]:
        """See ``KeepsUnfinished``."""
        own = self._config.prefix
        context = self._client.context("sweep")
        for each in s3_listing.incomplete_uploads(self._client, context, own + prefix):
            # A server that does not heed the prefix must not have others' uploads aborted.
            if each.key.startswith(own + prefix):
                yield UnfinishedUpload(each.key.removeprefix(own), each.upload_id, each.initiated)

    def abort(self, upload: UnfinishedUpload) -> None:
        """See ``KeepsUnfinished``.
        https://docs.aws.amazon.com/AmazonS3/latest/API/API_AbortMultipartUpload.html"""
        context = self._client.context("sweep", upload.key)
        with suppress(NotFound):
            self._client.send(
                "DELETE", context, key=self._config.prefix + upload.key, query={"uploadId": upload.id}
            )

    def incomplete_uploads_finding(self) -> Finding | None:
        """What of that lies there; None where the server does not tell."""
        try:
            found = list(islice(self.unfinished(), MOST_LEFTOVERS))
        except StorageError as error:
            if error.kind is Kind.DENIED:
                return unavailable_finding(LEFTOVERS, "Whether unfinished uploads lie in it", error)
            # Servers without such a list answer with all sorts of errors; the rest of the page stands.
            return None
        return leftovers_finding([each.begun for each in found], time.time())

    def abort_old_uploads(self) -> None:
        """Those that are old enough, whoever began them."""
        now = time.time()
        old = (each for each in self.unfinished() if is_leftover(each.begun, now))
        # Taken first: a listing under which its entries vanish may lose its way.
        for upload in list(islice(old, MOST_LEFTOVERS)):
            self.abort(upload)
