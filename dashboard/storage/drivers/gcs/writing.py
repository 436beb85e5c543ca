"""Writes to Google Cloud Storage: small ones in one request, large ones in a resumable upload.

https://cloud.google.com/storage/docs/performing-resumable-uploads. Parts are sent one after the other while
the next one is filled. Google keeps the bytes that arrived of an interrupted part, so only the remaining ones
are sent again. The last part carries the checksum of the object, which Google compares before the object is
visible.
"""

from __future__ import annotations

import re
from contextlib import suppress

from dashboard.errors import Kind
from dashboard.storage.driver import SMALL
from dashboard.storage.drivers.common.multipart import ProvenByParts, UploadThreads, WriteRequest
from dashboard.storage.drivers.gcs.client import ATTEMPTS
from dashboard.storage.drivers.gcs.digests import Crc32c
from dashboard.storage.drivers.gcs.errors import ERRORS, translate
from dashboard.storage.drivers.gcs.objects import Objects, StoredObject
from dashboard.storage.errors import StorageError
from dashboard.storage.net.failures import RequestFailure
from dashboard.storage.net.http_client import Response
from dashboard.storage.net.retries import retry
from dashboard.storage.types import Written

PART_BYTES = SMALL
"""A multiple of 256 KiB, as Google requires."""
_INCOMPLETE = 308
_RANGE = re.compile(r"bytes=0-(\d+)\Z")


class ResumableUpload:
    """An open resumable upload. Used by one thread at a time."""

    def __init__(self, objects: Objects, key: str, target: str) -> None:
        self._objects = objects
        self._client = objects.client
        self._key = key
        self._target = target
        self._context = self._client.context("write", key)
        self._received = 0

    def send(self, data: memoryview) -> None:
        """Send the next part, which is not the last one."""
        self._send_all(data, "")

    def finish(self, data: memoryview, crc32c: str) -> StoredObject:
        """Send the last part and make the object visible. Raises ``Exists`` for a create-only write."""
        response = self._send_all(data, crc32c)
        if response is None:
            raise ERRORS.transport_error("unreadable", self._context)
        return self._objects.parse_object(self._key, response, self._context)

    def abort(self) -> None:
        """Discard the upload. Never raises."""
        with suppress(StorageError):
            self._objects.abort_upload(self._target, self._context)

    def _send_all(self, data: memoryview, crc32c: str) -> Response | None:
        """Send a part until Google has all of it. With ``crc32c`` it is the last one: return the response."""
        start = self._received
        total = str(start + len(data)) if crc32c else "*"
        headers = {"x-goog-hash": f"crc32c={crc32c}"} if crc32c else {}
        position_known = True

        def attempt() -> Response | None:
            nonlocal position_known
            # After an error, ask Google how much it has received.
            response = self._put(b"", f"bytes */{total}", headers) if not position_known else None
            position_known = False
            if response is None or response.status == _INCOMPLETE:
                if response is not None:
                    self._received = self._parse_range(response, start, len(data))
                response = self._send_remaining(data, start, total, headers)
            position_known = True
            return response if response.status != _INCOMPLETE else None

        return retry(attempt, ATTEMPTS)

    def _send_remaining(self, data: memoryview, start: int, total: str, headers: dict[str, str]) -> Response:
        """Send the bytes that Google has not received, in as many requests as it needs."""
        end = start + len(data)
        while True:
            offset = self._received
            remaining = data[offset - start :]
            span = f"{offset}-{end - 1}" if remaining else "*"
            response = self._put(remaining, f"bytes {span}/{total}", headers)
            if response.status != _INCOMPLETE:
                return response
            self._received = self._parse_range(response, start, len(data))
            if self._received == end and total == "*":
                return response
            if self._received == offset:
                raise ERRORS.transport_error("reset", self._context)

    def _put(self, data: bytes | memoryview, span: str, headers: dict[str, str]) -> Response:
        try:
            return self._client.request(
                "PUT",
                self._target,
                self._context,
                headers={**headers, "content-range": span},
                body=[data] if data else b"",
                accept=(_INCOMPLETE,),
            )
        except StorageError as error:
            if error.kind is Kind.NOT_FOUND:
                raise translate(RequestFailure(410), self._context) from error
            raise

    def _parse_range(self, response: Response, start: int, length: int) -> int:
        match = _RANGE.match(response.headers.get("range", ""))
        received = int(match.group(1)) + 1 if match else 0
        if not start <= received <= start + length:
            # Google lost bytes that are no longer in memory.
            raise translate(RequestFailure(410), self._context)
        return received


class GcsWriting(ProvenByParts[None]):
    """See ``Writing``. Without an MD5, the CRC-32C proves the object."""

    max_in_flight = 1
    completes_with_last = True

    def __init__(self, objects: Objects, senders: UploadThreads, request: WriteRequest) -> None:
        super().__init__(senders, request, PART_BYTES)
        self._objects = objects
        self._crc32c = Crc32c()
        self._upload: ResumableUpload | None = None
        self._stored: StoredObject | None = None

    def _update_checksum(self, chunk: bytes) -> None:
        self._crc32c.update(chunk)

    def _create_upload(self) -> None:
        target = self._objects.create_upload(
            self._key, self._request.attributes, create_only=self._request.create_only
        )
        self._upload = ResumableUpload(self._objects, self._key, target)

    def _send_part(self, number: int, data: memoryview) -> None:
        assert self._upload is not None
        self._upload.send(data)

    def _complete_upload(self, last: memoryview) -> None:
        assert self._upload is not None
        self._stored = self._upload.finish(last, self._crc32c.text())

    def _receipt(self) -> Written:
        assert self._stored is not None
        info = self._stored.info
        self._check_size(info.size)
        md5, crc32c = self._md5_hex(), self._crc32c.text()
        by_md5 = bool(md5 and info.md5)
        return Written(
            key=self._key,
            size=self._size,
            md5=md5,
            etag=info.etag,
            expected_checksum=md5 if by_md5 else crc32c,
            stored_checksum=info.md5 if by_md5 else self._stored.crc32c,
        )

    def _abort_upload(self) -> None:
        if self._upload is not None:
            self._upload.abort()
