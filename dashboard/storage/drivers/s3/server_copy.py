"""Copies that the server makes by itself: in one request, or in the parts the source was uploaded in.

https://docs.aws.amazon.com/AmazonS3/latest/API/API_CopyObject.html. The source's ETag is the precondition of
every request, and the ETag of the response the proof. A server that ignores the precondition returns another
ETag, and then nothing is believed without a look at both objects.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, wait
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass
from functools import partial
from urllib.parse import urlencode

from dashboard.errors import Kind
from dashboard.storage.drivers.common.multipart import UploadThreads, composite_checksum
from dashboard.storage.drivers.s3 import tags
from dashboard.storage.drivers.s3.client import ATTEMPTS, S3Client
from dashboard.storage.drivers.s3.create import ConditionalCreate
from dashboard.storage.drivers.s3.objects import CopyResponse, Objects
from dashboard.storage.drivers.s3.upload import MD5, Head, MultipartClient, Part
from dashboard.storage.errors import Changed, Exists, StorageError, Unsupported
from dashboard.storage.net.retries import retry
from dashboard.storage.proving import part_sizes
from dashboard.storage.types import Entry, Written

MAX_COPY_BYTES = 5 * 1024**3
"""What Amazon copies in one request; others may copy more."""
_SMALL_BYTES = 1024 * 1024
"""Without a proof it is better to move the bytes of objects up to this size."""
_MIN_PART_BYTES = 5 * 1024 * 1024
_PARTS_IN_FLIGHT = 8
_REFUSALS = frozenset({Kind.UNSUPPORTED, Kind.DENIED})
_LOST = frozenset({Kind.NOT_FOUND, Kind.UNREACHABLE, Kind.TIMEOUT})


@dataclass(frozen=True, slots=True)
class Bucket:
    """One end of a copy."""

    client: S3Client
    objects: Objects


class ServerCopy:
    """Copies objects to one bucket. Thread-safe.

    ``commit_guard`` is entered around the completion of an upload in parts, with the key and whether it is
    create-only; see ``UploadTarget``.
    """

    def __init__(
        self,
        bucket: Bucket,
        uploads: MultipartClient,
        threads: UploadThreads,
        commit_guard: Callable[[str, bool], AbstractContextManager[bool]],
    ) -> None:
        self._client, self._objects = bucket.client, bucket.objects
        self._uploads = uploads
        self._threads = threads
        self._commit_guard = commit_guard
        self._creates = ConditionalCreate()
        # What is learned from the first copies saves requests for the others.
        self._keeps_composites = not bucket.client.config.is_aws
        self._proves_small = True
        self._refusal: StorageError | None = None
        self._copied = False

    def copy(self, source: Bucket, entry: Entry, to: str, *, create_only: bool) -> Written:
        """Copy an object as it was listed; see ``CopiesListed``."""
        etag = entry.etag
        if not etag or not (self._proves_small or entry.size > _SMALL_BYTES):
            raise Unsupported("copy", "The ETag of a copy would prove nothing.")
        if self._refusal is not None:
            raise Unsupported("copy", self._refusal.reason)
        if "-" in etag and (entry.size > MAX_COPY_BYTES or not self._keeps_composites):
            with suppress(Unsupported):
                return self._copy_parts(source, entry, to, create_only=create_only)
        response = self._copy_whole(source, entry, to, create_only=create_only)
        if response.etag != etag or response.etag_is_opaque:
            return self._check_other_etag(source, entry, to, response, create_only=create_only)
        md5 = etag if MD5.match(etag) else ""
        return Written(to, entry.size, md5, etag, expected_checksum=etag, stored_checksum=etag)

    def _copy_whole(self, source: Bucket, entry: Entry, to: str, *, create_only: bool) -> CopyResponse:
        context = self._client.context("copy", entry.key)
        headers = source.client.config.copy_source_headers(entry.key, etag=entry.etag)
        headers |= self._client.config.write_headers()
        received: list[CopyResponse] = []

        def once(*, create_only: bool) -> CopyResponse:
            given = {**headers, "if-none-match": "*"} if create_only else headers
            try:
                return self._objects.copy(to, given, context, attempts=1)
            except Changed:
                # Both preconditions fail with the same status.
                if create_only and self._objects.exists(to):
                    raise Exists(to) from None
                raise

        def send(*, create_only: bool) -> str | None:
            with source.objects.diagnose_errors(entry.key, context):
                received.append(retry(partial(once, create_only=create_only), ATTEMPTS))
            return received[-1].etag

        try:
            if create_only:
                self._creates.put(send, partial(self._objects.exists, to), to, entry.size)
            else:
                send(create_only=False)
        except StorageError as error:
            # A key may be allowed to read and to write, but not to copy: no need to try that every time.
            if error.kind in _REFUSALS and not self._copied and entry.size <= MAX_COPY_BYTES:
                self._refusal = error
            raise
        self._copied = True
        return received[-1]

    def _check_other_etag(
        self, source: Bucket, entry: Entry, to: str, response: CopyResponse, *, create_only: bool
    ) -> Written:
        """Find out why the copy does not have the ETag of the source: one of them may not be made of the
        content, or the server ignored the precondition and copied a newer object."""
        before = source.objects.head(entry.key)
        if before.info.etag != entry.etag:
            if create_only and response.etag:
                with suppress(StorageError):
                    self._objects.delete(to, if_etag=response.etag)
            raise Changed(entry.key, operation="copy")
        opaque = before.etag_is_opaque or response.etag_is_opaque
        if "-" in (entry.etag or "") and not opaque:
            self._keeps_composites = False
            with suppress(Unsupported):
                # The copy that is there is ours.
                return self._copy_parts(source, entry, to, create_only=False)
        receipt = self._receipt(before, to)
        if receipt.stored_checksum is None and entry.size <= _SMALL_BYTES:
            self._proves_small = False
        return receipt

    def _receipt(self, before: Head, to: str) -> Written:
        """Describe the copy. Only the same ETag vouches for its MD5."""
        after, version = self._objects.head(to), before.info.etag or ""
        etag = after.info.etag
        comparable = not (after.etag_is_opaque or before.etag_is_opaque) and etag is not None
        comparable = comparable and ("-" in (etag or "")) == ("-" in version)
        return Written(
            key=to,
            size=after.info.size,
            md5=(after.info.md5 or "") if comparable and etag == version else "",
            etag=etag,
            expected_checksum=version,
            stored_checksum=etag if comparable else None,
        )

    # In parts

    def _copy_parts(self, source: Bucket, entry: Entry, to: str, *, create_only: bool) -> Written:
        """Copy in the parts of the source, which gives the copy the same ETag. That is known before anything
        is visible. Raises ``Unsupported`` if the server does not tell the parts or their MD5s.
        https://docs.aws.amazon.com/AmazonS3/latest/API/API_UploadPartCopy.html"""
        head = source.objects.head(entry.key)
        if (head.info.etag, head.info.size) != (entry.etag, entry.size):
            raise Changed(entry.key, operation="copy")
        part = source.objects.part_size(head.info, 1) or _usual_part_size(entry)
        if not part or head.etag_is_opaque or not self._client.config.etags_are_md5:
            raise Unsupported("copy", f"It is not known in which parts “{entry.key}” was uploaded.")
        if create_only and self._objects.exists(to):
            raise Exists(to)
        self._objects.refuse_altered_name(to)
        context, full_key = self._client.context("write", to), self._client.config.prefix + to
        more = {}
        if head.has_tags:
            more["x-amz-tagging"] = urlencode(tags.read_tags(source.client, entry.key))
        upload_id = self._uploads.create(context, full_key, head.info.attributes, more)
        headers = source.client.config.copy_source_headers(entry.key, etag=entry.etag)
        del headers["x-amz-metadata-directive"]
        send = partial(self._uploads.copy_part, context, full_key, upload_id)
        try:
            parts = self._send_parts(send, headers, entry.size, part)
            if composite_checksum(each.digest for each in parts) != entry.etag:
                if source.objects.head(entry.key).info.etag != entry.etag:
                    raise Changed(entry.key, operation="copy")
                raise Unsupported("copy", f"The parts of “{entry.key}” are of unequal sizes.")
            with self._commit_guard(to, create_only) as if_absent:
                try:
                    self._uploads.complete(context, full_key, upload_id, parts, if_absent=if_absent)
                except StorageError as error:
                    # If only the response was lost, the object exists.
                    if error.kind not in _LOST or self._objects.head(to).info.etag != entry.etag:
                        raise
        except BaseException:
            self._uploads.abort(context, full_key, upload_id)
            raise
        return self._receipt(head, to)

    def _send_parts(
        self, send: Callable[[int, dict[str, str]], Part], headers: dict[str, str], size: int, part: int
    ) -> list[Part]:
        pending: deque[Future[Part]] = deque()
        parts: list[Part] = []
        try:
            for number, start in enumerate(range(0, size, part), start=1):
                last = min(start + part, size) - 1
                if len(pending) == _PARTS_IN_FLIGHT:
                    parts.append(pending.popleft().result())
                given = {**headers, "x-amz-copy-source-range": f"bytes={start}-{last}"}
                pending.append(self._threads.submit(partial(send, number, given)))
            while pending:
                parts.append(pending.popleft().result())
        finally:
            for each in pending:
                each.cancel()
            # A part that arrives after the upload was dropped could bring it back to life.
            wait(pending, timeout=1.0)
        return parts


def _usual_part_size(entry: Entry) -> int | None:
    """Guess the size of the parts, which their checksums will confirm."""
    count = int((entry.etag or "").partition("-")[2] or 0)
    return next((each for each in part_sizes(entry.size, count) if each >= _MIN_PART_BYTES), None)
